//! Values drawn within sets: evidence, ranges, and the weights that make up for it.
//!
//! A dimension with a restricted set S_i is drawn from p(x_i | x_<i, x_i ∈ S_i), and the sample gets the weight
//! ∏ p(S_i | x_<i). The mean weight is an unbiased estimate of P(x_1 ∈ S_1, …, x_D ∈ S_D). With sets of one value this is
//! likelihood weighting (Fung, Chang, UAI 1989; Shachter, Peot, UAI 1989), with ranges progressive sampling (Yang et al.,
//! *Deep unsupervised cardinality estimation*, VLDB 2019).

use std::ops::Range;

use super::Decide;
use crate::{
    error::Error,
    kernels::{Isa, Pack, flat_mut},
    philox,
    space::Space,
    values::Values,
};

/// For every row and dimension, in the event's order, the values that are allowed.
#[derive(Clone, Copy)]
pub enum Allowed<'a> {
    /// From `low` to `high`, both among them: `n_dims` a row.
    Range {
        /// The least value.
        low: Values<'a>,
        /// The largest value.
        high: Values<'a>,
    },
    /// Those that are marked by other than 0: `n_dims` × the largest number of classes a row; what stands beyond the classes of a
    /// dimension is not looked at.
    Sets(&'a [u8]),
}

/// Draws within sets: several paths a row.
pub struct Restrict<'a> {
    space: &'a Space,
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
    /// [`Error::Empty`] for a set with no value; [`Error::Dtype`] for bounds of another type than the space's values.
    pub fn new(
        space: &'a Space,
        allowed: Allowed<'a>,
        seed: u64,
        first: &'a [u64],
        n_paths: usize,
    ) -> Result<Self, Error> {
        if let Allowed::Range { low, high } = allowed {
            low.dtype().check("low", space)?;
            high.dtype().check("high", space)?;
        }
        let mut restrict = Self { space, allowed, n_steps: 0, seed, first, n_paths };
        for row in 0..first.len() {
            for step in 0..space.n_dims() {
                let dim = space.dim(step);
                match restrict.count(row, dim) {
                    0 => return Err(Error::Empty { row, dim }),
                    count if count < space.n_classes(dim) => restrict.n_steps = restrict.n_steps.max(step + 1),
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

    /// The classes of a dimension from the least to the largest one allowed.
    fn range(&self, low: &Values<'_>, high: &Values<'_>, (row, dim): (usize, usize)) -> Range<usize> {
        let at = row * self.space.n_dims() + dim;
        let end = (high.get(at) as usize + 1).min(self.space.n_classes(dim));
        // Checked when the batch came; this is for a caller who changes the bounds meanwhile.
        end.min(low.get(at) as usize)..end
    }

    /// The marks of a dimension's classes.
    fn marks<'m>(&self, marks: &'m [u8], (row, dim): (usize, usize)) -> &'m [u8] {
        let at = row * self.space.n_dims() + dim;
        &marks[at * self.space.most_classes()..][..self.space.n_classes(dim)]
    }

    /// For bits: whether 0 and 1 are allowed at each step.
    fn bits(&self, row: usize) -> impl Iterator<Item = [bool; 2]> {
        let first = row * self.space.n_dims();
        (0..self.space.n_dims()).map(move |step| {
            let at = first + self.space.dim(step);
            match &self.allowed {
                Allowed::Range { low, high } => {
                    let (low, high) = (low.get(at), high.get(at));
                    [low == 0, low <= 1 && high >= 1]
                }
                Allowed::Sets(marks) => [marks[2 * at] != 0, marks[2 * at + 1] != 0],
            }
        })
    }

    /// How many values are allowed.
    fn count(&self, row: usize, dim: usize) -> usize {
        match &self.allowed {
            Allowed::Range { low, high } => self.range(low, high, (row, dim)).len(),
            Allowed::Sets(marks) => self.marks(marks, (row, dim)).iter().filter(|&&mark| mark != 0).count(),
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
        for (threshold, allowed) in flat_mut(out).iter_mut().zip(self.bits(self.row(sample))) {
            match allowed {
                [true, true] => {}
                [true, false] => *threshold = f32::INFINITY,
                [false, _] => *threshold = f32::NEG_INFINITY,
            }
        }
    }

    fn uniform(&self, sample: usize, step: usize) -> f64 {
        philox::uniform(self.seed, self.index(sample), step)
    }

    fn propose(&self, _isa: Isa, sample: usize, step: usize, logits: &[f32], out: &mut Vec<f32>) -> bool {
        let (row, dim) = (self.row(sample), self.space.dim(step));
        if self.count(row, dim) == logits.len() {
            return false;
        }
        out.clear();
        match &self.allowed {
            Allowed::Range { low, high } => {
                let range = self.range(low, high, (row, dim));
                out.resize(logits.len(), f32::NEG_INFINITY);
                out[range.clone()].copy_from_slice(&logits[range]);
            }
            Allowed::Sets(marks) => {
                let marks = self.marks(marks, (row, dim));
                let kept = |(&logit, &mark)| if mark != 0 { logit } else { f32::NEG_INFINITY };
                out.extend(logits.iter().zip(marks).map(kept));
            }
        }
        true
    }

    fn fixed(&self, sample: usize, out: &mut [bool]) {
        for (fixed, allowed) in out.iter_mut().zip(self.bits(self.row(sample))) {
            *fixed = allowed != [true, true];
        }
    }
}
