//! The hidden units as features: h after all values of a sample.

use super::{
    hidden::{Hidden, ODDS_LIMIT, bound, unit},
    tiles::{TILE, Tiles, Update},
};
use crate::kernels::{Kernel, LANES, Lanes, Pack};

/// Writes h after the last of the values `x`.
pub struct Features<'a> {
    pub hidden: &'a Hidden<'a>,
    pub tiles: &'a Tiles,
    pub x: &'a [u8],
    /// Room for one pack of units in every segment of x.
    pub segments: &'a mut Vec<Pack>,
    pub out: &'a mut [f32],
}

impl<'a> Kernel for Features<'a> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { hidden, tiles, x, segments, out } = self;
        let active: Vec<u32> = x.iter().zip(0..).filter_map(|(&x, step)| (x == 1).then_some(step)).collect();
        let update = |step: u32| {
            let next = step as usize + 1;
            tiles.get(next / TILE).update_before(next % TILE)
        };
        let in_range = active.iter().all(|&step| update(step).max_abs <= ODDS_LIMIT);
        for (pack, out) in out.chunks_mut(LANES).enumerate() {
            let mut h = Pack::ZERO;
            if in_range
                && let Some([odds]) = hidden.initial_odds(l, pack)
                && let Some(odds) = product(l, odds, active.iter().map(|&step| update(step)), pack)
            {
                l.store(&mut h, unit(l, odds));
            } else {
                segments.resize(active.len() + 1, Pack::ZERO);
                hidden.segments(l, &active, pack, segments.as_chunks_mut::<1>().0);
                h = segments[active.len()];
            }
            out.copy_from_slice(&h.0[..out.len()]);
        }
    }
}

/// One pack of odds after these updates, unless they may leave their range on the way.
#[inline(always)]
fn product<'u, L: Lanes>(l: L, mut odds: L::F, updates: impl Iterator<Item = Update<'u>>, pack: usize) -> Option<L::F> {
    let (mut largest, mut smallest) = (l.splat(1.0), l.splat(1.0));
    for update in updates {
        odds = l.mul(odds, l.load(&update.factors[pack]));
        largest = l.max(largest, odds);
        smallest = l.min(smallest, odds);
    }
    (bound(l, largest, smallest) <= f64::from(ODDS_LIMIT)).then_some(odds)
}
