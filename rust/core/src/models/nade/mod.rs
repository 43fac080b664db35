//! NADE, the neural autoregressive distribution estimator: hidden units shared by all conditionals.
//!
//! h_i = σ(c + Σ_{j<i} x_j W_j),  p(x_i = 1 | x_<i) = σ(b_i + V_i · h_i). Row W_j is column j of the paper's matrix.
//! Larochelle, Murray, *The neural autoregressive distribution estimator*, AISTATS 2011.
//!
//! The walk is driven by events: the hidden units change only after a one ([`hidden`]), so between two ones each dimension
//! costs a dot product and nothing else ([`dots`], [`walk`]), and before the first one not even that ([`start`]).

mod dots;
mod features;
mod given;
pub mod gradient;
mod hidden;
mod start;
mod strips;
#[cfg(test)]
mod tests;
mod walk;

use std::borrow::Cow;

use serde::Deserialize;

use self::{
    hidden::Hidden,
    start::FirstLogits,
    strips::{Strip, Strips, TILE},
};
use super::{abs_sum, check_range, gradient::are_bounded};
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

/// A NADE: one that is kept, or that of a training step.
pub struct Nade<'a> {
    space: Space,
    hidden: Hidden<'a>,
    layout: Layout<'a>,
    /// Filled up so that sixteen can be read from any step on.
    b: Vec<f32>,
    /// [`Nade::is_bounded`]
    bounded: bool,
}

/// Where a walk finds its weights.
enum Layout<'a> {
    Kept {
        strips: Strips,
        /// [`FirstLogits`] of all steps.
        first_logits: Vec<Pack>,
    },
    /// As they are trained. A walk, whose values are given, lays out what it needs, and its features are what [`gradient`]
    /// begins with: the odds after all values but the last, or NaN.
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
        let mut strips = Strips::default();
        // A one at the last step begins a strip of its own, if need be.
        strips.fill(isa, weights, 0..n_dims / TILE + 1, &vec![1; n_dims]);
        let hidden = Hidden::new(isa, w.to_vec().into(), c);
        let first_logits = isa.run(FirstLogits { hidden: &hidden, weights, n_steps: n_dims });
        Ok(Self { space, hidden, layout: Layout::Kept { strips, first_logits }, b: filled_up(b), bounded: true })
    }
}

impl<'a> Nade<'a> {
    /// That of a training step. Its likelihoods mean nothing unless the weights [are bounded](Self::is_bounded).
    pub fn in_training(weights: Weights<'a>) -> Result<Self, Error> {
        let space = Space::new(vec![weights.b.len()], Classes::Same(2), || None)?;
        let isa = Isa::get()?;
        let hidden = in_default_mode(|| Hidden::new(isa, weights.w.into(), weights.c));
        let Weights { w, c, v, b } = weights;
        let bounded = [w, c, v, b].into_iter().all(|weights| are_bounded(isa, weights));
        Ok(Self { space, hidden, layout: Layout::Raw(weights), b: filled_up(b), bounded })
    }

    /// Whether the weights are finite, and so small that no sum of some of them leaves the range of f32.
    pub fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// The logits before a sample's first one, of the first `n_steps` steps at least.
    #[inline(always)]
    fn first_logits<L: Lanes>(&self, l: L, n_steps: usize) -> Cow<'_, [Pack]> {
        match self.layout {
            Layout::Kept { ref first_logits, .. } => first_logits.into(),
            Layout::Raw(weights) => FirstLogits { hidden: &self.hidden, weights, n_steps }.run(l).into(),
        }
    }

    /// The `at`-th strip, laid out in `room` if need be, for samples with ones at the steps where `ones` are nonzero.
    fn strip<'s>(&'s self, isa: Isa, at: usize, ones: &[u8], room: &'s mut Strips) -> Strip<'s> {
        match &self.layout {
            Layout::Kept { strips, .. } => strips.get(at),
            Layout::Raw(weights) => {
                room.fill(isa, *weights, at..at + 1, ones);
                room.get(0)
            }
        }
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
        Some(vec![self.hidden.n_hidden])
    }

    fn turn(&self, step: usize) -> usize {
        // The first step belongs to no strip: its hidden units are those of all samples.
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
