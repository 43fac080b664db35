//! The sums over samples: rows of V and of W's transpose, and b.

use super::Chunk;
use crate::kernels::{Kernel, Lanes, Pack};

/// Rows whose sums stay in registers.
const ROWS: usize = 3;

/// Some rows, from dimension `first` on.
pub struct Accumulate<'a> {
    pub chunk: &'a Chunk<'a>,
    pub first: usize,
    pub w: &'a mut [Pack],
    pub v: &'a mut [Pack],
    pub b: &'a mut [f32],
}

impl Kernel for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let (rows, packs) = (self.b.len(), self.v.len() / self.b.len());
        for g in self.chunk.g.chunks_exact(self.n_dims()) {
            for (b, g) in self.b.iter_mut().zip(&g[self.first..]) {
                *b += g;
            }
        }
        groups!(packs, |pack, WIDTH| {
            let mut row = 0;
            while row + ROWS <= rows {
                self.v_rows::<L, ROWS, WIDTH>(l, row, pack);
                row += ROWS;
            }
            for row in row..rows {
                self.v_rows::<L, 1, WIDTH>(l, row, pack);
            }
            for row in 0..rows {
                self.w_row::<L, WIDTH>(l, row, pack);
            }
        });
    }
}

impl Accumulate<'_> {
    fn n_dims(&self) -> usize {
        self.chunk.g.len() / self.chunk.scored.scale.len()
    }

    /// For each sample where its steps begin, and where its segments do in the group of packs from `pack` on.
    #[inline(always)]
    fn samples(&self, pack: usize) -> impl Iterator<Item = (usize, usize)> {
        let packs = self.v.len() / self.b.len();
        let n_dims = self.n_dims();
        let ends = self.chunk.first_segment.windows(2).enumerate();
        ends.map(move |(sample, ends)| (sample * n_dims, ends[0] * packs + (ends[1] - ends[0]) * pack))
    }

    /// V_i += Σ_s g_i h
    #[inline(always)]
    fn v_rows<L: Lanes, const R: usize, const P: usize>(&mut self, l: L, row: usize, pack: usize) {
        let packs = self.v.len() / self.b.len();
        let Chunk { segment, g, h, .. } = self.chunk;
        let mut sum = [[l.splat(0.0); P]; R];
        for r in 0..R {
            let v: &[Pack; P] = self.v[(row + r) * packs + pack..][..P].try_into().expect("P packs");
            for p in 0..P {
                sum[r][p] = l.load(&v[p]);
            }
        }
        for (steps, place) in self.samples(pack) {
            let at = steps + self.first + row;
            let (g, segment) = (&g[at..][..R], &segment[at..][..R]);
            for r in 0..R {
                let h: &[Pack; P] = h[place + segment[r] as usize * P..][..P].try_into().expect("P packs");
                let g = l.splat(g[r]);
                for p in 0..P {
                    sum[r][p] = l.fma(g, l.load(&h[p]), sum[r][p]);
                }
            }
        }
        for r in 0..R {
            let v: &mut [Pack; P] = (&mut self.v[(row + r) * packs + pack..][..P]).try_into().expect("P packs");
            for p in 0..P {
                l.store(&mut v[p], sum[r][p]);
            }
        }
    }

    /// W_{·,j} += Σ over samples with x_j = 1 of what their later segments get.
    #[inline(always)]
    fn w_row<L: Lanes, const P: usize>(&mut self, l: L, row: usize, pack: usize) {
        let packs = self.v.len() / self.b.len();
        let Chunk { scored, segment, later, .. } = self.chunk;
        let mut sum = [l.splat(0.0); P];
        for p in 0..P {
            sum[p] = l.load(&self.w[row * packs + pack + p]);
        }
        for (steps, place) in self.samples(pack) {
            let at = steps + self.first + row;
            if scored.x[at] == 1 {
                let later: &[Pack; P] = later[place + segment[at] as usize * P..][..P].try_into().expect("P packs");
                for p in 0..P {
                    sum[p] = l.add(sum[p], l.load(&later[p]));
                }
            }
        }
        for p in 0..P {
            l.store(&mut self.w[row * packs + pack + p], sum[p]);
        }
    }
}

/// sum += each of the rows, in their order.
pub struct Rows<'a> {
    pub rows: &'a [Pack],
    pub sum: &'a mut [Pack],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for row in self.rows.chunks_exact(self.sum.len()) {
            for (sum, row) in self.sum.iter_mut().zip(row) {
                l.store(sum, l.add(l.load(sum), l.load(row)));
            }
        }
    }
}
