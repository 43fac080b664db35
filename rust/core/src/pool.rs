//! The package's own thread pools, one a thread count, made when first asked for.
//!
//! Never rayon's global pool: its size is whatever the environment says, and no pool's threads survive a fork.
//! Pools are therefore kept by process: a forked child leaves its parent's alone and starts its own.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Error;

/// The most threads a call may ask for.
pub const MAX_THREADS: usize = 1024;

struct Pools {
    process: u32,
    by_threads: HashMap<usize, Arc<ThreadPool>>,
}

static POOLS: Mutex<Option<Pools>> = Mutex::new(None);

/// The number of threads that a call uses if it does not say: the processors this process may use (its affinity and
/// its control group's quota).
pub fn default_threads() -> usize {
    available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS)
}

/// The pool of this many threads.
pub fn pool(threads: usize) -> Result<Arc<ThreadPool>, Error> {
    let mut guard = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some(inherited) = guard.take_if(|pools| pools.process != process) {
        // Dropping a pool would wait for threads that do not exist on this side of the fork.
        std::mem::forget(inherited);
    }
    let pools = guard.get_or_insert_with(|| Pools { process, by_threads: HashMap::new() });
    if let Some(pool) = pools.by_threads.get(&threads) {
        return Ok(Arc::clone(pool));
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("ancestral-{index}"))
        .build()
        .map(Arc::new)
        .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
    pools.by_threads.insert(threads, Arc::clone(&pool));
    Ok(pool)
}
