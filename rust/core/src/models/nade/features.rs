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
        let ones: Vec<u32> = x.iter().zip(0..).filter_map(|(&x, step)| (x == 1).then_some(step)).collect();
        segments.resize(ones.len() + 1, Pack::ZERO);
        for (pack, out) in out.chunks_mut(LANES).enumerate() {
            model.hidden.segments(l, &ones, pack, segments.as_chunks_mut::<1>().0);
            out.copy_from_slice(&segments[ones.len()].0[..out.len()]);
        }
    }
}
