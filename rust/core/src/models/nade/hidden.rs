//! The hidden units h = σ(a), a = c + W x, as ones come in.
//!
//! A sigmoid for each unit after each one would be most of NADE's work. With odds E = e^(−a) kept instead of a, the column of a
//! one is multiplied in, E ← E · e^(−W), and h = 1 / (1 + E) is a reciprocal. Every product loses half a unit in the last
//! place, so E is good to about √events such units. Where a unit leaves the range in which E is a safe float, the sample goes
//! on with a itself, summed anew from its ones.

use crate::{
    error::Error,
    kernels::{Isa, Kernel, Lanes, Pack, flat, math, to_packs},
};

/// E stays within 2^±120, that is |a| < 83.
const LARGEST: f32 = f32::from_bits((127 + 120) << 23);
const SMALLEST: f32 = f32::from_bits((127 - 120) << 23);
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
}

/// How a sample's units are kept.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    /// As E = e^(−a).
    Odds,
    /// As a.
    Sum,
}

impl Hidden {
    /// From the columns of W, a row of packs each, and `c`.
    pub fn new(w_rows: Vec<Pack>, c: &[f32]) -> Result<Self, Error> {
        let c_row = to_packs(c);
        let safe = flat(&w_rows).iter().chain(c).all(|weight| weight.abs() <= LARGEST_WEIGHT);
        let (mut factors, mut odds) = if safe { (w_rows.clone(), c_row.clone()) } else { Default::default() };
        let isa = Isa::get()?;
        isa.run(ExpOfNegative(&mut factors));
        isa.run(ExpOfNegative(&mut odds));
        Ok(Self { w: w_rows, c: c_row, factors, odds })
    }

    /// Packs of one sample's units.
    pub fn packs(&self) -> usize {
        self.c.len()
    }

    /// The units before the first step: `state` is E or a, as the form says.
    #[inline(always)]
    pub fn begin<L: Lanes>(&self, l: L, state: &mut [Pack], h: &mut [Pack]) -> Form {
        if self.factors.is_empty() {
            state.copy_from_slice(&self.c);
            units(l, state, h);
            return Form::Sum;
        }
        state.copy_from_slice(&self.odds);
        for (e, h) in state.iter().zip(h) {
            l.store(h, math::recip(l, l.add(l.splat(1.0), l.load(e))));
        }
        Form::Odds
    }

    /// The units after a one at `step`; `x` holds the values so far, with that one.
    #[inline(always)]
    pub fn advance<L: Lanes>(
        &self,
        l: L,
        form: Form,
        step: usize,
        x: &[u8],
        (state, h): (&mut [Pack], &mut [Pack]),
    ) -> Form {
        let packs = self.packs();
        let row = step * packs..(step + 1) * packs;
        if form == Form::Sum {
            for (a, w) in state.iter_mut().zip(&self.w[row]) {
                l.store(a, l.add(l.load(a), l.load(w)));
            }
            units(l, state, h);
            return Form::Sum;
        }
        let one = l.splat(1.0);
        let (mut largest, mut smallest) = (one, one);
        for ((e, h), factor) in state.iter_mut().zip(h.iter_mut()).zip(&self.factors[row]) {
            let odds = l.mul(l.load(e), l.load(factor));
            largest = l.max(largest, odds);
            smallest = l.min(smallest, odds);
            l.store(e, odds);
            l.store(h, math::recip(l, l.add(one, odds)));
        }
        if (l.gt(largest, l.splat(LARGEST)) | l.gt(l.splat(SMALLEST), smallest)) == 0 {
            return Form::Odds;
        }
        self.sum(l, x, state);
        units(l, state, h);
        Form::Sum
    }

    /// The units of every segment of `x` in turn, of the `P` packs from `pack` on: before the first one, and after each.
    #[inline(always)]
    pub fn segments<L: Lanes, const P: usize>(&self, l: L, x: &[u8], pack: usize, h: &mut [Pack]) {
        let at = |i: usize| i * self.packs() + pack;
        if !self.factors.is_empty() {
            let one = l.splat(1.0);
            let mut odds = packs_at::<L, P>(l, &self.odds, pack);
            let (mut largest, mut smallest) = (one, one);
            for (h, step) in h.chunks_exact_mut(P).zip(after_ones(x)) {
                if let Some(step) = step {
                    let factors = packs_at::<L, P>(l, &self.factors, at(step));
                    for p in 0..P {
                        odds[p] = l.mul(odds[p], factors[p]);
                    }
                }
                for p in 0..P {
                    largest = l.max(largest, odds[p]);
                    smallest = l.min(smallest, odds[p]);
                    l.store(&mut h[p], math::recip(l, l.add(one, odds[p])));
                }
            }
            if (l.gt(largest, l.splat(LARGEST)) | l.gt(l.splat(SMALLEST), smallest)) == 0 {
                return;
            }
        }
        let mut a = packs_at::<L, P>(l, &self.c, pack);
        for (h, step) in h.chunks_exact_mut(P).zip(after_ones(x)) {
            if let Some(step) = step {
                let w = packs_at::<L, P>(l, &self.w, at(step));
                for p in 0..P {
                    a[p] = l.add(a[p], w[p]);
                }
            }
            for p in 0..P {
                l.store(&mut h[p], math::sigmoid(l, a[p]));
            }
        }
    }

    /// a = c + Σ W_{·,j} over the ones of x, in their order.
    #[inline(always)]
    fn sum<L: Lanes>(&self, l: L, x: &[u8], a: &mut [Pack]) {
        a.copy_from_slice(&self.c);
        for w in self.w.chunks_exact(self.packs()).zip(x).filter_map(|(w, &x)| (x == 1).then_some(w)) {
            for (a, w) in a.iter_mut().zip(w) {
                l.store(a, l.add(l.load(a), l.load(w)));
            }
        }
    }
}

/// None, then the steps of the ones.
#[inline(always)]
fn after_ones(x: &[u8]) -> impl Iterator<Item = Option<usize>> {
    std::iter::once(None).chain(x.iter().enumerate().filter(|(_, x)| **x == 1).map(|(step, _)| Some(step)))
}

#[inline(always)]
fn packs_at<L: Lanes, const P: usize>(l: L, packs: &[Pack], at: usize) -> [L::F; P] {
    let mut out = [l.splat(0.0); P];
    for (out, pack) in out.iter_mut().zip(&packs[at..][..P]) {
        *out = l.load(pack);
    }
    out
}

/// h = σ(a)
#[inline(always)]
fn units<L: Lanes>(l: L, a: &[Pack], h: &mut [Pack]) {
    for (a, h) in a.iter().zip(h) {
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
