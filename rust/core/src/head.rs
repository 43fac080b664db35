//! Heads: the families of p(x_i | x_<i), from logits to probabilities.

use crate::kernels::{Isa, Kernel, LANES, Lanes, Pack, flat, flat_mut, math};

/// log p of one sample under Bernoulli conditionals, in nats: −Σ softplus(∓logit), summed in f64.
pub fn bernoulli_log_prob(isa: Isa, logits: &[Pack], x: &[u8]) -> f64 {
    isa.run(BernoulliLogProb { logits, x })
}

struct BernoulliLogProb<'a> {
    logits: &'a [Pack],
    x: &'a [u8],
}

impl Kernel for BernoulliLogProb<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f64 {
        let mut sum = 0.0;
        for (logits, x) in self.logits.iter().zip(self.x.chunks(LANES)) {
            // −log p = softplus(s) with s = −logit for a one, logit for a zero: a one flips the sign bit.
            let mut sign = [0; LANES];
            for (sign, &x) in sign.iter_mut().zip(x) {
                *sign = u32::from(x) << 31;
            }
            let s = l.float(l.xor_u(l.bits(l.load(logits)), l.load_u(&sign)));
            let mut surprise = Pack::ZERO;
            l.store(&mut surprise, math::softplus(l, s));
            surprise.0[x.len()..].fill(0.0);
            sum += l.sum_f64(l.load(&surprise));
        }
        -sum
    }
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

/// A categorical distribution: p(k) = e^(logit_k) / Σ_j e^(logit_j).
pub struct Categorical<'a> {
    logits: &'a [f32],
    /// e^(logit − largest logit)
    weights: &'a [f32],
    /// ln of the sum of the weights, plus the largest logit.
    log_normalizer: f64,
    total: f64,
}

impl<'a> Categorical<'a> {
    /// From one logit a class; `weights` is room for as many packs.
    pub fn new(isa: Isa, logits: &'a [f32], weights: &'a mut [Pack]) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let padded = flat_mut(weights);
        padded.fill(f32::NEG_INFINITY);
        for (weight, logit) in padded.iter_mut().zip(logits) {
            *weight = logit - largest;
        }
        isa.run(Exponentials(weights));
        let weights = &flat(weights)[..logits.len()];
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let log_normalizer = f64::from(largest) + f64::from(isa.run(LnOf(total as f32)));
        Self { logits, weights, log_normalizer, total }
    }

    /// log p(k), in nats.
    pub fn log_prob(&self, k: u8) -> f64 {
        f64::from(self.logits[usize::from(k)]) - self.log_normalizer
    }

    /// Every p(k).
    pub fn probs(&self) -> impl Iterator<Item = f32> {
        self.weights.iter().map(|&weight| (f64::from(weight) / self.total) as f32)
    }

    /// The smallest k with p(0) + … + p(k) > u.
    pub fn quantile(&self, u: f64) -> u8 {
        let target = u * self.total;
        let mut sum = 0.0;
        for (k, &weight) in self.weights.iter().enumerate() {
            sum += f64::from(weight);
            if sum > target {
                return k as u8;
            }
        }
        (self.weights.len() - 1) as u8
    }
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
