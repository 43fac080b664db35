//! Elementary functions on sixteen lanes, from their series: the same bits on every instruction set.
//!
//! All are accurate to a few units in the last place over the ranges stated; the tests hold them against f64. All but
//! the logarithms take NaN to NaN: the bounds of a range come first in `min` and `max`, which give their second operand
//! where one is NaN.

use super::lanes::Lanes;

// ln 2 in two parts: the first has its last 15 bits zero, so that n · LN2_HIGH is exact for |n| < 2^15.
const LN2_HIGH: f32 = f32::from_bits(0x3f31_8000);
const LN2_LOW: f32 = (std::f64::consts::LN_2 - LN2_HIGH as f64) as f32;
/// Adding 1.5 · 2²³ leaves a small float's nearest integer in the low bits of the sum; 127 more makes them the exponent
/// of a power of two.
const ROUND: f32 = 12_582_912.0 + 127.0;
/// The Taylor series of (e^r − 1) / r.
const EXPM1_OVER_R: [f32; 7] = [1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];

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

/// r and 2ⁿ with x = n ln 2 + r and |r| ≤ ln 2 / 2, for x in [−87, 88]. NaN leaves r NaN.
#[inline(always)]
fn reduce<L: Lanes>(l: L, x: L::F) -> (L::F, L::F) {
    let shifted = l.fma(x, l.splat(std::f32::consts::LOG2_E), l.splat(ROUND));
    let n = l.sub(shifted, l.splat(ROUND));
    let r = l.fma(n, l.splat(-LN2_HIGH), x);
    let r = l.fma(n, l.splat(-LN2_LOW), r);
    (r, l.float(l.shl_u::<23>(l.bits(shifted))))
}

/// eˣ. Arguments outside [−87, 88] are taken to its ends, so that the result is always finite and normal, but for NaN.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2, and e^r by its Taylor series to r⁷ (the rest is below 6e-9).
#[inline(always)]
pub fn exp<L: Lanes>(l: L, x: L::F) -> L::F {
    let x = l.max(l.splat(-87.0), l.min(l.splat(88.0), x));
    let (r, power) = reduce(l, x);
    let series = l.fma(polynomial(l, r, EXPM1_OVER_R), r, l.splat(1.0));
    l.mul(series, power)
}

/// eˣ − 1, with its digits near 0. Arguments outside [−87, 88] are taken to its ends: −1, and a finite number.
///
/// x = n ln 2 + r as in [`exp`], and e^r − 1 = r + r² q(r); q has the smallest relative error that degree 5 allows
/// (2e-9, by Lawson's iterated least squares). Then 2ⁿ (e^r − 1) + (2ⁿ − 1).
#[inline(always)]
pub fn expm1<L: Lanes>(l: L, x: L::F) -> L::F {
    expm1_inside(l, l.max(l.splat(-87.0), l.min(l.splat(88.0), x)))
}

/// [`expm1`] for x in [−87, 88].
#[inline(always)]
fn expm1_inside<L: Lanes>(l: L, x: L::F) -> L::F {
    const Q: [f32; 6] = [0.5, 0.16666666, 0.04166636, 0.00833339, 0.0013940668, 0.00019845882];
    let (r, power) = reduce(l, x);
    let series = l.fma(l.mul(r, r), polynomial(l, r, Q), r);
    l.fma(power, series, l.sub(power, l.splat(1.0)))
}

/// The hyperbolic tangent. ±∞ gives ±1, and ±0 gives itself.
#[inline(always)]
pub fn tanh<L: Lanes>(l: L, x: L::F) -> L::F {
    let (numerator, denominator) = tanh_fraction(l, x);
    l.div(numerator, denominator)
}

/// tanh x as a numerator and a denominator from 1 to 2, for who divides by more: with E = e^(−2|x|) − 1 it is ∓E / (E +
/// 2).
#[inline(always)]
pub fn tanh_fraction<L: Lanes>(l: L, x: L::F) -> (L::F, L::F) {
    // From 9.02 on, tanh is 1 to the last place.
    let minus_two_x = l.max(l.splat(-20.0), l.mul(abs(l, x), l.splat(-2.0)));
    let e = expm1_inside(l, minus_two_x);
    let sign = l.and_u(l.bits(x), l.splat_u(0x8000_0000));
    (l.float(l.xor_u(l.bits(abs(l, e)), sign)), l.add(e, l.splat(2.0)))
}

/// x Φ(x), with Φ the distribution function of the standard normal: the exact GELU of Hendrycks and Gimpel, *Gaussian
/// error linear units*, 2016. The tail below −1 is accurate to 7 units in the last place. Below −13 it is that of −13,
/// −8e-38; ∞ gives ∞.
///
/// max(x, 0) − z Φ(−z) with z = |x|, and Φ(−z) = e^(−z²/2) R(z); R is a fraction with the smallest relative error that
/// degrees 4 and 5 allow for z in [0, 13] (1e-8, by Lawson's iterated least squares, then a search over the
/// coefficients' last bits). All coefficients are positive, so that no digits cancel.
#[inline(always)]
pub fn gelu<L: Lanes>(l: L, x: L::F) -> L::F {
    const P: [f32; 5] = [0.5, 0.43545237, 0.18113449, 0.03992635, 0.0040116673];
    const Q: [f32; 6] = [1.0, 1.6687896, 1.1937664, 0.46392575, 0.10008798, 0.010055614];
    let z = l.min(l.splat(13.0), abs(l, x));
    let half = l.mul(z, l.splat(0.5));
    let square = l.mul(z, half);
    // What z²/2 lost to rounding.
    let lost = l.fma(z, half, neg(l, square));
    let (r, power) = reduce(l, neg(l, square));
    let r = l.sub(r, lost);
    let expm1 = l.mul(r, polynomial(l, r, EXPM1_OVER_R));
    let p = polynomial(l, z, P);
    let tail = l.div(l.mul(l.fma(expm1, p, p), power), polynomial(l, z, Q));
    l.fma(neg(l, z), tail, l.max(l.splat(0.0), x))
}

/// ln x for positive normal x. Of anything else, NaN too, it makes some number.
///
/// x = 2ᵉ m with m in [√½, √2), and ln m = f + f² q(f), f = m − 1; q has the smallest relative error that degree 7
/// allows (3.5e-8, by Lawson's iterated least squares).
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

/// ln (a / b) for positive normal a and b. NaN is seen in b alone.
///
/// a = 2ᵉ m with m / b near 1, and ln (m / b) = 2 artanh(s), s = (m − b) / (m + b). The difference of the bits of two
/// floats is the logarithm of their ratio to within 0.09 octaves, so |s| ≤ 0.2; the odd series is cut after s⁷ with the
/// smallest relative error (3e-9).
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

/// The logistic function σ(x) = 1 / (1 + e⁻ˣ). Below −88, where it is less, 6e-39; ∞ gives 1.
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
