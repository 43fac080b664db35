//! Who decides x_i: the other party of the walk.
//!
//! With a Bernoulli head every driver here knows its rule before the conditional: x_i = 1 exactly where the logit
//! exceeds a threshold. One kernel a model then serves them all.

use crate::{
    error::Error,
    event::Event,
    head::Categorical,
    kernels::{Isa, Pack, flat_mut},
    philox,
};

/// Decides the values of a batch's samples.
pub trait Driver: Sync {
    /// Bernoulli head: writes the thresholds of one sample's steps.
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]);
    /// Categorical head: the value at a step.
    fn choose(&self, sample: usize, step: usize, conditional: &Categorical) -> u8;
}

/// Teacher forcing: the values are those of the data.
pub struct Score<'a> {
    event: &'a Event,
    x: &'a [u8],
}

impl<'a> Score<'a> {
    /// Scores rows of `event.n_dims()` values.
    ///
    /// # Errors
    /// [`Error::Support`] at the first value that is not a class.
    pub fn new(event: &'a Event, x: &'a [u8]) -> Result<Self, Error> {
        // The maximum first: it vectorizes, and the search for the place is needed once at most.
        if usize::from(x.iter().copied().max().unwrap_or(0)) >= event.n_classes() {
            let at = x.iter().position(|&value| usize::from(value) >= event.n_classes()).expect("the maximum");
            return Err(Error::Support {
                value: x[at],
                row: at / event.n_dims(),
                dim: at % event.n_dims(),
                n_classes: event.n_classes(),
            });
        }
        Ok(Self { event, x })
    }

    fn row(&self, sample: usize) -> &[u8] {
        &self.x[sample * self.event.n_dims()..][..self.event.n_dims()]
    }
}

impl Driver for Score<'_> {
    fn thresholds(&self, _: Isa, sample: usize, out: &mut [Pack]) {
        let threshold = |value| if value == 1 { f32::NEG_INFINITY } else { f32::INFINITY };
        let (out, row) = (flat_mut(out), self.row(sample));
        match self.event.order() {
            None => out.iter_mut().zip(row).for_each(|(out, &value)| *out = threshold(value)),
            Some(order) => out.iter_mut().zip(order).for_each(|(out, &dim)| *out = threshold(row[dim as usize])),
        }
    }

    fn choose(&self, sample: usize, step: usize, _: &Categorical) -> u8 {
        // Checked when the batch came; the minimum is for a caller who changes x meanwhile.
        self.row(sample)[self.event.dim(step)].min((self.event.n_classes() - 1) as u8)
    }
}

/// Ancestral sampling: the values are drawn with the uniforms of (seed, start + sample, step).
pub struct Draw {
    /// The seed of all draws.
    pub seed: u64,
    /// Index of the batch's first sample.
    pub start: u64,
}

impl Driver for Draw {
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]) {
        philox::logits_of_uniforms(isa, self.seed, self.start + sample as u64, out);
    }

    fn choose(&self, sample: usize, step: usize, conditional: &Categorical) -> u8 {
        conditional.quantile(philox::uniform(self.seed, self.start + sample as u64, step))
    }
}
