//! Ancestral sampling.

use super::Decide;
use crate::{
    kernels::{Isa, Pack, flat_mut},
    philox,
};

/// Ancestral sampling: the values are drawn with the uniforms of (seed, start + sample, step).
pub struct Draw {
    /// The seed of all draws.
    pub seed: u64,
    /// Index of the batch's first sample.
    pub start: u64,
    /// Draws each value with p(x_i | x_<i)^(1 / temperature), up to a factor: 1 is the model, 0 the most probable value.
    pub temperature: f32,
}

impl Draw {
    /// Draws from the model as it is.
    pub fn new(seed: u64, start: u64) -> Self {
        Self { seed, start, temperature: 1.0 }
    }
}

impl Decide for Draw {
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]) {
        philox::logits_of_uniforms(isa, self.seed, self.start + sample as u64, out);
        if self.temperature != 1.0 {
            // logit / T > t where logit > T · t
            flat_mut(out).iter_mut().for_each(|threshold| *threshold *= self.temperature);
        }
    }

    fn uniform(&self, sample: usize, step: usize) -> f64 {
        philox::uniform(self.seed, self.start + sample as u64, step)
    }

    fn propose(&self, _sample: usize, _step: usize, logits: &mut [f32]) -> bool {
        if self.temperature == 0.0 {
            let mut best = 0;
            for (k, &logit) in logits.iter().enumerate() {
                if logit > logits[best] {
                    best = k;
                }
            }
            for (k, logit) in logits.iter_mut().enumerate() {
                *logit = if k == best { 0.0 } else { f32::NEG_INFINITY };
            }
        } else if self.temperature != 1.0 {
            // Differences to the largest, which no small temperature takes out of range.
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            logits.iter_mut().for_each(|logit| *logit = (*logit - largest) / self.temperature);
        }
        self.temperature != 1.0
    }
}
