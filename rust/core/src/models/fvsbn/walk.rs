//! The walk through one tile of 16 steps, for all samples of a block.

use std::ops::Range;

use super::{
    Fvsbn, WITHIN_ROWS,
    active::{ActivePairs, PART},
};
use crate::{
    head::Bits,
    kernels::{Kernel, LANES, Lanes, Pack},
};

/// Samples that are interleaved: while one waits for an addition or a comparison the others go on, and they share their
/// branches.
pub(super) const GROUP: usize = 8;
/// Tiles that are summed at once for a sample without a group: each sum is a chain of dependent additions, so several
/// take as long as one.
pub(super) const LOOKAHEAD: usize = 4;

/// One tile, for all samples.
pub struct Walk<'a, 'b, 'c> {
    pub model: &'a Fvsbn,
    pub block: &'a mut Bits<'b>,
    pub active: &'a mut ActivePairs<'c>,
    /// For each sample, the logits' sums so far.
    pub sums: &'a mut [Pack],
    pub tile: usize,
}

impl Kernel for Walk<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let len = self.block.len;
        let in_groups = len / GROUP * GROUP;
        self.sums.fill(self.model.bias[self.tile]);
        let decoded = self.block.decoded();
        // A decoder needs the sums of all parts before the first value. Otherwise the last part is added by
        // `walk_group`, and for samples without a group so are all (`sum_ahead`).
        for part in 0..self.tile * LANES / PART + usize::from(decoded) {
            for sample in (0..in_groups).step_by(GROUP) {
                self.add_part::<L, GROUP>(l, sample, part);
            }
            for sample in if decoded { in_groups..len } else { 0..0 } {
                self.add_part::<L, 1>(l, sample, part);
            }
        }
        if decoded {
            self.decode();
        }
        for sample in (0..in_groups).step_by(GROUP) {
            self.walk_group::<L, GROUP>(l, sample);
        }
        for sample in in_groups..len {
            self.walk_group::<L, 1>(l, sample);
        }
    }
}

impl Walk<'_, '_, '_> {
    /// The logits and values of the `N` samples from `sample` on.
    #[inline(always)]
    fn walk_group<L: Lanes, const N: usize>(&mut self, l: L, sample: usize) {
        let n_dims = self.block.x.len() / self.block.len;
        let packs = n_dims.div_ceil(LANES);
        let first = self.tile * LANES;
        let lanes = LANES.min(n_dims - first);

        let decoded = self.block.decoded();
        let rest = match N {
            _ if decoded => 0..0,
            1 => self.sum_ahead(l, sample),
            _ => self.rows_of_part::<N>(sample, self.tile * LANES / PART),
        };
        let sums = self.add_rows::<L, N>(l, sample, rest);
        let table = &self.model.within[self.tile];
        let mut values = [0; N];
        let mut logits = sums;
        if decoded || self.block.given() {
            for n in 0..N {
                values[n] = to_bits(&self.block.x[(sample + n) * n_dims + first..][..lanes]);
                logits[n] = l.add(sums[n], within(l, table, values[n]));
            }
        } else {
            let mut thresholds = sums;
            for (n, thresholds) in thresholds.iter_mut().enumerate() {
                *thresholds = l.load(&self.block.field[(sample + n) * packs + self.tile]);
            }
            decide(l, table, &sums, &thresholds, u16::MAX >> (LANES - lanes), &mut values, &mut logits);
            for (n, &values) in values.iter().enumerate() {
                from_bits(values, &mut self.block.x[(sample + n) * n_dims + first..][..lanes]);
            }
        }
        for (n, &logits) in logits.iter().enumerate() {
            l.store(&mut self.block.field[(sample + n) * packs + self.tile], logits);
        }
        self.active.push(sample, first, &values);
    }

    /// Decodes the values of all samples step by step, from the sums of all inputs before the tile.
    fn decode(&mut self) {
        let Self { model, block, sums, tile, .. } = self;
        let (n_dims, first, table) = (block.x.len() / block.len, *tile * LANES, &model.within[*tile]);
        let packs = n_dims.div_ceil(LANES);
        let mut values = vec![0_u16; block.len];
        for lane in 0..LANES.min(n_dims - first) {
            for ((field, sum), &values) in block.field[*tile..].iter_mut().step_by(packs).zip(&**sums).zip(&values) {
                field.0[lane] = sum.0[lane] + within_lane(table, values, lane);
            }
            block.decode_step(first + lane);
            for (values, &x) in values.iter_mut().zip(block.x[first + lane..].iter().step_by(n_dims)) {
                *values |= u16::from(x) << lane;
            }
        }
    }

    /// Where the rows of a part of the inputs stand, as far as its values are known.
    #[inline(always)]
    fn rows_of_part<const N: usize>(&self, sample: usize, part: usize) -> Range<usize> {
        let ActivePairs { counts, parts, .. } = &*self.active;
        let most = || counts[sample..][..N].iter().copied().fold(0, usize::max);
        parts[sample][part]..parts[sample].get(part + 1).copied().unwrap_or_else(most)
    }

    /// For a sample without a group: every `LOOKAHEAD` tiles, sums the rows known so far for as many tiles at once.
    /// Gives those that this tile has yet to add.
    #[inline(always)]
    fn sum_ahead<L: Lanes>(&mut self, l: L, sample: usize) -> Range<usize> {
        let Self { model, active, sums, tile, .. } = self;
        let count = active.counts[sample];
        let at = sample % GROUP;
        if tile.is_multiple_of(LOOKAHEAD) {
            let tiles: [usize; LOOKAHEAD] = std::array::from_fn(|k| (*tile + k).min(model.before.len() - 1));
            let before = tiles.map(|later| &model.before[later][..model.before[*tile].len()]);
            let mut packs = [l.splat(0.0); LOOKAHEAD];
            for (pack, later) in packs.iter_mut().zip(tiles) {
                *pack = l.load(&model.bias[later]);
            }
            for [row] in &active.group::<1>(sample).0[..count] {
                for (pack, before) in packs.iter_mut().zip(before) {
                    *pack = l.add(*pack, l.load(&before[*row as usize]));
                }
            }
            let (ahead, known) = &mut active.lookahead[at];
            ahead.iter_mut().zip(packs).for_each(|(to, pack)| l.store(to, pack));
            *known = count;
        }
        let (ahead, known) = &active.lookahead[at];
        sums[sample] = ahead[*tile % LOOKAHEAD];
        *known..count
    }

    /// Adds the rows of a part of the inputs to the sums.
    #[inline(always)]
    fn add_part<L: Lanes, const N: usize>(&mut self, l: L, sample: usize, part: usize) {
        let rows = self.rows_of_part::<N>(sample, part);
        let sums = self.add_rows::<L, N>(l, sample, rows);
        for (pack, sum) in self.sums[sample..].iter_mut().zip(sums) {
            l.store(pack, sum);
        }
    }

    /// The sums so far plus some of the active pairs' rows.
    #[inline(always)]
    fn add_rows<L: Lanes, const N: usize>(&mut self, l: L, sample: usize, range: Range<usize>) -> [L::F; N] {
        let before = &self.model.before[self.tile][..];
        let mut sums = [l.splat(0.0); N];
        for (sum, pack) in sums.iter_mut().zip(&self.sums[sample..]) {
            *sum = l.load(pack);
        }
        for rows in &self.active.group::<N>(sample).0[range] {
            for n in 0..N {
                sums[n] = l.add(sums[n], l.load(&before[rows[n] as usize]));
            }
        }
        sums
    }
}

