//! The hidden units h = σ(a), a = c + Σ_j x_j W_j, updated after each active bit.
//!
//! Computed from a, each update would cost an exponential a unit. Instead of a the state is the odds E = e^(−a): an
//! active bit x_j multiplies them by factors known beforehand, E ← E ⊙ e^(−W_j), and h = 1 / (1 + E). Each product has
//! a relative error of half a unit in the last place, so after k updates that of E is about √k such units.
//!
//! E must stay far from overflow and underflow. A bound of max |a| tells, mostly without looking at any unit: the sum
//! of max |W_j| over the active bits so far. If |a| may exceed [`ODDS_LIMIT`], the sample's state becomes a itself,
//! summed again from its active bits, and stays so.

use std::{borrow::Cow, f64::consts::LN_2};

use super::tiles::{Update, read};
use crate::kernels::{Isa, Kernel, Lanes, Pack, flat, load_packs, math, to_packs};

/// While |a| is at most this, E is within 2^±120, and so is the factor of a weight.
pub const ODDS_LIMIT: f32 = 83.0;

/// The parameters of the hidden units, beside the factors of updates.
pub struct Hidden<'a> {
    /// Row i: W_i, `n_hidden` values. For the few samples whose state is a.
    w: Cow<'a, [f32]>,
    pub n_hidden: usize,
    /// Filled up with zeros to whole packs.
    c: Vec<Pack>,
    /// max |c|
    max_abs_c: f32,
    /// The units before the first active bit: [`Units::state`] and [`Units::h`].
    initial: [Vec<Pack>; 2],
}

/// The hidden units of one sample.
pub struct Units<'a> {
    /// E; or a, where `bound` is infinite.
    pub state: &'a mut [Pack],
    /// σ(a)
    pub h: &'a mut [Pack],
    /// An upper bound of max |a|.
    pub bound: &'a mut f64,
}

impl<'a> Units<'a> {
    /// Those of a sample, where for each sample its state and its units stand side by side.
    pub fn of(sample: usize, all: &'a mut [Pack], packs: usize, bound: &'a mut f64) -> Self {
        let (state, h) = all[sample * 2 * packs..][..2 * packs].split_at_mut(packs);
        Self { state, h, bound }
    }

    /// Writes E; NaN where the state is a.
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
        let max_abs_c = c.iter().fold(0.0, |max, c| c.abs().max(max));
        let (n_hidden, c) = (c.len(), to_packs(c));
        let initial = isa.run(Initial { c: &c, in_range: max_abs_c <= ODDS_LIMIT });
        Self { w, n_hidden, c, max_abs_c, initial }
    }

    /// Packs of one sample's units.
    pub fn packs(&self) -> usize {
        self.c.len()
    }

    /// h before the first active bit.
    pub fn initial_h(&self) -> &[Pack] {
        &self.initial[1]
    }

    /// Writes the units before the first active bit.
    pub fn begin(&self, units: &mut Units<'_>) {
        *units.bound = if self.max_abs_c > ODDS_LIMIT { f64::INFINITY } else { f64::from(self.max_abs_c) };
        units.state.copy_from_slice(&self.initial[0]);
        units.h.copy_from_slice(&self.initial[1]);
    }

    /// Updates the units after an active bit, the last of the values `x`. Where E surely stays in its range, only the
    /// bound is updated, and the factors are returned: the dot product that reads h next multiplies them in on the way.
    #[inline]
    pub fn update<'u>(&self, isa: Isa, update: Update<'u>, x: &[u8], units: &mut Units<'_>) -> Option<&'u [Pack]> {
        let bound = *units.bound + f64::from(update.max_abs);
        if bound <= f64::from(ODDS_LIMIT) {
            *units.bound = bound;
            return Some(update.factors);
        }
        self.checked_update(isa, update, x, units);
        None
    }

    /// [`CheckedUpdate`], out of line: few samples come here.
    #[cold]
    #[inline(never)]
    fn checked_update(&self, isa: Isa, update: Update<'_>, x: &[u8], units: &mut Units<'_>) {
        isa.run(CheckedUpdate { hidden: self, update, x, units });
    }

    /// Replaces E by a = c + Σ W_j, over the active bits of x in their order.
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

    /// e^(−c) for the `P` packs from `pack` on, if it is in the range of odds.
    #[inline(always)]
    pub fn initial_odds<L: Lanes, const P: usize>(&self, l: L, pack: usize) -> Option<[L::F; P]> {
        if self.max_abs_c > ODDS_LIMIT {
            return None;
        }
        Some(load_packs(l, self.initial[0][pack..].first_chunk().expect("P packs")))
    }

    /// h of the `P` packs from `pack` on in every segment, before the first active bit and after each, from sums of
    /// weights.
    #[inline(always)]
    pub fn segments<L: Lanes, const P: usize>(&self, l: L, active: &[u32], pack: usize, h: &mut [[Pack; P]]) {
        let (before, after) = h.split_first_mut().expect("one more than active bits");
        let mut a: [L::F; P] = load_packs(l, self.c[pack..].first_chunk().expect("P packs"));
        for p in 0..P {
            l.store(&mut before[p], math::sigmoid(l, a[p]));
        }
        for (h, &step) in after.iter_mut().zip(active) {
            for p in 0..P {
                a[p] = l.add(a[p], read(l, self.w(step as usize), pack + p));
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

/// An upper bound of |ln E| for every E between those given, from their exponents.
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

/// [`Hidden::update`] where the state is a, or E may leave its range: finds the true bound.
struct CheckedUpdate<'a, 'b> {
    hidden: &'a Hidden<'a>,
    update: Update<'a>,
    x: &'a [u8],
    units: &'a mut Units<'b>,
}

impl Kernel for CheckedUpdate<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { hidden, update, x, units } = self;
        if *units.bound == f64::INFINITY {
            hidden.add(l, x.len() - 1, units.state);
            return sigmoids(l, units);
        }
        if update.max_abs > ODDS_LIMIT {
            return hidden.leave_odds(l, x, units);
        }
        let (mut largest, mut smallest) = (l.splat(1.0), l.splat(1.0));
        for ((e, h), factor) in units.state.iter_mut().zip(&mut *units.h).zip(update.factors) {
            let odds = l.mul(l.load(e), l.load(factor));
            largest = l.max(largest, odds);
            smallest = l.min(smallest, odds);
            l.store(e, odds);
            l.store(h, unit(l, odds));
        }
        *units.bound = bound(l, largest, smallest);
        if *units.bound > f64::from(ODDS_LIMIT) {
            hidden.leave_odds(l, x, units);
        }
    }
}

/// [`Hidden::initial`]
struct Initial<'a> {
    c: &'a [Pack],
    /// Whether e^(−c) is in the range of odds.
    in_range: bool,
}

impl Kernel for Initial<'_> {
    type Output = [Vec<Pack>; 2];

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> [Vec<Pack>; 2] {
        let (mut state, mut h) = (self.c.to_vec(), self.c.to_vec());
        for (state, h) in state.iter_mut().zip(&mut h) {
            let c = l.load(state);
            if self.in_range {
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
