//! Categorical distributions: log p, quantiles and intervals.

use proptest::prelude::*;

use crate::{
    codec::interval::{Interval, TOTAL},
    head::{Categorical, Cumulative, Softmax},
    kernels::Isa,
};

/// Numbers of classes about the ends of packs, sections and fours of sections, and the most there are.
const CLASSES: [usize; 14] = [1, 2, 3, 16, 17, 255, 256, 257, 512, 1000, 1024, 1025, 5000, 65_536];

/// Runs on every instruction set.
fn with(logits: &[f32], check: impl Fn(&Categorical<'_>, Cumulative<'_>)) {
    for isa in Isa::all() {
        with_isa(isa, logits, &check);
    }
}

fn with_isa<T>(isa: Isa, logits: &[f32], check: impl FnOnce(&Categorical<'_>, Cumulative<'_>) -> T) -> T {
    let mut softmax = Softmax::default();
    softmax.fill_masked(isa, logits, logits.len());
    softmax.sum(isa);
    check(&softmax.categorical(isa, 0, logits), softmax.cumulative(0))
}

/// Logits of both signs, in ±`scale`, another one at every class.
fn some_logits(n: usize, scale: f32) -> Vec<f32> {
    (0..n).map(|k| scale * (k as f32 * 0.7).sin()).collect()
}

/// What the distribution is in f64: the logarithm of Σ e^logit, and every p(k).
fn exact(logits: &[f32]) -> (f64, Vec<f64>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) - f64::from(largest)).exp()).collect();
    let total: f64 = weights.iter().sum();
    (f64::from(largest) + total.ln(), weights.iter().map(|weight| weight / total).collect())
}

