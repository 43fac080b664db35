//! The gradient of Σ_s scale_s log p(x_s), from the same structure that makes scoring fast.
//!
//! With g_i = x_i − p_i, the hidden units h are the same for all steps of a *segment*, from one 1 to the next. So their gradient
//! is (Σ g_i V_i over the segment) ⊙ h ⊙ (1 − h), once a segment. What W's column j gets is the sum of those of all
//! segments after step j where x_j = 1 ([`backward`]), and nothing where x_j = 0; c gets that of all segments; row i of V gets
//! Σ_s g_i h ([`accumulate`]). That is about the work of three scoring passes, in memory for a chunk of samples' segments.
//!
//! Every sum runs over samples in their order, and tasks share no sum: the bits depend neither on threads nor on chunks.

/// Calls a method for each group of packs: `GROUP` of them, and 4, 2 or 1 at the end.
macro_rules! groups {
    ($packs:expr, |$pack:ident, $width:ident| $call:expr) => {{
        let mut $pack = 0;
        while $pack < $packs {
            $pack += match $packs - $pack {
                $crate::models::nade::gradient::GROUP.. => {
                    const $width: usize = $crate::models::nade::gradient::GROUP;
                    $call;
                    $width
                }
                4.. => {
                    const $width: usize = 4;
                    $call;
                    $width
                }
                2.. => {
                    const $width: usize = 2;
                    $call;
                    $width
                }
                _ => {
                    const $width: usize = 1;
                    $call;
                    $width
                }
            };
        }
    }};
}

mod accumulate;
mod backward;

use std::{
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use self::{accumulate::Accumulate, backward::Backward};
use super::Nade;
use crate::{
    error::Error,
    kernels::{Isa, Pack, flat},
};

/// Packs of segments that a chunk may keep: 8 MiB, unless a single sample has more.
const CHUNK: usize = 1 << 17;
/// Packs of hidden units that are worked on at a time, in registers.
const GROUP: usize = 8;
/// Samples of a task of the backward pass: they share each strip of V that comes from afar.
const SAMPLES: usize = 8;
/// Dimensions of a task of the accumulation.
const DIMS: usize = 16;

/// What the gradient is taken of: rows of bits, their P(x_i = 1 | x_<i) under the model, and a factor for each row.
#[derive(Clone, Copy, Default)]
pub struct Scored<'a> {
    /// Values in the model's order, `n_dims` a sample.
    pub x: &'a [u8],
    /// Probabilities, `n_dims` a sample.
    pub probs: &'a [f32],
    /// ∂loss / ∂log p(x), one a sample.
    pub scale: &'a [f32],
}

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

/// The sums so far, in rows of packs.
struct Sums {
    w: Vec<Pack>,
    c: Vec<Pack>,
    v: Vec<Pack>,
    b: Vec<f32>,
}

/// A few samples, and all that the two passes tell each other. The memory of one chunk serves the next.
#[derive(Default)]
struct Chunk<'a> {
    scored: Scored<'a>,
    /// For each sample, the first of its segments.
    first_segment: Vec<usize>,
    /// For (sample, step), its segment among those of the sample.
    segment: Vec<u32>,
    /// scale_s (x_i − p_i)
    g: Vec<f32>,
    /// The hidden units of each segment: sample by sample, for each group of packs segment by segment.
    h: Vec<Pack>,
    /// In the same order, the sum of ∂/∂a over all later segments of the sample.
    later: Vec<Pack>,
    /// For each sample the sum over all its segments.
    all: Vec<Pack>,
}

/// Writes the gradient. `go_on` is asked on the calling thread, some milliseconds apart.
///
/// # Errors
/// [`Error::Interrupted`] once `go_on` has returned false, [`Error::Isa`]. The gradient is then not written.
pub fn gradient(
    nade: &Nade,
    scored: Scored<'_>,
    out: Gradient<'_>,
    threads: NonZero<usize>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    let isa = Isa::get()?;
    let (n_dims, packs) = (nade.event.n_dims(), nade.hidden.packs());
    let zeros = |rows: usize| vec![Pack::ZERO; rows * packs];
    let mut sums = Sums { w: zeros(n_dims), c: zeros(1), v: zeros(n_dims), b: vec![0.0; n_dims] };
    let mut chunk = Chunk::default();
    let mut first = 0;
    while first < scored.scale.len() {
        if !go_on() {
            return Err(Error::Interrupted);
        }
        chunk.begin(scored.from(first, n_dims), n_dims, packs);
        chunk.backward(nade, isa, threads);
        chunk.accumulate(isa, &mut sums, threads);
        first += chunk.scored.scale.len();
    }
    for (out, sums) in [(out.w, &sums.w), (out.c, &sums.c), (out.v, &sums.v)] {
        for (out, sums) in out.chunks_exact_mut(nade.n_hidden).zip(sums.chunks_exact(packs)) {
            out.copy_from_slice(&flat(sums)[..nade.n_hidden]);
        }
    }
    out.b.copy_from_slice(&sums.b);
    Ok(())
}