/// Draws the 16 values of a tile, which depend on each other, for all samples of a group.
///
/// They are the only solution of x_i = [logit_i(x_<i) > threshold_i]. Fixed-point iteration finds it: whatever x is on
/// the right, x_0 is right after one round, then x_1 after another, and so on. As a rule most are right much earlier,
/// and the iteration ends with the first round that changes nothing. Song, Meng, Liao, Ermon, *Accelerating feedforward
/// computation via parallel nonlinear equation solving*, ICML 2021.
#[inline(always)]
fn decide<L: Lanes, const N: usize>(
    l: L,
    table: &[Pack; WITHIN_ROWS],
    sums: &[L::F; N],
    thresholds: &[L::F; N],
    lanes: u16,
    values: &mut [u16; N],
    logits: &mut [L::F; N],
) {
    loop {
        let mut changed = 0;
        for n in 0..N {
            logits[n] = l.add(sums[n], within(l, table, values[n]));
            let above = l.gt(logits[n], thresholds[n]) & lanes;
            changed |= above ^ values[n];
            values[n] = above;
        }
        if changed == 0 {
            break;
        }
    }
}

/// What the 16 values of a tile add to its logits.
#[inline(always)]
fn within<L: Lanes>(l: L, table: &[Pack; WITHIN_ROWS], values: u16) -> L::F {
    let values = usize::from(values);
    let first = l.add(l.load(&table[values & 15]), l.load(&table[16 + (values >> 4 & 15)]));
    let second = l.add(l.load(&table[32 + (values >> 8 & 15)]), l.load(&table[48 + (values >> 12)]));
    l.add(first, second)
}

/// What they add to one logit.
fn within_lane(table: &[Pack; WITHIN_ROWS], values: u16, lane: usize) -> f32 {
    let row = |four: usize| table[16 * four + usize::from(values >> (4 * four) & 15)].0[lane];
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
    // Byte i of the eight, times 2^(56 − 7 i), is bit i of the product's highest byte.
    let eight = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| all[at + i]));
    let bits = |at: usize| (eight(at).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    u16::from_le_bytes([bits(0), bits(8)])
}

/// The inverse of `to_bits`.
#[inline(always)]
fn from_bits(bits: u16, values: &mut [u8]) {
    let mut all = [0; LANES];
    for (byte, eight) in bits.to_le_bytes().into_iter().zip(all.as_chunks_mut().0) {
        // Copy k of the byte keeps bit k alone; adding 0x7f moves it to the copy's highest place, and the shift to the
        // lowest.
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
