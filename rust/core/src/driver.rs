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
    codec::interval::{Interval, Split},
    error::Error,
    kernels::{Isa, Pack},
    space::{Classes, Space},
    values::{Value, Values},
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

impl<'a> Driver<'a> {
    /// Where the values of the block of samples from `first` on come from.
    ///
    /// # Errors
    /// Those of a decoder.
    pub fn source(self, first: usize) -> Result<Source<'a>, Error> {
        Ok(match self {
            Driver::Score(score) => Source::Data(score),
            Driver::Decide(decide) => Source::Rule(decide),
            Driver::Decode(decode) => Source::Decoder(decode.decoder(first)?),
        })
    }
}

/// Where a block's values come from.
pub enum Source<'a> {
    /// Teacher forcing.
    Data(&'a Score<'a>),
    /// A rule known beforehand.
    Rule(&'a dyn Decide),
    /// Each is told once its conditional is known.
    Decoder(Box<dyn Decoder + 'a>),
}

impl Source<'_> {
    /// Whether the values are known before the walk.
    pub fn given(&self) -> bool {
        matches!(self, Source::Data(_))
    }

    /// Whether each value is told once its conditional is known.
    pub fn decoded(&self) -> bool {
        matches!(self, Source::Decoder(_))
    }
}

/// Decides values step by step.
pub trait Decide: Sync {
    /// Bernoulli head: writes the thresholds of one sample's steps.
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]);
    /// Categorical head: what picks the value at a step, between 0 and 1.
    fn uniform(&self, sample: usize, step: usize) -> f64;
    /// Categorical head: writes the logits that the value at a step is drawn from, if they are not those of the model; whether
    /// they are others. −∞ stands for a probability of 0.
    fn propose(&self, _isa: Isa, _sample: usize, _step: usize, _logits: &[f32], _out: &mut Vec<f32>) -> bool {
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
    /// Any head: the value; the conditional is given as the value that a quantile below 2²⁴ belongs to, and its interval.
    fn value(&mut self, conditional: &dyn Fn(u32) -> (u32, Interval)) -> u32;
    /// After the last value.
    ///
    /// # Errors
    /// If what was decoded was not what an encoder wrote.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// Teacher forcing on a batch of data.
pub struct Score<'a> {
    space: &'a Space,
    x: Values<'a>,
}

impl<'a> Score<'a> {
    /// Scores rows of `space.n_dims()` values.
    ///
    /// # Errors
    /// [`Error::Dtype`] for values of another type than the space's; [`Error::Support`] at the first one that is not a class.
    pub fn new(space: &'a Space, x: Values<'a>) -> Result<Self, Error> {
        x.dtype().check("x", space)?;
        let outside = match x {
            Values::U8(x) => outside(space, x),
            Values::U16(x) => outside(space, x),
        };
        match outside {
            None => Ok(Self { space, x }),
            Some((at, value)) => {
                let (row, dim) = (at / space.n_dims(), at % space.n_dims());
                Err(Error::Support { value, row, dim, n_classes: space.n_classes(dim) })
            }
        }
    }

    /// Writes one sample's values in the model's order.
    pub fn values<T: Value>(&self, sample: usize, out: &mut [T]) {
        match self.x {
            Values::U8(x) => self.write(x, sample, out),
            Values::U16(x) => self.write(x, sample, out),
        }
    }

    fn write<S: Value, T: Value>(&self, x: &[S], sample: usize, out: &mut [T]) {
        let row = &x[sample * self.space.n_dims()..][..self.space.n_dims()];
        match self.space.order() {
            None => out.iter_mut().zip(row).for_each(|(out, &value)| *out = T::of(value.into())),
            Some(order) => out.iter_mut().zip(order).for_each(|(out, &dim)| *out = T::of(row[dim as usize].into())),
        }
        // Checked when the batch came; this is for a caller who changes x meanwhile.
        match self.space.classes() {
            Classes::Same(n) => out.iter_mut().for_each(|value| *value = (*value).min(T::of(n - 1))),
            Classes::PerDim(each) => {
                for (step, value) in out.iter_mut().enumerate() {
                    *value = (*value).min(T::of(each[self.space.dim(step)] - 1));
                }
            }
        }
    }
}

/// The first value that is not a class, and where it stands.
fn outside<T: Value>(space: &Space, x: &[T]) -> Option<(usize, u32)> {
    match space.classes() {
        // The maximum first: it vectorizes, and the search for the place is needed once at most. It finds nothing if a
        // caller has changed x meanwhile.
        Classes::Same(n) => {
            let largest: u32 = x.iter().copied().max()?.into();
            let values = if largest < *n { &[] } else { x };
            values.iter().map(|&value| value.into()).enumerate().find(|(_, value)| value >= n)
        }
        Classes::PerDim(each) => {
            let values = x.iter().map(|&value| value.into()).zip(each.iter().cycle());
            values.enumerate().find(|(_, (value, n))| value >= *n).map(|(at, (value, _))| (at, value))
        }
    }
}
