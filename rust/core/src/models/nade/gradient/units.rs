//! The gradient of a few hidden units, over all samples.

use std::sync::{Mutex, PoisonError};

use super::{
    super::{Nade, dots::TILE},
    GROUP, Gradient, ROWS,
    chunk::{Chunk, Turn},
};
use crate::{
    kernels::{Kernel, LANES, Lanes, Pack},
    models::gradient::{write, write_columns},
};

/// The units of `GROUP` packs from `pack` on, or of the last one.
pub struct Units<'a, 'b, C> {
    pub nade: &'a Nade,
    pub chunks: C,
    pub pack: usize,
    pub out: &'a Mutex<Gradient<'b>>,
    /// Asked once a chunk.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

impl<'c, C: Iterator<Item = &'c Chunk>> Kernel for Units<'_, '_, C> {
    /// Whether it went to its end.
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> bool {
        const { assert!(GROUP == 2, "what is left over is one pack") };
        if self.pack + GROUP <= self.nade.hidden.packs() { self.all::<L, GROUP>(l) } else { self.all::<L, 1>(l) }
    }
}

/// What the samples of a chunk keep from tile to tile.
struct Passing<'a, const P: usize> {
    /// h of all segments.
    h: &'a [[Pack; P]],
    /// For each sample ∂/∂a in the segment under way, as far as its steps have been passed.
    open: Vec<[Pack; P]>,
    /// For each sample the sum of ∂/∂a over all segments passed.
    passed: Vec<[Pack; P]>,
}

impl<'c, C: Iterator<Item = &'c Chunk>> Units<'_, '_, C> {
    #[inline(always)]
    fn all<L: Lanes, const P: usize>(self, l: L) -> bool {
        let Self { nade, chunks, pack, out, go_on } = self;
        let tiles = nade.event.n_dims().div_ceil(ROWS);
        let zeros = |rows| vec![[Pack::ZERO; P]; rows];
        // Row i of w is that of step i − 1, whose one begins a segment at step i.
        let (mut w, mut v, mut c) = (zeros(tiles * ROWS + 1), zeros(tiles * ROWS), [Pack::ZERO; P]);
        let mut h = Vec::new();
        for chunk in chunks {
            if !go_on() {
                return false;
            }
            h.resize(chunk.segments(), [Pack::ZERO; P]);
            let mut rest = &mut h[..];
            for ones in chunk.ones() {
                let (h, others) = rest.split_at_mut(ones.len() + 1);
                nade.hidden.segments(l, ones, pack, h);
                rest = others;
            }
            let mut passing = Passing { h: &h, open: zeros(chunk.len()), passed: zeros(chunk.len()) };
            for tile in (0..tiles).rev() {
                let first = tile * ROWS;
                let rows = nade.tile(first / TILE)[pack..].first_chunk().expect("P packs");
                let [v, w] = [&mut v, &mut w].map(|rows| rows[first..].first_chunk_mut().expect("a tile"));
                passing.tile(l, chunk.turns(tile), (rows, first % TILE), v, w);
            }
            // What is open belongs to the segment before the first one, whose units are the same for all.
            for (open, passed) in passing.open.iter().zip(&passing.passed) {
                let before = h.last().expect("the units before a one");
                for p in 0..P {
                    let h = l.load(&before[p]);
                    let slope = l.mul(h, l.sub(l.splat(1.0), h));
                    let sum = l.fma(l.load(&open[p]), slope, l.load(&passed[p]));
                    let sum = l.add(l.load(&c[p]), sum);
                    l.store(&mut c[p], sum);
                }
            }
        }
        let (n_dims, units) = (nade.event.n_dims(), pack * LANES..nade.n_hidden.min((pack + P) * LANES));
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        write_columns(l, &w[1..], &mut out.w[units.start * n_dims..units.end * n_dims], n_dims, 0);
        write_row(l, &c, &mut out.c[units.clone()]);
        for (row, out) in v.iter().zip(out.v.chunks_exact_mut(nade.n_hidden)) {
            write_row(l, row, &mut out[units.clone()]);
        }
        true
    }
}

