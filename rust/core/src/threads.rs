//! Tasks that threads share, and threads for work of some milliseconds, which the calling thread shares.
//!
//! Each thread that calls keeps helpers of its own, a [`ThreadPool`]: starting threads anew for each call takes as long
//! as a tenth of a step of training. Calls from several threads do not wait for each other's helpers, and a child that
//! is forked, where none of them run, gets others.

use std::{
    cell::RefCell,
    mem, process,
    rc::Rc,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Error;

/// How long to look out for the last helper to end, before the thread sleeps: to be woken takes some 50 µs.
const SOON: Duration = Duration::from_micros(200);

thread_local! {
    static HELPERS: RefCell<Option<Rc<Helpers>>> = const { RefCell::new(None) };
}

struct Helpers {
    /// Taken only as it is dropped.
    pool: Option<ThreadPool>,
    /// The process that started them.
    process: u32,
}

impl Helpers {
    /// The calling thread's own, at least `n` of them; none where the system has no threads to give, or the thread is
    /// about to end.
    fn get(n: usize) -> Option<Rc<Self>> {
        let get = |kept: &RefCell<Option<Rc<Self>>>| {
            let mut kept = kept.borrow_mut();
            let process = process::id();
            let fits = |helpers: &Rc<Self>| helpers.process == process && helpers.len() >= n;
            if !kept.as_ref().is_some_and(fits) {
                let pool = ThreadPoolBuilder::new().num_threads(n).thread_name(|at| format!("ancestral-{at}")).build();
                *kept = pool.ok().map(|pool| Rc::new(Self { pool: Some(pool), process }));
            }
            kept.clone()
        };
        HELPERS.try_with(get).ok().flatten()
    }

    fn len(&self) -> usize {
        self.pool.as_ref().map_or(0, ThreadPool::current_num_threads)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        if self.process != process::id() {
            // A fork took no thread along but the one that called, and perhaps a lock that another held.
            mem::forget(self.pool.take());
        }
    }
}

/// Calls `own` on this thread and meanwhile `others` on `n` − 1 more; where the system has none to give, on no other.
pub fn share(n: usize, own: impl FnOnce(), others: impl Fn() + Sync) {
    let helpers = if n > 1 { Helpers::get(n - 1) } else { None };
    let Some(pool) = helpers.as_ref().and_then(|helpers| helpers.pool.as_ref()) else { return own() };
    let working = AtomicUsize::new(n - 1);
    pool.in_place_scope(|scope| {
        for _ in 1..n {
            scope.spawn(|_| {
                others();
                working.fetch_sub(1, Ordering::Release);
            });
        }
        own();
        let ended = Instant::now();
        while working.load(Ordering::Acquire) > 0 && ended.elapsed() < SOON {
            thread::yield_now();
        }
    });
}

/// Tasks in a queue: each thread takes the next one, until there are none, or one of them has failed.
pub struct Queue<I> {
    tasks: Mutex<I>,
    stop: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl<I: Iterator> Queue<I> {
    /// No task is done yet.
    pub fn new(tasks: I) -> Self {
        Self { tasks: Mutex::new(tasks), stop: AtomicBool::new(false), error: Mutex::new(None) }
    }

    /// Does tasks on this thread.
    pub fn work(&self, mut work: impl FnMut(I::Item) -> Result<(), Error>) {
        let next = || self.tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        while !self.stopped()
            && let Some(task) = next()
        {
            work(task).unwrap_or_else(|error| self.fail(error));
        }
    }

    /// Ends the work, with this error if it is the first one.
    pub fn fail(&self, error: Error) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the work has failed: to be asked now and then in a long task.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// [`Queue::stopped`] as a flag.
    pub fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// The first error, once no thread works any more.
    pub fn finish(self) -> Result<(), Error> {
        self.error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}
