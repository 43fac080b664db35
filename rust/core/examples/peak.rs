//! What this machine can do at most, as JSON: multiply-adds and reads a second on each instruction set.
//!
//! `cargo run --release --example peak`. The bounds in docs/performance.md are counted against these figures: they are taken
//! with the very vectors that the models run on.

use std::{hint::black_box, sync::Barrier, thread, time::Instant};

use ancestral_core::kernels::{Isa, Kernel, LANES, Lanes, Pack};

/// Independent sums: as many as hide the latency of two multiply-adds a cycle, and fit sixteen registers twice over.
const CHAINS: usize = 12;
const TURNS: usize = 1 << 22;
/// Best of so many, since anything else that runs only takes away.
const TRIES: usize = 7;
/// Bytes read a thread for one figure.
const TRAFFIC: usize = 1 << 30;

/// `TURNS` multiply-adds in each of `CHAINS` chains.
struct MultiplyAdds;

impl Kernel for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f32 {
        let (a, b) = (l.splat(black_box(0.999)), l.splat(black_box(0.001)));
        let mut sums: [L::F; CHAINS] = std::array::from_fn(|k| l.splat(k as f32));
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = l.fma(*sum, a, b);
            }
        }
        sums.into_iter().map(|sum| l.sum(sum)).sum()
    }
}

/// Reads all packs `times` times, each once and in order.
struct Read<'a> {
    packs: &'a [Pack],
    times: usize,
}

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f32 {
        const SUMS: usize = 8;
        let mut sums = [l.splat(0.0); SUMS];
        for _ in 0..self.times {
            for packs in black_box(self.packs).as_chunks::<SUMS>().0 {
                for (sum, pack) in sums.iter_mut().zip(packs) {
                    *sum = l.add(*sum, l.load(pack));
                }
            }
        }
        sums.into_iter().map(|sum| l.sum(sum)).sum()
    }
}

/// The shortest time, over a few tries, in which `threads` threads do `work` side by side; each calls `prepare` before.
fn seconds<T>(threads: usize, prepare: impl Fn() -> T + Sync, work: impl Fn(&mut T) + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let one = || {
        let mut own = prepare();
        work(&mut own);
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            barrier.wait();
            let started = Instant::now();
            work(&mut own);
            barrier.wait();
            best = best.min(started.elapsed().as_secs_f64());
        }
        best
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).fold(0.0, f64::max)
    })
}

fn gflops(isa: Isa, threads: usize) -> f64 {
    let flops = 2 * CHAINS * LANES * TURNS * threads;
    let work = |_: &mut ()| {
        black_box(isa.run(MultiplyAdds));
    };
    flops as f64 / seconds(threads, || (), work) / 1e9
}

/// Each thread reads `bytes` of its own.
fn gigabytes_per_second(isa: Isa, threads: usize, bytes: usize) -> f64 {
    let times = (TRAFFIC / bytes).max(1);
    let prepare = || vec![Pack([1.0; LANES]); bytes / size_of::<Pack>()];
    let work = |packs: &mut Vec<Pack>| {
        black_box(isa.run(Read { packs, times }));
    };
    (times * bytes * threads) as f64 / seconds(threads, prepare, work) / 1e9
}

fn main() {
    let all = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut threads = vec![1, all];
    threads.dedup();
    let sizes = [("16 KiB", 16 << 10), ("512 KiB", 512 << 10), ("8 MiB", 8 << 20), ("512 MiB", 512 << 20)];
    let mut figures = Vec::new();
    for isa in Isa::all() {
        // Without fused multiply-adds in hardware the portable path calls a library: no bound of anything.
        if isa.name() == "portable" {
            continue;
        }
        for &threads in &threads {
            let read: serde_json::Map<_, _> = sizes
                .iter()
                .map(|&(name, bytes)| (name.to_owned(), gigabytes_per_second(isa, threads, bytes).into()))
                .collect();
            figures.push(serde_json::json!({
                "isa": isa.name(), "threads": threads, "gflops": gflops(isa, threads), "read_gb_per_s": read,
            }));
        }
    }
    println!("{}", serde_json::Value::from(figures));
}
