//! Cumulative sums of a categorical distribution: quantiles, and intervals for the codec.
//!
//! P(x ≤ k) is the sum of the weights in the sections before, plus that of the section's own weights up to k, over the total.
//! It never falls, and ends with exactly 1, since a section's last sum is what the next one begins with. What is looked for is
//! first found among the sections, and then within one.

use super::softmax::SECTION;
use crate::codec::interval::{Interval, TOTAL};

/// One distribution, summed up.
#[derive(Clone, Copy)]
pub struct Cumulative<'a> {
    pub(super) weights: &'a [f32],
    /// Of the weights before each section, and of all.
    pub(super) sums: &'a [f64],
}

impl<'a> Cumulative<'a> {
    fn total(self) -> f64 {
        self.sums[self.sums.len() - 1]
    }

    /// Every p(k).
    pub fn probs(self) -> impl Iterator<Item = f32> + 'a {
        let total = self.total();
        self.weights.iter().map(move |&weight| (f64::from(weight) / total) as f32)
    }

    /// The classes of a section, each with the sum of all weights up to its own.
    fn section(self, section: usize) -> impl Iterator<Item = (u32, f64)> + 'a {
        let (first, before) = (section * SECTION, self.sums[section]);
        let weights = self.weights[first..].iter().take(SECTION);
        let sums = weights.scan(0.0, |sum, &weight| {
            *sum += f64::from(weight);
            Some(*sum)
        });
        (first as u32..).zip(sums).map(move |(k, sum)| (k, before + sum))
    }

    /// Every P(x ≤ k).
    #[cfg(test)]
    pub fn cdf(self) -> impl Iterator<Item = f64> + 'a {
        (0..self.sums.len() - 1).flat_map(move |at| self.section(at)).map(move |(_, sum)| sum / self.total())
    }

    /// The smallest k with p(0) + … + p(k) > u, for u from 0 to below 1. Never one with a probability of 0.
    pub fn quantile(self, u: f64) -> u32 {
        let target = u * self.total();
        let section = self.sums[1..].partition_point(|&sum| sum <= target);
        if section + 1 < self.sums.len()
            && let Some((k, _)) = self.section(section).find(|&(_, sum)| sum > target)
        {
            return k;
        }
        // u · total was rounded up to the total.
        self.weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0) as u32
    }

    /// The quantile at which the interval of class k ends, ⌊P(x ≤ k) (2²⁴ − K)⌋ + k + 1, from the sum up to its weight. Each class has
    /// one quantile beforehand, and the rest are shared out; the last interval ends at 2²⁴ because the last P is exactly 1.
    fn end(self, k: u32, sum: f64) -> u32 {
        let shared = f64::from(TOTAL) - self.weights.len() as f64;
        (sum / self.total() * shared) as u32 + k + 1
    }

    /// The quantile at which the intervals of a section begin.
    fn begin(self, section: usize) -> u32 {
        match (section * SECTION) as u32 {
            0 => 0,
            first => self.end(first - 1, self.sums[section]),
        }
    }

    /// The interval of a class.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn interval(self, class: u32) -> Interval {
        assert!((class as usize) < self.weights.len(), "a class of the distribution");
        let (section, within) = (class as usize / SECTION, class as usize % SECTION);
        let mut ends = self.section(section).skip(within.saturating_sub(1)).map(|(k, sum)| self.end(k, sum));
        let left = if within == 0 { Some(self.begin(section)) } else { ends.next() };
        let (left, right) = left.zip(ends.next()).expect("as many as the section has classes");
        Interval::new(left, right - left)
    }

    /// The class that a quantile belongs to, and its interval.
    ///
    /// # Panics
    /// If the quantile is not below 2²⁴.
    pub fn class_at(self, quantile: u32) -> (u32, Interval) {
        assert!(quantile < TOTAL, "the quantile {quantile} is not below {TOTAL}");
        let (mut section, mut beyond) = (0, self.sums.len() - 1);
        // The last section that begins at the quantile or before.
        while beyond - section > 1 {
            let middle = section.midpoint(beyond);
            *(if self.begin(middle) <= quantile { &mut section } else { &mut beyond }) = middle;
        }
        let mut left = self.begin(section);
        for (k, sum) in self.section(section) {
            let right = self.end(k, sum);
            if quantile < right {
                return (k, Interval::new(left, right - left));
            }
            left = right;
        }
        unreachable!("the next section begins beyond the quantile")
    }
}