impl<'a> Scored<'a> {
    /// The samples from `first` on.
    fn from(self, first: usize, n_dims: usize) -> Self {
        Self { x: &self.x[first * n_dims..], probs: &self.probs[first * n_dims..], scale: &self.scale[first..] }
    }
}

impl<'a> Chunk<'a> {
    /// Takes the first samples, as many as have a chunk's worth of segments.
    fn begin(&mut self, scored: Scored<'a>, n_dims: usize, packs: usize) {
        self.segment.clear();
        self.first_segment.clear();
        self.first_segment.push(0);
        let mut segments = 0;
        for x in scored.x.chunks_exact(n_dims) {
            segments += 1 + x.iter().filter(|x| **x == 1).count();
            if self.first_segment.len() > 1 && 2 * segments * packs > CHUNK {
                break;
            }
            self.first_segment.push(segments);
            let mut now = 0;
            for &x in x {
                self.segment.push(now);
                now += u32::from(x == 1);
            }
        }
        let len = self.first_segment.len() - 1;
        self.scored =
            Scored { x: &scored.x[..len * n_dims], probs: &scored.probs[..len * n_dims], scale: &scored.scale[..len] };
        self.g.resize(len * n_dims, 0.0);
        self.h.resize(self.first_segment[len] * packs, Pack::ZERO);
        self.later.resize(self.h.len(), Pack::ZERO);
        self.all.resize(len * packs, Pack::ZERO);
    }

    /// Fills everything but the sums, a few samples a task.
    fn backward(&mut self, nade: &Nade, isa: Isa, threads: NonZero<usize>) {
        let (n_dims, packs) = (nade.event.n_dims(), nade.hidden.packs());
        let (mut h, mut later) = (&mut self.h[..], &mut self.later[..]);
        let tasks = self.g.chunks_mut(SAMPLES * n_dims).zip(self.all.chunks_mut(SAMPLES * packs)).enumerate();
        let tasks = tasks.map(|(task, (g, all))| {
            let samples = task * SAMPLES..task * SAMPLES + all.len() / packs;
            let steps = samples.start * n_dims..samples.end * n_dims;
            let first_segment = &self.first_segment[samples.start..=samples.end];
            let segments = (first_segment[samples.len()] - first_segment[0]) * packs;
            Backward {
                nade,
                x: &self.scored.x[steps.clone()],
                probs: &self.scored.probs[steps.clone()],
                scale: &self.scored.scale[samples],
                first_segment,
                segment: &self.segment[steps],
                g,
                h: h.split_off_mut(..segments).expect("a row for each segment"),
                later: later.split_off_mut(..segments).expect("a row for each segment"),
                all,
            }
        });
        share(tasks.collect(), threads, |task| isa.run(task));
    }

    /// Adds to the sums, a few dimensions a task.
    fn accumulate(&self, isa: Isa, sums: &mut Sums, threads: NonZero<usize>) {
        let packs = sums.c.len();
        let rows = sums.w.chunks_mut(DIMS * packs).zip(sums.v.chunks_mut(DIMS * packs)).zip(sums.b.chunks_mut(DIMS));
        let tasks = rows.enumerate().map(|(at, ((w, v), b))| Accumulate { chunk: self, first: at * DIMS, w, v, b });
        share(tasks.collect(), threads, |task| isa.run(task));
        isa.run(accumulate::Rows { rows: &self.all, sum: &mut sums.c });
    }
}

/// Does tasks on the calling thread and on others that it starts for them.
fn share<T: Send>(tasks: Vec<T>, threads: NonZero<usize>, work: impl Fn(T) + Sync) {
    let helpers = tasks.len().min(threads.get()).saturating_sub(1);
    let tasks = Mutex::new(tasks.into_iter());
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(task) = next() {
            work(task);
        }
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Where the system has no thread to give, this one does the work.
            let _ = thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
}
