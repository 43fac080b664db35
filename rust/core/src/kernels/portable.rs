//! [`Lanes`] in plain Rust: the definition of every primitive, and the path for processors without a faster one.
//! Right rather than fast: where the hardware has no fused multiply-add, `mul_add` is a library call.

use super::lanes::{LANES, Lanes, Pack};

/// Sixteen scalars.
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn zip<A: Copy, B: Copy, C>(a: [A; LANES], b: [B; LANES], f: impl Fn(A, B) -> C) -> [C; LANES] {
    std::array::from_fn(|l| f(a[l], b[l]))
}

impl Lanes for Portable {
    type F = [f32; LANES];
    type U = [u32; LANES];
    type D = [f64; LANES];
    const MATMUL_PACKS: usize = 1;
    const MATMUL_SUMS: usize = 6;
    const DOTS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Pack) -> Self::F {
        from.0
    }
    #[inline(always)]
    fn store(self, to: &mut Pack, x: Self::F) {
        to.0 = x;
    }
    #[inline(always)]
    fn read(self, from: &[f32; LANES]) -> Self::F {
        *from
    }
    #[inline(always)]
    fn write(self, to: &mut [f32; LANES], x: Self::F) {
        *to = x;
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|l| a[l].mul_add(b[l], c[l]))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> u16 {
        (0..LANES).fold(0, |mask, l| mask | (u16::from(a[l] > b[l]) << l))
    }
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        let eight: [f32; 8] = std::array::from_fn(|l| a[l] + a[l + 8]);
        let four: [f32; 4] = std::array::from_fn(|l| eight[l] + eight[l + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
    #[inline(always)]
    fn sum8(self, a: [Self::F; 8]) -> Self::F {
        std::array::from_fn(|l| if l < 8 { self.sum(a[l]) } else { 0.0 })
    }

    #[inline(always)]
    fn splat_d(self, x: f64) -> Self::D {
        [x; LANES]
    }
    #[inline(always)]
    fn add_d(self, a: Self::D, b: Self::F) -> Self::D {
        zip(a, b, |a, b| a + f64::from(b))
    }
    #[inline(always)]
    fn lanes_d(self, a: Self::D) -> [f64; LANES] {
        a
    }

    #[inline(always)]
    fn splat_u(self, x: u32) -> Self::U {
        [x; LANES]
    }
    #[inline(always)]
    fn load_u(self, from: &[u32; LANES]) -> Self::U {
        *from
    }
    #[inline(always)]
    fn add_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn sub_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    fn and_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn xor_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn shl_u<const N: u32>(self, a: Self::U) -> Self::U {
        a.map(|a| a << N)
    }
    #[inline(always)]
    fn shr_u<const N: u32>(self, a: Self::U) -> Self::U {
        a.map(|a| a >> N)
    }
    #[inline(always)]
    fn sar_u<const N: u32>(self, a: Self::U) -> Self::U {
        a.map(|a| (a.cast_signed() >> N).cast_unsigned())
    }
    #[inline(always)]
    fn mul_even_u(self, a: Self::U, b: Self::U) -> Self::U {
        let product = |l: usize| u64::from(a[l & !1]) * u64::from(b[l & !1]);
        std::array::from_fn(|l| (product(l) >> (32 * (l & 1))) as u32)
    }
    #[inline(always)]
    fn odd_to_even_u(self, a: Self::U) -> Self::U {
        std::array::from_fn(|l| if l % 2 == 0 { a[l + 1] } else { 0 })
    }
    #[inline(always)]
    fn interleave_even_u(self, a: Self::U, b: Self::U) -> Self::U {
        std::array::from_fn(|l| if l % 2 == 0 { a[l] } else { b[l - 1] })
    }
    #[inline(always)]
    fn int_to_float(self, a: Self::U) -> Self::F {
        a.map(|a| a.cast_signed() as f32)
    }
    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::U {
        a.map(f32::to_bits)
    }
    #[inline(always)]
    fn float(self, a: Self::U) -> Self::F {
        a.map(f32::from_bits)
    }
}
