//! [`Lanes`] for AVX2 with FMA: a pair of 256-bit registers, the low lanes first.

use std::arch::x86_64::*;

use super::lanes::{LANES, Lanes, Pack};

/// Proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The token, where the processor has the instructions.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// One-line methods that are one intrinsic on each half.
macro_rules! halves {
    ($($name:ident($($arg:ident: $kind:ident),*) -> $out:ident = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::$kind),*) -> Self::$out {
            // SAFETY: the token proves that the processor has the instruction.
            unsafe { [$intrinsic($($arg[0]),*), $intrinsic($($arg[1]),*)] }
        }
    )*};
}

impl Lanes for Avx2 {
    type F = [__m256; 2];
    type U = [__m256i; 2];
    type D = [__m256d; 4];
    const MATMUL_PACKS: usize = 1;
    const MATMUL_SUMS: usize = 6;
    const DOTS: usize = 4;

    halves! {
        add(a: F, b: F) -> F = _mm256_add_ps;
        sub(a: F, b: F) -> F = _mm256_sub_ps;
        mul(a: F, b: F) -> F = _mm256_mul_ps;
        div(a: F, b: F) -> F = _mm256_div_ps;
        fma(a: F, b: F, c: F) -> F = _mm256_fmadd_ps;
        max(a: F, b: F) -> F = _mm256_max_ps;
        min(a: F, b: F) -> F = _mm256_min_ps;
        add_u(a: U, b: U) -> U = _mm256_add_epi32;
        sub_u(a: U, b: U) -> U = _mm256_sub_epi32;
        and_u(a: U, b: U) -> U = _mm256_and_si256;
        xor_u(a: U, b: U) -> U = _mm256_xor_si256;
        mul_even_u(a: U, b: U) -> U = _mm256_mul_epu32;
        int_to_float(a: U) -> F = _mm256_cvtepi32_ps;
        bits(a: F) -> U = _mm256_castps_si256;
        float(a: U) -> F = _mm256_castsi256_ps;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, from: &Pack) -> Self::F {
        // SAFETY: as above; a Pack is 64 readable bytes, aligned to 64, and its upper half begins 8 floats in.
        unsafe { [_mm256_load_ps(from.0.as_ptr()), _mm256_load_ps(from.0.as_ptr().add(8))] }
    }
    #[inline(always)]
    fn store(self, to: &mut Pack, x: Self::F) {
        // SAFETY: as for `load`, writable.
        unsafe {
            _mm256_store_ps(to.0.as_mut_ptr(), x[0]);
            _mm256_store_ps(to.0.as_mut_ptr().add(8), x[1]);
        }
    }
    #[inline(always)]
    fn read(self, from: &[f32; LANES]) -> Self::F {
        // SAFETY: as above; the array is 64 readable bytes, and the loads need no alignment.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
    }
    #[inline(always)]
    fn write(self, to: &mut [f32; LANES], x: Self::F) {
        // SAFETY: as for `read`, writable.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x[1]);
        }
    }
    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> u16 {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe {
            let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a[0], b[0]));
            let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a[1], b[1]));
            (low | (high << 8)) as u16
        }
    }
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe {
            let eight = _mm256_add_ps(a[0], a[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    fn splat_d(self, x: f64) -> Self::D {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { [_mm256_set1_pd(x); 4] }
    }
    #[inline(always)]
    fn add_d(self, a: Self::D, b: Self::F) -> Self::D {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe {
            [
                _mm256_add_pd(a[0], _mm256_cvtps_pd(_mm256_castps256_ps128(b[0]))),
                _mm256_add_pd(a[1], _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(b[0]))),
                _mm256_add_pd(a[2], _mm256_cvtps_pd(_mm256_castps256_ps128(b[1]))),
                _mm256_add_pd(a[3], _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(b[1]))),
            ]
        }
    }
    #[inline(always)]
    fn lanes_d(self, a: Self::D) -> [f64; LANES] {
        let mut lanes = [0.0; LANES];
        for (four, a) in lanes.chunks_exact_mut(4).zip(a) {
            // SAFETY: as above; the chunk is 32 writable bytes, and the store needs no alignment.
            unsafe { _mm256_storeu_pd(four.as_mut_ptr(), a) }
        }
        lanes
    }
    #[inline(always)]
    fn sum8(self, a: [Self::F; 8]) -> Self::F {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe { [sum8(a), _mm256_setzero_ps()] }
    }
    #[inline(always)]
    fn splat_u(self, x: u32) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { [_mm256_set1_epi32(x.cast_signed()); 2] }
    }
    #[inline(always)]
    fn load_u(self, from: &[u32; LANES]) -> Self::U {
        let (low, high) = from.split_at(8);
        // SAFETY: as above; each half is 32 readable bytes, and the load needs no alignment.
        unsafe { [_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())] }
    }
    #[inline(always)]
    fn shl_u<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe {
            let n = _mm_cvtsi32_si128(N as i32);
            [_mm256_sll_epi32(a[0], n), _mm256_sll_epi32(a[1], n)]
        }
    }
    #[inline(always)]
    fn shr_u<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe {
            let n = _mm_cvtsi32_si128(N as i32);
            [_mm256_srl_epi32(a[0], n), _mm256_srl_epi32(a[1], n)]
        }
    }
    #[inline(always)]
    fn sar_u<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe {
            let n = _mm_cvtsi32_si128(N as i32);
            [_mm256_sra_epi32(a[0], n), _mm256_sra_epi32(a[1], n)]
        }
    }
    #[inline(always)]
    fn odd_to_even_u(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { [_mm256_srli_epi64::<32>(a[0]), _mm256_srli_epi64::<32>(a[1])] }
    }
    #[inline(always)]
    fn interleave_even_u(self, a: Self::U, b: Self::U) -> Self::U {
        const ODD: i32 = 0xAA;
        // SAFETY: the token proves that the processor has the instructions.
        unsafe {
            [
                _mm256_blend_epi32::<ODD>(a[0], _mm256_slli_epi64::<32>(b[0])),
                _mm256_blend_epi32::<ODD>(a[1], _mm256_slli_epi64::<32>(b[1])),
            ]
        }
    }
}

/// Folds as [`Lanes::sum`] does. Two rows' folds stand side by side in one register, then those of four, then of eight.
#[inline]
#[target_feature(enable = "avx2")]
fn sum8(a: [[__m256; 2]; 8]) -> __m256 {
    // Halves: rows r, r + 4.
    let four = |r: usize| {
        let (a, b) = (_mm256_add_ps(a[r][0], a[r][1]), _mm256_add_ps(a[r + 4][0], a[r + 4][1]));
        _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
    };
    // Pairs of floats: rows r, r + 1, r + 4, r + 5.
    let two = |r: usize| {
        let (a, b) = (four(r), four(r + 1));
        _mm256_add_ps(_mm256_shuffle_ps::<0b01_00_01_00>(a, b), _mm256_shuffle_ps::<0b11_10_11_10>(a, b))
    };
    let (a, b) = (two(0), two(2));
    _mm256_add_ps(_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b))
}
