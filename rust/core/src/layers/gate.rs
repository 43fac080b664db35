//! The gated activation tanh(a) σ(b): van den Oord et al., *Conditional image generation with PixelCNN decoders*,
//! NeurIPS 2016.

use crate::kernels::{Lanes, math};

/// tanh(a) σ(b), lane by lane.
///
/// tanh(a) is a fraction n / d with d ≤ 2, and σ(b) = 1 / (1 + E) with E = e⁻ᵇ, so that one division serves both: n /
/// (d + d E). The exponential function stops at e⁸⁸, and twice that is still a float.
#[inline(always)]
pub fn gate<L: Lanes>(l: L, a: L::F, b: L::F) -> L::F {
    let (numerator, denominator) = math::tanh_fraction(l, a);
    let odds = math::exp(l, math::neg(l, b));
    l.div(numerator, l.fma(denominator, odds, denominator))
}
