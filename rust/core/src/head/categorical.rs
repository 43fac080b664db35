//! Categorical: p(x_i = k | x_<i) = e^(logit_k) / Σ_j e^(logit_j).

use std::ops::Range;

use super::{
    Head, Samples,
    softmax::{Categorical, Softmax},
};
use crate::{driver::Source, error::Error};

/// The head of classes, with its memory.
#[derive(Default)]
pub struct CategoricalHead {
    /// Values, `n_dims` a sample, in the model's order.
    pub(super) x: Vec<u32>,
    conditionals: Softmax,
    proposed: Vec<f32>,
    proposal: Softmax,
}

impl Head for CategoricalHead {
    fn begin(&mut self, samples: &mut Samples<'_>) -> Result<(), Error> {
        samples.begin_values(&mut self.x)
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
        let at_once = Softmax::at_once(n_classes);
        let out = &samples.out;
        let summed = !samples.source.given() || out.conditionals.is_some() || out.code.is_some();
        for (logits, first) in parameters.chunks(at_once * n_classes).zip(range.step_by(at_once)) {
            let filled = self.conditionals.fill(samples.isa, logits, n_classes);
            filled.map_err(|at| samples.overflow(first + at))?;
            if summed {
                self.conditionals.sum(samples.isa);
            }
            for (at, logits) in logits.chunks_exact(n_classes).enumerate() {
                self.decide_one(samples, (step, first + at), (at, logits));
            }
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
    /// Finds one sample's value, from the `at`-th of the conditionals.
    fn decide_one(&mut self, samples: &mut Samples<'_>, (step, sample): (usize, usize), (at, logits): (usize, &[f32])) {
        let &mut Samples { isa, space, first, ref mut source, ref out, .. } = samples;
        let conditionals = &self.conditionals;
        let place = sample * space.n_dims() + step;
        let mut log_set = None;
        let value = match source {
            Source::Data(_) => self.x[place],
            Source::Rule(rule) => {
                let u = rule.uniform(first + sample, step);
                if rule.propose(isa, first + sample, step, logits, &mut self.proposed) {
                    let proposal = &mut self.proposal;
                    proposal.fill_masked(isa, &self.proposed, logits.len());
                    proposal.sum(isa);
                    if out.log_weight.is_some() {
                        log_set = Some(proposal.categorical(isa, 0, &self.proposed).log_normalizer());
                    }
                    proposal.cumulative(0).quantile(u)
                } else {
                    conditionals.cumulative(at).quantile(u)
                }
            }
            Source::Decoder(decoder) => decoder.value(&|quantile| conditionals.cumulative(at).class_at(quantile)),
        };
        self.x[place] = value;
        self.book(samples, (step, sample, value), (at, logits), log_set);
    }

    /// Hands out what is wanted of one sample's conditional; `log_set` is the logarithm of what its value was drawn from, up to
    /// the same factor as the logits, where that is not the whole.
    fn book(
        &self,
        samples: &mut Samples<'_>,
        (step, sample, value): (usize, usize, u32),
        (at, logits): (usize, &[f32]),
        log_set: Option<f64>,
    ) {
        let &mut Samples { isa, n_steps, space, ref mut out, ref mut intervals, .. } = samples;
        let conditional: Categorical<'_> = self.conditionals.categorical(isa, at, logits);
        if step < n_steps {
            if let Some(log_prob) = &mut out.log_prob {
                log_prob[sample] += conditional.log_prob(value);
            }
            if let (Some(log_weight), Some(log_set)) = (&mut out.log_weight, log_set) {
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
            intervals[sample * space.n_dims() + step] = self.conditionals.cumulative(at).interval(value);
        }
        let place = sample * space.n_dims() + space.dim(step);
        if let Some(surprise) = &mut out.surprise {
            surprise[place] = -conditional.log_prob(value) as f32;
        }
        if let Some(conditionals) = &mut out.conditionals {
            let (own, beyond) = conditionals[place * most..][..most].split_at_mut(logits.len());
            own.iter_mut().zip(self.conditionals.cumulative(at).probs()).for_each(|(out, p)| *out = p);
            beyond.fill(0.0);
        }
    }
}
