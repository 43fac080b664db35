//! Extreme logits, and classes without probability.

use super::*;
use crate::kernels::{LANES, Pack, flat};

/// Runs on every instruction set.
fn with(logits: &[f32], check: impl Fn(&Categorical<'_>)) {
    for isa in Isa::all() {
        let mut room = vec![Pack::ZERO; logits.len().div_ceil(LANES)];
        check(&Categorical::new(isa, logits, &mut room));
    }
}

#[test]
fn a_class_of_probability_zero_is_never_drawn() {
    const U: [f64; 6] = [0.0, f64::MIN_POSITIVE, 0.5 / 4_294_967_296.0, 0.5, 1.0 - 0.5 / 4_294_967_296.0, 1.0];
    for n in [3, 16, 17, 256] {
        for allowed in [0..1, 1..2, n - 1..n, n / 3..n / 2 + 1, 0..n / 2, n / 2..n] {
            for scale in [0.0, 1.0, 90.0] {
                let logit = |k: usize| scale * (k as f32 * 0.7).sin();
                let logits: Vec<_> =
                    (0..n).map(|k| if allowed.contains(&k) { logit(k) } else { f32::NEG_INFINITY }).collect();
                with(&logits, |categorical| {
                    for u in U.into_iter().chain([1.0 - f64::EPSILON / 2.0]) {
                        assert!(allowed.contains(&(categorical.quantile(u) as usize)), "{n} {allowed:?} {u}");
                    }
                    for (k, p) in categorical.probs().enumerate() {
                        assert_eq!(p > 0.0, allowed.contains(&k));
                        assert_eq!(categorical.log_prob(k as u32) > f64::NEG_INFINITY, allowed.contains(&k));
                    }
                    let all: f64 = allowed.clone().map(|k| categorical.log_prob(k as u32).exp()).sum();
                    assert!((all - 1.0).abs() < 1e-6);
                });
            }
        }
    }
}

#[test]
fn only_one_class_left_is_certain() {
    with(&[f32::NEG_INFINITY, 3.5, f32::NEG_INFINITY], |categorical| {
        assert_eq!(categorical.log_prob(1), 0.0);
        assert_eq!(categorical.log_normalizer(), 3.5);
    });
}

#[test]
fn log_probs_keep_their_digits_at_both_ends() {
    for ahead in [0.0_f32, 0.5, 5.0, 10.0, 16.0, 17.0, 20.0, 60.0, 80.0] {
        for base in [-1000.0_f32, 0.0, 1000.0] {
            with(&[base, base, base + ahead, base], |categorical| {
                let certain = -(3.0 * (-f64::from(ahead)).exp()).ln_1p();
                let got = categorical.log_prob(2);
                assert!((got / certain - 1.0).abs() < 1e-6, "{ahead} {base}: {got} {certain}");
                let got = categorical.log_prob(0);
                assert!((got - certain + f64::from(ahead)).abs() < 2e-7, "{ahead} {base}: {got}");
            });
        }
    }
}

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
