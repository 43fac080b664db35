//! The steps up to the first one: every sample has the same hidden units there, so their logits are the model's own.

use super::{
    Nade, Weights,
    hidden::{Hidden, Units},
    strips::{TILE, read},
    walk::Sample,
};
use crate::{
    head::Bits,
    kernels::{Kernel, LANES, Lanes, Pack, flat, flat_mut},
};

/// Computes b_i + V_i · h for the first `n_steps` i with the units before the first step; −∞ in the lanes that fill up the last pack.
pub struct FirstLogits<'a> {
    pub hidden: &'a Hidden<'a>,
    pub weights: Weights<'a>,
    pub n_steps: usize,
}

impl Kernel for FirstLogits<'_> {
    type Output = Vec<Pack>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Vec<Pack> {
        let Self { hidden, weights, n_steps } = self;
        let n_dims = weights.b.len();
        let mut logits = vec![Pack([f32::NEG_INFINITY; LANES]); n_steps.div_ceil(LANES)];
        let b = &weights.b[..n_steps];
        for (at, (logits, b)) in flat_mut(&mut logits).chunks_mut(TILE).zip(b.chunks(TILE)).enumerate() {
            // The last rows are multiplied again and again, where there are no others.
            let rows: [_; TILE] = std::array::from_fn(|r| weights.v((at * TILE + r).min(n_dims - 1)));
            let mut sums = [l.splat(0.0); TILE];
            for (pack, h) in hidden.first().iter().enumerate() {
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

/// Begins all samples, and walks them up to their first one; where values are decoded, only the first step.
pub struct Start<'a, 'b> {
    pub model: &'a Nade<'a>,
    pub block: &'a mut Bits<'b>,
    /// [`super::walk::Walk::hidden`]
    pub hidden: &'a mut [Pack],
    pub samples: &'a mut [Sample],
}

impl Kernel for Start<'_, '_> {
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
        let logits = &*model.first_logits(l, n_steps);
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
                let first_one = first_above(l, logits, field).unwrap_or(n_dims);
                sample.start = first_one + 1;
                if let Some(x) = x.get_mut(first_one) {
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
