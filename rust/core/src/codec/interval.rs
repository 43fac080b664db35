//! Probabilities as intervals of integers: each value x owns a part of 0, 1, …, 2²⁴ − 1, in proportion to p(x).
//!
//! No value's interval is empty, so everything can be encoded. What the rounding costs, in expected bits a value: below
//! 1e-7 for a Bernoulli; at most log₂(2²⁴ / (2²⁴ − K)) for a categorical of K classes, which is 2.2e-5 for 256, 5.6e-3 for
//! 65,536, and approached only where nearly all classes have probabilities below 2⁻²⁴.

use std::num::NonZeroU32;

use crate::kernels::{Isa, Kernel, LANES, Lanes, Pack, math};

/// Probabilities are multiples of 2⁻²⁴.
pub const PRECISION: usize = 24;
/// Quantiles that the values share out.
pub const TOTAL: u32 = 1 << PRECISION;

/// The quantiles `left`, …, `left + width − 1` of a value whose probability is `width` / 2²⁴.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    left: u32,
    width: NonZeroU32,
}

impl Interval {
    /// # Panics
    /// If the interval is empty, or goes beyond 2²⁴.
    pub fn new(left: u32, width: u32) -> Self {
        assert!(left <= TOTAL && width <= TOTAL - left, "{left} + {width} is beyond {TOTAL}");
        Self { left, width: NonZeroU32::new(width).expect("an interval is never empty") }
    }

    /// Its first quantile.
    pub fn left(self) -> u32 {
        self.left
    }
    /// Its probability, in units of 2⁻²⁴.
    pub fn width(self) -> NonZeroU32 {
        self.width
    }
    /// Whether the quantile is one of its own.
    pub fn contains(self, quantile: u32) -> bool {
        quantile.wrapping_sub(self.left) < self.width.get()
    }
}

/// A Bernoulli distribution: the first `split` quantiles are those of x = 0, and the others those of x = 1; each has
/// one at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split(u32);

impl Split {
    /// An even chance: room for [`Split::of_logits`] to write to.
    pub const HALF: Split = Split(TOTAL / 2);

    /// Writes the distribution of each logit, P(x = 1) = σ(logit); `out` may leave some of the last pack's out.
    ///
    /// # Panics
    /// If `out` needs another number of packs.
    pub fn of_logits(isa: Isa, logits: &[Pack], out: &mut [Split]) {
        assert_eq!(logits.len(), out.len().div_ceil(LANES), "packs of logits");
        isa.run(Splits { logits, out });
    }

    /// The interval of a value, 0 or 1.
    pub fn interval(self, x: u8) -> Interval {
        if x == 0 { Interval::new(0, self.0) } else { Interval::new(self.0, TOTAL - self.0) }
    }

    /// The value that a quantile belongs to, and its interval.
    pub fn at(self, quantile: u32) -> (u8, Interval) {
        let x = u8::from(quantile >= self.0);
        (x, self.interval(x))
    }
}

struct Splits<'a> {
    logits: &'a [Pack],
    out: &'a mut [Split],
}

impl Kernel for Splits<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for (logits, out) in self.logits.iter().zip(self.out.chunks_mut(LANES)) {
            let mut splits = Pack::ZERO;
            l.store(&mut splits, l.float(split(l, l.load(logits))));
            for (out, bits) in out.iter_mut().zip(&splits.0) {
                out.0 = bits.to_bits();
            }
        }
    }
}

/// 2²⁴ σ(−logit), rounded to an integer between 1 and 2²⁴ − 1. The smaller of the two probabilities, σ(−|logit|), is the
/// one that is computed, so that it is right to its last unit; the other one is what it leaves.
#[inline(always)]
fn split<L: Lanes>(l: L, logit: L::F) -> L::U {
    const WHOLE: f32 = TOTAL as f32;
    /// From here to `WHOLE` the floats are the integers, and their bits follow upon each other.
    const HALF: f32 = WHOLE / 2.0;
    let smaller = math::sigmoid(l, math::neg(l, math::abs(l, logit)));
    let rounded = l.max(l.fma(smaller, l.splat(WHOLE), l.splat(HALF)), l.splat(HALF + 1.0));
    let units = l.sub_u(l.bits(rounded), l.splat_u(HALF.to_bits()));
    // 2²⁴ − units where the logit is negative, since −units = !units + 1.
    let negative = l.sar_u::<31>(l.bits(logit));
    l.add_u(l.xor_u(units, negative), l.and_u(negative, l.splat_u(TOTAL + 1)))
}

#[cfg(test)]
mod tests;
