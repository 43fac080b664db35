//! The walk through one block of 16 dimensions.

use std::ops::Range;

use super::{
    Fvsbn, OWN_ROWS,
    events::{Events, NEAR},
};
use crate::{
    head::Bits,
    kernels::{Kernel, LANES, Lanes, Pack},
};

/// Samples that walk in step: while one waits for an addition or a comparison the others go on, and there is one branch
/// for all.
pub(super) const GROUP: usize = 8;
/// Blocks whose sums a sample on its own adds up together: each sum waits for itself, so several take as long as one.
pub(super) const AHEAD: usize = 4;

/// One block of 16 dimensions, for all samples.
pub struct Walk<'a, 'b, 'c> {
    pub model: &'a Fvsbn,
    pub block: &'a mut Bits<'b>,
    pub events: &'a mut Events<'c>,
    /// A pack for each sample.
    pub sums: &'a mut [Pack],
    pub at: usize,
}

impl Kernel for Walk<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let len = self.block.len;
        let in_groups = len / GROUP * GROUP;
        self.sums.fill(self.model.bias[self.at]);
        let decoded = self.block.decoded();
        // What is decoded needs all sums before the first value; else the last part comes with the values, and for samples on
        // their own all parts (`rows_ahead`).
        for part in 0..self.at * LANES / NEAR + usize::from(decoded) {
            for sample in (0..in_groups).step_by(GROUP) {
                self.add::<L, GROUP>(l, sample, part);
            }
            for sample in if decoded { in_groups..len } else { 0..0 } {
                self.add::<L, 1>(l, sample, part);
            }
        }
        if decoded {
            self.decode();
        }
        for sample in (0..in_groups).step_by(GROUP) {
            self.group::<L, GROUP>(l, sample);
        }
        for sample in in_groups..len {
            self.group::<L, 1>(l, sample);
        }
    }
}

impl Walk<'_, '_, '_> {
    /// The samples from `sample` on, `N` of them.
    #[inline(always)]
    fn group<L: Lanes, const N: usize>(&mut self, l: L, sample: usize) {
        let n_dims = self.block.x.len() / self.block.len;
        let packs = n_dims.div_ceil(LANES);
        let first = self.at * LANES;
        let lanes = LANES.min(n_dims - first);

        let decoded = self.block.decoded();
        let rest = match N {
            _ if decoded => 0..0,
            1 => self.rows_ahead(l, sample),
            _ => self.rows::<N>(sample, self.at * LANES / NEAR),
        };
        let sums = self.sum_rows::<L, N>(l, sample, rest);
        let own = &self.model.own[self.at];
        let mut ones = [0; N];
        let mut logits = sums;
        if decoded || self.block.given() {
            for n in 0..N {
                ones[n] = to_bits(&self.block.x[(sample + n) * n_dims + first..][..lanes]);
                logits[n] = l.add(sums[n], within(l, own, ones[n]));
            }
        } else {
            let mut thresholds = sums;
            for (n, thresholds) in thresholds.iter_mut().enumerate() {
                *thresholds = l.load(&self.block.field[(sample + n) * packs + self.at]);
            }
            decide(l, own, &sums, &thresholds, u16::MAX >> (LANES - lanes), &mut ones, &mut logits);
            for (n, &ones) in ones.iter().enumerate() {
                from_bits(ones, &mut self.block.x[(sample + n) * n_dims + first..][..lanes]);
            }
        }
        for (n, &logits) in logits.iter().enumerate() {
            l.store(&mut self.block.field[(sample + n) * packs + self.at], logits);
        }
        self.events.push(sample, first, &ones);
    }

    /// Decodes the values of all samples step by step, once the sums hold what all inputs before this block add.
    fn decode(&mut self) {
        let Self { model, block, sums, at, .. } = self;
        let (n_dims, first, own) = (block.x.len() / block.len, *at * LANES, &model.own[*at]);
        let packs = n_dims.div_ceil(LANES);
        let mut ones = vec![0_u16; block.len];
        for lane in 0..LANES.min(n_dims - first) {
            for ((field, sum), &ones) in block.field[*at..].iter_mut().step_by(packs).zip(&**sums).zip(&ones) {
                field.0[lane] = sum.0[lane] + within_lane(own, ones, lane);
            }
            block.decode_step(first + lane);
            for (ones, &x) in ones.iter_mut().zip(block.x[first + lane..].iter().step_by(n_dims)) {
                *ones |= u16::from(x) << lane;
            }
        }
    }

    /// The rows of the inputs `part · NEAR` to `(part + 1) · NEAR` − 1, as far as they are known.
    #[inline(always)]
    fn rows<const N: usize>(&self, sample: usize, part: usize) -> Range<usize> {
        let Events { counts, marks, .. } = &*self.events;
        let most = || counts[sample..][..N].iter().copied().fold(0, usize::max);
        marks[sample][part]..marks[sample].get(part + 1).copied().unwrap_or_else(most)
    }

    /// Sums up the rows that are known of a sample on its own, for `AHEAD` blocks at a time; the rows that this block has yet
    /// to add.
    #[inline(always)]
    fn rows_ahead<L: Lanes>(&mut self, l: L, sample: usize) -> Range<usize> {
        let Self { model, events, sums, at, .. } = self;
        let count = events.counts[sample];
        let own = sample % GROUP;
        if at.is_multiple_of(AHEAD) {
            let blocks: [usize; AHEAD] = std::array::from_fn(|k| (*at + k).min(model.before.len() - 1));
            let before = blocks.map(|block| &model.before[block][..model.before[*at].len()]);
            let mut packs = [l.splat(0.0); AHEAD];
            for (pack, block) in packs.iter_mut().zip(blocks) {
                *pack = l.load(&model.bias[block]);
            }
            for [row] in &events.group::<1>(sample).0[..count] {
                for (pack, before) in packs.iter_mut().zip(before) {
                    *pack = l.add(*pack, l.load(&before[*row as usize]));
                }
            }
            let (ahead, known) = &mut events.ahead[own];
            ahead.iter_mut().zip(packs).for_each(|(to, pack)| l.store(to, pack));
            *known = count;
        }
        let (ahead, known) = &events.ahead[own];
        sums[sample] = ahead[*at % AHEAD];
        *known..count
    }

    /// Adds what a part of the inputs adds.
    #[inline(always)]
    fn add<L: Lanes, const N: usize>(&mut self, l: L, sample: usize, part: usize) {
        let range = self.rows::<N>(sample, part);
        let sums = self.sum_rows::<L, N>(l, sample, range);
        for (pack, sum) in self.sums[sample..].iter_mut().zip(sums) {
            l.store(pack, sum);
        }
    }

    /// The sums so far, and what some rows add.
    #[inline(always)]
    fn sum_rows<L: Lanes, const N: usize>(&mut self, l: L, sample: usize, range: Range<usize>) -> [L::F; N] {
        let before = &self.model.before[self.at][..];
        let mut sums = [l.splat(0.0); N];
        for (sum, pack) in sums.iter_mut().zip(&self.sums[sample..]) {
            *sum = l.load(pack);
        }
        for rows in &self.events.group::<N>(sample).0[range] {
            for n in 0..N {
                sums[n] = l.add(sums[n], l.load(&before[rows[n] as usize]));
            }
        }
        sums
    }
}

