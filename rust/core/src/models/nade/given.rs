//! The walk of given values through one tile. Its active bits are known, so one pass over the hidden units serves all
//! rows of V, and the units between two active bits of the tile stay in registers.

use std::ops::Range;

use super::{
    dots::{dots, dots_of_given},
    hidden::{ODDS_LIMIT, Units},
    tiles::TILE,
    walk::Walk,
};
use crate::{
    kernels::{Kernel, Lanes, Pack},
    models::mask,
};

/// The rows of a tile that a sample walks.
struct Rows {
    /// The first one: after the sample's prefix.
    from: usize,
    /// Bit r: row r follows an active bit, so the hidden units are updated before it.
    updates: u32,
}

/// A walk whose values are given.
pub struct Given<'a, 'b>(pub Walk<'a, 'b>);

impl Kernel for Given<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self(mut walk) = self;
        // A sample without updates waits for another one: V is read once for both.
        let mut waiting = None;
        for sample in 0..walk.block.len {
            let Some(rows) = walk.rows(sample) else { continue };
            if L::DOTS < TILE || rows.from != 0 || rows.updates != 0 {
                walk.given(l, sample, &rows);
            } else if let Some(other) = waiting.take() {
                let dots = walk.dots_of_two(l, [other, sample]);
                for (sample, dots) in [other, sample].into_iter().zip(dots) {
                    walk.write(l, sample, (0, dots), 0..walk.end - walk.first);
                }
            } else {
                waiting = Some(sample);
            }
        }
        if let Some(sample) = waiting {
            walk.given(l, sample, &Rows { from: 0, updates: 0 });
        }
    }
}

impl Walk<'_, '_> {
    /// None if the tile is within the sample's prefix.
    #[inline(always)]
    fn rows(&self, sample: usize) -> Option<Rows> {
        let from = self.samples[sample].start.saturating_sub(self.first);
        if self.first + from >= self.end {
            return None;
        }
        let x = &self.block.x[sample * self.model.space.n_dims()..][self.first + from - 1..self.end - 1];
        // As a rule there are `TILE` of them: a loop of known length.
        let active = x.first_chunk::<TILE>().map_or_else(|| mask(x), |x| mask(x));
        Some(Rows { from, updates: (active as u32) << from })
    }

    /// One sample's logits.
    #[inline(always)]
    fn given<L: Lanes>(&mut self, l: L, sample: usize, rows: &Rows) {
        let &Rows { from, updates } = rows;
        let (model, tile, n_rows) = (self.model, self.tile, self.end - self.first);
        let mut bound = self.samples[sample].bound;
        for row in 0..TILE {
            // Without a branch, which would be unpredictable.
            let max_abs = tile.update_before(row).max_abs;
            bound += f64::from(if updates >> row & 1 == 1 { max_abs } else { 0.0 });
        }
        if bound > f64::from(ODDS_LIMIT) && updates != 0 {
            return self.by_segments(sample, rows);
        }
        self.samples[sample].bound = bound;
        const HALF: usize = TILE / 2;
        const { assert!(L::DOTS == TILE || L::DOTS == HALF) };
        for first in (0..TILE).step_by(L::DOTS) {
            let rows = from.max(first)..n_rows.min(first + L::DOTS);
            if rows.is_empty() {
                continue;
            }
            let mut units = Units::of(sample, self.hidden, model.hidden.packs(), &mut self.samples[sample].bound);
            let dots = if L::DOTS == TILE {
                dots_of_given::<L, TILE>(l, tile, first, updates, &mut units)
            } else {
                dots_of_given::<L, HALF>(l, tile, first, updates, &mut units)
            };
            self.write(l, sample, (first, dots), rows);
        }
    }

    /// [`BySegments`], out of line: few samples come here.
    #[cold]
    #[inline(never)]
    fn by_segments(&mut self, sample: usize, rows: &Rows) {
        self.block.isa.run(BySegments { walk: self, sample, rows });
    }

    /// Writes the logits of some rows. The product of row `first` is in lane 0.
    #[inline(always)]
    fn write<L: Lanes>(&mut self, l: L, sample: usize, (first, dots): (usize, L::F), rows: Range<usize>) {
        let mut logits = Pack::ZERO;
        l.store(&mut logits, self.model.logits(l, self.first + first, dots));
        let tile = self.tile_of_field(sample);
        if rows == (0..TILE) {
            tile.copy_from_slice(&logits.0[..TILE]);
        } else {
            rows.for_each(|row| tile[row] = logits.0[row - first]);
        }
    }
}

/// One sample's logits, a segment at a time, where the odds may leave their range.
struct BySegments<'a, 'b, 'c> {
    walk: &'a mut Walk<'b, 'c>,
    sample: usize,
    rows: &'a Rows,
}

impl Kernel for BySegments<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { walk, sample, rows: &Rows { from, updates } } = self;
        let (model, tile, n_rows) = (walk.model, walk.tile, walk.end - walk.first);
        let mut row = from;
        while row < n_rows {
            let next = row + 1 + (updates >> row >> 1).trailing_zeros() as usize;
            let next = next.min(n_rows).min(row + L::DOTS);
            let mut units = Units::of(sample, walk.hidden, model.hidden.packs(), &mut walk.samples[sample].bound);
            let mut factors = None;
            if updates >> row & 1 == 1 {
                let x = &walk.block.x[sample * model.space.n_dims()..][..walk.first + row];
                factors = model.hidden.update(walk.block.isa, tile.update_before(row), x, &mut units);
            }
            let dots = dots(l, tile.v, (row, next - row), &mut units, factors);
            walk.write(l, sample, (row, dots), row..next);
            row = next;
        }
    }
}
