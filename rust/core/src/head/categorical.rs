//! Categorical: p(x_i = k | x_<i) = e^(logit_k) / Σ_j e^(logit_j).

use std::{cell::OnceCell, ops::Range};

use super::{Head, Samples};
use crate::{
    codec::interval::{Interval, TOTAL},
    driver::Source,
    error::{Error, resize},
    kernels::{Isa, Kernel, LANES, Lanes, Pack, flat_mut, math},
};

/// The head of classes, with its memory.
#[derive(Default)]
pub struct CategoricalHead {
    /// Values, `n_dims` a sample, in the model's order.
    pub(super) x: Vec<u32>,
    weights: Vec<Pack>,
    proposal: Vec<f32>,
}

impl Head for CategoricalHead {
    fn begin(&mut self, samples: &mut Samples<'_>) -> Result<(), Error> {
        let n_dims = samples.space.n_dims();
        self.x.clear();
        resize(&mut self.x, samples.len * n_dims, 0)?;
        if let Source::Data(score) = &samples.source {
            for (sample, x) in self.x.chunks_exact_mut(n_dims).enumerate() {
                score.values(samples.first + sample, x);
            }
        }
        for sums in [&mut samples.out.log_prob, &mut samples.out.log_weight].into_iter().flatten() {
            sums.fill(0.0);
        }
        Ok(())
    }

    fn decide(
        &mut self,
        samples: &mut Samples<'_>,
        step: usize,
        range: Range<usize>,
        parameters: &[f32],
    ) -> Result<(), Error> {
        if samples.source.decoded() {
            assert_eq!(range, 0..samples.len, "what is decoded is decoded for all samples of a block");
        }
        let n_classes = samples.space.n_parameters(step);
        for (sample, logits) in range.zip(parameters.chunks_exact(n_classes)) {
            if !logits.iter().all(|logit| logit.is_finite()) {
                return Err(samples.overflow(sample));
            }
            self.decide_one(samples, step, sample, logits);
        }
        Ok(())
    }

    fn finish(&mut self, samples: &mut Samples<'_>) {
        if let Some(out) = &mut samples.out.x {
            out.write(samples.space, &self.x);
        }
    }
}

impl CategoricalHead {
    fn decide_one(&mut self, samples: &mut Samples<'_>, step: usize, sample: usize, logits: &[f32]) {
        let &mut Samples { isa, n_steps, space, first, ref mut source, ref mut out, ref mut intervals, .. } = samples;
        let at = sample * space.n_dims() + step;
        self.weights.resize(logits.len().div_ceil(LANES), Pack::ZERO);
        let mut proposed = None;
        if let Source::Rule(rule) = source
            && rule.propose(isa, first + sample, step, logits, &mut self.proposal)
        {
            let proposal = Categorical::new(isa, &self.proposal, &mut self.weights);
            let value = proposal.quantile(rule.uniform(first + sample, step));
            proposed = Some((value, proposal.log_normalizer()));
        }
        let conditional = Categorical::new(isa, logits, &mut self.weights);
        let value = match (source, proposed) {
            (_, Some((value, _))) => value,
            (Source::Data(_), _) => self.x[at],
            (Source::Rule(rule), _) => conditional.quantile(rule.uniform(first + sample, step)),
            (Source::Decoder(decoder), _) => decoder.value(&|quantile| conditional.class_at(quantile)),
        };
        self.x[at] = value;
        if step < n_steps {
            if let Some(log_prob) = &mut out.log_prob {
                log_prob[sample] += conditional.log_prob(value);
            }
            if let (Some(log_weight), Some((_, log_set))) = (&mut out.log_weight, proposed) {
                log_weight[sample] += log_set - conditional.log_normalizer();
            }
        }
        let most = space.most_classes();
        if let (Some(out), true) = (&mut out.log_conditional, step + 1 == n_steps) {
            let (own, beyond) = out[sample * most..][..most].split_at_mut(logits.len());
            own.iter_mut().zip(0..).for_each(|(out, k)| *out = conditional.log_prob(k));
            beyond.fill(f64::NEG_INFINITY);
        }
        if out.code.is_some() {
            intervals[at] = conditional.interval(value);
        }
        let place = sample * space.n_dims() + space.dim(step);
        if let Some(surprise) = &mut out.surprise {
            surprise[place] = -conditional.log_prob(value) as f32;
        }
        if let Some(conditionals) = &mut out.conditionals {
            let (own, beyond) = conditionals[place * most..][..most].split_at_mut(logits.len());
            own.iter_mut().zip(conditional.probs()).for_each(|(out, p)| *out = p);
            beyond.fill(0.0);
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
    pub fn log_prob(&self, k: u32) -> f64 {
        f64::from(self.logits[k as usize]) - f64::from(self.largest) - self.log_total()
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
    pub fn quantile(&self, u: f64) -> u32 {
        let target = u * self.total;
        let mut sum = 0.0;
        for (k, &weight) in self.weights.iter().enumerate() {
            sum += f64::from(weight);
            if sum > target {
                return k as u32;
            }
        }
        // u · total was rounded up to the total.
        self.weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0) as u32
    }

    /// The quantiles at which the classes' intervals end: ⌊P(x ≤ k) (2²⁴ − K)⌋ + k + 1 for k = 0, …, K − 1. Each class has
    /// one quantile beforehand, and the rest are shared out; the last interval ends at 2²⁴ because the last P is exactly 1.
    pub(crate) fn ends(&self) -> impl Iterator<Item = u32> {
        let shared = f64::from(TOTAL) - self.n_classes() as f64;
        self.cdf().zip(1..).map(move |(p, own)| (p * shared) as u32 + own)
    }

    /// The interval of a class.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn interval(&self, class: u32) -> Interval {
        let mut ends = self.ends();
        let left = if class == 0 { Some(0) } else { ends.nth(class as usize - 1) };
        let (left, right) = left.zip(ends.next()).expect("a class of the distribution");
        Interval::new(left, right - left)
    }

    /// The class that a quantile belongs to, and its interval.
    ///
    /// # Panics
    /// If the quantile is not below 2²⁴.
    pub fn class_at(&self, quantile: u32) -> (u32, Interval) {
        let mut left = 0;
        for (class, right) in (0..).zip(self.ends()) {
            if quantile < right {
                return (class, Interval::new(left, right - left));
            }
            left = right;
        }
        panic!("the quantile {quantile} is not below {TOTAL}")
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
