//! What the walk asks at each step: values for parameters.

use std::ops::Range;

use crate::{block::Block, error::Error, kernels::Isa};

/// A block of samples.
pub trait Steps {
    /// The instruction set to run on.
    fn isa(&self) -> Isa;
    /// Samples in the block.
    fn len(&self) -> usize;
    /// Steps to walk.
    fn n_steps(&self) -> usize;
    /// Finds the values at a step from the parameters (samples, parameters) of their conditionals.
    fn decide(&mut self, step: usize, samples: Range<usize>, parameters: &[f32]) -> Result<(), Error>;
    /// A sample's value at a step that is decided.
    fn value(&self, sample: usize, step: usize) -> u32;
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
    fn decide(&mut self, step: usize, samples: Range<usize>, parameters: &[f32]) -> Result<(), Error> {
        Block::decide(self, step, samples, parameters)
    }
    fn value(&self, sample: usize, step: usize) -> u32 {
        Block::value(self, sample, step)
    }
    fn features(&mut self, sample: usize) -> Option<&mut [f32]> {
        Block::features(self, sample)
    }
    fn check(&self) -> Result<(), Error> {
        Block::check(self)
    }
}
