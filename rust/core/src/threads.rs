//! Threads for work of some milliseconds, which the calling thread shares.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Calls `own` on this thread and meanwhile `others` on up to `n` − 1 more; where the system has none to give, on fewer.
///
/// Linux may queue a new thread behind this one, though another processor is idle, and leave it there for as long as all the
/// work takes: on two processors often, in a call that follows a sleep. Then a second new thread goes to the idle processor. So
/// one more is started than may work, and the first ones to begin do.
pub fn share(n: usize, own: impl FnOnce(), others: impl Fn() + Sync) {
    let begun = AtomicUsize::new(1);
    let other = || {
        if begun.fetch_add(1, Ordering::Relaxed) < n {
            others();
        }
    };
    thread::scope(|scope| {
        for started in 0..if n > 1 { n } else { 0 } {
            let builder = thread::Builder::new().name(format!("ancestral-{started}"));
            if builder.spawn_scoped(scope, other).is_err() {
                break;
            }
        }
        own();
    });
}
