//! The arithmetic that all models share, each on every instruction set: `cargo bench --package ancestral-core`.
#![allow(missing_docs)] // of what criterion_group! writes

use std::hint::black_box;

use ancestral_core::{
    head,
    kernels::{
        Isa, Kernel, LANES, Lanes, Pack, flat, math,
        matmul::{Finish, Product, Relu, Scalars, Start, Term, Vectors, matmul},
    },
    layers::gate,
    philox,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const N_DIMS: usize = 784;

/// An elementary function.
trait Function: Copy {
    fn of<L: Lanes>(self, l: L, x: L::F) -> L::F;
}

macro_rules! functions {
    ($($name:ident = $function:path;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl Function for $name {
            #[inline(always)]
            fn of<L: Lanes>(self, l: L, x: L::F) -> L::F {
                $function(l, x)
            }
        }
    )*};
}

functions! {
    Exp = math::exp;
    Ln = math::ln;
    Sigmoid = math::sigmoid;
    Tanh = math::tanh;
    Gelu = math::gelu;
    Gate = gate_of_itself;
}

#[inline(always)]
fn gate_of_itself<L: Lanes>(l: L, x: L::F) -> L::F {
    gate::gate(l, x, x)
}

/// A function of every lane.
struct Map<'a, F>(F, &'a [Pack], &'a mut [Pack]);

impl<F: Function> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for (x, out) in self.1.iter().zip(self.2) {
            l.store(out, self.0.of(l, l.load(x)));
        }
    }
}

/// A whole product.
struct Multiply<'a>(Product<'a>, &'a mut [Pack]);

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let packs = self.0.packs;
        matmul(l, &self.0, self.1, packs);
    }
}

fn functions(c: &mut Criterion) {
    let x: Vec<Pack> = (0..64).map(|k| Pack([0.5 + k as f32 / 64.0; LANES])).collect();
    let mut out = x.clone();
    for isa in Isa::all() {
        let mut group = c.benchmark_group(format!("function/{}", isa.name()));
        group.throughput(Throughput::Elements((x.len() * LANES) as u64));
        group.bench_function("exp", |b| b.iter(|| isa.run(Map(Exp, black_box(&x), &mut out))));
        group.bench_function("ln", |b| b.iter(|| isa.run(Map(Ln, black_box(&x), &mut out))));
        group.bench_function("sigmoid", |b| b.iter(|| isa.run(Map(Sigmoid, black_box(&x), &mut out))));
        group.bench_function("tanh", |b| b.iter(|| isa.run(Map(Tanh, black_box(&x), &mut out))));
        group.bench_function("gelu", |b| b.iter(|| isa.run(Map(Gelu, black_box(&x), &mut out))));
        group.bench_function("gate", |b| b.iter(|| isa.run(Map(Gate, black_box(&x), &mut out))));
    }
}

fn bernoulli(c: &mut Criterion) {
    let mut field = vec![Pack::ZERO; N_DIMS.div_ceil(LANES)];
    let x: Vec<u8> = (0..N_DIMS).map(|i| u8::from(i % 7 == 0)).collect();
    for isa in Isa::all() {
        let mut group = c.benchmark_group(format!("bernoulli/{}", isa.name()));
        group.throughput(Throughput::Elements(N_DIMS as u64));
        group.bench_function("thresholds", |b| {
            b.iter(|| philox::logits_of_uniforms(isa, 0, black_box(1), &mut field));
        });
        group.bench_function("log_prob", |b| b.iter(|| head::bernoulli_log_prob(isa, black_box(&field), &x)));
    }
}

/// One tap of a convolution between maps of so many channels at 48 sites, with sites in the lanes.
fn products(c: &mut Criterion) {
    const PACKS: usize = 3;
    for channels in [8, 32, 64, 128] {
        let sites = vec![Pack([0.5; LANES]); channels * PACKS];
        let weight = vec![0.01; channels * channels];
        let bias = vec![0.0; channels];
        let mut out = vec![Pack::ZERO; channels * PACKS];
        for isa in Isa::all() {
            let mut group = c.benchmark_group(format!("matmul/{}", isa.name()));
            group.throughput(Throughput::Elements((channels * channels * PACKS * LANES) as u64)); // multiply-adds
            group.bench_function(format!("{channels}x{channels}x{}", PACKS * LANES), |b| {
                b.iter(|| {
                    let product = Product {
                        terms: &[Term { scalar: 0, vector: 0, depth: channels }],
                        scalars: Scalars { floats: &weight, row_step: 1, k_step: channels },
                        vectors: Vectors { floats: flat(black_box(&sites)), k_step: PACKS * LANES },
                        relu: Relu::None,
                        start: Start::Rows(&bias),
                        finish: Finish::Relu,
                        rows: channels,
                        packs: PACKS,
                    };
                    isa.run(Multiply(product, &mut out));
                });
            });
        }
    }
}

criterion_group!(benches, functions, bernoulli, products);
criterion_main!(benches);
