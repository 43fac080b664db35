//! The gradient of a few hidden units, over all samples.

use std::sync::{Mutex, PoisonError};

use super::{
    super::{
        Weights,
        hidden::{Hidden, unit},
        strips::read,
    },
    GROUP, Gradient, ROWS,
    chunk::{Chunk, Turn},
};
use crate::{
    kernels::{Kernel, LANES, Lanes, Pack, load_packs, math, prefetch, store_packs},
    models::gradient::write,
};

/// The units of `GROUP` packs from `pack` on, or of the last one.
pub struct Units<'a, 'b, C> {
    pub weights: Weights<'a>,
    pub hidden: &'a Hidden<'a>,
    /// Nonzero at the steps where a sample has a one.
    pub ones: &'a [u8],
    pub chunks: C,
    pub pack: usize,
    pub out: &'a Mutex<Gradient<'b>>,
    /// Asked once a chunk.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

impl<'c, C: Iterator<Item = &'c Chunk<'c>>> Kernel for Units<'_, '_, C> {
    /// Whether it went to its end.
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> bool {
        const { assert!(GROUP == 2, "what is left over is one pack") };
        if self.pack + GROUP <= self.hidden.packs() { self.all::<L, GROUP>(l) } else { self.all::<L, 1>(l) }
    }
}

/// The units' own part of the weights.
struct Own<const P: usize> {
    /// Rows of V, zeros beyond the last.
    v: Vec<[Pack; P]>,
    /// e^W_i, which takes a one back out of the odds, for the steps with ones, in row i + 1.
    inverses: Vec<[Pack; P]>,
}

impl<const P: usize> Own<P> {
    #[inline(always)]
    fn new<L: Lanes>(l: L, weights: Weights<'_>, ones: &[u8], pack: usize) -> Self {
        let (n_dims, n_hidden) = (weights.b.len(), weights.c.len());
        let mut v = vec![[Pack::ZERO; P]; n_dims.next_multiple_of(ROWS)];
        let mut inverses = vec![[Pack::ZERO; P]; n_dims.next_multiple_of(ROWS) + 1];
        for (step, ((inverses, v), one)) in inverses[1..].iter_mut().zip(&mut v).zip(ones).enumerate() {
            for matrix in [weights.w, weights.v] {
                foresee(matrix, step * n_hidden + pack * LANES, n_hidden);
            }
            for p in 0..P {
                l.store(&mut v[p], read(l, weights.v(step), pack + p));
                if *one != 0 {
                    l.store(&mut inverses[p], math::exp(l, read(l, weights.w(step), pack + p)));
                }
            }
        }
        Self { v, inverses }
    }
}

/// What the samples of a chunk keep from tile to tile, on their way from the last step to the first.
struct Passing<const P: usize> {
    /// For each sample E in the segment under way.
    odds: Vec<[Pack; P]>,
    /// For each sample h in the segment under way.
    h: Vec<[Pack; P]>,
    /// For each sample whose odds are no safe floats, where among `segments` the one under way is.
    far: Vec<Option<usize>>,
    /// h of all segments of these samples.
    segments: Vec<[Pack; P]>,
    /// For each sample ∂/∂a in the segment under way, as far as its steps have been passed.
    open: Vec<[Pack; P]>,
    /// For each sample the sum of ∂/∂a over all segments passed.
    passed: Vec<[Pack; P]>,
}

impl<'c, C: Iterator<Item = &'c Chunk<'c>>> Units<'_, '_, C> {
    #[inline(always)]
    fn all<L: Lanes, const P: usize>(self, l: L) -> bool {
        let Self { weights, hidden, ones, chunks, pack, out, go_on } = self;
        let own = Own::<P>::new(l, weights, ones, pack);
        let n_dims = weights.b.len();
        let tiles = n_dims.div_ceil(ROWS);
        let zeros = |rows| vec![[Pack::ZERO; P]; rows];
        // Row i of w is that of step i − 1, whose one begins a segment at step i.
        let (mut w, mut v, mut c) = (zeros(tiles * ROWS + 1), zeros(tiles * ROWS), [Pack::ZERO; P]);
        for chunk in chunks {
            if !go_on() {
                return false;
            }
            let mut passing = Passing::new(l, chunk, hidden, pack);
            for tile in (0..tiles).rev() {
                let first = tile * ROWS;
                let [rows, inverses] = [&own.v, &own.inverses].map(|rows| rows[first..].first_chunk().expect("a tile"));
                let [v, w] = [&mut v, &mut w].map(|rows| rows[first..].first_chunk_mut().expect("a tile"));
                passing.tile(l, chunk.turns(tile), (rows, inverses), v, w);
            }
            // What is open belongs to the segment before the first one, whose units are the same for all.
            for (open, passed) in passing.open.iter().zip(&passing.passed) {
                let before = passing.h.last().expect("the units before a one");
                for p in 0..P {
                    let sum = end_segment(l, l.load(&before[p]), l.load(&open[p]), l.load(&passed[p]));
                    let sum = l.add(l.load(&c[p]), sum);
                    l.store(&mut c[p], sum);
                }
            }
        }
        let n_hidden = weights.c.len();
        let units = pack * LANES..n_hidden.min((pack + P) * LANES);
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        write_row(l, &c, &mut out.c[units.clone()]);
        for step in 0..n_dims {
            let units = step * n_hidden + units.start..step * n_hidden + units.end;
            for matrix in [&*out.w, &*out.v] {
                foresee(matrix, units.start, n_hidden);
            }
            write_row(l, &w[step + 1], &mut out.w[units.clone()]);
            write_row(l, &v[step], &mut out.v[units]);
        }
        true
    }
}

