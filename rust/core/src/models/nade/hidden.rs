//! The hidden units h = σ(a), a = c + W x, as ones come in.
//!
//! A sigmoid for each unit after each one would be most of NADE's work. With odds E = e^(−a) kept instead of a, the column of a
//! one is multiplied in, E ← E · e^(−W), and h = 1 / (1 + E) is a reciprocal. Every product loses half a unit in the last
//! place, so E is good to about √events such units. Where a unit leaves the range in which E is a safe float, the sample goes
//! on with a itself, summed anew from its ones.

use std::{f64::consts::LN_2, ops::Range};

use crate::{
    error::Error,
    kernels::{Isa, Kernel, LANES, Lanes, Pack, math, to_packs},
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

/// max |weight|, lane by lane first, which the compiler turns into vectors.
fn largest(packs: &[Pack]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for pack in packs {
        lanes.iter_mut().zip(pack.0).for_each(|(largest, weight)| *largest = largest.max(weight.abs()));
    }
    lanes.into_iter().fold(0.0, f32::max)
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
    /// From the columns of W, a row of packs each, and `c`.
    pub fn new(w_rows: Vec<Pack>, c: &[f32]) -> Result<Self, Error> {
        let c_row = to_packs(c);
        let reach: Vec<_> = w_rows.chunks_exact(c_row.len()).map(largest).collect();
        let first_reach = largest(&c_row);
        let safe = reach.iter().all(|&reach| reach <= LARGEST_WEIGHT) && first_reach <= LARGEST_WEIGHT;
        let (mut factors, mut odds) = if safe { (w_rows.clone(), c_row.clone()) } else { Default::default() };
        let isa = Isa::get()?;
        isa.run(ExpOfNegative(&mut factors));
        isa.run(ExpOfNegative(&mut odds));
        Ok(Self { w: w_rows, c: c_row, factors, odds, reach, first_reach })
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

    /// The units of every segment of `x` in turn, of the `P` packs from `pack` on: before the first one, and after each.
    #[inline(always)]
    pub fn segments<L: Lanes, const P: usize>(&self, l: L, x: &[u8], pack: usize, h: &mut [Pack]) {
        if !self.factors.is_empty() {
            let (mut odds, mut largest, mut smallest) = ([l.splat(1.0); P], l.splat(1.0), l.splat(1.0));
            for (h, row) in h.chunks_exact_mut(P).zip(self.rows_of_ones(x, &self.odds, &self.factors)) {
                for (p, (h, factor)) in h.iter_mut().zip(&row[pack..][..P]).enumerate() {
                    odds[p] = l.mul(odds[p], l.load(factor));
                    largest = l.max(largest, odds[p]);
                    smallest = l.min(smallest, odds[p]);
                    l.store(h, unit(l, odds[p]));
                }
            }
            if bound(l, largest, smallest) <= SAFE {
                return;
            }
        }
        let mut a = [l.splat(0.0); P];
        for (h, row) in h.chunks_exact_mut(P).zip(self.rows_of_ones(x, &self.c, &self.w)) {
            for (p, (h, w)) in h.iter_mut().zip(&row[pack..][..P]).enumerate() {
                a[p] = l.add(a[p], l.load(w));
                l.store(h, math::sigmoid(l, a[p]));
            }
        }
    }

    /// `first`, then of `rows` those at the ones of x.
    #[inline(always)]
    fn rows_of_ones<'a>(&self, x: &[u8], first: &'a [Pack], rows: &'a [Pack]) -> impl Iterator<Item = &'a [Pack]> {
        let at_ones = rows.chunks_exact(self.packs()).zip(x).filter_map(|(row, &x)| (x == 1).then_some(row));
        std::iter::once(first).chain(at_ones)
    }

    /// a = c + Σ W_{·,j} over the ones of x, in their order.
    #[inline(always)]
    fn sum<L: Lanes>(&self, l: L, x: &[u8], a: &mut [Pack]) {
        a.copy_from_slice(&self.c);
        for w in self.rows_of_ones(x, &self.c, &self.w).skip(1) {
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

/// e^(−x), in place.
struct ExpOfNegative<'a>(&'a mut [Pack]);

impl Kernel for ExpOfNegative<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for pack in self.0 {
            l.store(pack, math::exp(l, math::neg(l, l.load(pack))));
        }
    }
}
