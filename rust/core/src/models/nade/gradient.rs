//! The gradient of Σ_s scale_s log p(x_s), from the same structure that makes scoring fast.
//!
//! With g_i = x_i − p_i, the hidden units h are the same for all steps of a *segment*, from one 1 to the next. So their gradient
//! is (Σ g_i V_i over the segment) ⊙ h ⊙ (1 − h), once a segment. What W_j gets is the sum of those of all
//! segments after step j where x_j = 1, and nothing where x_j = 0; c gets that of all segments; row i of V gets Σ_s g_i h.
//! That is about the work of three scoring passes, and as much memory as the samples take.
//!
//! Steps are passed from the last to the first. The odds E ([`super::hidden`]) after all ones are those with which scoring ended, and
//! each one that is passed is divided out of them again, so that no segment's units need to be kept.
//!
//! Each task owns a few hidden units and takes the samples in the same order ([`chunk`]): the bits do not depend on threads.

mod chunk;
mod units;

use std::{
    num::NonZero,
    sync::{Mutex, OnceLock, PoisonError},
};

use self::{
    chunk::{Chunk, cut},
    units::Units,
};
use super::{Weights, hidden::Hidden};
use crate::{
    error::Error,
    kernels::{Isa, in_default_mode},
    models::{
        any,
        gradient::{Scored, share},
    },
};

/// Steps that all samples pass before the next ones come: few enough to be of one segment as a rule.
const ROWS: usize = 4;
/// Packs of hidden units that a task owns: as few as leave `ROWS` rows of V in registers beside the sums.
const GROUP: usize = 2;

/// Where the gradient is written.
pub struct Gradient<'a> {
    /// (`n_dims`, `n_hidden`)
    pub w: &'a mut [f32],
    /// (`n_hidden`)
    pub c: &'a mut [f32],
    /// (`n_dims`, `n_hidden`)
    pub v: &'a mut [f32],
    /// (`n_dims`)
    pub b: &'a mut [f32],
}

/// Writes the gradient. `odds` are the features of the walk that scored the samples with these weights ([`super::Nade::in_training`]),
/// `n_hidden` a sample. `go_on` is asked on the calling thread, a millisecond or so apart.
///
/// # Errors
/// [`Error::Interrupted`] once `go_on` has returned false, [`Error::Isa`]. The gradient is then partly written.
pub fn gradient(
    weights: Weights<'_>,
    scored: Scored<'_>,
    odds: &[f32],
    out: Gradient<'_>,
    threads: NonZero<usize>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    in_default_mode(|| {
        let isa = Isa::get()?;
        let n_dims = weights.b.len();
        let hidden = Hidden::new(isa, weights.w.into(), weights.c);
        let (cuts, ones) = (cut(scored.scale.len()), any(scored.x, n_dims));
        let chunks: Vec<_> = cuts.iter().map(|_| OnceLock::new()).collect();
        let chunk = |at: usize| chunks[at].get_or_init(|| Chunk::new(scored, odds, n_dims, cuts[at].clone()));
        let out = Mutex::new(out);
        let groups = hidden.packs().div_ceil(GROUP);
        share(0..cuts.len() + groups, threads, go_on, |task, go_on| {
            let Some(at) = task.checked_sub(cuts.len()) else {
                chunk(task);
                return go_on();
            };
            // From both ends: neighbours share lines of memory, which two threads would take from each other.
            let group = if at % 2 == 0 { at / 2 } else { groups - 1 - at / 2 };
            isa.run(Units {
                weights,
                hidden: &hidden,
                ones: &ones,
                chunks: (0..cuts.len()).map(&chunk),
                pack: group * GROUP,
                out: &out,
                go_on,
            })
        })?;

        let b = out.into_inner().unwrap_or_else(PoisonError::into_inner).b;
        b.fill(0.0);
        for chunk in (0..cuts.len()).map(chunk) {
            b.iter_mut().zip(&chunk.b).for_each(|(b, sum)| *b += sum);
        }
        Ok(())
    })
}
