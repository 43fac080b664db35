//! The walk of values that are given. Where a strip's ones are is known, so each pack of units passes all of its rows at once, and
//! units between two ones of a strip never leave the registers.

use std::ops::Range;

use super::{
    dots::{dots, dots_of_given},
    hidden::{SAFE, Units},
    strips::TILE,
    walk::Walk,
};
use crate::{
    kernels::{Kernel, Lanes, Pack},
    models::mask,
};

/// What a sample has before it in a strip.
struct Rows {
    /// The first row after its first one.
    from: usize,
    /// A bit for every row that follows a one.
    after_one: u32,
}

/// A walk whose values are given.
pub struct Given<'a, 'b>(pub Walk<'a, 'b>);

impl Kernel for Given<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        self.0.walk_given(l);
    }
}

impl Walk<'_, '_> {
    /// The strip for all samples.
    #[inline(always)]
    fn walk_given<L: Lanes>(&mut self, l: L) {
        // A sample without ones, which waits for another: V is read once for both.
        let mut waiting = None;
        for sample in 0..self.block.len {
            let Some(rows) = self.rows(sample) else { continue };
            if L::DOTS < TILE || rows.from != 0 || rows.after_one != 0 {
                self.given(l, sample, &rows);
            } else if let Some(other) = waiting.take() {
                self.given_two(l, [other, sample]);
            } else {
                waiting = Some(sample);
            }
        }
        if let Some(sample) = waiting {
            self.given(l, sample, &Rows { from: 0, after_one: 0 });
        }
    }

    /// None before the sample's first one.
    #[inline(always)]
    fn rows(&self, sample: usize) -> Option<Rows> {
        let from = self.samples[sample].start.saturating_sub(self.first);
        if self.first + from >= self.end {
            return None;
        }
        let x = &self.block.x[sample * self.model.space.n_dims()..][self.first + from - 1..self.end - 1];
        // A loop of known length, as a rule.
        let after_one = x.first_chunk::<TILE>().map_or_else(|| mask(x), |x| mask(x));
        Some(Rows { from, after_one: (after_one as u32) << from })
    }

    #[inline(always)]
    fn given<L: Lanes>(&mut self, l: L, sample: usize, rows: &Rows) {
        let &Rows { from, after_one } = rows;
        let (model, strip, n_rows) = (self.model, self.strip, self.end - self.first);
        let mut bound = self.samples[sample].bound;
        for row in 0..TILE {
            // No branches, which nothing foretells.
            let reach = strip.one_before(row).reach;
            bound += f64::from(if after_one >> row & 1 == 1 { reach } else { 0.0 });
        }
        if bound > f64::from(SAFE) && after_one != 0 {
            return self.apart(sample, rows);
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
                dots_of_given::<L, TILE>(l, strip, first, after_one, &mut units)
            } else {
                dots_of_given::<L, HALF>(l, strip, first, after_one, &mut units)
            };
            self.write(l, sample, (first, dots), rows);
        }
    }

    /// [`BySegments`], far from the loops that most samples take.
    #[cold]
    #[inline(never)]
    fn apart(&mut self, sample: usize, rows: &Rows) {
        self.block.isa.run(BySegments { walk: self, sample, rows });
    }

    #[inline(always)]
    fn by_segments<L: Lanes>(&mut self, l: L, sample: usize, rows: &Rows) {
        let &Rows { from, after_one } = rows;
        let (model, strip, n_rows) = (self.model, self.strip, self.end - self.first);
        let mut row = from;
        while row < n_rows {
            let next = row + 1 + (after_one >> row >> 1).trailing_zeros() as usize;
            let next = next.min(n_rows).min(row + L::DOTS);
            let mut units = Units::of(sample, self.hidden, model.hidden.packs(), &mut self.samples[sample].bound);
            let mut factors = None;
            if after_one >> row & 1 == 1 {
                let x = &self.block.x[sample * model.space.n_dims()..][..self.first + row];
                factors = model.hidden.advance(self.block.isa, strip.one_before(row), x, &mut units);
            }
            let dots = dots(l, strip.v, (row, next - row), &mut units, factors);
            self.write(l, sample, (row, dots), row..next);
            row = next;
        }
    }

    /// All rows of two samples that have no ones.
    #[inline(always)]
    fn given_two<L: Lanes>(&mut self, l: L, samples: [usize; 2]) {
        let dots = self.dots_of_two(l, samples);
        for (sample, dots) in samples.into_iter().zip(dots) {
            self.write(l, sample, (0, dots), 0..self.end - self.first);
        }
    }

    /// Writes some rows' logits from their products, the first of which is that of row `first`.
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

/// A sample's strip, one segment after the other: the odds may have to be left on the way.
struct BySegments<'a, 'b, 'c> {
    walk: &'a mut Walk<'b, 'c>,
    sample: usize,
    rows: &'a Rows,
}

impl Kernel for BySegments<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        self.walk.by_segments(l, self.sample, self.rows);
    }
}
