//! The gradient of Σ_s scale_s log p(x_s). With g_i = scale (x_i − p_i), the gradient in logit i, and for each sample
//!
//! ```text
//! ∂/∂V_i = g_i h_i,   ∂/∂b_i = g_i,   ∂/∂a_i = g_i V_i ⊙ h_i ⊙ (1 − h_i),
//! ∂/∂W_j = x_j Σ_{i>j} ∂/∂a_i,   ∂/∂c = Σ_i ∂/∂a_i
//! ```
//!
//! # Algorithm
//!
//! All steps of a *segment*, from one active bit to the next, have the same h. So the slopes h ⊙ (1 − h) are applied
//! once a segment, to dh = Σ g_i V_i over its steps. Steps are visited from the last to the first: da, the sum of ∂/∂a
//! over the segments visited, is then the suffix sum that ∂/∂W_j is where x_j = 1. The odds E ([`super::hidden`]) at
//! the end are those in the tape of the likelihood; at each active bit they are multiplied by e^(W_j), which gives the
//! odds of the segment before, so h need not be kept. Where the tape has no odds, h of all segments is computed from
//! sums of weights. The steps up to a sample's first active bit have the same h for all samples, and are visited once,
//! with the sum of their g.
//!
//! Vectors are over hidden units. A task has [`TASK_PACKS`] packs of them ([`columns`]): their columns of V, e^W and
//! the gradients fit the second-level cache. It visits a block of at most 63 samples at a time ([`block`]), steps in
//! tiles of [`ROWS`], and samples within a tile, whose rows of V and ∂/∂V stay in registers. Sums run over blocks in
//! order, then over samples: first those that begin no segment in the tile, then the others. The bits do not depend on
//! the threads.
//!
//! # Cost
//!
//! A step takes two fused multiply-adds a hidden unit; an active bit a product, a division and the slopes. That is
//! about three times the work of the likelihood. Memory is O(n (`n_dims` + `n_hidden`)) beside the gradients.

mod block;
mod columns;

use std::sync::{Mutex, OnceLock};

use self::{
    block::{SampleBlock, cut},
    columns::Columns,
};
use super::{Weights, hidden::Hidden};
use crate::{
    error::Error,
    kernels::{Isa, in_default_mode},
    models::{any, gradient::share, training::Objective},
};

/// Steps of a tile: few enough that most tiles of a sample begin no segment.
const ROWS: usize = 4;
/// Packs of hidden units of a task: as few as leave `ROWS` rows of V in registers beside the sums.
const TASK_PACKS: usize = 2;

/// Where the gradient is written.
struct Gradient<'a> {
    /// (`n_dims`, `n_hidden`)
    w: &'a mut [f32],
    /// (`n_hidden`)
    c: &'a mut [f32],
    /// (`n_dims`, `n_hidden`)
    v: &'a mut [f32],
}

/// Writes the gradient in arrays shaped as the weights. `go_on` is asked a millisecond or so apart.
///
/// # Errors
/// Those of [`crate::models::training::gradient`].
pub fn gradient(
    weights: Weights<'_>,
    objective: Objective<'_>,
    [w, c, v, b]: [&mut [f32]; 4],
    threads: usize,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    in_default_mode(|| {
        let isa = Isa::get()?;
        let n_dims = weights.b.len();
        let hidden = Hidden::new(isa, weights.w.into(), weights.c);
        let (cuts, active) = (cut(objective.scale.len()), any(objective.x, n_dims));
        let blocks: Vec<_> = cuts.iter().map(|_| OnceLock::new()).collect();
        let block = |at: usize| blocks[at].get_or_init(|| SampleBlock::new(objective, n_dims, cuts[at].clone()));
        let out = Mutex::new(Gradient { w, c, v });
        let groups = hidden.packs().div_ceil(TASK_PACKS);
        share(0..cuts.len() + groups, threads, go_on, |task, check| {
            let Some(at) = task.checked_sub(cuts.len()) else {
                block(task);
                return check();
            };
            // From both ends, as tasks side by side write to the same cache lines of the gradients.
            let group = if at % 2 == 0 { at / 2 } else { groups - 1 - at / 2 };
            isa.run(Columns {
                weights,
                hidden: &hidden,
                active: &active,
                blocks: (0..cuts.len()).map(&block),
                pack: group * TASK_PACKS,
                out: &out,
                check,
            })
        })?;

        b.fill(0.0);
        for block in (0..cuts.len()).map(block) {
            b.iter_mut().zip(&block.b).for_each(|(b, sum)| *b += sum);
        }
        Ok(())
    })
}
