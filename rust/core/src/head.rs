//! Heads: the families of p(x_i | x_<i), from logits to probabilities.

use std::cell::OnceCell;

use crate::kernels::{Isa, Kernel, LANES, Lanes, Pack, flat_mut, math};

/// log p of one sample under Bernoulli conditionals, in nats: −Σ softplus(∓logit), summed in f64.
pub fn bernoulli_log_prob(isa: Isa, logits: &[Pack], x: &[u8]) -> f64 {
    isa.run(BernoulliLogProb { logits, x })
}

struct BernoulliLogProb<'a> {
    logits: &'a [Pack],
    x: &'a [u8],
}

/// Factors 1 + e^−|s| ≤ 2 that can be multiplied before a float overflows.
const FACTORS: usize = 96;

impl Kernel for BernoulliLogProb<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f64 {
        let (x, rest) = self.x.as_chunks::<LANES>();
        let (logits, last) = self.logits.split_at(x.len());
        let mut sums = l.splat_d(0.0);
        for (logits, x) in logits.chunks(FACTORS).zip(x.chunks(FACTORS)) {
            sums = add_softplus(l, sums, logits, x);
        }
        if let [last] = last {
            let (mut logits, mut x) = (*last, [0; LANES]);
            logits.0[rest.len()..].fill(f32::NEG_INFINITY);
            x[..rest.len()].copy_from_slice(rest);
            sums = add_softplus(l, sums, &[logits], &[x]);
        }
        -fold(l.lanes_d(sums))
    }
}

/// Adds softplus(s) = max(s, 0) + ln(1 + e^−|s|) = −log p(x_i | x_<i) of at most `FACTORS` packs: s is −logit for a one, and
/// logit for a zero. The logarithms are taken at once, as that of a product; what 1 + e^−|s| loses to rounding is summed
/// apart, so that near-certain dimensions keep their digits.
#[inline(always)]
fn add_softplus<L: Lanes>(l: L, mut sums: L::D, logits: &[Pack], x: &[[u8; LANES]]) -> L::D {
    let one = l.splat(1.0);
    let (mut product, mut lost) = (one, l.splat(0.0));
    for (logits, x) in logits.iter().zip(x) {
        // A one flips the sign bit.
        let sign = l.load_u(&x.map(|x| u32::from(x) << 31));
        let s = l.float(l.xor_u(l.bits(l.load(logits)), sign));
        let odds = math::exp(l, math::neg(l, math::abs(l, s)));
        let factor = l.add(one, odds);
        product = l.mul(product, factor);
        lost = l.add(lost, l.sub(odds, l.sub(factor, one)));
        sums = l.add_d(sums, l.max(s, l.splat(0.0)));
    }
    l.add_d(l.add_d(sums, math::ln(l, product)), lost)
}

/// The sum of all lanes, halves folded onto each other.
fn fold(sums: [f64; LANES]) -> f64 {
    let eight: [f64; 8] = std::array::from_fn(|l| sums[l] + sums[l + 8]);
    let four: [f64; 4] = std::array::from_fn(|l| eight[l] + eight[l + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// P(x_i = 1 | x_<i) = σ(logit), in place.
pub fn bernoulli_probs(isa: Isa, logits: &mut [Pack]) {
    isa.run(BernoulliProbs { logits });
}

struct BernoulliProbs<'a> {
    logits: &'a mut [Pack],
}

impl Kernel for BernoulliProbs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for pack in self.logits {
            l.store(pack, math::sigmoid(l, l.load(pack)));
        }
    }
}

/// −log p(x_i | x_<i) of one sample's dimensions, in nats, in place of their logits.
pub fn bernoulli_surprise(isa: Isa, logits: &mut [Pack], x: &[u8]) {
    isa.run(BernoulliSurprise { logits, x });
}

struct BernoulliSurprise<'a> {
    logits: &'a mut [Pack],
    x: &'a [u8],
}

impl Kernel for BernoulliSurprise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for (pack, x) in self.logits.iter_mut().zip(self.x.chunks(LANES)) {
            let mut signs = [0; LANES];
            signs.iter_mut().zip(x).for_each(|(sign, &x)| *sign = u32::from(x) << 31);
            let s = l.float(l.xor_u(l.bits(l.load(pack)), l.load_u(&signs)));
            let odds = math::exp(l, math::neg(l, math::abs(l, s)));
            let factor = l.add(l.splat(1.0), odds);
            // softplus(s), with what 1 + e^−|s| loses to rounding added to the logarithm.
            let lost = l.sub(odds, l.sub(factor, l.splat(1.0)));
            let log = l.add(math::ln(l, factor), lost);
            l.store(pack, l.add(l.max(s, l.splat(0.0)), log));
        }
    }
}

