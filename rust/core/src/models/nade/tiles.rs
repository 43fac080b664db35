//! The weights in the kernels' layout: tiles of eight steps, so that each hidden unit is read, or computed, once for
//! eight rows of V.
//!
//! A model that is kept lays out all tiles once. In training, where weights last for one batch, each walk lays out a
//! tile when it gets there, into memory that stays in the first-level cache.

use std::ops::Range;

use super::Weights;
use crate::kernels::{Isa, Kernel, LANES, Lanes, Pack, math, to_pack};

/// Steps of a tile.
pub const TILE: usize = 8;

/// Some tiles, one after the other. Rows are filled up with zeros to whole packs, and so is the last tile.
#[derive(Default)]
pub struct Tiles {
    /// Packs of a row.
    packs: usize,
    /// Pack p of a tile: pack p of each of its rows of V.
    v: Vec<[Pack; TILE]>,
    /// [`Update::factors`] of the active bit before each row.
    factors: Vec<Pack>,
    /// [`Update::max_abs`]
    max_abs: Vec<f32>,
}

/// The weights of `TILE` steps.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// The rows of V, interleaved by packs.
    pub v: &'a [[Pack; TILE]],
    factors: &'a [Pack],
    max_abs: &'a [f32],
}

/// What an active bit x_i does to the hidden units.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// e^(−W_i), which multiplies the odds.
    pub factors: &'a [Pack],
    /// max |W_i|: the most by which it moves any activation.
    pub max_abs: f32,
}

impl Tiles {
    /// Lays out these tiles of the weights, in place of those before. Updates are laid out for the steps where `active`
    /// is nonzero; no others may be asked for.
    pub fn fill(&mut self, isa: Isa, weights: Weights<'_>, tiles: Range<usize>, active: &[u8]) {
        self.packs = weights.c.len().div_ceil(LANES);
        self.v.resize(tiles.len() * self.packs, [Pack::ZERO; TILE]);
        self.factors.resize(tiles.len() * self.packs * TILE, Pack::ZERO);
        self.max_abs.resize(tiles.len() * TILE, 0.0);
        let updates = self.factors.chunks_exact_mut(self.packs * TILE).zip(self.max_abs.chunks_exact_mut(TILE));
        for ((tile, v), (factors, max_abs)) in tiles.zip(self.v.chunks_exact_mut(self.packs)).zip(updates) {
            isa.run(Fill { weights, first: tile * TILE, active, v, factors, max_abs });
        }
    }

    /// The `at`-th of the tiles that were laid out.
    pub fn get(&self, at: usize) -> Tile<'_> {
        let rows = at * TILE..(at + 1) * TILE;
        Tile {
            v: &self.v[at * self.packs..(at + 1) * self.packs],
            factors: &self.factors[rows.start * self.packs..rows.end * self.packs],
            max_abs: &self.max_abs[rows],
        }
    }
}

impl<'a> Tile<'a> {
    /// That of an active bit at the step before the tile's `row`-th.
    pub fn update_before(self, row: usize) -> Update<'a> {
        let packs = self.v.len();
        Update { factors: &self.factors[row * packs..(row + 1) * packs], max_abs: self.max_abs[row] }
    }
}

/// Lays out one tile.
struct Fill<'a> {
    weights: Weights<'a>,
    /// Its first step.
    first: usize,
    active: &'a [u8],
    v: &'a mut [[Pack; TILE]],
    factors: &'a mut [Pack],
    max_abs: &'a mut [f32],
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { weights, first, active, v, factors, max_abs } = self;
        let (packs, n_dims) = (v.len(), weights.b.len());
        let is_active = |step: &usize| active.get(*step).is_some_and(|active| *active != 0);
        for (row, (factors, max_abs)) in factors.chunks_exact_mut(packs).zip(max_abs).enumerate() {
            let Some(step) = (first + row).checked_sub(1).filter(is_active) else { continue };
            let mut largest = l.splat(0.0);
            for (pack, factors) in factors.iter_mut().enumerate() {
                let w = read(l, weights.w(step), pack);
                largest = l.max(largest, math::abs(l, w));
                l.store(factors, math::exp(l, math::neg(l, w)));
            }
            let mut lanes = Pack::ZERO;
            l.store(&mut lanes, largest);
            *max_abs = lanes.0.into_iter().fold(0.0, f32::max);
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
