//! What the models' gradients share: the samples they are taken of, tasks among threads, and how sums become rows.

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    error::Error,
    kernels::{Isa, Kernel, LANES, Lanes, Pack, flat, in_default_mode, math, store_packs, to_pack},
    threads,
};

/// What a gradient is taken of: rows of bits, their P(x_i = 1 | x_<i) under the model, and a factor for each row.
#[derive(Clone, Copy)]
pub struct Scored<'a> {
    /// Values in the model's order, `n_dims` a sample.
    pub x: &'a [u8],
    /// Probabilities, `n_dims` a sample.
    pub probs: &'a [f32],
    /// ∂loss / ∂log p(x), one a sample.
    pub scale: &'a [f32],
}

impl Scored<'_> {
    /// ∂loss / ∂logit_i = scale_s (x_i − p_i) for all steps of a sample.
    pub(super) fn of_logits(self, sample: usize, out: &mut [f32]) {
        let row = sample * out.len()..(sample + 1) * out.len();
        let scale = self.scale[sample];
        for ((out, &x), p) in out.iter_mut().zip(&self.x[row.clone()]).zip(&self.probs[row]) {
            *out = scale * (f32::from(x) - p);
        }
    }
}

/// Whether weights are finite, and so small that no sum of some of them leaves the range of f32: whether Σ |w| is a number.
pub(super) fn are_bounded(isa: Isa, weights: &[f32]) -> bool {
    isa.run(AbsSum(weights)).is_finite()
}

/// Σ |w|, in an order of its own.
struct AbsSum<'a>(&'a [f32]);

impl Kernel for AbsSum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f32 {
        // An addition waits for the one before it, so there are several sums.
        const SUMS: usize = 8;
        let mut sums = [l.splat(0.0); SUMS];
        let (many, few) = self.0.as_chunks::<{ SUMS * LANES }>();
        for many in many {
            for (sum, values) in sums.iter_mut().zip(many.as_chunks().0) {
                *sum = l.add(*sum, math::abs(l, l.read(values)));
            }
        }
        for values in few.chunks(LANES) {
            sums[0] = l.add(sums[0], math::abs(l, l.load(&to_pack(values))));
        }
        let mut packs = [Pack::ZERO; SUMS];
        store_packs(l, &mut packs, sums);
        flat(&packs).iter().sum()
    }
}

/// Does all tasks, each on one of `threads`; on the others than the calling one in the default floating-point mode. `work` gets
/// a task and what to ask now and then whether to go on, and says whether it did. `go_on` is asked on the calling thread only.
///
/// # Errors
/// [`Error::Interrupted`] once `go_on` has returned false.
pub(super) fn share<T: Send>(
    tasks: impl ExactSizeIterator<Item = T> + Send,
    threads: NonZero<usize>,
    go_on: &mut dyn FnMut() -> bool,
    work: impl Fn(T, &mut dyn FnMut() -> bool) -> bool + Sync,
) -> Result<(), Error> {
    let n_threads = threads.get().min(tasks.len());
    let stop = AtomicBool::new(false);
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let all = |go_on: &mut dyn FnMut() -> bool| {
        while let Some(task) = next() {
            if !work(task, go_on) {
                break;
            }
        }
    };
    let own = || {
        all(&mut || {
            let go_on = go_on();
            stop.fetch_or(!go_on, Ordering::Relaxed);
            go_on
        });
    };
    let others = || in_default_mode(|| all(&mut || !stop.load(Ordering::Relaxed)));
    threads::share(n_threads, own, others);
    if stop.into_inner() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Writes the first sixteen of `out`, or as many as it has.
#[inline(always)]
pub(super) fn write<L: Lanes>(l: L, x: L::F, out: &mut [f32]) {
    if let Some(out) = out.first_chunk_mut() {
        return l.write(out, x);
    }
    let mut pack = Pack::ZERO;
    l.store(&mut pack, x);
    out.copy_from_slice(&pack.0[..out.len()]);
}
