//! NADE, the neural autoregressive distribution estimator: hidden units shared by all conditionals.
//!
//! h_i = σ(c + W_{·,<i} x_<i),  p(x_i = 1 | x_<i) = σ(b_i + V_i · h_i).
//! Larochelle, Murray, *The neural autoregressive distribution estimator*, AISTATS 2011.
//!
//! The walk is driven by events: the hidden units change only after a one ([`hidden`]), so between two ones each dimension
//! costs a dot product and nothing else ([`dots`], [`walk`]), and before the first one not even that ([`start`]).

mod dots;
mod features;
pub mod gradient;
mod hidden;
mod start;
#[cfg(test)]
mod tests;
mod walk;

use serde::Deserialize;

use self::{
    dots::{TILE, tiles},
    hidden::Hidden,
    start::FirstLogits,
};
use super::{abs_sum, check_range};
use crate::{
    block::Block,
    checkpoint::Checkpoint,
    error::Error,
    event::Event,
    kernels::{Isa, LANES, Pack},
    model::{Model, Scratch},
};

/// The name in files.
pub const KIND: &str = "NADE";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    n_dims: usize,
    n_hidden: usize,
    /// Required, though it may be null.
    #[serde(deserialize_with = "Option::deserialize")]
    order: Option<Vec<u32>>,
}

/// A trained NADE. Rows of hidden units are filled up with zeros to whole packs.
pub struct Nade {
    event: Event,
    n_hidden: usize,
    hidden: Hidden,
    /// The rows V_{i,·}, in tiles.
    v: Vec<[Pack; TILE]>,
    /// Filled up so that sixteen can be read from any step on.
    b: Vec<f32>,
    /// The logits before the first one.
    first_logits: Vec<Pack>,
}

impl Nade {
    /// From `W` (`n_hidden`, `n_dims`), `c` (`n_hidden`), `V` (`n_dims`, `n_hidden`) and `b` (`n_dims`).
    pub fn new(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let Config { n_dims, n_hidden, order } = checkpoint.config()?;
        let tensors = checkpoint.expect(&[
            ("W".into(), vec![n_hidden, n_dims]),
            ("c".into(), vec![n_hidden]),
            ("V".into(), vec![n_dims, n_hidden]),
            ("b".into(), vec![n_dims]),
        ])?;
        let event = Event::new(vec![n_dims], 2, || order)?;
        if n_hidden == 0 {
            return Err(Error::format("n_hidden is 0; wanted at least 1"));
        }
        let [w, c, v, b] = std::array::from_fn(|i| tensors[i].data());
        let v_row = |i: usize| &v[i * n_hidden..][..n_hidden];
        let w_row = |k: usize| &w[k * n_dims..][..n_dims];
        check_range("output", (0..n_dims).map(|i| abs_sum(v_row(i)) + f64::from(b[i].abs())))?;
        check_range("hidden unit", (0..n_hidden).map(|k| abs_sum(w_row(k)) + f64::from(c[k].abs())))?;
        Self::from_tensors(event, [w, c, v, b])
    }

    /// The weights of a training step, shaped as those of `new`, which go without a check of their range.
    pub fn in_training([w, c, v, b]: [&[f32]; 4]) -> Result<Self, Error> {
        Self::from_tensors(Event::new(vec![b.len()], 2, || None)?, [w, c, v, b])
    }

    fn from_tensors(event: Event, [w, c, v, b]: [&[f32]; 4]) -> Result<Self, Error> {
        let n_hidden = c.len();
        let hidden = Hidden::new(w, c)?;
        let v = tiles(v, n_hidden);
        let b = [b, &[0.0; LANES]].concat();
        let mut model = Self { event, n_hidden, hidden, v, b, first_logits: Vec::new() };
        model.first_logits = Isa::get()?.run(FirstLogits(&model));
        Ok(model)
    }

    /// Hidden units.
    pub fn n_hidden(&self) -> usize {
        self.n_hidden
    }

    /// Rows `at` · `TILE` and on of V, one pack of each after the other.
    fn tile(&self, at: usize) -> &[[Pack; TILE]] {
        &self.v[at * self.hidden.packs()..][..self.hidden.packs()]
    }
}

impl Model for Nade {
    fn event(&self) -> &Event {
        &self.event
    }

    fn n_params(&self) -> usize {
        self.event.n_dims() * (2 * self.n_hidden + 1) + self.n_hidden
    }

    fn cost(&self) -> usize {
        self.event.n_dims() * self.n_hidden
    }

    fn block_len(&self) -> usize {
        // The hidden units of all samples should fit half of a second-level cache of 1 MiB.
        ((1 << 16) / self.n_hidden).clamp(8, 64)
    }

    fn feature_shape(&self) -> Option<Vec<usize>> {
        Some(vec![self.n_hidden])
    }

    fn turn(&self, step: usize) -> usize {
        // The first step belongs to no strip: its hidden units are those of all samples.
        if step == 0 { 1 } else { (step / TILE + 1) * TILE }
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        walk::walk(self, block, scratch)
    }
}
