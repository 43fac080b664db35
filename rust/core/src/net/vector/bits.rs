//! Bits, decided from the thresholds and logits of a tile. Where samples stand side by side, those of a tile are turned over at
//! once, so that each step has those of all samples.

use super::{
    Layer,
    dense::TILE,
    walk::{InLanes, Walk},
};
use crate::kernels::{LANES, Lanes, Pack, flat, flat_mut};

/// A block of bits that are not decoded, sample by sample, as [`crate::head::Bits`] has them.
pub struct View<'b> {
    /// Thresholds, then logits; whole packs a sample.
    pub field: &'b mut [Pack],
    /// Values.
    pub x: &'b mut [u8],
}

/// The bits of a tile, step by step.
#[derive(Default)]
pub struct TileOfBits {
    /// Those of a step, 16 samples a pack. Nothing where values are given.
    thresholds: Vec<Pack>,
    /// For each 16 samples and each step a bit a sample.
    ones: Vec<[u16; TILE]>,
    /// Units side by side: for each sample the thresholds of the steps to come, and the logits of those before.
    fields: Vec<Pack>,
    /// Units side by side: for each sample a bit a step.
    values: Vec<u16>,
}

impl Walk<'_> {
    /// As a tile begins: its thresholds, or its values if they are given.
    #[inline(always)]
    pub fn begin_bits<L: Lanes>(&mut self, l: L, first: usize) {
        match self.in_lanes {
            InLanes::Samples => self.begin_bits_of_samples(l, first),
            InLanes::Units => self.begin_bits_of_units(first),
        }
    }

    /// Finds the values at a step, unless they are given: one where the logit is above the threshold.
    #[inline(always)]
    pub fn decide_bits<L: Lanes>(&mut self, l: L, step: usize) {
        match self.in_lanes {
            InLanes::Samples => self.decide_bits_of_samples(l, step),
            InLanes::Units => self.decide_bits_of_units(step),
        }
    }

    /// Shows the network the values of a step.
    #[inline(always)]
    pub fn tell_bits<L: Lanes>(&mut self, l: L, step: usize, goes_on: bool) {
        match self.in_lanes {
            InLanes::Samples => self.tell_bits_of_samples(l, step, goes_on),
            InLanes::Units => self.tell_bits_of_units(l, step, goes_on),
        }
    }

    /// As a tile ends: hands out its logits, and its values unless they were given. The steps are `first` to `end` − 1.
    #[inline(always)]
    pub fn end_bits<L: Lanes>(&mut self, l: L, first: usize, end: usize) {
        match self.in_lanes {
            InLanes::Samples => self.end_bits_of_samples(l, first, end),
            InLanes::Units => self.end_bits_of_units(first, end),
        }
    }

    fn begin_bits_of_units(&mut self, first: usize) {
        let (n_steps, packs) = (self.net.n_steps, self.net.n_steps.div_ceil(LANES));
        let TileOfBits { fields, values, .. } = &mut self.bits;
        fields.clear();
        values.clear();
        let Some(View { field, x }) = self.block.bits() else { return };
        for sample in 0..self.len {
            fields.push(field[sample * packs + first / LANES]);
            values.push(if self.given { to_bits(&x[sample * n_steps..][first..n_steps.min(first + TILE)]) } else { 0 });
        }
    }

    #[inline(always)]
    fn decide_bits_of_units(&mut self, step: usize) {
        let unit = self.unit(self.net.output, self.net.parameters[step] as usize);
        for sample in 0..self.len {
            let logit = flat(self.units)[sample * self.sample_step + unit];
            let (field, values) = (&mut self.bits.fields[sample].0[step % TILE], &mut self.bits.values[sample]);
            if !self.given {
                *values |= u16::from(logit > *field) << (step % TILE);
            }
            *field = logit;
            flat_mut(&mut self.poison)[sample] += logit * 0.0;
        }
    }

    #[inline(always)]
    fn tell_bits_of_units<L: Lanes>(&mut self, l: L, step: usize, goes_on: bool) {
        let zeros_count = self.net.stored || matches!(self.net.nodes[0].layer, Layer::OneHot);
        for sample in 0..self.len {
            let value = u32::from(self.bits.values[sample] >> (step % TILE) & 1);
            if value == 1 || zeros_count {
                self.tell_one(l, step, sample, value, goes_on);
            }
        }
    }

    fn end_bits_of_units(&mut self, first: usize, end: usize) {
        let (n_steps, packs) = (self.net.n_steps, self.net.n_steps.div_ceil(LANES));
        let TileOfBits { fields, values, .. } = &self.bits;
        let Some(View { field, x }) = self.block.bits() else { return };
        for (sample, (logits, values)) in fields.iter().zip(values).enumerate() {
            field[sample * packs + first / LANES] = *logits;
            if !self.given {
                let of_tile = &mut x[sample * n_steps..][first..end];
                of_tile.iter_mut().enumerate().for_each(|(step, x)| *x = (values >> step & 1) as u8);
            }
        }
    }

    #[inline(always)]
    fn begin_bits_of_samples<L: Lanes>(&mut self, l: L, first: usize) {
        let (n_steps, groups, len) = (self.net.n_steps, self.len.div_ceil(LANES), self.len);
        let (packs, lanes) = (n_steps.div_ceil(LANES), TILE.min(n_steps - first));
        let TileOfBits { thresholds, ones, .. } = &mut self.bits;
        thresholds.resize(TILE * groups, Pack::ZERO);
        ones.resize(groups, [0; TILE]);
        let Some(View { field, x }) = self.block.bits() else { return };
        for (group, ones) in ones.iter_mut().enumerate() {
            let samples = group * LANES..len.min((group + 1) * LANES);
            *ones = [0; TILE];
            if self.given {
                for (ones, sample) in ones.iter_mut().zip(samples) {
                    let mut values = [0; TILE];
                    values[..lanes].copy_from_slice(&x[sample * n_steps + first..][..lanes]);
                    *ones = to_bits(&values);
                }
                transpose(ones);
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

    #[inline(always)]
    fn decide_bits_of_samples<L: Lanes>(&mut self, l: L, step: usize) {
        let groups = self.len.div_ceil(LANES);
        let unit = self.unit(self.net.output, self.net.parameters[step] as usize) * (self.unit_step / LANES);
        let thresholds = &self.bits.thresholds[step % TILE * groups..][..groups];
        for (group, (ones, threshold)) in self.bits.ones.iter_mut().zip(thresholds).enumerate() {
            let logit = l.load(&self.units[unit + group]);
            if !self.given {
                let samples = u16::MAX >> (LANES - LANES.min(self.len - group * LANES));
                ones[step % TILE] = l.gt(logit, l.load(threshold)) & samples;
            }
            let poison = &mut self.poison[group];
            l.store(poison, l.fma(logit, l.splat(0.0), l.load(poison)));
        }
    }

    #[inline(always)]
    fn tell_bits_of_samples<L: Lanes>(&mut self, l: L, step: usize, goes_on: bool) {
        let Layer::Values { scale, shift } = self.net.nodes[0].layer else {
            for sample in 0..self.len {
                let ones = self.bits.ones[sample / LANES][step % TILE];
                self.tell_one(l, step, sample, u32::from(ones >> (sample % LANES) & 1), goes_on);
            }
            return;
        };
        let first = self.unit(0, step) * (self.unit_step / LANES);
        for (ones, unit) in self.bits.ones.iter().zip(&mut self.units[first..]) {
            let values = floats_of_bits(l, ones[step % TILE]);
            l.store(unit, l.fma(l.splat(scale), values, l.splat(shift)));
        }
    }

    #[inline(always)]
    fn end_bits_of_samples<L: Lanes>(&mut self, l: L, first: usize, end: usize) {
        let (n_steps, len) = (self.net.n_steps, self.len);
        let packs = n_steps.div_ceil(LANES);
        let mut rows_of = [0; TILE];
        for (row, step) in rows_of.iter_mut().zip(first..end) {
            *row = self.unit(self.net.output, self.net.parameters[step] as usize) * (self.unit_step / LANES);
        }
        let words = self.net.ones && self.net.input_is_bits();
        let Some(View { field, x }) = self.block.bits() else { return };
        for (group, ones) in self.bits.ones.iter_mut().enumerate() {
            let samples = group * LANES..len.min((group + 1) * LANES);
            let mut rows = [l.splat(0.0); LANES];
            for (row, at) in rows.iter_mut().zip(&rows_of[..end - first]) {
                *row = l.load(&self.units[at + group]);
            }
            l.transpose(&mut rows);
            for (sample, row) in samples.clone().zip(rows) {
                l.store(&mut field[sample * packs + first / LANES], row);
            }
            transpose(ones);
            for (sample, &ones) in samples.zip(&*ones) {
                if !self.given {
                    let values: [u8; TILE] = std::array::from_fn(|step| (ones >> step & 1) as u8);
                    x[sample * n_steps + first..sample * n_steps + end].copy_from_slice(&values[..end - first]);
                }
                if words {
                    self.words.set(sample, first, ones);
                }
            }
        }
    }
}

/// Zeros and ones as bits.
#[inline(always)]
fn to_bits(values: &[u8]) -> u16 {
    values.iter().enumerate().fold(0, |bits, (i, &value)| bits | u16::from(value) << i)
}

/// Bit j of number i and bit i of number j change places.
#[inline(always)]
fn transpose(bits: &mut [u16; 16]) {
    for (shift, mask) in [(8, 0x00ff), (4, 0x0f0f), (2, 0x3333), (1, 0x5555)] {
        for i in (0..16).filter(|i| i & shift == 0) {
            let differ = (bits[i] >> shift ^ bits[i + shift]) & mask;
            bits[i] ^= differ << shift;
            bits[i + shift] ^= differ;
        }
    }
}

/// For each bit 0 or 1.
#[inline(always)]
fn floats_of_bits<L: Lanes>(l: L, bits: u16) -> L::F {
    const BITS: [u32; LANES] = {
        let mut bits = [0; LANES];
        let mut i = 0;
        while i < LANES {
            bits[i] = 1 << i;
            i += 1;
        }
        bits
    };
    let powers = l.int_to_float(l.and_u(l.splat_u(bits.into()), l.load_u(&BITS)));
    // Positive where the bit is set.
    l.min(powers, l.splat(1.0))
}
