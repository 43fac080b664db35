//! Bernoulli: p(x_i = 1 | x_<i) = σ(logit).
//!
//! A driver that knows its rule beforehand writes thresholds to the *field*, `n_dims` a sample, filled up to whole packs; the model's
//! logits take their place, and x_i = 1 exactly where logit > threshold. All else follows from the logits after the walk.

use std::ops::Range;

use super::{Head, Samples};
use crate::{
    codec::interval::Split,
    driver::Source,
    error::{Error, resize},
    kernels::{Isa, Kernel, LANES, Lanes, Pack, flat, flat_mut, math},
};

/// The head of bits, with its memory.
#[derive(Default)]
pub struct BernoulliHead {
    /// Values, `n_dims` a sample, in the model's order.
    pub(super) x: Vec<u8>,
    pub(super) field: Vec<Pack>,
    /// A row of the field, or a column, to be worked on.
    pub(super) row: Vec<Pack>,
    pub(super) splits: Vec<Split>,
    fixed: Vec<bool>,
}

impl Head for BernoulliHead {
    fn begin(&mut self, samples: &mut Samples<'_>) -> Result<(), Error> {
        let packs = samples.space.n_dims().div_ceil(LANES);
        resize(&mut self.field, samples.len * packs, Pack::ZERO)?;
        samples.begin_values(&mut self.x)?;
        if let Source::Rule(rule) = &samples.source {
            for (sample, thresholds) in self.field.chunks_exact_mut(packs).enumerate() {
                rule.thresholds(samples.isa, samples.first + sample, thresholds);
            }
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
        if let Some(at) = parameters.iter().position(|logit| !logit.is_finite()) {
            return Err(samples.overflow(range.start + at));
        }
        let n_dims = samples.space.n_dims();
        let row = n_dims.next_multiple_of(LANES);
        let field = flat_mut(&mut self.field)[range.start * row + step..].iter_mut().step_by(row);
        let places = field.zip(parameters);
        if let Source::Rule(_) = samples.source {
            let x = self.x[range.start * n_dims + step..].iter_mut().step_by(n_dims);
            for ((field, &logit), x) in places.zip(x) {
                *x = u8::from(logit > *field);
                *field = logit;
            }
        } else {
            places.for_each(|(field, &logit)| *field = logit);
        }
        if samples.source.decoded() {
            assert_eq!(range, 0..samples.len, "what is decoded is decoded for all samples of a block");
            self.bits(samples).decode_step(step);
        }
        Ok(())
    }

    fn finish(&mut self, samples: &mut Samples<'_>) {
        for sample in 0..samples.len {
            self.finish_one(samples, sample);
        }
        if let Some(out) = &mut samples.out.x {
            out.write(samples.space, &self.x);
        }
    }
}

impl BernoulliHead {
    /// What follows from one sample's logits.
    fn finish_one(&mut self, samples: &mut Samples<'_>, sample: usize) {
        let &mut Samples { isa, n_steps, space, first, ref source, ref mut out, ref mut intervals, .. } = samples;
        let n_dims = space.n_dims();
        let packs = n_dims.div_ceil(LANES);
        let logits = &self.field[sample * packs..][..packs];
        let x = &self.x[sample * n_dims..][..n_dims];
        let row = &mut self.row;
        if let Some(log_prob) = &mut out.log_prob {
            log_prob[sample] = bernoulli_log_prob(isa, &logits[..n_steps.div_ceil(LANES)], &x[..n_steps]);
        }
        if let (Some(out), Some(last)) = (&mut out.log_conditional, n_steps.checked_sub(1)) {
            let logit = [Pack([flat(logits)[last]; LANES])];
            let zero_and_one = [0, 1].map(|x| bernoulli_log_prob(isa, &logit, &[x]));
            out[2 * sample..][..2].copy_from_slice(&zero_and_one);
        }
        if let (Some(log_weight), Source::Rule(rule)) = (&mut out.log_weight, source) {
            copy(logits, row);
            self.fixed.resize(n_dims, false);
            rule.fixed(first + sample, &mut self.fixed);
            for ((logit, &fixed), &x) in flat_mut(row).iter_mut().zip(&self.fixed).zip(x) {
                if !fixed {
                    // log p = 0
                    *logit = if x == 1 { f32::INFINITY } else { f32::NEG_INFINITY };
                }
            }
            log_weight[sample] = bernoulli_log_prob(isa, row, x);
        }
        if out.code.is_some() {
            self.splits.resize(n_dims, Split::HALF);
            Split::of_logits(isa, logits, &mut self.splits);
            let intervals = &mut intervals[sample * n_dims..][..n_dims];
            for ((interval, split), &x) in intervals.iter_mut().zip(&self.splits).zip(x) {
                *interval = split.interval(x);
            }
        }
        let show = |out: &mut [f32], row: &[Pack]| {
            space.to_event_order(&flat(row)[..n_dims], &mut out[sample * n_dims..][..n_dims], |value| value);
        };
        if let Some(surprise) = &mut out.surprise {
            copy(logits, row);
            bernoulli_surprise(isa, row, x);
            show(surprise, row);
        }
        if let Some(conditionals) = &mut out.conditionals {
            copy(logits, row);
            bernoulli_probs(isa, row);
            show(conditionals, row);
        }
    }
}

fn copy(packs: &[Pack], out: &mut Vec<Pack>) {
    out.clear();
    out.extend_from_slice(packs);
}

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
