//! Surprise and log p of bits.

use crate::{
    head::{bernoulli_log_prob, bernoulli_surprise},
    kernels::{Isa, LANES, Pack, flat},
};

#[test]
fn surprise_keeps_its_digits_at_both_ends() {
    let logits = [-1e4, -100.0, -86.0, -60.0, -17.0, -16.0, -1.0, -1e-6, 0.0, 1e-6, 1.0, 16.0, 17.0, 60.0, 86.0, 1e4];
    for isa in Isa::all() {
        for x in [0, 1] {
            let mut pack = [Pack(logits)];
            bernoulli_surprise(isa, &mut pack, &[x; LANES]);
            for (&logit, &got) in logits.iter().zip(flat(&pack)) {
                let s = f64::from(if x == 1 { -logit } else { logit });
                let expected = s.max(0.0) + (-s.abs()).exp().ln_1p();
                // Nothing is below e^−87.
                assert!((f64::from(got) - expected).abs() <= 5e-7 * expected + 2e-38, "{logit} {x}: {got} {expected}");
                let alone = -bernoulli_log_prob(isa, &[Pack([logit; LANES])], &[x]);
                assert!((alone - expected).abs() <= 5e-7 * expected + 3e-37, "{logit} {x}: {alone} {expected}");
            }
        }
    }
}