impl<const P: usize> Passing<'_, P> {
    /// The `ROWS` steps from row `at` of a tile of V on, the last one first: V's gradient is added to `v`, and W's to `w`, whose
    /// rows are those of the steps before.
    #[inline(always)]
    fn tile<L: Lanes>(
        &mut self,
        l: L,
        turns: (&[Turn], &[Turn]),
        (tile, at): (&[[Pack; TILE]; P], usize),
        v: &mut [[Pack; P]; ROWS],
        w: &mut [[Pack; P]; ROWS],
    ) {
        // Read once: both fit the registers.
        let (mut rows, mut sums) = ([[l.splat(0.0); P]; ROWS], [[l.splat(0.0); P]; ROWS]);
        for r in 0..ROWS {
            sums[r] = load(l, &v[r]);
            for p in 0..P {
                rows[r][p] = l.load(&tile[p][at + r]);
            }
        }
        let (quiet, beginning) = turns;
        for turn in quiet {
            let h = load(l, &self.h[turn.segment as usize]);
            let mut open = load(l, &self.open[turn.sample as usize]);
            for r in (0..ROWS).rev() {
                add_step(l, turn.g[r], (&h, &mut sums[r]), (&rows[r], &mut open));
            }
            store(l, &mut self.open[turn.sample as usize], open);
        }
        for turn in beginning {
            let mut segment = turn.segment as usize;
            let mut h = load(l, &self.h[segment]);
            let mut open = load(l, &self.open[turn.sample as usize]);
            let mut passed = load(l, &self.passed[turn.sample as usize]);
            for r in (0..ROWS).rev() {
                add_step(l, turn.g[r], (&h, &mut sums[r]), (&rows[r], &mut open));
                if turn.begins >> r & 1 == 1 {
                    let mut sum = load(l, &w[r]);
                    for p in 0..P {
                        passed[p] = l.fma(open[p], l.mul(h[p], l.sub(l.splat(1.0), h[p])), passed[p]);
                        open[p] = l.splat(0.0);
                        sum[p] = l.add(sum[p], passed[p]);
                    }
                    store(l, &mut w[r], sum);
                    segment -= 1;
                    h = load(l, &self.h[segment]);
                }
            }
            store(l, &mut self.open[turn.sample as usize], open);
            store(l, &mut self.passed[turn.sample as usize], passed);
        }
        for r in 0..ROWS {
            store(l, &mut v[r], sums[r]);
        }
    }
}

/// Adds g h to the sums of V's row, and g times the row to ∂/∂a.
#[inline(always)]
fn add_step<L: Lanes, const P: usize>(
    l: L,
    g: f32,
    (h, sums): (&[L::F; P], &mut [L::F; P]),
    (row, open): (&[L::F; P], &mut [L::F; P]),
) {
    let g = l.splat(g);
    for p in 0..P {
        sums[p] = l.fma(g, h[p], sums[p]);
        open[p] = l.fma(g, row[p], open[p]);
    }
}

#[inline(always)]
fn write_row<L: Lanes, const P: usize>(l: L, row: &[Pack; P], out: &mut [f32]) {
    out.chunks_mut(LANES).zip(row).for_each(|(out, pack)| write(l, l.load(pack), out));
}

#[inline(always)]
fn load<L: Lanes, const P: usize>(l: L, packs: &[Pack; P]) -> [L::F; P] {
    let mut out = [l.splat(0.0); P];
    for (out, pack) in out.iter_mut().zip(packs) {
        *out = l.load(pack);
    }
    out
}

#[inline(always)]
fn store<L: Lanes, const P: usize>(l: L, packs: &mut [Pack; P], values: [L::F; P]) {
    for (pack, value) in packs.iter_mut().zip(values) {
        l.store(pack, value);
    }
}
