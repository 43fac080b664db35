//! The hidden units h = σ(a), a = c + W x, as ones come in.
//!
//! A sigmoid for each unit after each one would be most of NADE's work. With odds E = e^(−a) kept instead of a, the column of a
//! one is multiplied in, E ← E · e^(−W), and h = 1 / (1 + E) is a reciprocal. Every product loses half a unit in the last
//! place, so E is good to about √events such units. Where a unit leaves the range in which E is a safe float, the sample goes
//! on with a itself, summed anew from its ones.

use std::{f64::consts::LN_2, ops::Range};

use crate::{
    error::Error,
    kernels::{Isa, Kernel, LANES, Lanes, Pack, math, to_pack},
};

/// While |a| is at most this, E is within 2^±120.
const SAFE: f64 = 83.0;
/// Weights beyond this have no factor e^(−W) that is a safe float.
const LARGEST_WEIGHT: f32 = 80.0;

/// What the units are computed from. Rows are filled up with zeros to whole packs.
pub struct Hidden {
    /// Row i: W_{·,i}
    w: Vec<Pack>,
    c: Vec<Pack>,
    /// Row i: e^(−W_{·,i}); empty if some weight is too large.
    factors: Vec<Pack>,
    /// e^(−c)
    odds: Vec<Pack>,
    /// max |W_{·,i}|: how far a one can move any a.
    reach: Vec<f32>,
    /// max |c|
    first_reach: f32,
}

/// One sample's units.
pub struct Units<'a> {
    /// E; or a, once `bound` is infinite.
    pub state: &'a mut [Pack],
    /// σ(a)
    pub h: &'a mut [Pack],
    /// At least every |a|, without looking at any: a sum of reaches.
    pub bound: &'a mut f64,
}

impl Hidden {
    /// From W (`n_hidden`, `n_dims`) and c (`n_hidden`).
    pub fn new(w: &[f32], c: &[f32]) -> Result<Self, Error> {
        let isa = Isa::get()?;
        let Table { rows: w, mut factors, reach } = isa.run(Columns { matrix: w, n_rows: c.len() });
        let Table { rows: c, factors: odds, reach: first_reach } = isa.run(Columns { matrix: c, n_rows: c.len() });
        let first_reach = first_reach[0];
        if !reach.iter().chain([&first_reach]).all(|&reach| reach <= LARGEST_WEIGHT) {
            factors.clear();
        }
        Ok(Self { w, c, factors, odds, reach, first_reach })
    }

    /// Packs of one sample's units.
    pub fn packs(&self) -> usize {
        self.c.len()
    }

    /// The units before the first step.
    #[inline(always)]
    pub fn begin<L: Lanes>(&self, l: L, units: &mut Units<'_>) {
        if self.factors.is_empty() {
            *units.bound = f64::INFINITY;
            units.state.copy_from_slice(&self.c);
            sigmoids(l, units);
            return;
        }
        *units.bound = f64::from(self.first_reach);
        units.state.copy_from_slice(&self.odds);
        for (e, h) in units.state.iter().zip(&mut *units.h) {
            l.store(h, unit(l, l.load(e)));
        }
    }

    /// The units after a one at `step`; `x` holds the values up to that one. Where E is surely safe, all is still to be
    /// done, and the factors to do it with are returned: whoever needs h next computes it on the way.
    #[inline(always)]
    pub fn advance<L: Lanes>(&self, l: L, step: usize, x: &[u8], units: &mut Units<'_>) -> Option<&[Pack]> {
        let row = step * self.packs()..(step + 1) * self.packs();
        *units.bound += f64::from(self.reach[step]);
        if *units.bound <= SAFE {
            return Some(&self.factors[row]);
        }
        self.advance_far(l, row, x, units);
        None
    }

    /// `advance` where E may not be safe.
    #[inline(always)]
    fn advance_far<L: Lanes>(&self, l: L, row: Range<usize>, x: &[u8], units: &mut Units<'_>) {
        if *units.bound == f64::INFINITY {
            for (a, w) in units.state.iter_mut().zip(&self.w[row]) {
                l.store(a, l.add(l.load(a), l.load(w)));
            }
            sigmoids(l, units);
            return;
        }
        let (mut largest, mut smallest) = (l.splat(1.0), l.splat(1.0));
        for ((e, h), factor) in units.state.iter_mut().zip(&mut *units.h).zip(&self.factors[row]) {
            let odds = l.mul(l.load(e), l.load(factor));
            largest = l.max(largest, odds);
            smallest = l.min(smallest, odds);
            l.store(e, odds);
            l.store(h, unit(l, odds));
        }
        *units.bound = bound(l, largest, smallest);
        if *units.bound > SAFE {
            *units.bound = f64::INFINITY;
            self.sum(l, x, units.state);
            sigmoids(l, units);
        }
    }

