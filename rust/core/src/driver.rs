//! Who decides x_i: the other party of the walk.
//!
//! With a Bernoulli head every rule here is known before the conditional: x_i = 1 exactly where the logit exceeds a
//! threshold. One kernel a model then serves them all; data need none, and no comparison either.

use crate::{
    error::Error,
    event::Event,
    head::Categorical,
    kernels::{Isa, Pack},
    philox,
};

/// Who decides the values of a batch's samples.
#[derive(Clone, Copy)]
pub enum Driver<'a> {
    /// Teacher forcing: the values are those of the data, and known before the walk.
    Score(&'a Score<'a>),
    /// Values that come about step by step.
    Decide(&'a dyn Decide),
}

/// Decides values step by step.
pub trait Decide: Sync {
    /// Bernoulli head: writes the thresholds of one sample's steps.
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]);
    /// Categorical head: the value at a step.
    fn choose(&self, sample: usize, step: usize, conditional: &Categorical) -> u8;
}

/// Teacher forcing on a batch of data.
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

    /// Writes one sample's values in the model's order.
    pub fn values(&self, sample: usize, out: &mut [u8]) {
        let row = &self.x[sample * self.event.n_dims()..][..self.event.n_dims()];
        match self.event.order() {
            None => out.copy_from_slice(row),
            Some(order) => out.iter_mut().zip(order).for_each(|(out, &dim)| *out = row[dim as usize]),
        }
        // Checked when the batch came; this is for a caller who changes x meanwhile.
        out.iter_mut().for_each(|value| *value = (*value).min((self.event.n_classes() - 1) as u8));
    }
}

/// Ancestral sampling: the values are drawn with the uniforms of (seed, start + sample, step).
pub struct Draw {
    /// The seed of all draws.
    pub seed: u64,
    /// Index of the batch's first sample.
    pub start: u64,
}

impl Decide for Draw {
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]) {
        philox::logits_of_uniforms(isa, self.seed, self.start + sample as u64, out);
    }

    fn choose(&self, sample: usize, step: usize, conditional: &Categorical) -> u8 {
        conditional.quantile(philox::uniform(self.seed, self.start + sample as u64, step))
    }
}
