//! The *prefix* of a sample: its steps up to its first active bit. The hidden units are those of no input there, so the
//! logits are the same for all samples.

use super::{
    Nade, Weights,
    hidden::{Hidden, Units},
    tiles::{TILE, read},
    walk::Sample,
};
use crate::{
    head::Bits,
    kernels::{Kernel, LANES, Lanes, Pack, flat, flat_mut},
};

/// Computes b_i + V_i · σ(c) for the first `n_steps` steps i; −∞ in the lanes that fill up the last pack.
pub struct PrefixLogits<'a> {
    pub hidden: &'a Hidden<'a>,
    pub weights: Weights<'a>,
    pub n_steps: usize,
}

impl Kernel for PrefixLogits<'_> {
    type Output = Vec<Pack>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Vec<Pack> {
        let Self { hidden, weights, n_steps } = self;
        let n_dims = weights.b.len();
        let mut logits = vec![Pack([f32::NEG_INFINITY; LANES]); n_steps.div_ceil(LANES)];
        let b = &weights.b[..n_steps];
        for (tile, (logits, b)) in flat_mut(&mut logits).chunks_mut(TILE).zip(b.chunks(TILE)).enumerate() {
            // The last row stands in for those beyond it.
            let rows: [_; TILE] = std::array::from_fn(|r| weights.v((tile * TILE + r).min(n_dims - 1)));
            let mut sums = [l.splat(0.0); TILE];
            for (pack, h) in hidden.initial_h().iter().enumerate() {
                for r in 0..TILE {
                    sums[r] = l.fma(read(l, rows[r], pack), l.load(h), sums[r]);
                }
            }
            let mut dots = Pack::ZERO;
            l.store(&mut dots, l.sum8(sums));
            logits.iter_mut().zip(b).zip(dots.0).for_each(|((logit, b), dot)| *logit = b + dot);
        }
        logits
    }
}

/// Walks the prefix of all samples; where values are decoded, only the first step.
pub struct Prefix<'a, 'b> {
    pub model: &'a Nade<'a>,
    pub block: &'a mut Bits<'b>,
    /// [`super::walk::Walk::hidden`]
    pub hidden: &'a mut [Pack],
    pub samples: &'a mut [Sample],
}

impl Kernel for Prefix<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { model, block, hidden, samples } = self;
        let (n_dims, given, decoded) = (model.space.n_dims(), block.given(), block.decoded());
        for (at, sample) in samples.iter_mut().enumerate() {
            model.hidden.begin(&mut Units::of(at, hidden, model.hidden.packs(), &mut sample.bound));
        }
        let mut n_steps = n_dims;
        if given {
            for (sample, x) in samples.iter_mut().zip(block.x.chunks_exact(n_dims)) {
                sample.start = x.iter().position(|&x| x == 1).unwrap_or(n_dims) + 1;
            }
            n_steps = samples.iter().map(|sample| sample.start).max().unwrap_or(0).min(n_dims);
        }
        let logits = &*model.prefix_logits(l, n_steps);
        let rows = block.field.chunks_exact_mut(n_dims.div_ceil(LANES));
        if decoded {
            for (field, sample) in rows.zip(samples) {
                sample.start = 1;
                field[0].0[0] = logits[0].0[0];
            }
            block.decode_step(0);
            return;
        }
        for ((sample, x), field) in samples.iter_mut().zip(block.x.chunks_exact_mut(n_dims)).zip(rows) {
            if !given {
                let first_active = first_above(l, logits, field).unwrap_or(n_dims);
                sample.start = first_active + 1;
                if let Some(x) = x.get_mut(first_active) {
                    *x = 1;
                }
            }
            let walked = sample.start.min(n_dims);
            flat_mut(field)[..walked].copy_from_slice(&flat(logits)[..walked]);
        }
    }
}

/// The first step whose logit exceeds its threshold.
#[inline(always)]
fn first_above<L: Lanes>(l: L, logits: &[Pack], thresholds: &[Pack]) -> Option<usize> {
    for (at, (logits, thresholds)) in logits.iter().zip(thresholds).enumerate() {
        let above = l.gt(l.load(logits), l.load(thresholds));
        if above != 0 {
            return Some(at * LANES + above.trailing_zeros() as usize);
        }
    }
    None
}
