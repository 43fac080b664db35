//! The walk against one sample and one dimension at a time, bit for bit.

use proptest::prelude::*;

use super::{KIND, LANES};
use crate::{
    checkpoint::{Checkpoint, Tensor},
    distribution::Distribution,
    driver::{Draw, Driver, Score},
    engine::{self, Batch},
    kernels::{Isa, Pack, flat},
    models,
    outputs::Outputs,
    philox,
    values::{Values, ValuesMut},
};

/// The logit of output i: pairs of inputs in earlier blocks in turn, then the sum of those in its own block.
fn logit(weight: &[f32], bias: f32, x: &[u8]) -> f32 {
    let mut own = [0.0; LANES / 4];
    let mut sum = bias;
    let before = x.len() / LANES * LANES;
    let ones = |inputs: &mut dyn Iterator<Item = usize>| inputs.filter(|&j| x[j] == 1).map(|j| weight[j]).sum::<f32>();
    for first in (0..before).step_by(2) {
        sum += ones(&mut (first..first + 2));
    }
    for (four, own) in own.iter_mut().enumerate() {
        *own = ones(&mut (before + 4 * four..x.len().min(before + 4 * four + 4)));
    }
    sum + ((own[0] + own[1]) + (own[2] + own[3]))
}

proptest! {
    #[test]
    fn draws_and_scores_are_those_of_one_dimension_after_the_other(
        n_dims in 1_usize..100, n in 0_usize..20, scale in prop::sample::select(vec![0.1_f32, 1.0, 10.0, 1e4]), seed in any::<u64>(),
    ) {
        let mut state = seed;
        let mut values = |len: usize| -> Vec<f32> {
            (0..len).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) as f32 / 1e7 - 0.8) * scale
            }).collect()
        };
        let (weight, bias) = (values(n_dims * n_dims), values(n_dims));
        let tensors = [
            ("weight".into(), Tensor::new("weight", vec![n_dims, n_dims], weight.clone()).unwrap()),
            ("bias".into(), Tensor::new("bias", vec![n_dims], bias.clone()).unwrap()),
        ];
        let config = serde_json::json!({"n_dims": n_dims, "order": null});
        let model = models::build(&Checkpoint { kind: KIND.into(), config, graph: None, tensors: tensors.into() });
        let model = model.and_then(Distribution::into_one).unwrap();

        let (mut x, mut drawn) = (vec![0; n * n_dims], vec![0.0; n]);
        let outputs = Outputs { x: Some(ValuesMut::U8(&mut x)), log_prob: Some(&mut drawn), ..Outputs::default() };
        let driver = Driver::Decide(&Draw::new(seed, 3));
        engine::run(&*model, Batch { n, driver, n_steps: None, block_len: None, outputs, threads: 1 }, &mut |_| true).unwrap();
        let mut scored = vec![0.0; n];
        let outputs = Outputs { log_prob: Some(&mut scored), ..Outputs::default() };
        let score = Score::new(model.space(), Values::U8(&x)).unwrap();
        engine::run(&*model, Batch { n, driver: Driver::Score(&score), n_steps: None, block_len: None, outputs, threads: 1 }, &mut |_| true).unwrap();
        prop_assert_eq!(&drawn, &scored);

        for (sample, x) in x.chunks_exact(n_dims).enumerate() {
            let mut thresholds = vec![Pack::ZERO; n_dims.div_ceil(LANES)];
            philox::logits_of_uniforms(Isa::all()[0], seed, 3 + sample as u64, &mut thresholds);
            let mut expected = 0.0;
            for (i, &value) in x.iter().enumerate() {
                let logit = logit(&weight[i * n_dims..][..n_dims], bias[i], &x[..i]);
                prop_assert_eq!(value, u8::from(logit > flat(&thresholds)[i]));
                let surprise = f64::from(if value == 1 { -logit } else { logit });
                expected -= surprise.max(0.0) + (-surprise.abs()).exp().ln_1p();
            }
            prop_assert!((drawn[sample] - expected).abs() <= 1e-6 * n_dims as f64, "{} {expected}", drawn[sample]);
        }
    }
}