/// A categorical distribution: p(k) = e^(logit_k) / Σ_j e^(logit_j).
pub struct Categorical<'a> {
    isa: Isa,
    logits: &'a [f32],
    /// e^(logit − largest logit)
    weights: &'a [f32],
    /// Sum of the weights, in their order.
    total: f64,
    largest: f32,
    /// Found when first asked for: who draws has no use for it.
    log_total: OnceCell<f64>,
}

impl<'a> Categorical<'a> {
    /// From one logit a class, of which −∞ stands for a probability of 0; `weights` is room for as many floats.
    pub fn new(isa: Isa, logits: &'a [f32], weights: &'a mut [Pack]) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let padded = flat_mut(weights);
        padded.fill(f32::NEG_INFINITY);
        for (weight, logit) in padded.iter_mut().zip(logits) {
            *weight = logit - largest;
        }
        isa.run(Exponentials(weights));
        let weights = &mut flat_mut(weights)[..logits.len()];
        let mut total = 0.0;
        for (weight, &logit) in weights.iter_mut().zip(logits) {
            if logit == f32::NEG_INFINITY {
                *weight = 0.0; // the exponential function is never 0
            }
            total += f64::from(*weight);
        }
        Self { isa, logits, weights, total, largest, log_total: OnceCell::new() }
    }

    /// log p(k), in nats.
    pub fn log_prob(&self, k: u8) -> f64 {
        f64::from(self.logits[usize::from(k)]) - f64::from(self.largest) - self.log_total()
    }

    /// ln Σ_j e^(logit_j).
    pub fn log_normalizer(&self) -> f64 {
        f64::from(self.largest) + self.log_total()
    }

    /// ln of the sum of the weights. That of the mode is 1; where the mode is nearly certain, the others are what is left of its
    /// −log p, and would be lost beside the 1.
    fn log_total(&self) -> f64 {
        *self.log_total.get_or_init(|| {
            let mode = self.logits.iter().position(|&logit| logit == self.largest).unwrap_or(0);
            let (before, rest) = self.weights.split_at(mode);
            let others = sum(before) + sum(&rest[1..]);
            // ln (1 + others), from that of the nearest float.
            let near = (1.0 + others) as f32;
            f64::from(self.isa.run(LnOf(near))) + (others - (f64::from(near) - 1.0)) / f64::from(near)
        })
    }

    /// Every p(k).
    pub fn probs(&self) -> impl Iterator<Item = f32> {
        self.weights.iter().map(|&weight| (f64::from(weight) / self.total) as f32)
    }

    /// Classes of the distribution.
    pub fn n_classes(&self) -> usize {
        self.weights.len()
    }

    /// Every P(x ≤ k). It never falls, and ends with exactly 1: the weights are added in the order of their total.
    pub fn cdf(&self) -> impl Iterator<Item = f64> {
        self.weights.iter().scan(0.0, |sum, &weight| {
            *sum += f64::from(weight);
            Some(*sum / self.total)
        })
    }

    /// The smallest k with p(0) + … + p(k) > u, for u from 0 to below 1. Never one with a probability of 0.
    pub fn quantile(&self, u: f64) -> u8 {
        let target = u * self.total;
        let mut sum = 0.0;
        for (k, &weight) in self.weights.iter().enumerate() {
            sum += f64::from(weight);
            if sum > target {
                return k as u8;
            }
        }
        // u · total was rounded up to the total.
        self.weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0) as u8
    }
}

/// A sum in eight parts, which do not wait for each other.
fn sum(weights: &[f32]) -> f64 {
    let mut sums = [0.0; 8];
    for eight in weights.chunks(8) {
        sums.iter_mut().zip(eight).for_each(|(sum, &weight)| *sum += f64::from(weight));
    }
    sums.iter().sum()
}

struct Exponentials<'a>(&'a mut [Pack]);

impl Kernel for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for pack in self.0 {
            l.store(pack, math::exp(l, l.load(pack)));
        }
    }
}

/// The package's own logarithm, since those of system libraries differ in their last bits.
struct LnOf(f32);

impl Kernel for LnOf {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f32 {
        let mut out = Pack::ZERO;
        l.store(&mut out, math::ln(l, l.splat(self.0)));
        out.0[0]
    }
}

#[cfg(test)]
mod tests;
