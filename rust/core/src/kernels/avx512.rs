//! [`Lanes`] for AVX-512: one 512-bit register.

use std::arch::x86_64::*;

use super::lanes::{LANES, Lanes, Pack};

/// Proof that the processor has AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// The token, where the processor has the instructions.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma"))
        .then_some(Self(()))
    }
}

/// One-line methods that are one intrinsic each.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident: $kind:ident),*) -> $out:ident = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::$kind),*) -> Self::$out {
            // SAFETY: the token proves that the processor has the instruction.
            unsafe { $intrinsic($($arg),*) }
        }
    )*};
}

impl Lanes for Avx512 {
    type F = __m512;
    type U = __m512i;
    type D = [__m512d; 2];
    const MATMUL_PACKS: usize = 4;
    const MATMUL_SUMS: usize = 24;
    const DOTS: usize = 8;

    intrinsics! {
        add(a: F, b: F) -> F = _mm512_add_ps;
        sub(a: F, b: F) -> F = _mm512_sub_ps;
        mul(a: F, b: F) -> F = _mm512_mul_ps;
        div(a: F, b: F) -> F = _mm512_div_ps;
        fma(a: F, b: F, c: F) -> F = _mm512_fmadd_ps;
        max(a: F, b: F) -> F = _mm512_max_ps;
        min(a: F, b: F) -> F = _mm512_min_ps;
        add_u(a: U, b: U) -> U = _mm512_add_epi32;
        sub_u(a: U, b: U) -> U = _mm512_sub_epi32;
        and_u(a: U, b: U) -> U = _mm512_and_si512;
        xor_u(a: U, b: U) -> U = _mm512_xor_si512;
        mul_even_u(a: U, b: U) -> U = _mm512_mul_epu32;
        int_to_float(a: U) -> F = _mm512_cvtepi32_ps;
        bits(a: F) -> U = _mm512_castps_si512;
        float(a: U) -> F = _mm512_castsi512_ps;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, from: &Pack) -> Self::F {
        // SAFETY: as above; a Pack is 64 readable bytes, aligned to 64.
        unsafe { _mm512_load_ps(from.0.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, to: &mut Pack, x: Self::F) {
        // SAFETY: as above; a Pack is 64 writable bytes, aligned to 64.
        unsafe { _mm512_store_ps(to.0.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn read(self, from: &[f32; LANES]) -> Self::F {
        // SAFETY: as above; the array is 64 readable bytes, and the load needs no alignment.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn write(self, to: &mut [f32; LANES], x: Self::F) {
        // SAFETY: as for `read`, writable.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> u16 {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
    }
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    fn splat_d(self, x: f64) -> Self::D {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { [_mm512_set1_pd(x); 2] }
    }
    #[inline(always)]
    fn add_d(self, a: Self::D, b: Self::F) -> Self::D {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe {
            [
                _mm512_add_pd(a[0], _mm512_cvtps_pd(_mm512_castps512_ps256(b))),
                _mm512_add_pd(a[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(b))),
            ]
        }
    }
    #[inline(always)]
    fn lanes_d(self, a: Self::D) -> [f64; LANES] {
        let mut lanes = [0.0; LANES];
        for (eight, a) in lanes.chunks_exact_mut(8).zip(a) {
            // SAFETY: as above; the chunk is 64 writable bytes, and the store needs no alignment.
            unsafe { _mm512_storeu_pd(eight.as_mut_ptr(), a) }
        }
        lanes
    }
    #[inline(always)]
    fn sum8(self, a: [Self::F; 8]) -> Self::F {
        // SAFETY: the token proves that the processor has the instructions.
        unsafe { sum8(a) }
    }
    #[inline(always)]
    fn transpose(self, a: &mut [Self::F; LANES]) {
        // SAFETY: as above.
        unsafe { transpose(a) }
    }
    #[inline(always)]
    fn splat_u(self, x: u32) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { _mm512_set1_epi32(x.cast_signed()) }
    }
    #[inline(always)]
    fn load_u(self, from: &[u32; LANES]) -> Self::U {
        // SAFETY: as above; the array is 64 readable bytes, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn shl_u<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { _mm512_slli_epi32::<N>(a) }
    }
    #[inline(always)]
    fn shr_u<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { _mm512_srli_epi32::<N>(a) }
    }
    #[inline(always)]
    fn sar_u<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { _mm512_srai_epi32::<N>(a) }
    }
    #[inline(always)]
    fn odd_to_even_u(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves that the processor has the instruction.
        unsafe { _mm512_srli_epi64::<32>(a) }
    }
    #[inline(always)]
    fn interleave_even_u(self, a: Self::U, b: Self::U) -> Self::U {
        const ODD: u16 = 0xAAAA;
        // SAFETY: the token proves that the processor has the instructions.
        unsafe { _mm512_mask_blend_epi32(ODD, a, _mm512_slli_epi64::<32>(b)) }
    }
}

/// Folds as [`Lanes::sum`] does. Two rows' folds stand side by side in one register, then those of four, then of eight.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum8(a: [__m512; 8]) -> __m512 {
    // Halves: rows r, r + 1.
    let eight = |r: usize| {
        let (low, high) = (
            _mm512_shuffle_f32x4::<0b01_00_01_00>(a[r], a[r + 1]),
            _mm512_shuffle_f32x4::<0b11_10_11_10>(a[r], a[r + 1]),
        );
        _mm512_add_ps(low, high)
    };
    // Quarters: rows r, r + 1, r + 2, r + 3.
    let four = |r: usize| {
        let (a, b) = (eight(r), eight(r + 2));
        let (low, high) = (_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
        _mm512_add_ps(low, high)
    };
    // Pairs of floats: rows 0, 4, 1, 5, 2, 6, 3, 7.
    let (a, b) = (four(0), four(4));
    let two = _mm512_add_ps(_mm512_shuffle_ps::<0b01_00_01_00>(a, b), _mm512_shuffle_ps::<0b11_10_11_10>(a, b));
    // Each sum twice.
    let one = _mm512_add_ps(two, _mm512_permute_ps::<0b10_11_00_01>(two));
    let order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm512_maskz_permutexvar_ps(0x00ff, order, one)
}

/// Interleaves floats, then pairs of them, then quarters of registers, twice.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(a: &mut [__m512; LANES]) {
    for r in (0..LANES).step_by(2) {
        (a[r], a[r + 1]) = (_mm512_unpacklo_ps(a[r], a[r + 1]), _mm512_unpackhi_ps(a[r], a[r + 1]));
    }
    // a[r + c]: in quarter q the lane 4 q + c of the rows r to r + 3.
    for r in (0..LANES).step_by(4) {
        let [low, high, next_low, next_high] = [a[r], a[r + 1], a[r + 2], a[r + 3]].map(|a| _mm512_castps_pd(a));
        let pairs = [
            _mm512_unpacklo_pd(low, next_low),
            _mm512_unpackhi_pd(low, next_low),
            _mm512_unpacklo_pd(high, next_high),
            _mm512_unpackhi_pd(high, next_high),
        ];
        a[r..r + 4].copy_from_slice(&pairs.map(|pair| _mm512_castpd_ps(pair)));
    }
    for c in 0..4 {
        let even = |r: usize| _mm512_shuffle_f32x4::<0b10_00_10_00>(a[r + c], a[r + 4 + c]);
        let odd = |r: usize| _mm512_shuffle_f32x4::<0b11_01_11_01>(a[r + c], a[r + 4 + c]);
        let quarters = [(0, [even(0), even(8)]), (4, [odd(0), odd(8)])];
        for (first, [low, high]) in quarters {
            a[first + c] = _mm512_shuffle_f32x4::<0b10_00_10_00>(low, high);
            a[first + 8 + c] = _mm512_shuffle_f32x4::<0b11_01_11_01>(low, high);
        }
    }
}
