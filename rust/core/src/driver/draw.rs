//! Ancestral sampling.

use super::Decide;
use crate::{
    kernels::{Isa, Pack, flat_mut, largest},
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

    fn propose(&self, isa: Isa, _sample: usize, _step: usize, logits: &[f32], out: &mut Vec<f32>) -> bool {
        if self.temperature == 1.0 {
            return false;
        }
        out.clear();
        let largest = largest(isa, logits);
        if self.temperature == 0.0 {
            out.resize(logits.len(), f32::NEG_INFINITY);
            let best = logits.iter().position(|&logit| logit == largest).unwrap_or(0);
            out[best] = 0.0;
        } else {
            // Differences to the largest, which no small temperature takes out of range.
            out.extend(logits.iter().map(|logit| (logit - largest) / self.temperature));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::flat;

    const LOGITS: [f32; 5] = [-2.0, 0.5, 3.0, -60.0, 3.0];

    fn proposed(temperature: f32, logits: &[f32]) -> (bool, Vec<f32>) {
        let draw = Draw { temperature, ..Draw::new(0, 0) };
        let mut out = vec![7.0];
        let isa = Isa::get().unwrap();
        if draw.propose(isa, 0, 0, logits, &mut out) { (true, out) } else { (false, logits.to_vec()) }
    }

    #[test]
    fn temperature_one_is_the_model() {
        assert_eq!(proposed(1.0, &LOGITS), (false, LOGITS.to_vec()));
    }

    #[test]
    fn temperature_zero_leaves_the_first_of_the_largest() {
        for zero in [0.0, -0.0] {
            let (changed, logits) = proposed(zero, &LOGITS);
            assert!(changed);
            assert_eq!(logits, [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY]);
        }
    }

    #[test]
    fn differences_are_divided_by_the_temperature() {
        assert_eq!(proposed(0.5, &LOGITS).1, [-10.0, -5.0, 0.0, -126.0, 0.0]);
        assert_eq!(proposed(2.0, &LOGITS).1, [-2.5, -1.25, 0.0, -31.5, 0.0]);
    }

    /// The smallest positive floats: what is not the largest goes to −∞, and nothing to NaN.
    #[test]
    fn the_smallest_temperatures_are_greedy() {
        for temperature in [f32::from_bits(1), f32::MIN_POSITIVE, 1e-30] {
            let (_, logits) = proposed(temperature, &[-3e38, 0.5, 3e38, -60.0, 3e38]);
            assert_eq!(logits, [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.0]);
        }
    }

    #[test]
    fn thresholds_are_those_of_the_model_times_the_temperature() {
        for isa in Isa::all() {
            let mut model = vec![Pack::ZERO; 7];
            Draw::new(3, 4).thresholds(isa, 5, &mut model);
            for temperature in [0.0, 0.25, 1.0, 1e6] {
                let mut out = vec![Pack::ZERO; 7];
                Draw { temperature, ..Draw::new(3, 4) }.thresholds(isa, 5, &mut out);
                assert!(flat(&out).iter().zip(flat(&model)).all(|(out, model)| *out == model * temperature));
            }
        }
    }
}
