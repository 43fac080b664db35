//! The hidden units h = σ(a), a = c + Σ_j x_j W_j, as ones come in.
//!
//! A sigmoid for each unit after each one would be most of NADE's work. With odds E = e^(−a) kept instead of a, the row of a
//! one is multiplied in, E ← E · e^(−W_j), and h = 1 / (1 + E) is a reciprocal. Every product loses half a unit in the last
//! place, so E is good to about √events such units. Where a unit leaves the range in which E is a safe float, the sample goes
//! on with a itself, summed anew from its ones.

use std::{borrow::Cow, f64::consts::LN_2};

use super::strips::{One, read};
use crate::kernels::{Isa, Kernel, Lanes, Pack, flat, load_packs, math, to_packs};

/// While |a| is at most this, E is within 2^±120, and so is the factor of a weight.
pub const SAFE: f32 = 83.0;

/// What the units are computed from, beside the factors of ones.
pub struct Hidden<'a> {
    /// Row i: W_i, `n_hidden` values. For the few samples whose odds are no safe floats.
    w: Cow<'a, [f32]>,
    pub n_hidden: usize,
    /// Filled up with zeros to whole packs.
    c: Vec<Pack>,
    /// max |c|
    reach: f32,
    /// The units before the first one: [`Units::state`] and [`Units::h`].
    first: [Vec<Pack>; 2],
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

impl<'a> Units<'a> {
    /// Those of a sample among others, each of which has its state and its units side by side.
    pub fn of(sample: usize, all: &'a mut [Pack], packs: usize, bound: &'a mut f64) -> Self {
        let (state, h) = all[sample * 2 * packs..][..2 * packs].split_at_mut(packs);
        Self { state, h, bound }
    }

    /// Writes E; NaN where the sample has gone on with a.
    pub fn odds(&self, out: &mut [f32]) {
        if *self.bound == f64::INFINITY {
            out.fill(f32::NAN)
        } else {
            out.copy_from_slice(&flat(self.state)[..out.len()])
        }
    }
}

impl<'a> Hidden<'a> {
    /// From W (`n_dims`, `n_hidden`) and c (`n_hidden`).
    pub fn new(isa: Isa, w: Cow<'a, [f32]>, c: &[f32]) -> Self {
        let reach = c.iter().fold(0.0, |reach, c| c.abs().max(reach));
        let (n_hidden, c) = (c.len(), to_packs(c));
        Self { w, n_hidden, reach, first: isa.run(First { c: &c, safe: reach <= SAFE }), c }
    }

    /// Packs of one sample's units.
    pub fn packs(&self) -> usize {
        self.c.len()
    }

    /// h before the first one.
    pub fn first(&self) -> &[Pack] {
        &self.first[1]
    }

    /// The units before the first one.
    pub fn begin(&self, units: &mut Units<'_>) {
        *units.bound = if self.reach > SAFE { f64::INFINITY } else { f64::from(self.reach) };
        units.state.copy_from_slice(&self.first[0]);
        units.h.copy_from_slice(&self.first[1]);
    }

    /// The units after a one at the last of the values `x`. Where E is surely safe, all is still to be done, and the factors to
    /// do it with are returned: whoever needs h next computes it on the way.
    #[inline]
    pub fn advance<'o>(&self, isa: Isa, one: One<'o>, x: &[u8], units: &mut Units<'_>) -> Option<&'o [Pack]> {
        let bound = *units.bound + f64::from(one.reach);
        if bound <= f64::from(SAFE) {
            *units.bound = bound;
            return Some(one.factors);
        }
        self.advance_apart(isa, one, x, units);
        None
    }

    /// `advance` where E may not be safe, far from the loops that most samples take.
    #[cold]
    #[inline(never)]
    fn advance_apart(&self, isa: Isa, one: One<'_>, x: &[u8], units: &mut Units<'_>) {
        isa.run(Far { hidden: self, one, x, units });
    }

