//! The one loop: a batch is cut into blocks of samples, and a model meets a driver in each.
//!
//! Nothing about a sample's value depends on its block, so the cut is free to follow the batch and the threads.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    time::Duration,
};

use crate::{
    block::{Block, Outputs, Room},
    driver::Driver,
    error::Error,
    kernels::Isa,
    model::{Model, Scratch},
    pool,
};

/// How often the caller is asked whether to go on.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// Multiply-adds below which a call stays on its own thread: waking the pool would take longer.
const SMALL: usize = 1 << 20;

/// A batch to walk.
pub struct Batch<'a> {
    /// Samples.
    pub n: usize,
    /// Decides their values.
    pub driver: &'a dyn Driver,
    /// Where the results go; each slice as long as `n` samples need.
    pub outputs: Outputs<'a>,
    /// Threads to use.
    pub threads: usize,
}

/// Walks a batch. `go_on` is called on the calling thread every 50 ms with the number of samples done, and stops the
/// walk by returning false.
///
/// # Errors
/// [`Error::Interrupted`] if it did; [`Error::Overflow`], [`Error::Isa`], [`Error::Threads`]. The outputs are then
/// partly written.
pub fn run(model: &dyn Model, batch: Batch<'_>, go_on: &mut dyn FnMut(usize) -> bool) -> Result<(), Error> {
    let isa = Isa::get()?;
    let (n, threads) = (batch.n, batch.threads.max(1));
    let block_len = model.block_len().min(n.div_ceil(threads)).max(1);
    let stop = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    let first_error = Mutex::new(None);
    let queue = Mutex::new((0, batch.outputs));

    let work = || {
        let (mut room, mut scratch) = (Room::default(), Scratch::default());
        while !stop.load(Ordering::Relaxed) {
            let (first, len, out) = {
                let (next, outputs) = &mut *queue.lock().unwrap_or_else(PoisonError::into_inner);
                let (first, len) = (*next, block_len.min(n - *next));
                *next += len;
                (first, len, outputs.split_off(len, model.event()))
            };
            if len == 0 {
                break;
            }
            let mut block = Block::new(isa, model.event(), batch.driver, (first, len), out, &mut room, &stop);
            if let Err(error) = model.walk(&mut block, &mut scratch) {
                first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                stop.store(true, Ordering::Relaxed);
                break;
            }
            block.finish();
            done.fetch_add(len, Ordering::Relaxed);
        }
    };

    if n.saturating_mul(model.cost()) <= SMALL {
        work();
    } else {
        let workers = threads.min(n.div_ceil(block_len));
        pool::pool(threads)?.in_place_scope(|scope| {
            let (alive, all_done) = channel::<()>();
            for _ in 0..workers {
                let alive = alive.clone();
                let work = &work;
                scope.spawn(move |_| {
                    work();
                    drop(alive);
                });
            }
            drop(alive);
            while all_done.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                if !stop.load(Ordering::Relaxed) && !go_on(done.load(Ordering::Relaxed)) {
                    first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(Error::Interrupted);
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
    }
    first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
