//! What the models' gradients share: tasks among threads, a check of the weights, and how sums become rows.

use crate::{
    error::Error,
    kernels::{Isa, Kernel, LANES, Lanes, Pack, flat, in_default_mode, math, store_packs, to_pack},
    threads::{self, Queue},
};

/// Fails once the work is to stop.
pub(super) type Check<'a> = &'a mut dyn FnMut() -> Result<(), Error>;

/// Whether weights are finite, and so small that no sum of some of them leaves the range of f32: whether Σ |w| is a
/// number.
pub(super) fn are_bounded(isa: Isa, weights: &[f32]) -> bool {
    isa.run(AbsSum(weights)).is_finite()
}

/// Σ |w|
struct AbsSum<'a>(&'a [f32]);

impl Kernel for AbsSum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f32 {
        // A sum is a chain of dependent additions, so there are several.
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

/// Does all tasks on `threads` threads, the calling one among them; the others are in the default floating-point mode.
/// `work` gets a task, and a check to make now and then, which fails once the work is to stop. `go_on` is asked on the
/// calling thread only.
///
/// # Errors
/// [`Error::Interrupted`] once `go_on` has returned false, and those of `work`.
pub(super) fn share<T>(
    tasks: impl ExactSizeIterator<Item = T> + Send,
    threads: usize,
    go_on: &mut dyn FnMut() -> bool,
    work: impl Fn(T, Check<'_>) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let n_threads = threads.min(tasks.len());
    let tasks = Queue::new(tasks);
    let interrupted = |stop: bool| if stop { Err(Error::Interrupted) } else { Ok(()) };
    let own = || tasks.work(|task| work(task, &mut || interrupted(!go_on())));
    let others = || in_default_mode(|| tasks.work(|task| work(task, &mut || interrupted(tasks.stopped()))));
    threads::share(n_threads, own, others);
    tasks.finish()
}

/// Writes the first 16 floats of `out`, or as many as it has.
#[inline(always)]
pub(super) fn write<L: Lanes>(l: L, x: L::F, out: &mut [f32]) {
    if let Some(out) = out.first_chunk_mut() {
        return l.write(out, x);
    }
    let mut pack = Pack::ZERO;
    l.store(&mut pack, x);
    out.copy_from_slice(&pack.0[..out.len()]);
}