#[test]
fn a_class_of_probability_zero_is_never_drawn() {
    const U: [f64; 6] = [0.0, f64::MIN_POSITIVE, 0.5 / 4_294_967_296.0, 0.5, 1.0 - 0.5 / 4_294_967_296.0, 1.0];
    for n in CLASSES.into_iter().filter(|n| (3..=5000).contains(n)) {
        for allowed in [0..1, 1..2, n - 1..n, n / 3..n / 2 + 1, 0..n / 2, n / 2..n] {
            for scale in [0.0, 1.0, 90.0] {
                let mut logits = some_logits(n, scale);
                logits[..allowed.start].fill(f32::NEG_INFINITY);
                logits[allowed.end..].fill(f32::NEG_INFINITY);
                with(&logits, |categorical, cumulative| {
                    for u in U.into_iter().chain([1.0 - f64::EPSILON / 2.0]) {
                        assert!(allowed.contains(&(cumulative.quantile(u) as usize)), "{n} {allowed:?} {u}");
                    }
                    for (k, p) in cumulative.probs().enumerate() {
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
    with(&[f32::NEG_INFINITY, 3.5, f32::NEG_INFINITY], |categorical, cumulative| {
        assert_eq!(categorical.log_prob(1), 0.0);
        assert_eq!(categorical.log_normalizer(), 3.5);
        assert_eq!(cumulative.probs().collect::<Vec<_>>(), [0.0, 1.0, 0.0]);
    });
}

#[test]
fn log_probs_keep_their_digits_at_both_ends() {
    for n in [4, 300, 65_536] {
        for mode in [0, 2, n - 1] {
            for ahead in [0.0_f32, 0.5, 5.0, 10.0, 16.0, 17.0, 20.0, 60.0, 80.0] {
                for base in [-1000.0_f32, 0.0, 1000.0] {
                    let mut logits = vec![base; n];
                    logits[mode] = base + ahead;
                    with_isa(Isa::get().unwrap(), &logits, |categorical, _| {
                        let certain = -((n - 1) as f64 * (-f64::from(ahead)).exp()).ln_1p();
                        let got = categorical.log_prob(mode as u32);
                        assert!((got / certain - 1.0).abs() < 1e-6, "{n} {mode} {ahead} {base}: {got} {certain}");
                        let got = categorical.log_prob(1 + mode as u32 % 2);
                        let expected = certain - f64::from(ahead);
                        let digits = 2e-7 + 1e-7 * expected.abs();
                        assert!((got - expected).abs() < digits, "{n} {mode} {ahead} {base}: {got} {expected}");
                    });
                }
            }
        }
    }
}

/// Files hold what these bits made: if they change, the revision of every model with classes must rise.
#[test]
fn quantized_probabilities_stay_what_they_were() {
    for (n, expected) in [(256, 1_054_911_606), (65_536, 3_289_904_590)] {
        let logits: Vec<f32> = (0..n).map(|k: u64| ((k * k) % 97) as f32 * 0.15).collect();
        with(&logits, |_, cumulative| {
            let mut hasher = crc32fast::Hasher::new();
            for k in 0..n as u32 {
                let interval = cumulative.interval(k);
                hasher.update(&(interval.left() + interval.width().get()).to_le_bytes());
            }
            assert_eq!(hasher.finalize(), expected, "{n}");
        });
    }
}

#[test]
fn every_number_of_classes_follows_f64() {
    for n in CLASSES {
        for scale in [0.5, 8.0, 60.0] {
            let logits = some_logits(n, scale);
            let (normalizer, p) = exact(&logits);
            with(&logits, |categorical, cumulative| {
                let found = categorical.log_normalizer();
                assert!((found - normalizer).abs() < 1e-6, "{n} {scale}: {found} {normalizer}");
                for (k, (got, &p)) in cumulative.probs().zip(&p).enumerate() {
                    let log_p = f64::from(logits[k]) - normalizer;
                    assert!((categorical.log_prob(k as u32) - log_p).abs() < 1e-6, "{n} {scale} {k}");
                    // The difference of two logits is rounded to a float.
                    let digits = 1e-6 + f64::from(f32::EPSILON * scale);
                    assert!((f64::from(got) - p).abs() <= digits * p + 1e-37, "{n} {scale} {k}: {got} {p}");
                }
            });
        }
    }
}

/// Any of them, and side by side with others: the bits are those of the distribution on its own.
#[test]
fn distributions_side_by_side_are_those_on_their_own_on_every_instruction_set() {
    for n in CLASSES {
        let rows = if n > 5000 { 2 } else { 21 };
        let logits = some_logits(n * rows, 9.0);
        let bits = |categorical: &Categorical<'_>, cumulative: Cumulative<'_>| {
            let quantiles = [0.0, 0.1, 0.5, 0.9, 1.0 - 1e-12].map(|u| cumulative.quantile(u));
            let probs: Vec<u32> = cumulative.probs().map(f32::to_bits).collect();
            let intervals: Vec<Interval> = quantiles.iter().map(|&k| cumulative.interval(k)).collect();
            (quantiles, intervals, probs, categorical.log_prob(0).to_bits(), categorical.log_normalizer().to_bits())
        };
        let alone: Vec<_> = logits.chunks_exact(n).map(|logits| with_isa(Isa::all()[0], logits, bits)).collect();
        for isa in Isa::all() {
            let mut softmax = Softmax::default();
            assert_eq!(softmax.fill(isa, &logits, n), Ok(()));
            softmax.sum(isa);
            for (at, (logits, alone)) in logits.chunks_exact(n).zip(&alone).enumerate() {
                let got = bits(&softmax.categorical(isa, at, logits), softmax.cumulative(at));
                assert!(got == *alone, "{n} {at} {}", isa.name());
            }
        }
    }
}

#[test]
fn a_logit_that_is_not_finite_is_found() {
    for isa in Isa::all() {
        for n in [3, 16, 40, 1000] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for at in 0..n {
                    let mut logits = some_logits(3 * n, 5.0);
                    logits[n + at] = bad;
                    assert_eq!(Softmax::default().fill(isa, &logits, n), Err(1), "{n} {at} {bad}");
                }
            }
        }
    }
}

/// The intervals of all classes, which follow upon each other from 0 to 2²⁴, and the probabilities they stand for.
fn intervals(logits: &[f32]) -> (Vec<Interval>, Vec<f64>) {
    let intervals: Vec<_> = with_isa(Isa::get().unwrap(), logits, |_, cumulative| {
        let intervals: Vec<_> = (0..logits.len()).map(|k| cumulative.interval(k as u32)).collect();
        let mut end = 0;
        for (class, &interval) in intervals.iter().enumerate() {
            assert_eq!(interval.left(), end);
            end += interval.width().get();
            for quantile in [interval.left(), end - 1] {
                assert_eq!(cumulative.class_at(quantile), (class as u32, interval));
            }
        }
        assert_eq!(end, TOTAL);
        intervals
    });
    (intervals, exact(logits).1)
}

/// The expected cost in bits.
fn overhead(logits: &[f32]) -> f64 {
    let (intervals, p) = intervals(logits);
    let q = intervals.iter().map(|interval| f64::from(interval.width().get()) / f64::from(TOTAL));
    p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).log2()).sum()
}

#[test]
fn intervals_of_every_number_of_classes_leave_no_gap_and_cost_little() {
    for n in CLASSES {
        let bound = (f64::from(TOTAL) / (f64::from(TOTAL) - n as f64)).log2();
        for scale in [0.0, 3.0, 60.0] {
            let overhead = overhead(&some_logits(n, scale));
            assert!(overhead < bound + 1e-6, "{n} {scale}: {overhead}");
        }
    }
}

#[test]
fn the_worst_categorical_costs_what_is_said() {
    let mut logits = [0.0; 256];
    logits[97] = 60.0;
    assert!((2.1e-5..2.2e-5 + 1e-6).contains(&overhead(&logits)));
    let mut logits = vec![0.0; 65_536];
    logits[60_000] = 60.0;
    assert!((5.6e-3..5.7e-3).contains(&overhead(&logits)));
}

#[test]
#[should_panic(expected = "a class of the distribution")]
fn a_class_beyond_the_last_has_no_interval() {
    with(&[0.0; 3], |_, cumulative| {
        cumulative.interval(3);
    });
}

fn any_logits(most: usize) -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![-8_f32..8.0, -1e30_f32..1e30, Just(f32::NEG_INFINITY)];
    prop::collection::vec(logit, 0..most).prop_map(|mut logits| {
        logits.push(0.0);
        logits
    })
}

proptest! {
    #[test]
    fn ordinary_categoricals_cost_little(logits in prop::collection::vec(-8_f32..8.0, 1..=256)) {
        prop_assert!(overhead(&logits) < 1e-5);
    }

    #[test]
    fn any_categorical_is_cut_into_intervals(logits in any_logits(1500)) {
        let bound = (f64::from(TOTAL) / (f64::from(TOTAL) - logits.len() as f64)).log2();
        let overhead = overhead(&logits);
        // Our own e^x is right to a few units in the last place.
        prop_assert!(overhead < bound + 1e-6, "{overhead}");
    }

    #[test]
    fn a_quantile_is_where_the_sum_of_probabilities_passes_it(logits in any_logits(1500), u in 0.0..1.0) {
        let (_, p) = exact(&logits);
        with(&logits, |_, cumulative| {
            let k = cumulative.quantile(u) as usize;
            let before: f64 = p[..k].iter().sum();
            assert!(before <= u + 1e-6 && before + p[k] > u - 1e-6, "{before} {} {u}", p[k]);
            assert!(logits[k] > f32::NEG_INFINITY);
        });
    }

    #[test]
    fn sums_never_fall_and_end_with_the_total(logits in any_logits(1500)) {
        with(&logits, |_, cumulative| {
            let cdf: Vec<_> = cumulative.cdf().collect();
            assert_eq!(cdf.len(), logits.len());
            assert!(cdf.is_sorted());
            assert_eq!(cdf.last(), Some(&1.0));
        });
    }
}
