//! What the walk asks at each step: values for parameters.

use std::ops::Range;

use super::bits::View;
use crate::{block::Block, error::Error, kernels::Isa};

/// A block of samples.
pub trait Steps {
    /// The instruction set to run on.
    fn isa(&self) -> Isa;
    /// Samples in the block.
    fn len(&self) -> usize;
    /// Steps to walk.
    fn n_steps(&self) -> usize;
    /// Teacher forcing: all values are known before the walk.
    fn given(&self) -> bool;
    /// The view of bits, in a space of bits whose values are not decoded.
    fn bits(&mut self) -> Option<View<'_>>;
    /// Finds the values at a step from the parameters (samples, parameters) of their conditionals.
    fn decide(&mut self, step: usize, samples: Range<usize>, parameters: &[f32]) -> Result<(), Error>;
    /// The values of all samples at a step that is decided.
    fn values(&self, step: usize, values: &mut [u32]);
    /// Where a sample's features are to be written, if they are wanted.
    fn features(&mut self, sample: usize) -> Option<&mut [f32]>;
    /// Whether the caller has asked to stop.
    fn check(&self) -> Result<(), Error>;
}

impl Steps for Block<'_> {
    fn isa(&self) -> Isa {
        self.isa
    }
    fn len(&self) -> usize {
        self.len
    }
    fn n_steps(&self) -> usize {
        self.n_steps
    }
    fn given(&self) -> bool {
        Block::given(self)
    }
    fn bits(&mut self) -> Option<View<'_>> {
        let bits = Block::bits(self);
        (!bits.decoded()).then_some(View { field: bits.field, x: bits.x })
    }
    fn decide(&mut self, step: usize, samples: Range<usize>, parameters: &[f32]) -> Result<(), Error> {
        Block::decide(self, step, samples, parameters)
    }
    fn values(&self, step: usize, values: &mut [u32]) {
        for (sample, value) in values.iter_mut().enumerate() {
            *value = self.value(sample, step);
        }
    }
    fn features(&mut self, sample: usize) -> Option<&mut [f32]> {
        Block::features(self, sample)
    }
    fn check(&self) -> Result<(), Error> {
        Block::check(self)
    }
}