/// The values of 16 dimensions, which depend on each other, for all samples of a group.
///
/// They are the only solution of x_i = [logit_i(x_<i) > threshold_i], and found as a fixed point: put any x on the right, and
/// x_0 comes out right; put that there, and x_1 does, and so on. As a rule most of them are right much earlier, and the
/// iteration ends as soon as nothing changes. Song, Meng, Liao, Ermon, *Accelerating feedforward computation via parallel
/// nonlinear equation solving*, ICML 2021.
#[inline(always)]
fn decide<L: Lanes, const N: usize>(
    l: L,
    own: &[Pack; OWN_ROWS],
    sums: &[L::F; N],
    thresholds: &[L::F; N],
    lanes: u16,
    ones: &mut [u16; N],
    logits: &mut [L::F; N],
) {
    loop {
        let mut changed = 0;
        for n in 0..N {
            logits[n] = l.add(sums[n], within(l, own, ones[n]));
            let above = l.gt(logits[n], thresholds[n]) & lanes;
            changed |= above ^ ones[n];
            ones[n] = above;
        }
        if changed == 0 {
            break;
        }
    }
}

/// What 16 dimensions with these values add to each other's logits.
#[inline(always)]
fn within<L: Lanes>(l: L, own: &[Pack; OWN_ROWS], ones: u16) -> L::F {
    let ones = usize::from(ones);
    let first = l.add(l.load(&own[ones & 15]), l.load(&own[16 + (ones >> 4 & 15)]));
    let second = l.add(l.load(&own[32 + (ones >> 8 & 15)]), l.load(&own[48 + (ones >> 12)]));
    l.add(first, second)
}

/// What they add to one of them.
fn within_lane(own: &[Pack; OWN_ROWS], ones: u16, lane: usize) -> f32 {
    let row = |four: usize| own[16 * four + usize::from(ones >> (4 * four) & 15)].0[lane];
    (row(0) + row(1)) + (row(2) + row(3))
}

/// Bit i is value i, of 16 values or fewer.
#[inline(always)]
fn to_bits(values: &[u8]) -> u16 {
    let mut all = [0; LANES];
    if values.len() == LANES {
        all.copy_from_slice(values);
    } else {
        all[..values.len()].copy_from_slice(values);
    }
    // Byte i of eight times 2^(56 − 7 i) is bit i of the product's highest byte.
    let eight = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| all[at + i]));
    let bits = |at: usize| (eight(at).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    u16::from_le_bytes([bits(0), bits(8)])
}

/// The inverse of `to_bits`.
#[inline(always)]
fn from_bits(bits: u16, values: &mut [u8]) {
    let mut all = [0; LANES];
    for (byte, eight) in bits.to_le_bytes().into_iter().zip(all.as_chunks_mut().0) {
        // A copy of the byte for each bit; what is left is the bit in its own place, then in the highest, then in the lowest.
        let copies = u64::from(byte) * 0x0101_0101_0101_0101;
        let places = (copies & 0x8040_2010_0804_0201) + 0x7f7f_7f7f_7f7f_7f7f;
        *eight = (places >> 7 & 0x0101_0101_0101_0101).to_le_bytes();
    }
    if values.len() == LANES {
        values.copy_from_slice(&all);
    } else {
        values.copy_from_slice(&all[..values.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_values_are_inverse() {
        for len in [1, 7, 8, 9, 15, 16] {
            for bits in 0..=u16::MAX >> (LANES - len) {
                let mut values = vec![7; len];
                from_bits(bits, &mut values);
                assert!(values.iter().enumerate().all(|(i, &value)| u16::from(value) == bits >> i & 1));
                assert_eq!(to_bits(&values), bits);
            }
        }
    }
}
