//! One step of heads of 2 to 65,536 classes, on every instruction set: `cargo bench --package ancestral-core --bench heads`.
#![allow(missing_docs)] // of what criterion_group! writes

use std::{hint::black_box, sync::atomic::AtomicBool};

use ancestral_core::{
    block::{Block, Room, Task},
    driver::{Draw, Driver, Score},
    kernels::{Isa, Kernel, Lanes, Pack, math, to_packs},
    outputs::Outputs,
    philox,
    space::{Classes, Space},
    values::Array,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Samples that are decided at once.
const LEN: usize = 48;

/// Reads and exponentiates: the least that a categorical head has to do.
struct Exp<'a>(&'a [Pack], &'a mut [Pack]);

impl Kernel for Exp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for (x, out) in self.0.iter().zip(self.1) {
            l.store(out, math::exp(l, l.load(x)));
        }
    }
}

/// Decides one step of `LEN` samples.
fn decide(isa: Isa, space: &Space, driver: Driver<'_>, logits: &[f32], outputs: Outputs<'_>, room: &mut Room) {
    let stop = AtomicBool::new(false);
    let task = Task { isa, space, driver, n_steps: 1, stop: &stop };
    let mut block = Block::new(&task, (0, LEN), outputs, room).expect("no decoder");
    block.decide(0, 0..LEN, logits).expect("finite");
    block.finish(|step| step + 1).expect("no decoder");
}

fn heads(c: &mut Criterion) {
    for n_classes in [2, 16, 256, 65_536] {
        let space = Space::new(vec![1], Classes::Same(n_classes), || None).expect("one dimension");
        let logits: Vec<_> = (0..LEN * space.n_parameters(0)).map(|i| 6.0 * philox::uniform(0, 0, i) as f32).collect();
        let (packs, mut room) = (to_packs(&logits), Room::new(&space));
        let (mut out, mut x) = (vec![Pack::ZERO; 1 << 12], Array::new(&space, LEN));
        // The portable path is there to be right: without hardware for it, a multiply-add is a library call.
        for isa in Isa::all().into_iter().filter(|isa| isa.name() != "portable") {
            let mut group = c.benchmark_group(format!("head {n_classes}/{}", isa.name()));
            group.throughput(Throughput::Elements(logits.len() as u64));
            group.bench_function("exp", |b| {
                b.iter(|| {
                    packs.chunks(out.len()).for_each(|packs| isa.run(Exp(black_box(packs), &mut out[..packs.len()])))
                });
            });
            let draw = Draw::new(0, 0);
            group.bench_function("draw", |b| {
                b.iter(|| {
                    let outputs = Outputs { x: Some(x.write()), ..Outputs::default() };
                    decide(isa, &space, Driver::Decide(&draw), black_box(&logits), outputs, &mut room);
                });
            });
            let score = Score::new(&space, x.read()).expect("drawn values are classes");
            let mut log_prob = [0.0; LEN];
            group.bench_function("score", |b| {
                b.iter(|| {
                    let outputs = Outputs { log_prob: Some(&mut log_prob), ..Outputs::default() };
                    decide(isa, &space, Driver::Score(&score), black_box(&logits), outputs, &mut room);
                });
            });
        }
    }
}

criterion_group!(benches, heads);
criterion_main!(benches);
