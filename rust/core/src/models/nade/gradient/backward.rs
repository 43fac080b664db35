//! For each sample, the hidden units of every segment and, from the last step to the first, what they get.

use super::super::{Nade, dots::TILE};
use crate::kernels::{Kernel, Lanes, Pack};

/// Rows of V that all samples of a task pass before the next ones come.
const STRIP: usize = 32;

/// Some samples; see [`super::Chunk`] for the meaning of the slices.
pub struct Backward<'a> {
    pub nade: &'a Nade,
    pub x: &'a [u8],
    pub probs: &'a [f32],
    pub scale: &'a [f32],
    pub first_segment: &'a [usize],
    pub segment: &'a [u32],
    pub g: &'a mut [f32],
    pub h: &'a mut [Pack],
    pub later: &'a mut [Pack],
    pub all: &'a mut [Pack],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let n_dims = self.nade.event.n_dims();
        let packs = self.nade.hidden.packs();
        for (sample, &scale) in self.scale.iter().enumerate() {
            for i in sample * n_dims..(sample + 1) * n_dims {
                self.g[i] = scale * (f32::from(self.x[i]) - self.probs[i]);
            }
        }
        // ∂/∂a in the segment under way, as far as its steps have been passed.
        let mut open = vec![Pack::ZERO; self.all.len()];
        groups!(packs, |pack, WIDTH| {
            self.units::<L, WIDTH>(l, pack);
            for first in (0..n_dims).step_by(STRIP).rev() {
                self.strip::<L, WIDTH>(l, &mut open, first, pack);
            }
        });
    }
}

impl Backward<'_> {
    /// Where the segments of a sample begin, for the group of packs from `pack` on.
    #[inline(always)]
    fn place(&self, sample: usize, pack: usize) -> usize {
        let [first, end] = [self.first_segment[sample], self.first_segment[sample + 1]];
        (first - self.first_segment[0]) * self.nade.hidden.packs() + (end - first) * pack
    }

    /// h of every segment, for some packs.
    #[inline(always)]
    fn units<L: Lanes, const P: usize>(&mut self, l: L, pack: usize) {
        let n_dims = self.nade.event.n_dims();
        for (sample, x) in self.x.chunks_exact(n_dims).enumerate() {
            let segments = self.first_segment[sample + 1] - self.first_segment[sample];
            let place = self.place(sample, pack);
            self.nade.hidden.segments::<L, P>(l, x, pack, &mut self.h[place..][..segments * P]);
        }
    }

    /// The steps from `first` on, a strip of them, for some packs of all samples.
    #[inline(always)]
    fn strip<L: Lanes, const P: usize>(&mut self, l: L, open: &mut [Pack], first: usize, pack: usize) {
        let n_dims = self.nade.event.n_dims();
        let packs = self.nade.hidden.packs();
        let end = n_dims.min(first + STRIP);
        let one = l.splat(1.0);
        for sample in 0..self.scale.len() {
            let place = self.place(sample, pack);
            let steps = sample * n_dims..sample * n_dims + end;
            let (x, g, segment) = (&self.x[steps.clone()], &self.g[steps.clone()], &self.segment[steps]);
            let open: &mut [Pack; P] = (&mut open[sample * packs + pack..][..P]).try_into().expect("P packs");
            let all: &mut [Pack; P] = (&mut self.all[sample * packs + pack..][..P]).try_into().expect("P packs");
            let (mut sum, mut later) = ([l.splat(0.0); P], [l.splat(0.0); P]);
            if end < n_dims {
                for p in 0..P {
                    (sum[p], later[p]) = (l.load(&open[p]), l.load(&all[p]));
                }
            } else {
                // Nothing comes after the last step, should it be a one.
                store::<L, P>(l, self.later, place + segment[end - 1] as usize * P, later);
            }
            for i in (first..end).rev() {
                let v: &[[Pack; TILE]; P] = self.nade.tile(i / TILE)[pack..][..P].try_into().expect("P packs");
                let g = l.splat(g[i]);
                for p in 0..P {
                    sum[p] = l.fma(g, l.load(&v[p][i % TILE]), sum[p]);
                }
                if i > 0 && x[i - 1] == 0 {
                    continue;
                }
                // Its segment begins at this step.
                let row = place + segment[i] as usize * P;
                let h: &[Pack; P] = self.h[row..][..P].try_into().expect("P packs");
                for p in 0..P {
                    let h = l.load(&h[p]);
                    later[p] = l.fma(sum[p], l.mul(h, l.sub(one, h)), later[p]);
                    sum[p] = l.splat(0.0);
                }
                if i > 0 {
                    store::<L, P>(l, self.later, row - P, later);
                }
            }
            for p in 0..P {
                l.store(&mut open[p], sum[p]);
                l.store(&mut all[p], later[p]);
            }
        }
    }
}

#[inline(always)]
fn store<L: Lanes, const P: usize>(l: L, to: &mut [Pack], at: usize, values: [L::F; P]) {
    let to: &mut [Pack; P] = (&mut to[at..][..P]).try_into().expect("P packs");
    for p in 0..P {
        l.store(&mut to[p], values[p]);
    }
}
