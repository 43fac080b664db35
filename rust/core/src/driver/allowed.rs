//! Values drawn within sets: evidence, ranges, and the weights that make up for it.
//!
//! A dimension with a restricted set S_i is drawn from p(x_i | x_<i, x_i ∈ S_i), and the sample gets the weight
//! ∏ p(S_i | x_<i). The mean weight is an unbiased estimate of P(x_1 ∈ S_1, …, x_D ∈ S_D). With sets of one value this is
//! likelihood weighting (Fung, Chang, UAI 1989; Shachter, Peot, UAI 1989), with ranges progressive sampling (Yang et al.,
//! *Deep unsupervised cardinality estimation*, VLDB 2019).

use super::Decide;
use crate::{
    error::Error,
    event::Event,
    kernels::{Isa, Pack, flat_mut},
    philox,
};

/// For every row and dimension, in the event's order, the values that are allowed.
#[derive(Clone, Copy)]
pub enum Allowed<'a> {
    /// From `low` to `high`, both among them: `n_dims` a row.
    Range {
        /// The least value.
        low: &'a [u8],
        /// The largest value.
        high: &'a [u8],
    },
    /// Those that are marked by other than 0: `n_dims` × `n_classes` a row.
    Sets(&'a [u8]),
}

/// Draws within sets: several paths a row.
pub struct Restrict<'a> {
    event: &'a Event,
    allowed: Allowed<'a>,
    /// The last restricted step of any row, plus 1.
    n_steps: usize,
    /// The seed of all draws.
    pub seed: u64,
    /// Path j of row i has the uniforms of sample `first[i]` + j.
    pub first: &'a [u64],
    /// Paths of each row: samples `i · n_paths` to `(i + 1) · n_paths` − 1 belong to row i.
    pub n_paths: usize,
}

impl<'a> Restrict<'a> {
    /// `n_paths` paths for each row, with the uniforms of `seed` and the samples from the row's `first` on.
    ///
    /// # Errors
    /// [`Error::Empty`] for a set with no value.
    pub fn new(
        event: &'a Event,
        allowed: Allowed<'a>,
        seed: u64,
        first: &'a [u64],
        n_paths: usize,
    ) -> Result<Self, Error> {
        let mut restrict = Self { event, allowed, n_steps: 0, seed, first, n_paths };
        let n_classes = event.n_classes();
        for row in 0..first.len() {
            for step in 0..event.n_dims() {
                let dim = event.dim(step);
                match restrict.count(row, dim) {
                    0 => return Err(Error::Empty { row, dim }),
                    count if count < n_classes => restrict.n_steps = restrict.n_steps.max(step + 1),
                    _ => {}
                }
            }
        }
        Ok(restrict)
    }

    /// The last restricted step of any row, plus 1: the weights do not depend on what comes after it.
    pub fn n_steps(&self) -> usize {
        self.n_steps
    }

    fn allows(&self, row: usize, dim: usize, k: usize) -> bool {
        let at = row * self.event.n_dims() + dim;
        match self.allowed {
            Allowed::Range { low, high } => (usize::from(low[at])..=usize::from(high[at])).contains(&k),
            Allowed::Sets(marks) => marks[at * self.event.n_classes() + k] != 0,
        }
    }

    /// How many values are allowed.
    fn count(&self, row: usize, dim: usize) -> usize {
        let (at, n_classes) = (row * self.event.n_dims() + dim, self.event.n_classes());
        match self.allowed {
            Allowed::Range { low, high } => {
                (usize::from(high[at]) + 1).min(n_classes).saturating_sub(usize::from(low[at]))
            }
            Allowed::Sets(marks) => marks[at * n_classes..][..n_classes].iter().filter(|&&mark| mark != 0).count(),
        }
    }

    fn row(&self, sample: usize) -> usize {
        sample / self.n_paths
    }

    fn index(&self, sample: usize) -> u64 {
        self.first[self.row(sample)].wrapping_add((sample % self.n_paths) as u64)
    }
}

impl Decide for Restrict<'_> {
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]) {
        philox::logits_of_uniforms(isa, self.seed, self.index(sample), out);
        let row = self.row(sample);
        for (step, threshold) in flat_mut(out)[..self.event.n_dims()].iter_mut().enumerate() {
            let dim = self.event.dim(step);
            match (self.allows(row, dim, 0), self.allows(row, dim, 1)) {
                (true, true) => {}
                (true, false) => *threshold = f32::INFINITY,
                (false, _) => *threshold = f32::NEG_INFINITY,
            }
        }
    }

    fn uniform(&self, sample: usize, step: usize) -> f64 {
        philox::uniform(self.seed, self.index(sample), step)
    }

    fn propose(&self, sample: usize, step: usize, logits: &mut [f32]) -> bool {
        let (row, dim) = (self.row(sample), self.event.dim(step));
        let mut restricted = false;
        for (k, logit) in logits.iter_mut().enumerate() {
            if !self.allows(row, dim, k) {
                *logit = f32::NEG_INFINITY;
                restricted = true;
            }
        }
        restricted
    }

    fn fixed(&self, sample: usize, out: &mut [bool]) {
        let row = self.row(sample);
        for (step, fixed) in out.iter_mut().enumerate() {
            let dim = self.event.dim(step);
            *fixed = !(self.allows(row, dim, 0) && self.allows(row, dim, 1));
        }
    }
}
