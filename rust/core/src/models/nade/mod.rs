//! NADE, the neural autoregressive distribution estimator: hidden units shared by all conditionals.
//!
//! ```text
//! a_i = c + Σ_{j<i} x_j W_j,    h_i = σ(a_i),    p(x_i = 1 | x_<i) = σ(b_i + V_i · h_i)
//! ```
//!
//! Larochelle, Murray, *The neural autoregressive distribution estimator*, AISTATS 2011. Row W_j is column j of the
//! paper's matrix.
//!
//! # Algorithm
//!
//! Vectors are over the H hidden units. These change only after an *active bit* x_j = 1, so a sample falls into
//! *segments*, from one active bit to the next, whose steps have the same h. A step costs a dot product, and an active
//! bit an update of h as well.
//!
//! 1. *Prefix* ([`prefix`]). Up to its first active bit every sample has h = σ(c). These logits are computed when the
//!    model is built, and a sample compares them with its thresholds.
//! 2. *Updates* ([`hidden`]). With the odds E = e^(−a) as the state, an update is E ← E ⊙ e^(−W_j) and h = 1 / (1 + E):
//!    the factors are computed when the model is built. Samples whose odds may leave the range of f32 go on with a.
//! 3. *Dot products* ([`dots`]). Steps are cut into tiles of eight ([`tiles`]). A pass over h serves as many rows V_i
//!    as it can: if the values are given, all eight (four without AVX-512), and updates between them are done in
//!    registers ([`given`]); if not, those up to the next active bit, whose place is guessed ([`walk`]).
//!
//! Tiles are in the outer loop and the samples of a block in the inner one, so a tile's weights are read from memory
//! once a block.
//!
//! # Order of summation
//!
//! E_k is the product of e^(−c_k) and the factors of the active bits in their order; a_k is their sum in the same
//! order. In V_i · h, lane k mod 16 sums the units k in ascending order by fused multiply-adds; the lanes are added by
//! halves, and b_i last. So a logit has the same bits whether values are given, drawn or decoded, and however many rows
//! share a pass.
//!
//! # Cost
//!
//! A sample takes H multiply-adds a step, and H multiplications and divisions an active bit. A tile reads 64 H bytes of
//! weights, V and factors, from memory once a block, and the state and units of each sample, 8 H bytes, from the
//! second-level cache.
//!
//! [`features`] writes h as features; [`gradient`] has the gradient for training.

mod dots;
mod features;
mod given;
mod gradient;
mod hidden;
mod prefix;
#[cfg(test)]
mod tests;
mod tiles;
mod walk;

use std::borrow::Cow;

use serde::Deserialize;

use self::{
    hidden::Hidden,
    prefix::PrefixLogits,
    tiles::{TILE, Tile, Tiles},
};
use super::{
    abs_sum, check_range,
    gradient::are_bounded,
    training::{Objective, Trainable},
};
use crate::{
    block::Block,
    checkpoint::Checkpoint,
    error::Error,
    kernels::{Isa, Kernel, LANES, Lanes, Pack, in_default_mode},
    model::{Model, Scratch},
    space::{Classes, Space},
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

/// A NADE's weights as they are trained, row-major.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// (`n_dims`, `n_hidden`)
    pub w: &'a [f32],
    /// (`n_hidden`)
    pub c: &'a [f32],
    /// (`n_dims`, `n_hidden`)
    pub v: &'a [f32],
    /// (`n_dims`)
    pub b: &'a [f32],
}

impl<'a> Weights<'a> {
    /// W_i
    fn w(self, step: usize) -> &'a [f32] {
        &self.w[step * self.c.len()..][..self.c.len()]
    }

    /// V_i
    fn v(self, step: usize) -> &'a [f32] {
        &self.v[step * self.c.len()..][..self.c.len()]
    }
}

/// A NADE, trained or in training.
pub struct Nade<'a> {
    space: Space,
    hidden: Hidden<'a>,
    layout: Layout<'a>,
    /// Filled up so that 16 can be read from any step on.
    b: Vec<f32>,
    /// [`Trainable::is_bounded`]
    bounded: bool,
}

/// Where a walk finds its weights.
enum Layout<'a> {
    /// Laid out once, for a model that is kept.
    Kept {
        tiles: Tiles,
        /// [`PrefixLogits`] of all steps.
        prefix_logits: Vec<Pack>,
    },
    /// As they are, for one step of training: each walk lays out the tiles it needs.
    Raw(Weights<'a>),
}

/// A bias, with zeros to read beyond its end.
fn filled_up(b: &[f32]) -> Vec<f32> {
    [b, &[0.0; LANES]].concat()
}

