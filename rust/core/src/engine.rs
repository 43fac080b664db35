//! The one loop: a batch is cut into blocks of samples, and a model meets a driver in each.
//!
//! Nothing about a sample's value depends on its block, so the cut is free to follow the batch and the threads.
//!
//! A long call starts its own threads and ends them, while the calling thread waits, and hears of signals. A short one shares its
//! work with the calling thread's helpers ([`crate::threads`]).

use std::{
    num::NonZero,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use crate::{
    block::{Block, Room, Task},
    driver::Driver,
    error::Error,
    kernels::{Isa, in_default_mode},
    model::{Model, Scratch},
    outputs::Outputs,
    threads::{Queue, share},
};

/// How often the caller is asked whether to go on.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(50);
/// Multiply-adds worth a thread: a call with fewer stays on its own.
const SMALL: usize = 1 << 20;
/// What a sample costs beside the model, in the same unit, about.
const SAMPLE: usize = 256;
/// The most threads a call may ask for.
pub const MAX_THREADS: usize = 1024;

/// Multiply-adds that take some hundredths of a second: in a call with no more nobody waits for a Ctrl-C, and the calling thread
/// works too.
fn short(isa: Isa) -> usize {
    match isa {
        // A processor without fused multiply-adds takes a hundred times as long.
        Isa::Portable(_) => 1 << 22,
        #[cfg(target_arch = "x86_64")]
        _ => 1 << 29,
    }
}

/// The number of threads for a call that does not say: the processors this process may use, by its affinity and its
/// control group's quota.
fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS)
}

/// A batch to walk.
pub struct Batch<'a> {
    /// Samples.
    pub n: usize,
    /// Decides their values.
    pub driver: Driver<'a>,
    /// Steps to walk; `None` for all. What the outputs hold of later ones has no meaning; log-probabilities are those of the
    /// values so far.
    pub n_steps: Option<usize>,
    /// Samples a block, where they are to be coded or decoded; `None` leaves it to the model.
    pub block_len: Option<usize>,
    /// Where the results go; each slice as long as `n` samples need.
    pub outputs: Outputs<'a>,
    /// Threads to use; 0 for as many as this process has processors. They are counted only if the batch is worth more than
    /// one, since that takes longer than to draw a small sample.
    pub threads: usize,
}

/// Walks a batch. `go_on` is called on the calling thread every 50 ms with the number of samples done, and stops the
/// walk by returning false; in a call of some hundredths of a second it is not called.
///
/// # Errors
/// [`Error::Dtype`] if the values have another type than the model's; [`Error::Interrupted`] if `go_on` did; [`Error::Overflow`], [`Error::Isa`], [`Error::Threads`], [`Error::Memory`]. The outputs
/// are then partly written.
pub fn run(model: &dyn Model, batch: Batch<'_>, go_on: &mut dyn FnMut(usize) -> bool) -> Result<(), Error> {
    let isa = Isa::get()?;
    let space = model.space();
    batch.outputs.x.as_ref().map_or(Ok(()), |x| x.dtype().check("x", space))?;
    let n = batch.n;
    let cost = n.saturating_mul(model.cost() + SAMPLE);
    let threads = match batch.threads {
        _ if cost <= SMALL => 1,
        0 => default_threads(),
        threads => threads,
    };
    let block_len = batch.block_len.unwrap_or_else(|| model.block_len().min(n.div_ceil(threads)).max(1));
    let n_steps = batch.n_steps.unwrap_or(usize::MAX).min(space.n_dims());
    let n_features = model.feature_shape().map_or(0, |shape| shape.iter().product());
    let mut outputs = batch.outputs;
    let blocks = Queue::new((0..n).step_by(block_len).map(|first| {
        let len = block_len.min(n - first);
        (first, len, outputs.split_off(len, space, n_features))
    }));
    let task = Task { isa, space, driver: batch.driver, n_steps, stop: blocks.stop() };
    let done = AtomicUsize::new(0);

    let walk_blocks = || {
        let (mut room, mut scratch) = (Room::new(space), Scratch::default());
        blocks.work(|(first, len, out)| {
            let mut block = Block::new(&task, (first, len), out, &mut room)?;
            model.walk(&mut block, &mut scratch)?;
            block.finish(|step| model.turn(step))?;
            done.fetch_add(len, Ordering::Relaxed);
            Ok(())
        });
    };

    let work = || in_default_mode(walk_blocks);
    let workers = threads.min(n.div_ceil(block_len)).min(cost.div_ceil(SMALL));
    if cost <= short(isa) {
        share(workers, work, work);
    } else {
        thread::scope(|scope| -> Result<(), Error> {
            let (alive, all_done) = channel::<()>();
            for started in 0..workers {
                let (alive, work) = (alive.clone(), &work);
                let worker =
                    thread::Builder::new().name(format!("ancestral-{started}")).spawn_scoped(scope, move || {
                        let _alive = alive;
                        work();
                    });
                match worker {
                    Ok(_) => {}
                    Err(_) if started > 0 => break,
                    Err(error) => return Err(Error::Threads { reason: error.to_string() }),
                }
            }
            drop(alive);
            while all_done.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                if !blocks.stopped() && !go_on(done.load(Ordering::Relaxed)) {
                    blocks.fail(Error::Interrupted);
                }
            }
            Ok(())
        })?;
    }
    blocks.finish()
}
