//! FVSBN, the fully visible sigmoid belief network: a logistic regression for each dimension.
//!
//! ```text
//! a_i = b_i + Σ_{j<i} w_ij x_j,    p(x_i = 1 | x_<i) = σ(a_i)
//! ```
//!
//! Neal, *Connectionist learning of belief networks*, 1992; Frey, Hinton, Dayan, *Does the wake-sleep algorithm produce
//! good density estimators?*, NIPS 1995.
//!
//! # Algorithm
//!
//! Steps are cut into tiles of 16, and a vector holds the 16 logits of a tile for one sample. The outer loop is over
//! tiles, the inner one over the samples of the block ([`walk`]), so each tile's weights are read from memory once a
//! block. For a tile and a sample, the logits are the sum of
//!
//! 1. the biases b_i;
//! 2. the inputs before the tile, by ascending j: an *active pair* (x_2k, x_2k+1), one that is not (0, 0), adds a row
//!    that was computed when the model was built: w_·2k, w_·2k+1, or w_·2k + w_·2k+1. Other pairs cost nothing. The
//!    list of a sample's active pairs ([`active`]) grows tile by tile;
//! 3. the inputs within the tile: the values of each four of them are an index into a table of 16 sums, and
//!    t(x) = (t_0 + t_1) + (t_2 + t_3).
//!
//! If the values are given, all three are known. If not, the tile's values are the solution of x_i = \[a_i(x) >
//! threshold_i\], which fixed-point iteration finds in a few rounds. A decoder tells one value after the other, with
//! the same sums.
//!
//! Every logit is summed in this order, so it has the same bits whether the values are given, drawn or decoded, alone
//! or in a group.
//!
//! # Cost
//!
//! A sample takes ρ D² / 64 additions of 16 lanes, where ρ is the fraction of active pairs, and no multiplication; each
//! loads a row of 64 bytes, mostly from the second-level cache. From memory, a block reads 4 D² bytes: four rows a
//! pair, the triangle twice. Groups of 8 samples are interleaved, as each sum is a chain of dependent additions.
//!
//! [`gradient`] has the gradient for training.

mod active;
mod gradient;
#[cfg(test)]
mod tests;
mod walk;

use serde::Deserialize;

use self::{active::ActivePairs, walk::Walk};
use super::{
    abs_sum, check_range,
    gradient::are_bounded,
    training::{Objective, Trainable},
};
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

/// Rows of a pair of inputs, one for each combination of their values: none; the first; the second; both.
const PAIR_ROWS: usize = 4;
/// Rows of the inputs within a tile: one for each combination of the values of each four.
const WITHIN_ROWS: usize = LANES / 4 * 16;

/// A trained FVSBN.
pub struct Fvsbn {
    space: Space,
    /// For each tile, b.
    bias: Vec<Pack>,
    /// For each tile, what the inputs before it add: `PAIR_ROWS` a pair.
    before: Vec<Vec<Pack>>,
    /// For each tile, what the inputs within it add; w_ij only where j < i.
    within: Vec<[Pack; WITHIN_ROWS]>,
    /// [`Trainable::is_bounded`]
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

    fn from_rows(space: Space, [weight, bias]: [&[f32]; 2]) -> Result<Self, Error> {
        let isa = Isa::get()?;
        let n_dims = bias.len();
        let row = |i: usize| &weight[i * n_dims..][..i];
        let tiles = n_dims.div_ceil(LANES);
        let mut before: Vec<_> = (0..tiles).map(|tile| vec![Pack::ZERO; tile * LANES / 2 * PAIR_ROWS]).collect();
        let mut within = vec![[Pack::ZERO; WITHIN_ROWS]; tiles];
        let mut bounded = are_bounded(isa, bias);
        for (tile, (before, within)) in before.iter_mut().zip(&mut within).enumerate() {
            let outputs = tile * LANES..n_dims.min((tile + 1) * LANES);
            let (earlier, own): (Vec<_>, Vec<_>) = outputs.map(|i| row(i).split_at(tile * LANES)).unzip();
            for (pair, rows) in before.chunks_exact_mut(PAIR_ROWS).enumerate() {
                for (lane, inputs) in earlier.iter().enumerate() {
                    let [first, second] = inputs.as_chunks().0[pair];
                    (rows[1].0[lane], rows[2].0[lane], rows[3].0[lane]) = (first, second, first + second);
                }
            }
            for (lane, inputs) in own.iter().enumerate() {
                for (four, rows) in inputs.chunks(4).zip(within.chunks_exact_mut(16)) {
                    for (values, row) in rows.iter_mut().enumerate() {
                        let ones = four.iter().enumerate().filter(|(j, _)| values >> j & 1 == 1);
                        row.0[lane] = ones.fold(0.0, |sum, (_, w)| sum + w);
                    }
                }
            }
            // They contain every weight, and are in the cache.
            bounded = bounded && are_bounded(isa, flat(before)) && are_bounded(isa, flat(within));
        }
        Ok(Self { space, bias: to_packs(bias), before, within, bounded })
    }
}

impl Trainable<'_, 2> for Fvsbn {
    const NAMES: [&'static str; 2] = ["weight", "bias"];

    fn lens([_, n_dims]: [usize; 2]) -> [usize; 2] {
        [n_dims.saturating_mul(n_dims), n_dims]
    }

    fn state_len(_: [&[f32]; 2]) -> usize {
        0
    }

    fn in_training(weights: [&[f32]; 2]) -> Result<Self, Error> {
        let space = Space::new(vec![weights[1].len()], Classes::Same(2), || None)?;
        in_default_mode(|| Self::from_rows(space, weights))
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }

    fn gradient(
        _: [&[f32]; 2],
        objective: Objective<'_>,
        out: [&mut [f32]; 2],
        threads: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        gradient::gradient(objective, out, threads, go_on)
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
        // Each tile's weights are read from memory once for all samples, and then from a cache: the more samples the
        // better, until the lists of active pairs take too much memory.
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
        let mut active = ActivePairs::new(block.len, self.space.n_dims(), &mut scratch.indices);
        scratch.packs.resize(block.len, Pack::ZERO);
        for tile in 0..block.n_steps.div_ceil(LANES) {
            block.check()?;
            block.isa.run(Walk { model: self, block: &mut block, active: &mut active, sums: &mut scratch.packs, tile });
        }
        Ok(())
    }
}
