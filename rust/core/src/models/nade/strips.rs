//! The weights in the kernels' layout: strips of eight steps, so that each unit is read, or computed, once for eight rows of V.
//!
//! A model that is kept lays out all strips once. In training, where weights last for one batch, each walk lays out a strip when
//! it gets there, into memory that stays in the nearest cache.

use std::ops::Range;

use super::Weights;
use crate::kernels::{Isa, Kernel, LANES, Lanes, Pack, math, to_pack};

/// Steps of a strip: rows of V that stand side by side in memory.
pub const TILE: usize = 8;

/// Some strips, one after the other. Rows are filled up with zeros to whole packs, and so is the last strip.
#[derive(Default)]
pub struct Strips {
    packs: usize,
    /// Pack p of a strip holds pack p of each of its rows of V.
    v: Vec<[Pack; TILE]>,
    factors: Vec<Pack>,
    reach: Vec<f32>,
}

/// The weights of `TILE` steps.
#[derive(Clone, Copy)]
pub struct Strip<'a> {
    /// The rows of V: pack by pack.
    pub v: &'a [[Pack; TILE]],
    factors: &'a [Pack],
    reach: &'a [f32],
}

/// What a one multiplies into the odds.
#[derive(Clone, Copy)]
pub struct One<'a> {
    /// e^(−W_i)
    pub factors: &'a [Pack],
    /// max |W_i|: how far it can move any a.
    pub reach: f32,
}

impl Strips {
    /// Lays out these strips of the weights, and forgets those before. The factors are those of steps where `ones` are nonzero: the
    /// others are not to be asked for.
    pub fn fill(&mut self, isa: Isa, weights: Weights<'_>, strips: Range<usize>, ones: &[u8]) {
        self.packs = weights.c.len().div_ceil(LANES);
        self.v.resize(strips.len() * self.packs, [Pack::ZERO; TILE]);
        self.factors.resize(strips.len() * self.packs * TILE, Pack::ZERO);
        self.reach.resize(strips.len() * TILE, 0.0);
        let rows = self.factors.chunks_exact_mut(self.packs * TILE).zip(self.reach.chunks_exact_mut(TILE));
        for ((at, v), (factors, reach)) in strips.zip(self.v.chunks_exact_mut(self.packs)).zip(rows) {
            isa.run(Fill { weights, first: at * TILE, ones, v, factors, reach });
        }
    }

    /// The strip that was laid out as the `at`-th.
    pub fn get(&self, at: usize) -> Strip<'_> {
        let rows = at * TILE..(at + 1) * TILE;
        Strip {
            v: &self.v[at * self.packs..(at + 1) * self.packs],
            factors: &self.factors[rows.start * self.packs..rows.end * self.packs],
            reach: &self.reach[rows],
        }
    }
}

impl<'a> Strip<'a> {
    /// A one at the step before the strip's `row`-th.
    pub fn one_before(self, row: usize) -> One<'a> {
        let packs = self.v.len();
        One { factors: &self.factors[row * packs..(row + 1) * packs], reach: self.reach[row] }
    }
}

/// Lays out one strip.
struct Fill<'a> {
    weights: Weights<'a>,
    first: usize,
    ones: &'a [u8],
    v: &'a mut [[Pack; TILE]],
    factors: &'a mut [Pack],
    reach: &'a mut [f32],
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { weights, first, ones, v, factors, reach } = self;
        let (packs, n_dims) = (v.len(), weights.b.len());
        let has_one = |step: &usize| ones.get(*step).is_some_and(|one| *one != 0);
        for (row, (factors, reach)) in factors.chunks_exact_mut(packs).zip(reach).enumerate() {
            let Some(step) = (first + row).checked_sub(1).filter(has_one) else { continue };
            let mut largest = l.splat(0.0);
            for (pack, factors) in factors.iter_mut().enumerate() {
                let w = read(l, weights.w(step), pack);
                largest = l.max(largest, math::abs(l, w));
                l.store(factors, math::exp(l, math::neg(l, w)));
            }
            let mut lanes = Pack::ZERO;
            l.store(&mut lanes, largest);
            *reach = lanes.0.into_iter().fold(0.0, f32::max);
        }
        for row in 0..TILE.min(n_dims - first) {
            for (pack, v) in v.iter_mut().enumerate() {
                l.store(&mut v[row], read(l, weights.v(first + row), pack));
            }
        }
        for v in v {
            v[TILE.min(n_dims - first)..].fill(Pack::ZERO);
        }
    }
}

/// A pack of a row, the last one filled up with zeros.
#[inline(always)]
pub fn read<L: Lanes>(l: L, row: &[f32], pack: usize) -> L::F {
    let values = &row[pack * LANES..];
    match values.first_chunk() {
        Some(values) => l.read(values),
        None => l.load(&to_pack(values)),
    }
}
