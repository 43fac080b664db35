//! FVSBN, the fully visible sigmoid belief network: a logistic regression for each dimension.
//!
//! p(x_i = 1 | x_<i) = σ(b_i + Σ_{j<i} w_ij x_j). Neal, *Connectionist learning of belief networks*, 1992; Frey,
//! Hinton, Dayan, *Does the wake-sleep algorithm produce good density estimators?*, NIPS 1995.
//!
//! The walk is driven by events: a zero costs nothing, and each one adds a column of weights to the logits after it.

use serde::Deserialize;

use super::{abs_sum, check_range};
use crate::{
    block::Block,
    checkpoint::Checkpoint,
    error::Error,
    event::Event,
    kernels::{Kernel, LANES, Lanes, Pack, to_packs},
    model::{Model, Scratch},
};

/// The name in files.
pub const KIND: &str = "FVSBN";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    n_dims: usize,
    /// Required, though it may be null.
    #[serde(deserialize_with = "Option::deserialize")]
    order: Option<Vec<u32>>,
}

/// A trained FVSBN.
pub struct Fvsbn {
    event: Event,
    bias: Vec<Pack>,
    /// For each block of 16 outputs, a row of zeros and then the weights from inputs 0 to the block's last: row j + 1 holds
    /// w_ij for its 16 outputs i, zero where j ≥ i.
    weight: Vec<Vec<Pack>>,
}

impl Fvsbn {
    /// From `weight` (`n_dims`, `n_dims`), of which the strict lower triangle counts, and `bias` (`n_dims`).
    pub fn new(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let Config { n_dims, order } = checkpoint.config()?;
        let tensors = checkpoint.expect(&[("weight".into(), vec![n_dims, n_dims]), ("bias".into(), vec![n_dims])])?;
        let event = Event::new(vec![n_dims], 2, || order)?;
        let [weight, bias] = [tensors[0].data(), tensors[1].data()];
        let row = |i: usize| &weight[i * n_dims..][..i];
        check_range("output", (0..n_dims).map(|i| abs_sum(row(i)) + f64::from(bias[i].abs())))?;
        let blocks = (0..n_dims.div_ceil(LANES)).map(|block| {
            let mut packs = vec![Pack::ZERO; 1 + (block + 1) * LANES];
            for lane in 0..LANES.min(n_dims - block * LANES) {
                for (pack, &w) in packs[1..].iter_mut().zip(row(block * LANES + lane)) {
                    pack.0[lane] = w;
                }
            }
            packs
        });
        Ok(Self { event, bias: to_packs(bias), weight: blocks.collect() })
    }
}

impl Model for Fvsbn {
    fn event(&self) -> &Event {
        &self.event
    }

    fn n_params(&self) -> usize {
        self.event.n_dims() * (self.event.n_dims() + 1) / 2
    }

    fn cost(&self) -> usize {
        // A quarter of the triangle: with half of the dimensions one, 16 to a vector.
        self.n_params() / 8
    }

    fn block_len(&self) -> usize {
        // Each block of weights is read from afar once for all samples, and then from a near cache: the more samples the
        // better, until their own rows take too much memory.
        ((1 << 21) / self.event.n_dims()).clamp(8, 128)
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let stride = self.event.n_dims().next_multiple_of(CHAINS);
        scratch.indices.clear();
        scratch.indices.resize(block.len * stride, ZERO_ROW);
        let mut counts = vec![0; block.len];
        for at in 0..self.weight.len() {
            block.check()?;
            block.isa.run(Walk { model: self, block, rows: &mut scratch.indices, stride, counts: &mut counts, at });
        }
        Ok(())
    }
}

/// The row of zeros in each block of weights: what a sample adds that has no more ones.
const ZERO_ROW: u32 = 0;
/// Sums that a sample's rows are added into in turn: they hide the latency of an addition.
const CHAINS: usize = 2;
/// Samples that walk in step. Waiting for one sample's comparison, the others' go on, and there is one branch for all.
const GROUP: usize = 4;

/// One block of 16 dimensions, for all samples.
struct Walk<'a, 'b> {
    model: &'a Fvsbn,
    block: &'a mut Block<'b>,
    /// For each sample the rows of its ones so far, then zero rows; `stride` apart.
    rows: &'a mut [u32],
    stride: usize,
    /// Ones so far.
    counts: &'a mut [usize],
    at: usize,
}

impl Kernel for Walk<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let len = self.block.len;
        let mut sample = 0;
        while sample + GROUP <= len {
            self.group::<L, GROUP>(l, sample);
            sample += GROUP;
        }
        while sample < len {
            self.group::<L, 1>(l, sample);
            sample += 1;
        }
    }
}

impl Walk<'_, '_> {
    /// The samples from `sample` on, `N` of them.
    #[inline(always)]
    fn group<L: Lanes, const N: usize>(&mut self, l: L, sample: usize) {
        let n_dims = self.model.event.n_dims();
        let packs = n_dims.div_ceil(LANES);
        let first = self.at * LANES;
        let lanes = LANES.min(n_dims - first);
        let weight = &self.model.weight[self.at][..1 + first + LANES];
        let stride = self.stride;
        let rows = &mut self.rows[sample * stride..][..N * stride];
        let counts: &mut [usize; N] = (&mut self.counts[sample..sample + N]).try_into().expect("N samples");

        let bias = l.load(&self.model.bias[self.at]);
        let mut sums = [[bias, l.splat(0.0)]; N];
        let most = counts.iter().copied().fold(0, usize::max);
        for at in (0..most).step_by(CHAINS) {
            for n in 0..N {
                let pair = &rows[n * stride + at..][..CHAINS];
                sums[n] = [
                    l.add(sums[n][0], l.load(&weight[pair[0] as usize])),
                    l.add(sums[n][1], l.load(&weight[pair[1] as usize])),
                ];
            }
        }

        let mut logits = [bias; N];
        let mut thresholds = [bias; N];
        for n in 0..N {
            logits[n] = l.add(sums[n][0], sums[n][1]);
            thresholds[n] = l.load(&self.block.field[(sample + n) * packs + self.at]);
        }
        let mut undecided = [u32::from(u16::MAX >> (LANES - lanes)); N];
        let mut ones = [0_u32; N];
        loop {
            let mut above = [0; N];
            let mut any = 0;
            for n in 0..N {
                above[n] = u32::from(l.gt(logits[n], thresholds[n])) & undecided[n];
                any |= above[n];
            }
            if any == 0 {
                break;
            }
            for n in 0..N {
                // Lanes before the first one are zeros now; those after it are compared again with its weights added.
                let one = above[n] & above[n].wrapping_neg();
                let step = first + one.trailing_zeros() as usize;
                let row = if one == 0 { ZERO_ROW } else { 1 + step as u32 };
                logits[n] = l.add(logits[n], l.load(&weight[row as usize]));
                undecided[n] &= !(one | one.wrapping_sub(1));
                ones[n] |= one;
                if one != 0 {
                    rows[n * stride + counts[n]] = row;
                    counts[n] += 1;
                }
            }
        }
        for n in 0..N {
            l.store(&mut self.block.field[(sample + n) * packs + self.at], logits[n]);
            let x = &mut self.block.x[(sample + n) * n_dims + first..][..lanes];
            for (lane, x) in x.iter_mut().enumerate() {
                *x = (ones[n] >> lane & 1) as u8;
            }
        }
    }
}
