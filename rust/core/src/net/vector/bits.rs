//! Bits of many samples: a tile's thresholds, logits and values are turned over at once, so that each step has those of all
//! samples side by side.

use super::{
    Layer,
    dense::TILE,
    walk::{InLanes, Walk},
};
use crate::kernels::{LANES, Lanes, Pack};

/// A block of bits that are not decoded, sample by sample, as [`crate::head::Bits`] has them.
pub struct View<'b> {
    /// Thresholds, then logits; whole packs a sample.
    pub field: &'b mut [Pack],
    /// Values.
    pub x: &'b mut [u8],
    /// Values are given, and there are no thresholds.
    pub given: bool,
}

/// The bits of a tile, step by step.
#[derive(Default)]
pub struct TileOfBits {
    /// Those of a step, 16 samples a pack. Nothing where values are given.
    thresholds: Vec<Pack>,
    /// Those of a step, a bit for each of 16 samples.
    ones: Vec<u16>,
}

impl Walk<'_> {
    /// Whether the tiles of this walk are turned over.
    pub fn turns_bits(&mut self) -> bool {
        self.net.bits && self.in_lanes == InLanes::Samples && self.block.bits().is_some()
    }

    /// As a tile begins: its thresholds, or its values if they are given.
    #[inline(always)]
    pub fn begin_bits<L: Lanes>(&mut self, l: L, first: usize) {
        let (n_steps, groups, len) = (self.net.n_steps, self.len.div_ceil(LANES), self.len);
        let (packs, lanes) = (n_steps.div_ceil(LANES), TILE.min(n_steps - first));
        let TileOfBits { thresholds, ones } = &mut self.bits;
        thresholds.resize(TILE * groups, Pack::ZERO);
        ones.clear();
        ones.resize(TILE * groups, 0);
        let Some(View { field, x, given }) = self.block.bits() else { return };
        for group in 0..groups {
            let samples = group * LANES..len.min((group + 1) * LANES);
            if given {
                for (i, sample) in samples.enumerate() {
                    for (lane, &x) in x[sample * n_steps + first..][..lanes].iter().enumerate() {
                        ones[lane * groups + group] |= u16::from(x) << i;
                    }
                }
            } else {
                let mut rows = [l.splat(0.0); LANES];
                for (row, sample) in rows.iter_mut().zip(samples) {
                    *row = l.load(&field[sample * packs + first / LANES]);
                }
                l.transpose(&mut rows);
                for (lane, row) in rows.into_iter().enumerate() {
                    l.store(&mut thresholds[lane * groups + group], row);
                }
            }
        }
    }

    /// Finds the values at a step: one where the logit is above the threshold.
    #[inline(always)]
    pub fn decide_bits<L: Lanes>(&mut self, l: L, step: usize) {
        let groups = self.len.div_ceil(LANES);
        let unit = self.unit(self.net.output, self.net.parameters[step] as usize) * (self.unit_step / LANES);
        let given = self.block.given();
        let of_step = step % TILE * groups..(step % TILE + 1) * groups;
        let (ones, thresholds) = (&mut self.bits.ones[of_step.clone()], &self.bits.thresholds[of_step]);
        for (group, (ones, threshold)) in ones.iter_mut().zip(thresholds).enumerate() {
            let logit = l.load(&self.units[unit + group]);
            if !given {
                let samples = u16::MAX >> (LANES - LANES.min(self.len - group * LANES));
                *ones = l.gt(logit, l.load(threshold)) & samples;
            }
            let poison = &mut self.poison[group];
            l.store(poison, l.fma(logit, l.splat(0.0), l.load(poison)));
        }
    }

    /// Shows the network the values of a step.
    #[inline(always)]
    pub fn tell_bits<L: Lanes>(&mut self, l: L, step: usize, goes_on: bool) {
        let groups = self.len.div_ceil(LANES);
        // Of one-hot bits a zero is a one too, of another channel.
        let all = self.net.stored || matches!(self.net.nodes[0].layer, Layer::OneHot);
        if all {
            for sample in 0..self.len {
                let ones = self.bits.ones[step % TILE * groups + sample / LANES];
                self.tell_one(l, step, sample, u32::from(ones >> (sample % LANES) & 1), goes_on);
            }
            return;
        }
        for group in 0..groups {
            let mut ones = self.bits.ones[step % TILE * groups + group];
            while ones != 0 {
                self.tell_one(l, step, group * LANES + ones.trailing_zeros() as usize, 1, goes_on);
                ones &= ones - 1;
            }
        }
    }

    /// As a tile ends: hands out its logits, and its values unless they were given. The steps are `first` to `end` − 1.
    #[inline(always)]
    pub fn end_bits<L: Lanes>(&mut self, l: L, first: usize, end: usize) {
        let (n_steps, groups, len) = (self.net.n_steps, self.len.div_ceil(LANES), self.len);
        let packs = n_steps.div_ceil(LANES);
        let mut rows_of = [0; TILE];
        for (row, step) in rows_of.iter_mut().zip(first..end) {
            *row = self.unit(self.net.output, self.net.parameters[step] as usize) * (self.unit_step / LANES);
        }
        let Some(View { field, x, given }) = self.block.bits() else { return };
        for group in 0..groups {
            let samples = group * LANES..len.min((group + 1) * LANES);
            let mut rows = [l.splat(0.0); LANES];
            for (row, at) in rows.iter_mut().zip(&rows_of[..end - first]) {
                *row = l.load(&self.units[at + group]);
            }
            l.transpose(&mut rows);
            for (sample, row) in samples.clone().zip(rows) {
                l.store(&mut field[sample * packs + first / LANES], row);
            }
            if !given {
                for (i, sample) in samples.enumerate() {
                    for (lane, x) in x[sample * n_steps + first..sample * n_steps + end].iter_mut().enumerate() {
                        *x = (self.bits.ones[lane * groups + group] >> i & 1) as u8;
                    }
                }
            }
        }
    }
}
