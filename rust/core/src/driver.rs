//! Who decides x_i: the other party of the walk.
//!
//! With a Bernoulli head most rules here are known before the conditional: x_i = 1 exactly where the logit exceeds a
//! threshold. One kernel a model then serves them all; data need none, and no comparison either. Only a decoder must see each
//! conditional before it can tell the value.

mod allowed;
mod draw;

pub use allowed::{Allowed, Restrict};
pub use draw::Draw;

use crate::{
    codec::interval::Split,
    error::Error,
    event::Event,
    head::Categorical,
    kernels::{Isa, Pack},
};

/// Who decides the values of a batch's samples.
#[derive(Clone, Copy)]
pub enum Driver<'a> {
    /// Teacher forcing: the values are those of the data, and known before the walk.
    Score(&'a Score<'a>),
    /// Values that come about step by step, by a rule known beforehand.
    Decide(&'a dyn Decide),
    /// Values that come about step by step, each told once its conditional is known.
    Decode(&'a dyn Decode),
}

/// Decides values step by step.
pub trait Decide: Sync {
    /// Bernoulli head: writes the thresholds of one sample's steps.
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]);
    /// Categorical head: what picks the value at a step, between 0 and 1.
    fn uniform(&self, sample: usize, step: usize) -> f64;
    /// Categorical head: turns the logits at a step into those that the value is drawn from; whether they differ.
    fn propose(&self, _sample: usize, _step: usize, _logits: &mut [f32]) -> bool {
        false
    }
    /// Bernoulli head: marks those of one sample's steps whose value is given rather than drawn.
    fn fixed(&self, _sample: usize, out: &mut [bool]) {
        out.fill(false);
    }
}

/// Makes a [`Decoder`] for each block.
pub trait Decode: Sync {
    /// For the block of samples from `first` on.
    ///
    /// # Errors
    /// Those of whatever holds the values.
    fn decoder(&self, first: usize) -> Result<Box<dyn Decoder + '_>, Error>;
}

/// Tells values one after the other: a turn of steps of each sample of a block, then the next turn
/// ([`crate::model::Model::turn`]).
pub trait Decoder {
    /// Bernoulli head: the value where this is the conditional.
    fn bit(&mut self, conditional: Split) -> u8;
    /// Categorical head: the value where this is the conditional.
    fn class(&mut self, conditional: &Categorical<'_>) -> u8;
    /// After the last value.
    ///
    /// # Errors
    /// If what was decoded was not what an encoder wrote.
    fn finish(self: Box<Self>) -> Result<(), Error>;
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
        let is_no_class = |value: u8| usize::from(value) >= event.n_classes();
        // The maximum first: it vectorizes, and the search for the place is needed once at most. It finds nothing if a caller
        // has changed x meanwhile.
        if x.iter().copied().max().is_some_and(is_no_class)
            && let Some((at, &value)) = x.iter().enumerate().find(|&(_, &value)| is_no_class(value))
        {
            return Err(Error::Support {
                value,
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
