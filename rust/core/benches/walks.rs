//! One block of samples through each model, on every instruction set: `cargo bench --package ancestral-core --bench walks`.
#![allow(missing_docs)] // of what criterion_group! writes

use std::{collections::HashMap, sync::atomic::AtomicBool};

use ancestral_core::{
    block::{Block, Room, Task},
    checkpoint::{Checkpoint, Tensor},
    distribution::Distribution,
    driver::{Draw, Driver, Score},
    kernels::Isa,
    model::{Model, Scratch},
    models,
    outputs::Outputs,
    philox,
    values::{Values, ValuesMut},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// A model of `kind` with small random weights. Biases called `sparse` make about an eighth of the values ones, as in MNIST.
fn build(kind: &str, config: serde_json::Value, shapes: &[(String, Vec<usize>)], sparse: &str) -> Box<dyn Model> {
    let tensors: HashMap<_, _> = shapes
        .iter()
        .enumerate()
        .map(|(k, (name, shape))| {
            let len = shape.iter().product();
            let scale = 0.3 / (len as f64 / shape[0] as f64).sqrt();
            let random = |i| (scale * (2.0 * philox::uniform(k as u64, 0, i) - 1.0)) as f32;
            let data = if name == sparse { vec![-2.0; len] } else { (0..len).map(random).collect() };
            (name.clone(), Tensor::new(name, shape.clone(), data).expect("as many as the shape says"))
        })
        .collect();
    let checkpoint = Checkpoint { kind: kind.into(), config, graph: None, tensors: tensors.into_iter().collect() };
    models::build(&checkpoint).and_then(Distribution::into_one).expect("a model of this config")
}

fn fvsbn(n_dims: usize) -> Box<dyn Model> {
    let shapes = [("weight".to_owned(), vec![n_dims, n_dims]), ("bias".to_owned(), vec![n_dims])];
    build("FVSBN", serde_json::json!({"n_dims": n_dims, "order": null}), &shapes, "bias")
}

fn nade(n_dims: usize, n_hidden: usize) -> Box<dyn Model> {
    let shapes =
        [("W", vec![n_dims, n_hidden]), ("c", vec![n_hidden]), ("V", vec![n_dims, n_hidden]), ("b", vec![n_dims])]
            .map(|(name, shape)| (name.to_owned(), shape));
    let config = serde_json::json!({"n_dims": n_dims, "n_hidden": n_hidden, "order": null});
    build("NADE", config, &shapes, "b")
}

fn pixelcnn(n_channels: usize, n_blocks: usize, n_head: usize) -> Box<dyn Model> {
    let half = n_channels / 2;
    let mut layers = vec![("input".to_owned(), n_channels, 1, 7)];
    for block in 0..n_blocks {
        layers.push((format!("blocks.{block}.down"), half, n_channels, 1));
        layers.push((format!("blocks.{block}.conv"), half, half, 3));
        layers.push((format!("blocks.{block}.up"), n_channels, half, 1));
    }
    layers.push(("head_hidden".to_owned(), n_head, n_channels, 1));
    layers.push(("head_out".to_owned(), 1, n_head, 1));
    let shapes: Vec<_> = layers
        .into_iter()
        .flat_map(|(name, out, from, size)| {
            [(format!("{name}.weight"), vec![out, from, size, size]), (format!("{name}.bias"), vec![out])]
        })
        .collect();
    let config = serde_json::json!({
        "event_shape": [1, 28, 28], "n_classes": 2, "n_channels": n_channels, "n_blocks": n_blocks, "n_head": n_head,
        "input_scale": 1.0, "input_shift": 0.0,
    });
    build("PixelCNN", config, &shapes, "head_out.bias")
}

/// Walks one block of `len` samples, and books log-probabilities and, where they are drawn, values.
fn walk(
    isa: Isa,
    model: &dyn Model,
    driver: Driver<'_>,
    len: usize,
    x: Option<&mut [u8]>,
    memory: &mut (Room, Scratch),
) {
    let stop = AtomicBool::new(false);
    let mut log_prob = vec![0.0; len];
    let x = x.map(ValuesMut::U8);
    let outputs = Outputs { x, log_prob: Some(&mut log_prob), ..Outputs::default() };
    let space = model.space();
    let task = Task { isa, space, driver, n_steps: space.n_dims(), stop: &stop };
    let mut block = Block::new(&task, (0, len), outputs, &mut memory.0).expect("no decoder");
    model.walk(&mut block, &mut memory.1).expect("weights are small");
    block.finish(|step| model.turn(step)).expect("no decoder");
}

fn walks(c: &mut Criterion) {
    let models = [
        ("FVSBN 784", fvsbn(784)),
        ("NADE 784x500", nade(784, 500)),
        ("PixelCNN 16x15", pixelcnn(16, 15, 32)),
        ("PixelCNN 64x8", pixelcnn(64, 8, 64)),
        ("PixelCNN 128x15", pixelcnn(128, 15, 32)),
    ];
    for (name, model) in &models {
        let mut memory = (Room::new(model.space()), Scratch::default());
        // The portable path is there to be right: without hardware for it, a multiply-add is a library call.
        for isa in Isa::all().into_iter().filter(|isa| isa.name() != "portable") {
            let mut group = c.benchmark_group(format!("{name}/{}", isa.name()));
            group.sample_size(10);
            for len in [1, model.block_len()] {
                let mut x = vec![0; len * model.space().n_dims()];
                let draw = Draw::new(0, 0);
                group.throughput(Throughput::Elements(len as u64)); // samples
                group.bench_function(BenchmarkId::new("sample", len), |b| {
                    b.iter(|| walk(isa, &**model, Driver::Decide(&draw), len, Some(&mut x), &mut memory));
                });
                let score = Score::new(model.space(), Values::U8(&x)).expect("drawn values are classes");
                group.bench_function(BenchmarkId::new("log_prob", len), |b| {
                    b.iter(|| walk(isa, &**model, Driver::Score(&score), len, None, &mut memory));
                });
            }
        }
    }
}

criterion_group!(benches, walks);
criterion_main!(benches);
