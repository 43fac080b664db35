//! The hidden units as features: what NADE has seen of a sample.

use super::{
    hidden::{Hidden, SAFE, bound, unit},
    strips::{One, Strips, TILE},
};
use crate::kernels::{Kernel, LANES, Lanes, Pack};

/// Writes h after the last of these values.
pub struct Features<'a> {
    pub hidden: &'a Hidden<'a>,
    pub strips: &'a Strips,
    pub x: &'a [u8],
    /// Room for one pack of units in every segment of x.
    pub segments: &'a mut Vec<Pack>,
    pub out: &'a mut [f32],
}

impl<'a> Kernel for Features<'a> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { hidden, strips, x, segments, out } = self;
        let ones: Vec<u32> = x.iter().zip(0..).filter_map(|(&x, step)| (x == 1).then_some(step)).collect();
        let one = |step: u32| {
            let next = step as usize + 1;
            strips.get(next / TILE).one_before(next % TILE)
        };
        let safe = ones.iter().all(|&step| one(step).reach <= SAFE);
        for (pack, out) in out.chunks_mut(LANES).enumerate() {
            let mut h = Pack::ZERO;
            if safe
                && let Some([odds]) = hidden.first_odds(l, pack)
                && let Some(odds) = product(l, odds, ones.iter().map(|&step| one(step)), pack)
            {
                l.store(&mut h, unit(l, odds));
            } else {
                segments.resize(ones.len() + 1, Pack::ZERO);
                hidden.segments(l, &ones, pack, segments.as_chunks_mut::<1>().0);
                h = segments[ones.len()];
            }
            out.copy_from_slice(&h.0[..out.len()]);
        }
    }
}

/// The product of odds and the factors of these ones, of one pack, if they are safe floats all the way there.
#[inline(always)]
fn product<'o, L: Lanes>(l: L, mut odds: L::F, ones: impl Iterator<Item = One<'o>>, pack: usize) -> Option<L::F> {
    let (mut largest, mut smallest) = (l.splat(1.0), l.splat(1.0));
    for one in ones {
        odds = l.mul(odds, l.load(&one.factors[pack]));
        largest = l.max(largest, odds);
        smallest = l.min(smallest, odds);
    }
    (bound(l, largest, smallest) <= f64::from(SAFE)).then_some(odds)
}
