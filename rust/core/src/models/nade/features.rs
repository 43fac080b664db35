//! The hidden units as features: what NADE has seen of a sample.

use super::Nade;
use crate::kernels::{Kernel, LANES, Lanes, Pack};

/// Writes h after the last of these values.
pub struct Features<'a> {
    pub model: &'a Nade,
    pub x: &'a [u8],
    /// Room for one pack of units in every segment of x.
    pub segments: &'a mut Vec<Pack>,
    pub out: &'a mut [f32],
}

impl Kernel for Features<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { model, x, segments, out } = self;
        let ones = x.iter().filter(|&&x| x == 1).count();
        segments.resize(ones + 1, Pack::ZERO);
        for (pack, out) in out.chunks_mut(LANES).enumerate() {
            model.hidden.segments::<L, 1>(l, x, pack, segments);
            out.copy_from_slice(&segments[ones].0[..out.len()]);
        }
    }
}