    /// The units of the `P` packs from `pack` on in every segment: before the first one, and after each.
    #[inline(always)]
    pub fn segments<L: Lanes, const P: usize>(&self, l: L, ones: &[u32], pack: usize, h: &mut [[Pack; P]]) {
        let (before, after) = h.split_first_mut().expect("the units before a one");
        let row = |rows: &'_ [Pack], at: usize| -> [L::F; P] {
            let mut out = [l.splat(0.0); P];
            out.iter_mut().zip(&rows[at * self.packs() + pack..][..P]).for_each(|(out, pack)| *out = l.load(pack));
            out
        };
        if !self.factors.is_empty() {
            let mut odds = row(&self.odds, 0);
            let (mut largest, mut smallest) = (l.splat(1.0), l.splat(1.0));
            for p in 0..P {
                l.store(&mut before[p], unit(l, odds[p]));
            }
            for (h, &one) in after.iter_mut().zip(ones) {
                let factors = row(&self.factors, one as usize);
                for p in 0..P {
                    odds[p] = l.mul(odds[p], factors[p]);
                    largest = l.max(largest, odds[p]);
                    smallest = l.min(smallest, odds[p]);
                    l.store(&mut h[p], unit(l, odds[p]));
                }
            }
            if bound(l, largest, smallest) <= SAFE {
                return;
            }
        }
        let mut a = row(&self.c, 0);
        for p in 0..P {
            l.store(&mut before[p], math::sigmoid(l, a[p]));
        }
        for (h, &one) in after.iter_mut().zip(ones) {
            let w = row(&self.w, one as usize);
            for p in 0..P {
                a[p] = l.add(a[p], w[p]);
                l.store(&mut h[p], math::sigmoid(l, a[p]));
            }
        }
    }

    /// a = c + Σ W_{·,j} over the ones of x, in their order.
    #[inline(always)]
    fn sum<L: Lanes>(&self, l: L, x: &[u8], a: &mut [Pack]) {
        a.copy_from_slice(&self.c);
        for (w, _) in self.w.chunks_exact(self.packs()).zip(x).filter(|&(_, &x)| x == 1) {
            for (a, w) in a.iter_mut().zip(w) {
                l.store(a, l.add(l.load(a), l.load(w)));
            }
        }
    }
}

/// h = 1 / (1 + E)
#[inline(always)]
pub fn unit<L: Lanes>(l: L, odds: L::F) -> L::F {
    math::recip(l, l.add(l.splat(1.0), odds))
}

/// At least |ln E| for every E between those given, by their exponents.
#[inline(always)]
fn bound<L: Lanes>(l: L, largest: L::F, smallest: L::F) -> f64 {
    let (mut high, mut low) = (Pack::ZERO, Pack::ZERO);
    l.store(&mut high, largest);
    l.store(&mut low, smallest);
    let exponent = |odds: &f32| (odds.to_bits() >> 23) as i32 - 127;
    let above = high.0.iter().map(|odds| exponent(odds) + 1).fold(0, i32::max);
    let below = low.0.iter().map(|odds| -exponent(odds)).fold(0, i32::max);
    f64::from(above.max(below)) * LN_2
}

/// h = σ(a)
#[inline(always)]
fn sigmoids<L: Lanes>(l: L, units: &mut Units<'_>) {
    for (a, h) in units.state.iter().zip(&mut *units.h) {
        l.store(h, math::sigmoid(l, l.load(a)));
    }
}

/// The columns of a matrix of `n_rows` rows, each filled up with zeros to whole packs.
struct Columns<'a> {
    matrix: &'a [f32],
    n_rows: usize,
}

/// Columns as rows.
struct Table {
    rows: Vec<Pack>,
    /// e^(−x) for every value.
    factors: Vec<Pack>,
    /// max |x| of each row.
    reach: Vec<f32>,
}

impl Kernel for Columns<'_> {
    type Output = Table;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Table {
        let len = self.matrix.len() / self.n_rows;
        let packs = self.n_rows.div_ceil(LANES);
        let [mut rows, mut factors] = [(); 2].map(|()| vec![Pack::ZERO; len * packs]);
        let mut largest = vec![Pack::ZERO; len];
        for pack in 0..packs {
            let matrix = &self.matrix[pack * LANES * len..];
            for first in (0..len).step_by(LANES) {
                let mut square = [l.splat(0.0); LANES];
                for (x, row) in square.iter_mut().zip(matrix.chunks_exact(len)) {
                    *x = read(l, &row[first..]);
                }
                l.transpose(&mut square);
                let out = rows.chunks_exact_mut(packs).zip(factors.chunks_exact_mut(packs)).zip(&mut largest);
                for (&x, ((row, factors), largest)) in square.iter().zip(out.skip(first)) {
                    let negative = math::neg(l, x);
                    let reach = l.max(l.load(largest), l.max(x, negative));
                    l.store(&mut row[pack], x);
                    l.store(&mut factors[pack], math::exp(l, negative));
                    l.store(largest, reach);
                }
            }
        }
        let reach = largest.iter().map(|lanes| lanes.0.into_iter().fold(0.0, f32::max)).collect();
        Table { rows, factors, reach }
    }
}

/// The first sixteen of `values`, filled up with zeros.
#[inline(always)]
fn read<L: Lanes>(l: L, values: &[f32]) -> L::F {
    match values.first_chunk() {
        Some(values) => l.read(values),
        None => l.load(&to_pack(values)),
    }
}
