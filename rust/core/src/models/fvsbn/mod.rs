//! FVSBN, the fully visible sigmoid belief network: a logistic regression for each dimension.
//!
//! p(x_i = 1 | x_<i) = σ(b_i + Σ_{j<i} w_ij x_j). Neal, *Connectionist learning of belief networks*, 1992; Frey,
//! Hinton, Dayan, *Does the wake-sleep algorithm produce good density estimators?*, NIPS 1995.
//!
//! The walk is driven by events: zeros cost nothing, and inputs that are one add a row of weights to the logits after them. The
//! ones of a stroke stand together, so inputs are taken in pairs, and what both add is one row.

mod events;
pub mod gradient;
#[cfg(test)]
mod tests;
mod walk;

use serde::Deserialize;

use self::{events::Events, walk::Walk};
use super::{abs_sum, check_range, gradient::are_bounded};
use crate::{
    block::Block,
    checkpoint::Checkpoint,
    error::Error,
    kernels::{Isa, LANES, Pack, flat, in_default_mode, to_packs},
    model::{Model, Scratch},
    space::{Classes, Space},
};

/// The name in files.
pub const KIND: &str = "FVSBN";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    n_dims: usize,
    /// Required, though it may be null.
    #[serde(deserialize_with = "Option::deserialize")]
    order: Option<Vec<u32>>,
}

/// Rows of a pair of inputs, one for each combination of their values: 0; first; second; both.
const PAIR_ROWS: usize = 4;
/// Rows for the inputs of a block among themselves: one for each combination of the values of each four.
const OWN_ROWS: usize = LANES / 4 * 16;

/// A trained FVSBN.
pub struct Fvsbn {
    space: Space,
    bias: Vec<Pack>,
    /// For each block of 16 outputs, what the inputs before it add to them: `PAIR_ROWS` a pair.
    before: Vec<Vec<Pack>>,
    /// For each block, what its outputs add to each other, w_ij only where j < i.
    own: Vec<[Pack; OWN_ROWS]>,
    /// [`Fvsbn::is_bounded`]
    bounded: bool,
}

impl Fvsbn {
    /// From `weight` (`n_dims`, `n_dims`), of which the strict lower triangle counts, and `bias` (`n_dims`).
    pub fn new(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let Config { n_dims, order } = checkpoint.config()?;
        let tensors = checkpoint.expect(&[("weight".into(), vec![n_dims, n_dims]), ("bias".into(), vec![n_dims])])?;
        let space = Space::new(vec![n_dims], Classes::Same(2), || order)?;
        let [weight, bias] = [tensors[0].data(), tensors[1].data()];
        let row = |i: usize| &weight[i * n_dims..][..i];
        check_range("output", (0..n_dims).map(|i| abs_sum(row(i)) + f64::from(bias[i].abs())))?;
        Self::from_rows(space, [weight, bias])
    }

    /// The weights of a training step. Its likelihoods mean nothing unless it [is bounded](Self::is_bounded).
    pub fn in_training([weight, bias]: [&[f32]; 2]) -> Result<Self, Error> {
        let space = Space::new(vec![bias.len()], Classes::Same(2), || None)?;
        in_default_mode(|| Self::from_rows(space, [weight, bias]))
    }

    /// Whether the weights are finite, and so small that no sum of some of them leaves the range of f32.
    pub fn is_bounded(&self) -> bool {
        self.bounded
    }

    fn from_rows(space: Space, [weight, bias]: [&[f32]; 2]) -> Result<Self, Error> {
        let isa = Isa::get()?;
        let n_dims = bias.len();
        let row = |i: usize| &weight[i * n_dims..][..i];
        let blocks = n_dims.div_ceil(LANES);
        let mut before: Vec<_> = (0..blocks).map(|at| vec![Pack::ZERO; at * LANES / 2 * PAIR_ROWS]).collect();
        let mut own = vec![[Pack::ZERO; OWN_ROWS]; blocks];
        let mut bounded = are_bounded(isa, bias);
        for (at, (before, own)) in before.iter_mut().zip(&mut own).enumerate() {
            let outputs = at * LANES..n_dims.min((at + 1) * LANES);
            let (earlier, block): (Vec<_>, Vec<_>) = outputs.map(|i| row(i).split_at(at * LANES)).unzip();
            for (pair, rows) in before.chunks_exact_mut(PAIR_ROWS).enumerate() {
                for (lane, inputs) in earlier.iter().enumerate() {
                    let [first, second] = inputs.as_chunks().0[pair];
                    (rows[1].0[lane], rows[2].0[lane], rows[3].0[lane]) = (first, second, first + second);
                }
            }
            for (lane, inputs) in block.iter().enumerate() {
                for (four, rows) in inputs.chunks(4).zip(own.chunks_exact_mut(16)) {
                    for (values, row) in rows.iter_mut().enumerate() {
                        let ones = four.iter().enumerate().filter(|(j, _)| values >> j & 1 == 1);
                        row.0[lane] = ones.fold(0.0, |sum, (_, w)| sum + w);
                    }
                }
            }
            // They hold every weight, and are near.
            bounded = bounded && are_bounded(isa, flat(before)) && are_bounded(isa, flat(own));
        }
        Ok(Self { space, bias: to_packs(bias), before, own, bounded })
    }
}

impl Model for Fvsbn {
    fn space(&self) -> &Space {
        &self.space
    }

    fn n_params(&self) -> usize {
        self.space.n_dims() * (self.space.n_dims() + 1) / 2
    }

    fn cost(&self) -> usize {
        // A quarter of the triangle: with half of the dimensions one, 16 to a vector.
        self.n_params() / 8
    }

    fn block_len(&self) -> usize {
        // Each block of weights is read from afar once for all samples, and then from a near cache: the more samples the
        // better, until their own rows take too much memory.
        ((1 << 21) / self.space.n_dims()).clamp(8, 128)
    }

    fn turn(&self, step: usize) -> usize {
        step + 1
    }

    fn revision(&self) -> u32 {
        1
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let mut block = block.bits();
        let mut events = Events::new(block.len, self.space.n_dims(), &mut scratch.indices);
        scratch.packs.resize(block.len, Pack::ZERO);
        for at in 0..block.n_steps.div_ceil(LANES) {
            block.check()?;
            block.isa.run(Walk { model: self, block: &mut block, events: &mut events, sums: &mut scratch.packs, at });
        }
        Ok(())
    }
}
