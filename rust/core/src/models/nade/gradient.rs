//! The gradient of Σ_s scale_s log p(x_s), from the same structure that makes scoring fast.
//!
//! With g_i = x_i − p_i, the hidden units h are the same for all steps of a *segment*, from one 1 to the next. So their gradient
//! is (Σ g_i V_i over the segment) ⊙ h ⊙ (1 − h), once a segment. What W's column j gets is the sum of those of all
//! segments after step j where x_j = 1, and nothing where x_j = 0; c gets that of all segments; row i of V gets Σ_s g_i h.
//! That is about the work of three scoring passes, and no more memory than a few samples' segments.
//!
//! Each task owns a few hidden units and takes the samples in their order: the bits depend neither on threads nor on memory.

mod units;

use std::{
    num::NonZero,
    sync::{Mutex, PoisonError},
};

use self::units::Units;
use super::Nade;
use crate::{
    error::Error,
    kernels::{Isa, LANES, Pack, flat},
    models::gradient::{Scored, share},
};

/// Rows of V that all samples pass before the next ones come: a bit of a word for each.
const STRIP: usize = u32::BITS as usize;
/// Packs of hidden units that a task owns: as many chains of multiply-adds as hide the latency of one.
const GROUP: usize = 4;

/// Where the gradient is written.
pub struct Gradient<'a> {
    /// Row i: that of W's column i (`n_dims`, `n_hidden`).
    pub w: &'a mut [f32],
    /// (`n_hidden`)
    pub c: &'a mut [f32],
    /// (`n_dims`, `n_hidden`)
    pub v: &'a mut [f32],
    /// (`n_dims`)
    pub b: &'a mut [f32],
}

/// The samples, as all tasks see them.
struct Samples<'a> {
    n_dims: usize,
    x: &'a [u8],
    /// scale_s (x_i − p_i)
    g: Vec<f32>,
    /// For (sample, step), its segment among those of the sample.
    segment: Vec<u32>,
    /// For each strip of a sample, a bit for every step at which a segment begins.
    begins: Vec<u32>,
}

/// The gradient of a few units: rows of `width` packs.
pub struct Part {
    width: usize,
    w: Vec<Pack>,
    c: Vec<Pack>,
    v: Vec<Pack>,
}

/// Writes the gradient. `go_on` is asked on the calling thread, a millisecond or so apart.
///
/// # Errors
/// [`Error::Interrupted`] once `go_on` has returned false, [`Error::Isa`]. The gradient is then partly written.
pub fn gradient(
    nade: &Nade,
    scored: Scored<'_>,
    out: Gradient<'_>,
    threads: NonZero<usize>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    let isa = Isa::get()?;
    let packs = nade.hidden.packs();
    let samples = Samples::new(scored, nade.event.n_dims());
    out.b.fill(0.0);
    for g in samples.g.chunks_exact(samples.n_dims) {
        out.b.iter_mut().zip(g).for_each(|(b, g)| *b += g);
    }

    let rows = Mutex::new([(out.w, nade.n_hidden), (out.c, nade.n_hidden), (out.v, nade.n_hidden)]);
    share((0..packs).step_by(GROUP), threads, go_on, |pack, go_on| {
        let width = GROUP.min(packs - pack);
        let Some(part) = isa.run(Units { nade, samples: &samples, pack, width, go_on }) else { return false };
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        for ((out, n_hidden), part_rows) in rows.iter_mut().zip([&part.w, &part.c, &part.v]) {
            let columns = pack * LANES..(*n_hidden).min((pack + width) * LANES);
            for (out, row) in out.chunks_exact_mut(*n_hidden).zip(part_rows.chunks_exact(part.width)) {
                out[columns.clone()].copy_from_slice(&flat(row)[..columns.len()]);
            }
        }
        true
    })
}

impl<'a> Samples<'a> {
    fn new(scored: Scored<'a>, n_dims: usize) -> Self {
        let x = scored.x;
        let mut g = vec![0.0; x.len()];
        g.chunks_exact_mut(n_dims).enumerate().for_each(|(sample, g)| scored.of_logits(sample, g));
        let segment = x.chunks_exact(n_dims).flat_map(|x| {
            x.iter().scan(0, |ones, &x| {
                let now = *ones;
                *ones += u32::from(x == 1);
                Some(now)
            })
        });
        let begins = x.chunks_exact(n_dims).flat_map(|x| {
            (0..n_dims).step_by(STRIP).map(|first| {
                let begins = |i: &usize| *i == 0 || x[i - 1] == 1;
                (first..n_dims.min(first + STRIP)).filter(begins).fold(0, |bits, i| bits | 1 << (i - first))
            })
        });
        Self { n_dims, x, g, segment: segment.collect(), begins: begins.collect() }
    }

    /// The steps from `first`, that of a strip, at which a segment of this sample begins, as bits.
    fn begins(&self, sample: usize, first: usize) -> u32 {
        self.begins[sample * self.n_dims.div_ceil(STRIP) + first / STRIP]
    }

    /// Samples.
    fn len(&self) -> usize {
        self.x.len() / self.n_dims
    }

    /// The segments of a sample: one more than its ones.
    fn segments(&self, sample: usize) -> usize {
        let last = (sample + 1) * self.n_dims - 1;
        self.segment[last] as usize + 1 + usize::from(self.x[last] == 1)
    }
}