impl Nade<'static> {
    /// From `W` (`n_dims`, `n_hidden`), `c` (`n_hidden`), `V` (`n_dims`, `n_hidden`) and `b` (`n_dims`).
    pub fn new(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let Config { n_dims, n_hidden, order } = checkpoint.config()?;
        let tensors = checkpoint.expect(&[
            ("W".into(), vec![n_dims, n_hidden]),
            ("c".into(), vec![n_hidden]),
            ("V".into(), vec![n_dims, n_hidden]),
            ("b".into(), vec![n_dims]),
        ])?;
        let space = Space::new(vec![n_dims], Classes::Same(2), || order)?;
        if n_hidden == 0 {
            return Err(Error::format("n_hidden is 0; wanted at least 1"));
        }
        let [w, c, v, b] = std::array::from_fn(|i| tensors[i].data());
        let weights = Weights { w, c, v, b };
        check_range("output", (0..n_dims).map(|i| abs_sum(weights.v(i)) + f64::from(b[i].abs())))?;
        let mut sums: Vec<_> = c.iter().map(|c| f64::from(c.abs())).collect();
        for row in w.chunks_exact(n_hidden) {
            sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += f64::from(w.abs()));
        }
        check_range("hidden unit", sums.into_iter())?;
        let isa = Isa::get()?;
        let mut tiles = Tiles::default();
        // Features ask for the update after the last step, which may be in a tile of its own.
        tiles.fill(isa, weights, 0..n_dims / TILE + 1, &vec![1; n_dims]);
        let hidden = Hidden::new(isa, w.to_vec().into(), c);
        let prefix_logits = isa.run(PrefixLogits { hidden: &hidden, weights, n_steps: n_dims });
        Ok(Self { space, hidden, layout: Layout::Kept { tiles, prefix_logits }, b: filled_up(b), bounded: true })
    }
}

impl Nade<'_> {
    /// The logits of a prefix, of the first `n_steps` steps at least.
    #[inline(always)]
    fn prefix_logits<L: Lanes>(&self, l: L, n_steps: usize) -> Cow<'_, [Pack]> {
        match self.layout {
            Layout::Kept { ref prefix_logits, .. } => prefix_logits.into(),
            Layout::Raw(weights) => PrefixLogits { hidden: &self.hidden, weights, n_steps }.run(l).into(),
        }
    }

    /// The `at`-th tile, laid out in `room` if need be, for samples with ones only at steps where `active` is nonzero.
    fn tile<'s>(&'s self, isa: Isa, at: usize, active: &[u8], room: &'s mut Tiles) -> Tile<'s> {
        match &self.layout {
            Layout::Kept { tiles, .. } => tiles.get(at),
            Layout::Raw(weights) => {
                room.fill(isa, *weights, at..at + 1, active);
                room.get(0)
            }
        }
    }
}

impl<'a> Trainable<'a, 4> for Nade<'a> {
    const NAMES: [&'static str; 4] = ["w", "c", "v", "b"];

    fn lens([_, n_hidden, _, n_dims]: [usize; 4]) -> [usize; 4] {
        let size = n_dims.saturating_mul(n_hidden);
        [size, n_hidden, size, n_dims]
    }

    fn state_len([_, c, _, _]: [&[f32]; 4]) -> usize {
        c.len()
    }

    fn in_training(weights @ [w, c, v, b]: [&'a [f32]; 4]) -> Result<Self, Error> {
        let space = Space::new(vec![b.len()], Classes::Same(2), || None)?;
        let isa = Isa::get()?;
        let hidden = in_default_mode(|| Hidden::new(isa, w.into(), c));
        let bounded = weights.into_iter().all(|weights| are_bounded(isa, weights));
        Ok(Self { space, hidden, layout: Layout::Raw(Weights { w, c, v, b }), b: filled_up(b), bounded })
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }

    fn gradient(
        [w, c, v, b]: [&[f32]; 4],
        objective: Objective<'_>,
        out: [&mut [f32]; 4],
        threads: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        gradient::gradient(Weights { w, c, v, b }, objective, out, threads, go_on)
    }
}

impl Model for Nade<'_> {
    fn space(&self) -> &Space {
        &self.space
    }

    fn n_params(&self) -> usize {
        self.space.n_dims() * (2 * self.hidden.n_hidden + 1) + self.hidden.n_hidden
    }

    fn cost(&self) -> usize {
        self.space.n_dims() * self.hidden.n_hidden
    }

    fn block_len(&self) -> usize {
        // The hidden units of all samples should fit half of a second-level cache of 1 MiB.
        ((1 << 16) / self.hidden.n_hidden).clamp(8, 64)
    }

    fn feature_shape(&self) -> Option<Vec<usize>> {
        // Computed from the layout of a model that is kept.
        matches!(self.layout, Layout::Kept { .. }).then(|| vec![self.hidden.n_hidden])
    }

    fn turn(&self, step: usize) -> usize {
        // The first step is in the prefix of every sample; after it come tiles.
        if step == 0 { 1 } else { (step / TILE + 1) * TILE }
    }

    fn revision(&self) -> u32 {
        // 2: another order of summation. 3: hidden units are divisions, and no longer a series.
        3
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        walk::walk(self, block, scratch)
    }
}
