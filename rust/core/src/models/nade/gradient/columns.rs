//! The gradient in a few columns of W and V, those of a few hidden units, over all samples.

use std::sync::{Mutex, PoisonError};

use super::{
    super::{
        Weights,
        hidden::{Hidden, unit},
        tiles::read,
    },
    Gradient, ROWS, TASK_PACKS,
    block::{Entry, SampleBlock},
};
use crate::{
    error::Error,
    kernels::{Kernel, LANES, Lanes, Pack, load_packs, math, prefetch, store_packs},
    models::gradient::{Check, write},
};

/// The columns of `TASK_PACKS` packs of units from `pack` on, or of the last one.
pub struct Columns<'a, 'b, B> {
    pub weights: Weights<'a>,
    pub hidden: &'a Hidden<'a>,
    /// Nonzero at the steps where a sample has a one.
    pub active: &'a [u8],
    pub blocks: B,
    pub pack: usize,
    pub out: &'a Mutex<Gradient<'b>>,
    /// Made once a block.
    pub check: Check<'a>,
}

impl<'s, B: Iterator<Item = &'s SampleBlock<'s>>> Kernel for Columns<'_, '_, B> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Result<(), Error> {
        const { assert!(TASK_PACKS == 2, "what is left over is one pack") };
        if self.pack + TASK_PACKS <= self.hidden.packs() { self.all::<L, TASK_PACKS>(l) } else { self.all::<L, 1>(l) }
    }
}

/// The columns of the weights.
struct ColumnWeights<const P: usize> {
    /// V, with rows of zeros beyond the last.
    v: Vec<[Pack; P]>,
    /// e^(W_i) in row i + 1, for the steps with ones: it takes the update of an active bit back out of the odds.
    inverses: Vec<[Pack; P]>,
}

impl<const P: usize> ColumnWeights<P> {
    #[inline(always)]
    fn new<L: Lanes>(l: L, weights: Weights<'_>, active: &[u8], pack: usize) -> Self {
        let (n_dims, n_hidden) = (weights.b.len(), weights.c.len());
        let mut v = vec![[Pack::ZERO; P]; n_dims.next_multiple_of(ROWS)];
        let mut inverses = vec![[Pack::ZERO; P]; n_dims.next_multiple_of(ROWS) + 1];
        for (step, ((inverses, v), active)) in inverses[1..].iter_mut().zip(&mut v).zip(active).enumerate() {
            for matrix in [weights.w, weights.v] {
                prefetch_column(matrix, step * n_hidden + pack * LANES, n_hidden);
            }
            for p in 0..P {
                l.store(&mut v[p], read(l, weights.v(step), pack + p));
                if *active != 0 {
                    l.store(&mut inverses[p], math::exp(l, read(l, weights.w(step), pack + p)));
                }
            }
        }
        Self { v, inverses }
    }
}

/// What the samples of a block keep from tile to tile.
struct Carry<const P: usize> {
    /// For each sample, E in its current segment.
    odds: Vec<[Pack; P]>,
    /// For each sample, h in its current segment.
    h: Vec<[Pack; P]>,
    /// For each sample without odds, the place of its current segment in `segments`.
    at_segment: Vec<Option<usize>>,
    /// h of all segments of these samples.
    segments: Vec<[Pack; P]>,
    /// For each sample, Σ g_i V_i over the steps of its current segment visited so far.
    dh: Vec<[Pack; P]>,
    /// For each sample, the sum of ∂/∂a over the segments visited.
    da: Vec<[Pack; P]>,
}

impl<'s, B: Iterator<Item = &'s SampleBlock<'s>>> Columns<'_, '_, B> {
    #[inline(always)]
    fn all<L: Lanes, const P: usize>(self, l: L) -> Result<(), Error> {
        let Self { weights, hidden, active, blocks, pack, out, check } = self;
        let columns = ColumnWeights::<P>::new(l, weights, active, pack);
        let n_dims = weights.b.len();
        let tiles = n_dims.div_ceil(ROWS);
        let zeros = |rows| vec![[Pack::ZERO; P]; rows];
        // Row i of w is that of step i − 1, whose active bit begins a segment at step i.
        let (mut w, mut v, mut c) = (zeros(tiles * ROWS + 1), zeros(tiles * ROWS), [Pack::ZERO; P]);
        for block in blocks {
            check()?;
            let mut carry = Carry::new(l, block, hidden, pack);
            for tile in (0..tiles).rev() {
                let first = tile * ROWS;
                let [rows, inverses] =
                    [&columns.v, &columns.inverses].map(|rows| rows[first..].first_chunk().expect("a tile"));
                let [v, w] = [&mut v, &mut w].map(|rows| rows[first..].first_chunk_mut().expect("a tile"));
                carry.visit(l, block.entries(tile), (rows, inverses), v, w);
            }
            // The first segment of every sample has the h of the prefix.
            for (dh, da) in carry.dh.iter().zip(&carry.da) {
                let h = carry.h.last().expect("that of the prefix");
                for p in 0..P {
                    let sum = end_segment(l, l.load(&h[p]), l.load(&dh[p]), l.load(&da[p]));
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
                prefetch_column(matrix, units.start, n_hidden);
            }
            write_row(l, &w[step + 1], &mut out.w[units.clone()]);
            write_row(l, &v[step], &mut out.v[units]);
        }
        Ok(())
    }
}

