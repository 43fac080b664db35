//! The narrow view of a block of bits, for models with kernels of their own.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Samples, bernoulli::BernoulliHead};
use crate::{
    codec::interval::Split,
    driver::{Decoder, Source},
    error::Error,
    kernels::{Isa, LANES, Pack, flat, flat_mut},
    models::training::TapeMut,
};

/// A block of bits.
pub struct Bits<'b> {
    /// The instruction set to run on.
    pub isa: Isa,
    /// Samples in the block.
    pub len: usize,
    /// Steps to walk; what a model leaves beyond them is not looked at.
    pub n_steps: usize,
    /// Whole packs a sample, in the model's order: thresholds as the walk begins (unless the values are given or decoded), and
    /// logits as it ends.
    pub field: &'b mut [Pack],
    /// Values, `n_dims` a sample, in the model's order: those of the data where they are given, else zero as the walk begins.
    pub x: &'b mut [u8],
    given: bool,
    decoder: Option<&'b mut (dyn Decoder + 'b)>,
    row: &'b mut Vec<Pack>,
    splits: &'b mut Vec<Split>,
    features: Option<&'b mut [f32]>,
    tape: Option<TapeMut<'b>>,
    stop: &'b AtomicBool,
}

impl BernoulliHead {
    /// The view of its block.
    pub(crate) fn bits<'b>(&'b mut self, samples: &'b mut Samples<'_>) -> Bits<'b> {
        let Samples { isa, len, n_steps, source, out, stop, .. } = samples;
        let Self { x, field, row, splits, .. } = self;
        let given = source.given();
        let decoder = match source {
            Source::Decoder(decoder) => Some(&mut **decoder as &mut (dyn Decoder + 'b)),
            _ => None,
        };
        let (features, tape) = (out.features.as_deref_mut(), out.tape.as_mut().map(TapeMut::reborrow));
        Bits { isa: *isa, len: *len, n_steps: *n_steps, field, x, given, decoder, row, splits, features, tape, stop }
    }
}

impl Bits<'_> {
    /// Teacher forcing: `x` is given, and the field holds nothing as the walk begins.
    #[inline]
    pub fn given(&self) -> bool {
        self.given
    }

    /// Each value is told once its logit is known, turn by turn ([`crate::model::Model::turn`]), and there are no thresholds.
    #[inline]
    pub fn decoded(&self) -> bool {
        self.decoder.is_some()
    }

    fn n_dims(&self) -> usize {
        self.x.len() / self.len
    }

    /// Decoded values: those of all samples at a step that is a turn, from their logits in the field.
    pub fn decode_step(&mut self, step: usize) {
        let n_dims = self.n_dims();
        self.row.resize(self.len.div_ceil(LANES), Pack::ZERO);
        let logits = flat(self.field)[step..].iter().step_by(n_dims.next_multiple_of(LANES));
        flat_mut(self.row).iter_mut().zip(logits).for_each(|(out, &logit)| *out = logit);
        let Some(decoder) = &mut self.decoder else { unreachable!("only decoded values are asked for") };
        self.splits.resize(self.len, Split::HALF);
        Split::of_logits(self.isa, self.row, self.splits);
        let x = self.x[step..].iter_mut().step_by(n_dims);
        x.zip(&*self.splits).for_each(|(x, &split)| *x = decoder.bit(split));
    }

    /// Decoded values: one sample's from this step on, up to the first one; how many there are. At most [`LANES`], and as many as
    /// there are logits, each of which holds if all values before it are zeros.
    pub fn decode_to_one(&mut self, sample: usize, step: usize, logits: &[f32]) -> usize {
        let mut pack = Pack::ZERO;
        pack.0[..logits.len()].copy_from_slice(logits);
        let mut splits = [Split::HALF; LANES];
        Split::of_logits(self.isa, &[pack], &mut splits);
        let Some(decoder) = &mut self.decoder else { unreachable!("only decoded values are asked for") };
        let Some(zeros) = splits[..logits.len()].iter().position(|&split| decoder.bit(split) == 1) else {
            return logits.len();
        };
        let n_dims = self.n_dims();
        self.x[sample * n_dims + step + zeros] = 1;
        zeros + 1
    }

    /// One sample's values up to `n_steps`, and room for its features, if they are wanted.
    pub fn features(&mut self, sample: usize) -> Option<(&[u8], &mut [f32])> {
        let n_dims = self.n_dims();
        let all = self.features.as_mut()?;
        let n_features = all.len() / self.len;
        let x = &self.x[sample * n_dims..][..self.n_steps];
        Some((x, &mut all[sample * n_features..][..n_features]))
    }

    /// Room for the state in which a sample's walk ends, if it is wanted.
    pub fn tape(&mut self, sample: usize) -> Option<&mut [f32]> {
        self.tape.as_mut().map(|tape| tape.state(sample))
    }

    /// Whether the caller has asked to stop; to be asked now and then in a long walk.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if so.
    pub fn check(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
