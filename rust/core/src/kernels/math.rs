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

/// 2 artanh(s) / s − 2 as a series in s², from s²/3 on: 2 (s²/3 + s⁴/5 + …), `N` terms.
#[inline(always)]
fn artanh_tail<L: Lanes, const N: usize>(l: L, s2: L::F) -> L::F {
    l.mul(s2, polynomial(l, s2, std::array::from_fn::<f32, N, _>(|k| 2.0 / (2 * k + 3) as f32)))
}

/// ln x for positive normal x.
///
/// x = 2ᵉ m with m in [√½, √2), and ln m = 2 artanh(s), s = (m − 1) / (m + 1), |s| ≤ 0.172.
#[inline(always)]
pub fn ln<L: Lanes>(l: L, x: L::F) -> L::F {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let bits = l.bits(x);
    let e = l.sar_u::<23>(l.sub_u(bits, l.splat_u(SQRT_HALF)));
    let m = l.float(l.sub_u(bits, l.shl_u::<23>(e)));
    let e = l.int_to_float(e);
    let f = l.sub(m, l.splat(1.0));
    let s = l.div(f, l.add(m, l.splat(1.0)));
    let s2 = l.mul(s, s);
    // With f² / 2 split off: 2 artanh(s) = f − s (f − tail), so that rounding errors scale with the small terms.
    let tail = artanh_tail::<L, 4>(l, s2);
    let low = l.fma(e, l.splat(LN2_LOW), neg(l, l.mul(s, l.sub(f, tail))));
    l.fma(e, l.splat(LN2_HIGH), l.add(f, low))
}

/// ln(1 + z) for z in [0, 1]: 2 artanh(z / (2 + z)), accurate to the last bits also where z is tiny.
#[inline(always)]
pub fn ln_1p<L: Lanes>(l: L, z: L::F) -> L::F {
    let s = l.div(z, l.add(z, l.splat(2.0)));
    let tail = artanh_tail::<L, 6>(l, l.mul(s, s));
    l.fma(s, tail, l.add(s, s))
}

/// 1 / d for normal d of at most 2¹²⁵, to about one unit in the last place.
///
/// The exponent is negated by an integer subtraction, which also gives the mantissa to within an eighth; each Newton
/// step y ← y (2 − d y) squares the error. Approximate-reciprocal instructions differ between processors, and division
/// is slower.
#[inline(always)]
pub fn recip<L: Lanes>(l: L, d: L::F) -> L::F {
    const GUESS: u32 = 0x7ef3_11c7;
    let mut y = l.float(l.sub_u(l.splat_u(GUESS), l.bits(d)));
    let minus_d = neg(l, d);
    for _ in 0..3 {
        y = l.mul(y, l.fma(minus_d, y, l.splat(2.0)));
    }
    y
}

/// The logistic function σ(x) = 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<L: Lanes>(l: L, x: L::F) -> L::F {
    let one = l.splat(1.0);
    l.div(one, l.add(one, exp(l, neg(l, x))))
}

/// ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|).
#[inline(always)]
pub fn softplus<L: Lanes>(l: L, x: L::F) -> L::F {
    l.add(l.max(x, l.splat(0.0)), ln_1p(l, exp(l, neg(l, abs(l, x)))))
}
