//! Elementary functions on sixteen lanes, from their series: the same bits on every instruction set.
//!
//! All are accurate to a few units in the last place over the ranges stated; the tests hold them against f64.

use super::lanes::Lanes;

// ln 2 in two parts: the first has its last 15 bits zero, so that n · LN2_HIGH is exact for |n| < 2^15.
const LN2_HIGH: f32 = f32::from_bits(0x3f31_8000);
const LN2_LOW: f32 = (std::f64::consts::LN_2 - LN2_HIGH as f64) as f32;
/// Adding 1.5 · 2²³ leaves a small float's nearest integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// Horner's rule: c₀ + x (c₁ + x (c₂ + …)).
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(l: L, x: L::F, coefficients: [f32; N]) -> L::F {
    let mut sum = l.splat(coefficients[N - 1]);
    let mut k = N - 1;
    while k > 0 {
        k -= 1;
        sum = l.fma(sum, x, l.splat(coefficients[k]));
    }
    sum
}

/// −x
#[inline(always)]
pub fn neg<L: Lanes>(l: L, x: L::F) -> L::F {
    l.float(l.xor_u(l.bits(x), l.splat_u(0x8000_0000)))
}

/// |x|
#[inline(always)]
pub fn abs<L: Lanes>(l: L, x: L::F) -> L::F {
    l.float(l.and_u(l.bits(x), l.splat_u(0x7fff_ffff)))
}

/// eˣ. Arguments outside [−87, 88] are taken to its ends, so that the result is always finite and normal.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2, and e^r by its Taylor series to r⁷ (the rest is below 6e-9).
#[inline(always)]
pub fn exp<L: Lanes>(l: L, x: L::F) -> L::F {
    let x = l.max(l.min(x, l.splat(88.0)), l.splat(-87.0));
    let shifted = l.fma(x, l.splat(std::f32::consts::LOG2_E), l.splat(ROUND));
    let n = l.sub(shifted, l.splat(ROUND));
    let r = l.fma(n, l.splat(-LN2_HIGH), x);
    let r = l.fma(n, l.splat(-LN2_LOW), r);
    let series = polynomial(l, r, [1.0, 1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0]);
    // Multiplies by 2ⁿ: n stands in the low bits of `shifted`, and moves to the exponent.
    l.float(l.add_u(l.bits(series), l.shl_u::<23>(l.bits(shifted))))
}

/// ln x for positive normal x.
///
/// x = 2ᵉ m with m in [√½, √2), and ln m = f + f² q(f), f = m − 1; q has the smallest relative error that degree 7 allows
/// (3.5e-8, by Lawson's iterated least squares).
#[inline(always)]
pub fn ln<L: Lanes>(l: L, x: L::F) -> L::F {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    const Q: [f32; 8] =
        [-0.4999999, 0.3333395, -0.25001755, 0.19962072, -0.16570508, 0.14917974, -0.14307521, 0.08734841];
    let bits = l.bits(x);
    let e = l.sar_u::<23>(l.sub_u(bits, l.splat_u(SQRT_HALF)));
    let m = l.float(l.sub_u(bits, l.shl_u::<23>(e)));
    let e = l.int_to_float(e);
    let f = l.sub(m, l.splat(1.0));
    let low = l.fma(l.mul(f, f), polynomial(l, f, Q), l.mul(e, l.splat(LN2_LOW)));
    l.fma(e, l.splat(LN2_HIGH), l.add(f, low))
}

/// ln (a / b) for positive normal a and b.
///
/// a = 2ᵉ m with m / b near 1, and ln (m / b) = 2 artanh(s), s = (m − b) / (m + b). The difference of the bits of two floats
/// is the logarithm of their ratio to within 0.09 octaves, so |s| ≤ 0.2; the odd series is cut after s⁷ with the smallest
/// relative error (3e-9).
#[inline(always)]
pub fn ln_ratio<L: Lanes>(l: L, a: L::F, b: L::F) -> L::F {
    const HALF_OCTAVE: u32 = 1 << 22;
    let octaves = l.sub_u(l.bits(a), l.bits(b));
    let e = l.sar_u::<23>(l.add_u(octaves, l.splat_u(HALF_OCTAVE)));
    let m = l.float(l.sub_u(l.bits(a), l.shl_u::<23>(e)));
    let e = l.int_to_float(e);
    let s = l.div(l.sub(m, b), l.add(m, b));
    let series = polynomial(l, l.mul(s, s), [2.0, 0.6666696, 0.39956596, 0.3038713]);
    l.fma(e, l.splat(LN2_HIGH), l.fma(s, series, l.mul(e, l.splat(LN2_LOW))))
}

/// The logistic function σ(x) = 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<L: Lanes>(l: L, x: L::F) -> L::F {
    sigmoid_of_odds(l, exp(l, neg(l, x)))
}

/// σ(x) from E = e⁻ˣ: 1 / (1 + E).
#[inline(always)]
pub fn sigmoid_of_odds<L: Lanes>(l: L, odds: L::F) -> L::F {
    let one = l.splat(1.0);
    l.div(one, l.add(one, odds))
}
