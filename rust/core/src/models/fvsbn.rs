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
    /// For each block of 16 outputs, the weights from inputs 0 to the block's last: row j holds w_ij for its 16
    /// outputs i, zero where j ≥ i.
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
            let mut packs = vec![Pack::ZERO; (block + 1) * LANES];
            for lane in 0..LANES.min(n_dims - block * LANES) {
                for (pack, &w) in packs.iter_mut().zip(row(block * LANES + lane)) {
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
        // Samples share each block of weights while it is in the first-level cache; their rows should fit the second.
        ((1 << 16) / self.event.n_dims()).clamp(8, 64)
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        scratch.indices.resize(block.len * (self.event.n_dims() + 1), 0);
        for at in 0..self.weight.len() {
            block.check()?;
            block.isa.run(Walk { model: self, block, events: &mut scratch.indices, at });
        }
        Ok(())
    }
}

/// One block of 16 dimensions, for all samples.
struct Walk<'a, 'b> {
    model: &'a Fvsbn,
    block: &'a mut Block<'b>,
    /// For each sample, the number of ones so far and then their steps.
    events: &'a mut [u32],
    at: usize,
}

impl Kernel for Walk<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let n_dims = self.model.event.n_dims();
        let packs = n_dims.div_ceil(LANES);
        let first = self.at * LANES;
        let lanes = LANES.min(n_dims - first);
        let weight = &self.model.weight[self.at][..first + LANES];
        let bias = l.load(&self.model.bias[self.at]);
        for sample in 0..self.block.len {
            let (count, events) =
                self.events[sample * (n_dims + 1)..][..n_dims + 1].split_first_mut().expect("n_dims + 1");
            if self.at == 0 {
                *count = 0;
            }
            // Four chains of additions at a time hide the latency of one.
            let mut sums = [bias, l.splat(0.0), l.splat(0.0), l.splat(0.0)];
            let (fours, rest) = events[..*count as usize].as_chunks::<4>();
            for four in fours {
                sums = [
                    l.add(sums[0], l.load(&weight[four[0] as usize])),
                    l.add(sums[1], l.load(&weight[four[1] as usize])),
                    l.add(sums[2], l.load(&weight[four[2] as usize])),
                    l.add(sums[3], l.load(&weight[four[3] as usize])),
                ];
            }
            for &step in rest {
                sums[0] = l.add(sums[0], l.load(&weight[step as usize]));
            }
            let mut logits = l.add(l.add(sums[0], sums[1]), l.add(sums[2], sums[3]));

            let field = &mut self.block.field[sample * packs + self.at];
            let thresholds = l.load(field);
            let mut undecided = u16::MAX >> (LANES - lanes);
            loop {
                let ones = l.gt(logits, thresholds) & undecided;
                if ones == 0 {
                    break;
                }
                // Lanes before the first one are zeros now; those after it are compared again with its weights added.
                let lane = ones.trailing_zeros() as usize;
                let step = first + lane;
                self.block.x[sample * n_dims + step] = 1;
                events[*count as usize] = step as u32;
                *count += 1;
                logits = l.add(logits, l.load(&weight[step]));
                undecided &= (u16::MAX << lane) << 1;
            }
            l.store(field, logits);
        }
    }
}