impl<const P: usize> Passing<P> {
    /// Begins with the last segment of each sample.
    #[inline(always)]
    fn new<L: Lanes>(l: L, chunk: &Chunk<'_>, hidden: &Hidden<'_>, pack: usize) -> Self {
        let zeros = || vec![[Pack::ZERO; P]; chunk.len()];
        let (mut odds, mut h, mut far, mut segments) = (zeros(), zeros(), vec![None; chunk.len()], Vec::new());
        for (sample, ones) in chunk.ones().enumerate() {
            let last = match chunk.odds(sample) {
                Some(odds) => odds.map(|odds| read_packs(l, odds, pack)),
                None => hidden.first_odds(l, pack),
            };
            if let Some(last) = last {
                store_packs(l, &mut odds[sample], last);
                for (h, odds) in h[sample].iter_mut().zip(last) {
                    l.store(h, unit(l, odds));
                }
            } else {
                let before = segments.len();
                segments.resize(before + ones.len() + 1, [Pack::ZERO; P]);
                hidden.segments(l, ones, pack, &mut segments[before..]);
                far[sample] = Some(before + ones.len());
                h[sample] = segments[before + ones.len()];
            }
        }
        Self { odds, h, far, segments, open: zeros(), passed: zeros() }
    }

    /// `ROWS` steps with these rows of V, the last one first: V's gradient is added to `v`, and W's to `w`, whose rows are those of
    /// the steps before.
    #[inline(always)]
    fn tile<'t, L: Lanes>(
        &mut self,
        l: L,
        (quiet, beginning): (impl Iterator<Item = Turn<'t>>, impl Iterator<Item = Turn<'t>>),
        (tile, inverses): (&[[Pack; P]; ROWS], &[[Pack; P]; ROWS]),
        v: &mut [[Pack; P]; ROWS],
        w: &mut [[Pack; P]; ROWS],
    ) {
        // Read once: both fit the registers.
        let (mut rows, mut sums) = ([[l.splat(0.0); P]; ROWS], [[l.splat(0.0); P]; ROWS]);
        for r in 0..ROWS {
            sums[r] = load_packs(l, &v[r]);
            rows[r] = load_packs(l, &tile[r]);
        }
        for turn in quiet {
            let h = load_packs(l, &self.h[turn.sample]);
            let mut open = load_packs(l, &self.open[turn.sample]);
            for r in (0..ROWS).rev() {
                add_step(l, turn.g[r], (&h, &mut sums[r]), (&rows[r], &mut open));
            }
            store_packs(l, &mut self.open[turn.sample], open);
        }
        for turn in beginning {
            let sample = turn.sample;
            let mut far = self.far[sample];
            let mut h = load_packs(l, &self.h[sample]);
            let mut odds = load_packs(l, &self.odds[sample]);
            let mut open = load_packs(l, &self.open[sample]);
            let mut passed = load_packs(l, &self.passed[sample]);
            for r in (0..ROWS).rev() {
                add_step(l, turn.g[r], (&h, &mut sums[r]), (&rows[r], &mut open));
                if turn.begins >> r & 1 == 1 {
                    let mut sum = load_packs(l, &w[r]);
                    for p in 0..P {
                        passed[p] = end_segment(l, h[p], open[p], passed[p]);
                        open[p] = l.splat(0.0);
                        sum[p] = l.add(sum[p], passed[p]);
                    }
                    store_packs(l, &mut w[r], sum);
                    if let Some(segment) = &mut far {
                        *segment -= 1;
                        h = load_packs(l, &self.segments[*segment]);
                    } else {
                        for p in 0..P {
                            odds[p] = l.mul(odds[p], l.load(&inverses[r][p]));
                            h[p] = unit(l, odds[p]);
                        }
                    }
                }
            }
            store_packs(l, &mut self.open[sample], open);
            store_packs(l, &mut self.passed[sample], passed);
            store_packs(l, &mut self.h[sample], h);
            store_packs(l, &mut self.odds[sample], odds);
            self.far[sample] = far;
        }
        for r in 0..ROWS {
            store_packs(l, &mut v[r], sums[r]);
        }
    }
}

/// Has what stands some rows after `from` brought near. The units are a few columns of a matrix, too far apart for the processor
/// to foresee.
#[inline(always)]
fn foresee(matrix: &[f32], from: usize, len: usize) {
    /// Rows on the way at a time.
    const AHEAD: usize = 32;
    /// The columns, and as many more as a line may begin before them.
    const WIDTH: usize = (GROUP + 1) * LANES;
    let from = from + AHEAD * len;
    if let Some(columns) = matrix.get(from..from + WIDTH) {
        prefetch(columns);
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

/// Adds a segment's ∂/∂a, the sum of its steps times the slope of its units, to those passed.
#[inline(always)]
fn end_segment<L: Lanes>(l: L, h: L::F, open: L::F, passed: L::F) -> L::F {
    l.fma(open, l.mul(h, l.sub(l.splat(1.0), h)), passed)
}

/// The `P` packs of a row from `pack` on.
#[inline(always)]
fn read_packs<L: Lanes, const P: usize>(l: L, row: &[f32], pack: usize) -> [L::F; P] {
    let mut out = [l.splat(0.0); P];
    for (p, out) in out.iter_mut().enumerate() {
        *out = read(l, row, pack + p);
    }
    out
}

#[inline(always)]
fn write_row<L: Lanes, const P: usize>(l: L, row: &[Pack; P], out: &mut [f32]) {
    out.chunks_mut(LANES).zip(row).for_each(|(out, pack)| write(l, l.load(pack), out));
}
