//! Functions of one number, applied to every channel alone.

use crate::kernels::{Lanes, Pack, math};

/// A function f(x). All take ∞ and −∞ to their limits, to within 1e-36.
///
/// Concatenated ELU (elu(x), elu(−x)) is no function of one channel to one channel: it is the ELU of the concatenation
/// of x and its negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pointwise {
    /// −x
    Negate,
    /// max(x, 0)
    Relu,
    /// x above 0, and a multiple of it below: Maas, Hannun, Ng, *Rectifier nonlinearities improve neural network
    /// acoustic models*, ICML 2013. The slope must be finite; if it is 0, −∞ gives NaN.
    LeakyRelu(f32),
    /// x above 0, eˣ − 1 below: Clevert, Unterthiner, Hochreiter, *Fast and accurate deep network learning by
    /// exponential linear units*, ICLR 2016, with α = 1.
    Elu,
    /// The hyperbolic tangent.
    Tanh,
    /// σ(x) = 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x σ(x): Elfwing, Uchibe, Doya, *Sigmoid-weighted linear units for neural network function approximation*, 2018.
    Silu,
    /// x Φ(x) ([`math::gelu`]), not its approximation by tanh.
    Gelu,
}

impl Pointwise {
    /// f(x), lane by lane.
    #[inline(always)]
    pub fn apply<L: Lanes>(self, l: L, x: L::F) -> L::F {
        // `min` and `max` give their second operand where one is NaN.
        let zero = l.splat(0.0);
        match self {
            Self::Negate => math::neg(l, x),
            Self::Relu => l.max(zero, x),
            Self::LeakyRelu(slope) => l.fma(l.splat(slope), l.min(zero, x), l.max(zero, x)),
            // x < eˣ − 1 where x < 0; the exponential function is kept from large arguments.
            Self::Elu => l.max(math::expm1(l, l.min(zero, x)), x),
            Self::Tanh => math::tanh(l, x),
            Self::Sigmoid => math::sigmoid(l, x),
            // Below −88 it is less than 1e-36, as at −88.
            Self::Silu => {
                let x = l.max(l.splat(-88.0), x);
                l.div(x, l.add(l.splat(1.0), math::exp(l, math::neg(l, x))))
            }
            Self::Gelu => math::gelu(l, x),
        }
    }

    /// f(x) in place of every x: one loop for each function, so that none of them chooses inside it.
    #[inline(always)]
    pub fn map_packs<L: Lanes>(self, l: L, packs: &mut [Pack]) {
        match self {
            Self::Negate => Self::Negate.map(l, packs),
            Self::Relu => Self::Relu.map(l, packs),
            Self::LeakyRelu(slope) => Self::LeakyRelu(slope).map(l, packs),
            Self::Elu => Self::Elu.map(l, packs),
            Self::Tanh => Self::Tanh.map(l, packs),
            Self::Sigmoid => Self::Sigmoid.map(l, packs),
            Self::Silu => Self::Silu.map(l, packs),
            Self::Gelu => Self::Gelu.map(l, packs),
        }
    }

    #[inline(always)]
    fn map<L: Lanes>(self, l: L, packs: &mut [Pack]) {
        for pack in packs {
            let y = self.apply(l, l.load(pack));
            l.store(pack, y);
        }
    }
}
