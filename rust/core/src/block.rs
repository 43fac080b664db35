//! A block of samples on its walk: where a model meets a head, and the head a driver.

use std::{ops::Range, sync::atomic::AtomicBool};

use crate::{
    codec::{
        coder::Encoder,
        interval::{Interval, Split},
    },
    driver::{Driver, Source},
    error::{Error, resize},
    head::{AnyHead, Bits, Samples},
    kernels::Isa,
    outputs::Outputs,
    space::Space,
};

/// What all blocks of a batch have in common.
pub struct Task<'a> {
    /// The instruction set to run on.
    pub isa: Isa,
    /// Where the samples live.
    pub space: &'a Space,
    /// Decides their values.
    pub driver: Driver<'a>,
    /// Steps to walk.
    pub n_steps: usize,
    /// Set when the caller has asked to stop.
    pub stop: &'a AtomicBool,
}

/// Memory of a worker for the blocks it walks, all of one space.
pub struct Room {
    head: AnyHead,
    intervals: Vec<Interval>,
}

impl Room {
    /// For blocks of samples in this space.
    pub fn new(space: &Space) -> Self {
        Self { head: AnyHead::new(space), intervals: Vec::new() }
    }
}

/// A block of samples, walked together.
pub struct Block<'a> {
    /// The instruction set to run on.
    pub isa: Isa,
    /// Samples in the block.
    pub len: usize,
    /// Steps to walk; what a model does beyond them is not looked at.
    pub n_steps: usize,
    n_dims: usize,
    samples: Samples<'a>,
    head: &'a mut AnyHead,
}

impl<'a> Block<'a> {
    /// The block of samples `first` to `first + len` − 1.
    ///
    /// # Errors
    /// Those of a decoder; [`Error::Memory`].
    pub fn new(
        task: &Task<'a>,
        (first, len): (usize, usize),
        mut out: Outputs<'a>,
        room: &'a mut Room,
    ) -> Result<Self, Error> {
        let &Task { isa, space, driver, n_steps, stop } = task;
        let Room { head, intervals } = room;
        if out.code.is_some() {
            resize(intervals, len * space.n_dims(), Split::HALF.interval(0))?;
        }
        for sums in [&mut out.log_prob, &mut out.log_weight].into_iter().flatten() {
            sums.fill(0.0);
        }
        let source = driver.source(first)?;
        let mut samples = Samples { isa, len, n_steps, space, first, source, out, intervals, stop };
        head.as_dyn().begin(&mut samples)?;
        Ok(Self { isa, len, n_steps, n_dims: space.n_dims(), samples, head })
    }

    /// Teacher forcing: all values are known before the walk.
    pub fn given(&self) -> bool {
        self.samples.source.given()
    }

    /// Finds the values of some samples at a step, from the parameters of their conditionals: [`Space::n_parameters`] a
    /// sample, one sample after the other. Books what is wanted of them. To be called once for each step and sample; where
    /// values are decoded, for all samples of the block at once, step by step.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a parameter is not finite.
    pub fn decide(&mut self, step: usize, samples: Range<usize>, parameters: &[f32]) -> Result<(), Error> {
        self.head.as_dyn().decide(&mut self.samples, step, samples, parameters)
    }

    /// A sample's value at a step: known once it is decided, or from the beginning where values are given.
    #[inline]
    pub fn value(&self, sample: usize, step: usize) -> u32 {
        self.head.value(sample * self.n_dims + step)
    }

    /// The narrow view of a block of bits, for a model that has kernels of its own instead of [`Block::decide`].
    ///
    /// # Panics
    /// If the space is not one of bits.
    pub fn bits(&mut self) -> Bits<'_> {
        let AnyHead::Bernoulli(head) = &mut *self.head else { panic!("the model's space is not one of bits") };
        head.bits(&mut self.samples)
    }

    /// Room for one sample's features, if they are wanted.
    pub fn features(&mut self, sample: usize) -> Option<&mut [f32]> {
        self.samples.features(sample)
    }

    /// The error of a sample whose features are not finite.
    pub fn overflow(&self, sample: usize) -> Error {
        self.samples.overflow(sample)
    }

    /// To be asked now and then in a long walk.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the caller has asked to stop.
    pub fn check(&self) -> Result<(), Error> {
        self.samples.check()
    }

    /// After the walk: hands out all results in the event's order. `turn` is that of the model
    /// ([`crate::model::Model::turn`]).
    ///
    /// # Errors
    /// Those of a decoder.
    pub fn finish(mut self, turn: impl Fn(usize) -> usize) -> Result<(), Error> {
        self.head.as_dyn().finish(&mut self.samples);
        if let Some([code]) = &mut self.samples.out.code {
            *code = encode(self.n_dims, turn, self.samples.intervals);
        }
        if let Source::Decoder(decoder) = self.samples.source { decoder.finish() } else { Ok(()) }
    }
}

/// Codes a block's values in the order in which they are decoded: turn by turn.
fn encode(n_dims: usize, turn: impl Fn(usize) -> usize, intervals: &[Interval]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut step = 0;
    while step < n_dims {
        let end = turn(step).min(n_dims);
        for sample in intervals.chunks_exact(n_dims) {
            sample[step..end].iter().for_each(|&interval| encoder.encode(interval));
        }
        step = end;
    }
    encoder.finish()
}
