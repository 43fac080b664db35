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

/// Factors 1 + e^−|s| ≤ 2 that can be multiplied before a float overflows.
const FACTORS: usize = 96;

impl Kernel for BernoulliLogProb<'_> {
    type Output = f64;

    /// softplus(s) = max(s, 0) + ln(1 + e^−|s|). The logarithms of up to `FACTORS` packs are taken at once, as that of a
    /// product; what 1 + e^−|s| loses to rounding is summed apart, so that near-certain dimensions keep their digits.
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f64 {
        let mut sums = [0.0; LANES];
        for (logits, x) in self.logits.chunks(FACTORS).zip(self.x.chunks(FACTORS * LANES)) {
            let one = l.splat(1.0);
            let (mut product, mut lost) = (one, l.splat(0.0));
            for (logits, x) in logits.iter().zip(x.chunks(LANES)) {
                let s = surprises(l, logits, x);
                let odds = math::exp(l, math::neg(l, math::abs(l, s)));
                let factor = l.add(one, odds);
                product = l.mul(product, factor);
                lost = l.add(lost, l.sub(odds, l.sub(factor, one)));
                add_f64(l, &mut sums, l.max(s, l.splat(0.0)));
            }
            add_f64(l, &mut sums, math::ln(l, product));
            add_f64(l, &mut sums, lost);
        }
        -fold(sums)
    }
}

/// s with −log p(x_i | x_<i) = softplus(s): −logit for a one, logit for a zero, −∞ where there is no x_i.
#[inline(always)]
fn surprises<L: Lanes>(l: L, logits: &Pack, x: &[u8]) -> L::F {
    // A one flips the sign bit.
    let mut sign = [0; LANES];
    for (sign, &x) in sign.iter_mut().zip(x) {
        *sign = u32::from(x) << 31;
    }
    let mut pack = *logits;
    if x.len() < LANES {
        pack.0[x.len()..].fill(f32::NEG_INFINITY);
    }
    l.float(l.xor_u(l.bits(l.load(&pack)), l.load_u(&sign)))
}

/// Adds each lane to its own sum in f64.
#[inline(always)]
fn add_f64<L: Lanes>(l: L, sums: &mut [f64; LANES], x: L::F) {
    let mut lanes = Pack::ZERO;
    l.store(&mut lanes, x);
    for (sum, lane) in sums.iter_mut().zip(lanes.0) {
        *sum += f64::from(lane);
    }
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
