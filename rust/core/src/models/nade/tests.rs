//! The walk against the formulas in f64, and against itself: drawn and given, alone and in a block, with odds and with
//! activations as the state.

use proptest::prelude::*;

use super::{KIND, Nade};
use crate::{
    checkpoint::{Checkpoint, Tensor},
    driver::{Draw, Driver, Score},
    engine::{self, Batch},
    model::Model,
    outputs::Outputs,
    values::{Values, ValuesMut},
};

/// Weights from a seed: `W` and `c` in ±`scale`, `b` about `bias`.
struct Weights {
    n_dims: usize,
    n_hidden: usize,
    tensors: [Vec<f32>; 4],
}

impl Weights {
    fn new(n_dims: usize, n_hidden: usize, scale: f32, bias: f32, seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut tensor = |len: usize, scale: f32, shift: f32| (0..len).map(|_| next() * scale + shift).collect();
        let tensors = [
            tensor(n_hidden * n_dims, scale, 0.0),
            tensor(n_hidden, scale, 0.0),
            tensor(n_dims * n_hidden, 1.0 / (n_hidden as f32).sqrt(), 0.0),
            tensor(n_dims, 1.0, bias),
        ];
        Self { n_dims, n_hidden, tensors }
    }

    fn model(&self) -> Nade<'static> {
        let Self { n_dims, n_hidden, .. } = *self;
        let shapes =
            [("W", vec![n_dims, n_hidden]), ("c", vec![n_hidden]), ("V", vec![n_dims, n_hidden]), ("b", vec![n_dims])];
        let tensor = |((name, shape), data): ((&str, Vec<usize>), &Vec<f32>)| {
            (name.to_owned(), Tensor::new(name, shape, data.clone()).expect("as the shape says"))
        };
        Nade::new(&Checkpoint {
            kind: KIND.into(),
            config: serde_json::json!({"n_dims": n_dims, "n_hidden": n_hidden, "order": null}),
            graph: None,
            tensors: shapes.into_iter().zip(&self.tensors).map(tensor).collect(),
        })
        .expect("a good checkpoint")
    }

    /// log p(x), from the formulas alone.
    fn log_prob(&self, x: &[u8]) -> f64 {
        let [w, c, v, b] = &self.tensors;
        let mut a: Vec<_> = c.iter().copied().map(f64::from).collect();
        let mut sum = 0.0;
        for (i, &x) in x.iter().enumerate() {
            let v = &v[i * self.n_hidden..];
            let dot: f64 = a.iter().zip(v).map(|(a, &v)| f64::from(v) / (1.0 + (-a).exp())).sum();
            let logit = f64::from(b[i]) + dot;
            let surprise = if x == 1 { -logit } else { logit };
            sum -= surprise.max(0.0) + (-surprise.abs()).exp().ln_1p();
            if x == 1 {
                a.iter_mut().enumerate().for_each(|(k, a)| *a += f64::from(w[i * self.n_hidden + k]));
            }
        }
        sum
    }
}

fn draw(model: &Nade<'_>, start: u64, n: usize) -> (Vec<u8>, Vec<f64>) {
    let (mut x, mut log_prob) = (vec![0; n * model.space().n_dims()], vec![0.0; n]);
    let outputs = Outputs { x: Some(ValuesMut::U8(&mut x)), log_prob: Some(&mut log_prob), ..Outputs::default() };
    let driver = Driver::Decide(&Draw::new(5, start));
    engine::run(model, Batch { n, driver, n_steps: None, block_len: None, outputs, threads: 1 }, &mut |_| true)
        .expect("no one stops it");
    (x, log_prob)
}

fn score(model: &Nade<'_>, x: &[u8]) -> Vec<f64> {
    let n = x.len() / model.space().n_dims();
    let mut log_prob = vec![0.0; n];
    let outputs = Outputs { log_prob: Some(&mut log_prob), ..Outputs::default() };
    let score = Score::new(model.space(), Values::U8(x)).expect("zeros and ones");
    let driver = Driver::Score(&score);
    engine::run(model, Batch { n, driver, n_steps: None, block_len: None, outputs, threads: 1 }, &mut |_| true)
        .expect("no one stops it");
    log_prob
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    /// Scales at which odds stay in their range, leave it on the way, or are out of it from the start; biases from
    /// almost no ones to almost no zeros.
    #[test]
    fn any_walk_gives_the_same_bits_and_follows_the_formulas(
        n_dims in prop_oneof![1_usize..20, Just(33), Just(64)],
        n_hidden in prop_oneof![1_usize..40, Just(64)],
        scale in prop_oneof![Just(0.1_f32), Just(2.0), Just(20.0), Just(60.0), Just(200.0)],
        bias in prop_oneof![Just(-4.0_f32), Just(0.0), Just(4.0)],
        n in 0_usize..7,
        seed in any::<u64>(),
    ) {
        let weights = Weights::new(n_dims, n_hidden, scale, bias, seed);
        let model = weights.model();
        let (x, log_prob) = draw(&model, 0, n);
        prop_assert_eq!(bits(&score(&model, &x)), bits(&log_prob));
        for (i, (row, &log_prob)) in x.chunks(n_dims).zip(&log_prob).enumerate() {
            prop_assert_eq!(draw(&model, i as u64, 1), (row.to_vec(), vec![log_prob]));
            let expected = weights.log_prob(row);
            // With weights of ±200, rounding a alone costs as much.
            let tolerance = 1e-5 * n_dims as f64 * f64::from(scale.max(1.0));
            prop_assert!((log_prob - expected).abs() < tolerance, "{log_prob} {expected}");
        }
    }
}

#[test]
fn nothing_all_zeros_and_all_ones() {
    for (n_dims, n_hidden) in [(1, 1), (8, 16), (9, 17), (40, 3)] {
        let weights = Weights::new(n_dims, n_hidden, 3.0, 0.0, 1);
        let model = weights.model();
        assert!(score(&model, &[]).is_empty());
        for value in [0, 1] {
            let x = vec![value; 3 * n_dims];
            let expected = weights.log_prob(&x[..n_dims]);
            assert!(score(&model, &x).iter().all(|log_prob| (log_prob - expected).abs() < 1e-4));
        }
    }
}