    #[inline(always)]
    fn advance_far<L: Lanes>(&self, l: L, one: One<'_>, x: &[u8], units: &mut Units<'_>) {
        if *units.bound == f64::INFINITY {
            self.add(l, x.len() - 1, units.state);
            sigmoids(l, units);
            return;
        }
        if one.reach > SAFE {
            return self.leave_odds(l, x, units);
        }
        let (mut largest, mut smallest) = (l.splat(1.0), l.splat(1.0));
        for ((e, h), factor) in units.state.iter_mut().zip(&mut *units.h).zip(one.factors) {
            let odds = l.mul(l.load(e), l.load(factor));
            largest = l.max(largest, odds);
            smallest = l.min(smallest, odds);
            l.store(e, odds);
            l.store(h, unit(l, odds));
        }
        *units.bound = bound(l, largest, smallest);
        if *units.bound > f64::from(SAFE) {
            self.leave_odds(l, x, units);
        }
    }

    /// Goes on with a = c + Σ W_j, over the ones of x in their order.
    #[inline(always)]
    fn leave_odds<L: Lanes>(&self, l: L, x: &[u8], units: &mut Units<'_>) {
        *units.bound = f64::INFINITY;
        units.state.copy_from_slice(&self.c);
        for (step, _) in x.iter().enumerate().filter(|&(_, &x)| x == 1) {
            self.add(l, step, units.state);
        }
        sigmoids(l, units);
    }

    /// a + W_j
    #[inline(always)]
    fn add<L: Lanes>(&self, l: L, step: usize, a: &mut [Pack]) {
        for (pack, a) in a.iter_mut().enumerate() {
            l.store(a, l.add(l.load(a), read(l, self.w(step), pack)));
        }
    }

    /// e^(−c) for the `P` packs from `pack` on, if these are safe floats.
    #[inline(always)]
    pub fn first_odds<L: Lanes, const P: usize>(&self, l: L, pack: usize) -> Option<[L::F; P]> {
        if self.reach > SAFE {
            return None;
        }
        Some(load_packs(l, self.first[0][pack..].first_chunk().expect("P packs")))
    }

    /// The units of the `P` packs from `pack` on in every segment, before the first one and after each, from sums of weights.
    #[inline(always)]
    pub fn segments<L: Lanes, const P: usize>(&self, l: L, ones: &[u32], pack: usize, h: &mut [[Pack; P]]) {
        let (before, after) = h.split_first_mut().expect("the units before a one");
        let mut a: [L::F; P] = load_packs(l, self.c[pack..].first_chunk().expect("P packs"));
        for p in 0..P {
            l.store(&mut before[p], math::sigmoid(l, a[p]));
        }
        for (h, &one) in after.iter_mut().zip(ones) {
            for p in 0..P {
                a[p] = l.add(a[p], read(l, self.w(one as usize), pack + p));
                l.store(&mut h[p], math::sigmoid(l, a[p]));
            }
        }
    }

    /// W_i
    fn w(&self, step: usize) -> &[f32] {
        &self.w[step * self.n_hidden..][..self.n_hidden]
    }
}

/// h = 1 / (1 + E)
#[inline(always)]
pub fn unit<L: Lanes>(l: L, odds: L::F) -> L::F {
    math::sigmoid_of_odds(l, odds)
}

/// At least |ln E| for every E between those given, by their exponents.
#[inline(always)]
pub fn bound<L: Lanes>(l: L, largest: L::F, smallest: L::F) -> f64 {
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

/// [`Hidden::advance`] where E may not be safe.
struct Far<'a, 'b> {
    hidden: &'a Hidden<'a>,
    one: One<'a>,
    x: &'a [u8],
    units: &'a mut Units<'b>,
}

impl Kernel for Far<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        self.hidden.advance_far(l, self.one, self.x, self.units);
    }
}

/// The units before the first one, as [`Hidden::first`].
struct First<'a> {
    c: &'a [Pack],
    /// Whether the odds are safe floats.
    safe: bool,
}

impl Kernel for First<'_> {
    type Output = [Vec<Pack>; 2];

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> [Vec<Pack>; 2] {
        let (mut state, mut h) = (self.c.to_vec(), self.c.to_vec());
        for (state, h) in state.iter_mut().zip(&mut h) {
            let c = l.load(state);
            if self.safe {
                let odds = math::exp(l, math::neg(l, c));
                l.store(state, odds);
                l.store(h, unit(l, odds));
            } else {
                l.store(h, math::sigmoid(l, c));
            }
        }
        [state, h]
    }
}
