//! The hidden units as features: what NADE has seen of a sample.

use super::{
    hidden::{Hidden, SAFE, product, unit},
    strips::{Strips, TILE},
};
use crate::kernels::{Kernel, LANES, Lanes, Pack};

/// Writes h after the last of these values.
pub struct Features<'a> {
    pub hidden: &'a Hidden<'a>,
    /// Without them the units are taken from sums of weights.
    pub strips: Option<&'a Strips>,
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
        let one = |strips: &'a Strips, step: u32| {
            let next = step as usize + 1;
            strips.get(next / TILE).one_before(next % TILE)
        };
        let strips = strips.filter(|strips| ones.iter().all(|&step| one(strips, step).reach <= SAFE));
        for (pack, out) in out.chunks_mut(LANES).enumerate() {
            let mut h = Pack::ZERO;
            if let Some(strips) = strips
                && let Some(odds) = hidden.first_odds::<L, 1>(l, pack)
                && let Some([odds]) = product(l, odds, &ones, |step| [l.load(&one(strips, step).factors[pack])])
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