impl<const P: usize> Carry<P> {
    /// In the last segment of each sample.
    #[inline(always)]
    fn new<L: Lanes>(l: L, block: &SampleBlock<'_>, hidden: &Hidden<'_>, pack: usize) -> Self {
        let zeros = || vec![[Pack::ZERO; P]; block.len()];
        let (mut odds, mut h, mut at_segment, mut segments) = (zeros(), zeros(), vec![None; block.len()], Vec::new());
        let mut of_samples = block.odds();
        for (sample, active) in block.active().enumerate() {
            let last = match of_samples.next() {
                Some(odds) => odds.map(|odds| read_packs(l, odds, pack)),
                // The prefix.
                None => hidden.initial_odds(l, pack),
            };
            if let Some(last) = last {
                store_packs(l, &mut odds[sample], last);
                for (h, odds) in h[sample].iter_mut().zip(last) {
                    l.store(h, unit(l, odds));
                }
            } else {
                let first = segments.len();
                segments.resize(first + active.len() + 1, [Pack::ZERO; P]);
                hidden.segments(l, active, pack, &mut segments[first..]);
                at_segment[sample] = Some(first + active.len());
                h[sample] = segments[first + active.len()];
            }
        }
        Self { odds, h, at_segment, segments, dh: zeros(), da: zeros() }
    }

    /// Visits a tile of steps with these rows of V, the last one first. Adds the gradient of V to `v`, and that of W to
    /// `w`, whose row r is that of the step before row r of the tile.
    #[inline(always)]
    fn visit<'e, L: Lanes>(
        &mut self,
        l: L,
        (unchanged, beginning): (impl Iterator<Item = Entry<'e>>, impl Iterator<Item = Entry<'e>>),
        (tile, inverses): (&[[Pack; P]; ROWS], &[[Pack; P]; ROWS]),
        v: &mut [[Pack; P]; ROWS],
        w: &mut [[Pack; P]; ROWS],
    ) {
        // Kept in registers.
        let (mut rows, mut sums) = ([[l.splat(0.0); P]; ROWS], [[l.splat(0.0); P]; ROWS]);
        for r in 0..ROWS {
            sums[r] = load_packs(l, &v[r]);
            rows[r] = load_packs(l, &tile[r]);
        }
        for entry in unchanged {
            let h = load_packs(l, &self.h[entry.sample]);
            let mut dh = load_packs(l, &self.dh[entry.sample]);
            for r in (0..ROWS).rev() {
                add_step(l, entry.g[r], (&h, &mut sums[r]), (&rows[r], &mut dh));
            }
            store_packs(l, &mut self.dh[entry.sample], dh);
        }
        for entry in beginning {
            let sample = entry.sample;
            let mut at_segment = self.at_segment[sample];
            let mut h = load_packs(l, &self.h[sample]);
            let mut odds = load_packs(l, &self.odds[sample]);
            let mut dh = load_packs(l, &self.dh[sample]);
            let mut da = load_packs(l, &self.da[sample]);
            for r in (0..ROWS).rev() {
                add_step(l, entry.g[r], (&h, &mut sums[r]), (&rows[r], &mut dh));
                if entry.begins >> r & 1 == 1 {
                    let mut sum = load_packs(l, &w[r]);
                    for p in 0..P {
                        da[p] = end_segment(l, h[p], dh[p], da[p]);
                        dh[p] = l.splat(0.0);
                        sum[p] = l.add(sum[p], da[p]);
                    }
                    store_packs(l, &mut w[r], sum);
                    if let Some(segment) = &mut at_segment {
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
            store_packs(l, &mut self.dh[sample], dh);
            store_packs(l, &mut self.da[sample], da);
            store_packs(l, &mut self.h[sample], h);
            store_packs(l, &mut self.odds[sample], odds);
            self.at_segment[sample] = at_segment;
        }
        for r in 0..ROWS {
            store_packs(l, &mut v[r], sums[r]);
        }
    }
}

/// Prefetches the columns of a matrix with rows of `len` values that stand some rows after place `from`: too far apart
/// for the processor's own prefetching.
#[inline(always)]
fn prefetch_column(matrix: &[f32], from: usize, len: usize) {
    /// Rows on the way at a time.
    const AHEAD: usize = 32;
    /// The columns, and as many more as a cache line may begin before them.
    const WIDTH: usize = (TASK_PACKS + 1) * LANES;
    let from = from + AHEAD * len;
    if let Some(columns) = matrix.get(from..from + WIDTH) {
        prefetch(columns);
    }
}

/// Adds g h to the sums of ∂/∂V_i, and g V_i to dh.
#[inline(always)]
fn add_step<L: Lanes, const P: usize>(
    l: L,
    g: f32,
    (h, sums): (&[L::F; P], &mut [L::F; P]),
    (row, dh): (&[L::F; P], &mut [L::F; P]),
) {
    let g = l.splat(g);
    for p in 0..P {
        sums[p] = l.fma(g, h[p], sums[p]);
        dh[p] = l.fma(g, row[p], dh[p]);
    }
}

/// da + dh ⊙ h ⊙ (1 − h)
#[inline(always)]
fn end_segment<L: Lanes>(l: L, h: L::F, dh: L::F, da: L::F) -> L::F {
    l.fma(dh, l.mul(h, l.sub(l.splat(1.0), h)), da)
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
