//! What the intervals of bits cost, and that they are the same everywhere.

use super::*;
use crate::kernels::to_packs;

/// Logits from one end of the floats to the other, dense where the probabilities are not at their limits, and no
/// numbers.
fn logits() -> Vec<f32> {
    let dense = (-200_000..=200_000).map(|i| i as f32 * 1e-4);
    let ends = [0.0, -0.0, 1e-30, 87.0, 88.0, 104.0, f32::MAX, f32::INFINITY, f32::NAN];
    dense.chain(ends.into_iter().flat_map(|end| [end, -end])).collect()
}

fn splits(isa: Isa, logits: &[f32]) -> Vec<Split> {
    let mut out = vec![Split::HALF; logits.len()];
    Split::of_logits(isa, &to_packs(logits), &mut out);
    out
}

/// Σ p log₂ (p / q), what is impossible left out.
fn kl_bits(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).log2()).sum()
}

#[test]
fn splits_have_the_same_bits_on_every_instruction_set_wherever_they_stand() {
    let logits = logits();
    let reference = splits(Isa::all()[0], &logits);
    for isa in Isa::all() {
        assert!(splits(isa, &logits) == reference, "{}", isa.name());
        assert!(splits(isa, &logits[7..]) == reference[7..], "{}", isa.name());
        for (&logit, &split) in logits.iter().zip(&reference) {
            assert_eq!(splits(isa, &[logit]), [split], "{logit} on {}", isa.name());
        }
    }
}

/// Files hold what these bits made: if they change, the format's version must.
#[test]
fn quantized_probabilities_stay_what_they_were() {
    let isa = Isa::get().unwrap();
    let mut hasher = crc32fast::Hasher::new();
    for split in splits(isa, &logits()[..400_001]) {
        hasher.update(&split.0.to_le_bytes());
    }
    assert_eq!(hasher.finalize(), 4_204_197_914);
}

#[test]
fn the_smaller_probability_of_a_bernoulli_is_right_to_its_last_unit() {
    let logits = logits();
    for (&logit, split) in logits.iter().zip(splits(Isa::get().unwrap(), &logits)) {
        let (zero, one) = (split.interval(0).width().get(), split.interval(1).width().get());
        assert_eq!(zero + one, TOTAL);
        if logit.is_nan() {
            continue;
        }
        let smaller = 1.0 / (1.0 + f64::from(logit).abs().exp());
        let units = (smaller * f64::from(TOTAL)).max(1.0);
        let found = f64::from(if logit < 0.0 { one } else { zero });
        // Half a unit from rounding, and three units in the last place of a float from σ.
        assert!((found - units).abs() <= 0.5 + units * 1.8e-7, "{logit}: {found}, not {units}");
        let p = [smaller, 1.0 - smaller];
        let q = [found / f64::from(TOTAL), 1.0 - found / f64::from(TOTAL)];
        assert!(kl_bits(&p, &q) < 1e-7, "{logit}");
    }
}

#[test]
fn a_quantile_of_a_bernoulli_finds_the_value_it_belongs_to() {
    for logit in [-f32::INFINITY, -3.0, 0.0, 3.0, f32::INFINITY] {
        let split = splits(Isa::get().unwrap(), &[logit])[0];
        for quantile in [0, 1, split.0 - 1, split.0, TOTAL - 2, TOTAL - 1] {
            let (x, interval) = split.at(quantile);
            assert!(interval == split.interval(x) && interval.contains(quantile));
            assert!(!split.interval(1 - x).contains(quantile));
        }
    }
}
