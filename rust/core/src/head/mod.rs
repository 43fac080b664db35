//! Heads: the families of p(x_i | x_<i).
//!
//! A model supplies parameters; its head makes a distribution of them, has the driver decide x_i, and books what is wanted:
//! log p, weights, probabilities, intervals for the codec.

pub mod bernoulli;
mod bits;
pub mod categorical;
mod cumulative;
mod softmax;
#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use self::{bernoulli::BernoulliHead, categorical::CategoricalHead};
pub use self::{
    bernoulli::{bernoulli_log_prob, bernoulli_probs, bernoulli_surprise},
    bits::Bits,
    cumulative::Cumulative,
    softmax::{Categorical, Softmax},
};
use crate::{
    codec::interval::Interval,
    driver::Source,
    error::{Error, resize},
    kernels::Isa,
    outputs::Outputs,
    space::{Space, Support},
    values::Value,
};

/// The samples of a block, as a head sees them.
pub struct Samples<'a> {
    /// The instruction set to run on.
    pub isa: Isa,
    /// How many there are.
    pub len: usize,
    /// Steps to walk.
    pub n_steps: usize,
    /// Where they live.
    pub space: &'a Space,
    /// Index of the first one in the batch.
    pub first: usize,
    /// Where their values come from.
    pub source: Source<'a>,
    /// Where the results go.
    pub out: Outputs<'a>,
    /// Where `code` is wanted, room for that of each value, `n_dims` a sample, in the model's order.
    pub intervals: &'a mut [Interval],
    /// Set when the caller has asked to stop.
    pub stop: &'a AtomicBool,
}

impl Samples<'_> {
    /// Makes room for their values, `n_dims` a sample, in the model's order: those that are given, or zeros.
    ///
    /// # Errors
    /// [`Error::Memory`].
    fn begin_values<T: Value>(&self, x: &mut Vec<T>) -> Result<(), Error> {
        let n_dims = self.space.n_dims();
        x.clear();
        resize(x, self.len * n_dims, T::of(0))?;
        if let Source::Data(score) = &self.source {
            for (sample, x) in x.chunks_exact_mut(n_dims).enumerate() {
                score.values(self.first + sample, x);
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Interrupted`] if the caller has asked to stop.
    pub fn check(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The error of a sample whose parameters are not finite.
    pub fn overflow(&self, sample: usize) -> Error {
        Error::Overflow { sample: self.first + sample }
    }

    /// Room for one sample's features, if they are wanted.
    pub fn features(&mut self, sample: usize) -> Option<&mut [f32]> {
        let all = self.out.features.as_mut()?;
        let n_features = all.len() / self.len;
        Some(&mut all[sample * n_features..][..n_features])
    }
}

/// A family of p(x_i | x_<i), with its part of a block's memory.
pub trait Head {
    /// Begins a block.
    ///
    /// # Errors
    /// [`Error::Memory`].
    fn begin(&mut self, samples: &mut Samples<'_>) -> Result<(), Error>;

    /// Finds the values of some samples at a step, and books their probabilities. `parameters` has
    /// [`Space::n_parameters`] a sample.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a parameter is not finite.
    fn decide(
        &mut self,
        samples: &mut Samples<'_>,
        step: usize,
        range: Range<usize>,
        parameters: &[f32],
    ) -> Result<(), Error>;

    /// After the last step: hands out what has not been so far.
    fn finish(&mut self, samples: &mut Samples<'_>);
}

/// The head of a space.
pub enum AnyHead {
    /// That of bits.
    Bernoulli(BernoulliHead),
    /// That of classes.
    Categorical(CategoricalHead),
}

impl AnyHead {
    /// The head of this space.
    pub fn new(space: &Space) -> Self {
        match space.support() {
            Support::Bits => AnyHead::Bernoulli(BernoulliHead::default()),
            Support::Classes(_) => AnyHead::Categorical(CategoricalHead::default()),
        }
    }

    /// What all heads do.
    pub fn as_dyn(&mut self) -> &mut dyn Head {
        match self {
            AnyHead::Bernoulli(head) => head,
            AnyHead::Categorical(head) => head,
        }
    }

    /// The value at a place, `n_dims` a sample, in the model's order.
    #[inline]
    pub fn value(&self, at: usize) -> u32 {
        match self {
            AnyHead::Bernoulli(head) => head.x[at].into(),
            AnyHead::Categorical(head) => head.x[at],
        }
    }
}
