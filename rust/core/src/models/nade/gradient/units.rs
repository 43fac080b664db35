//! The gradient of a few hidden units, over all samples.

use std::ops::Range;

use super::{
    super::{Nade, dots::TILE},
    Part, STRIP, Samples,
};
use crate::kernels::{Kernel, Lanes, Pack};

/// Rows of V's gradient that stay in registers: few enough to be of one segment as a rule.
const ROWS: usize = 4;
/// Packs of hidden units in a chunk's segments: a quarter of a second-level cache of 1 MiB. A sample with more is one chunk.
const CHUNK: usize = 1 << 12;

/// The units of `width` packs from `pack` on.
pub struct Units<'a> {
    pub nade: &'a Nade,
    pub samples: &'a Samples<'a>,
    pub pack: usize,
    pub width: usize,
    /// Asked once a chunk.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

impl Kernel for Units<'_> {
    type Output = Option<Part>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Option<Part> {
        match self.width {
            4 => self.all_samples::<L, 4>(l),
            3 => self.all_samples::<L, 3>(l),
            2 => self.all_samples::<L, 2>(l),
            _ => self.all_samples::<L, 1>(l),
        }
    }
}

/// Some samples whose units are in memory at once.
struct Chunk {
    samples: Range<usize>,
    /// For each, where its segments begin, in packs.
    begin: Vec<usize>,
    /// The units of each segment.
    h: Vec<Pack>,
    /// For each sample ∂/∂a in the segment under way, as far as its steps have been passed.
    open: Vec<Pack>,
    /// For each sample the sum of ∂/∂a over all segments passed.
    passed: Vec<Pack>,
}

impl Units<'_> {
    #[inline(always)]
    fn all_samples<L: Lanes, const P: usize>(self, l: L) -> Option<Part> {
        let Self { nade, samples, pack, width, go_on } = self;
        let zeros = |rows: usize| vec![Pack::ZERO; rows * P];
        let mut part = Part { width, w: zeros(samples.n_dims), c: zeros(1), v: zeros(samples.n_dims) };
        let mut chunk = Chunk { samples: 0..0, begin: Vec::new(), h: Vec::new(), open: Vec::new(), passed: Vec::new() };
        // These columns of V, side by side.
        let rows: Vec<[Pack; P]> =
            (0..samples.n_dims).map(|i| std::array::from_fn(|p| nade.tile(i / TILE)[pack + p][i % TILE])).collect();
        while chunk.advance::<P>(samples) {
            if !go_on() {
                return None;
            }
            chunk.units::<L, P>(l, nade, samples, pack);
            for first in (0..samples.n_dims).step_by(STRIP).rev() {
                chunk.backward::<L, P>(l, &rows, samples, first, &mut part.w);
            }
            for passed in chunk.passed.chunks_exact(P) {
                for (c, passed) in part.c.iter_mut().zip(passed) {
                    l.store(c, l.add(l.load(c), l.load(passed)));
                }
            }
            let mut row = 0;
            while row < samples.n_dims {
                row += if samples.n_dims - row >= ROWS {
                    chunk.accumulate::<L, ROWS, P>(l, samples, row, &mut part.v)
                } else {
                    chunk.accumulate::<L, 1, P>(l, samples, row, &mut part.v)
                };
            }
        }
        Some(part)
    }
}

impl Chunk {
    /// Goes on to the next samples, if there are any.
    fn advance<const P: usize>(&mut self, samples: &Samples<'_>) -> bool {
        let first = self.samples.end;
        let mut end = 0;
        self.begin.clear();
        for sample in first..samples.len() {
            let packs = samples.segments(sample) * P;
            if end > 0 && end + packs > CHUNK {
                break;
            }
            self.begin.push(end);
            end += packs;
        }
        self.samples = first..first + self.begin.len();
        self.h.resize(end, Pack::ZERO);
        for sums in [&mut self.open, &mut self.passed] {
            sums.clear();
            sums.resize(self.begin.len() * P, Pack::ZERO);
        }
        !self.begin.is_empty()
    }

    /// h of every segment.
    #[inline(always)]
    fn units<L: Lanes, const P: usize>(&mut self, l: L, nade: &Nade, samples: &Samples<'_>, pack: usize) {
        for (sample, &begin) in self.samples.clone().zip(&self.begin) {
            let x = &samples.x[sample * samples.n_dims..][..samples.n_dims];
            nade.hidden.segments::<L, P>(l, x, pack, &mut self.h[begin..][..samples.segments(sample) * P]);
        }
    }

    /// From the last of the steps `first` to `first + STRIP` − 1 to the first one: ∂/∂a of their segments, and W's gradient.
    #[inline(always)]
    fn backward<L: Lanes, const P: usize>(
        &mut self,
        l: L,
        rows: &[[Pack; P]],
        samples: &Samples<'_>,
        first: usize,
        w: &mut [Pack],
    ) {
        let end = samples.n_dims.min(first + STRIP);
        let rows = &rows[first..end];
        for (at, (sample, &begin)) in self.samples.clone().zip(&self.begin).enumerate() {
            let steps = sample * samples.n_dims + first..sample * samples.n_dims + end;
            let (g, segment) = (&samples.g[steps.clone()], &samples.segment[steps]);
            let mut open: [L::F; P] = load(l, &self.open, at * P);
            let mut passed: [L::F; P] = load(l, &self.passed, at * P);
            let mut begins = samples.begins(sample, first);
            let mut to = end - first;
            while begins != 0 {
                let from = begins.ilog2() as usize;
                begins ^= 1 << from;
                open = add_rows(l, open, &g[from..to], &rows[from..to]);
                to = from;
                let h: [L::F; P] = load(l, &self.h, begin + segment[from] as usize * P);
                for p in 0..P {
                    passed[p] = l.fma(open[p], l.mul(h[p], l.sub(l.splat(1.0), h[p])), passed[p]);
                    open[p] = l.splat(0.0);
                }
                if first + from > 0 {
                    let row = (first + from - 1) * P;
                    let mut sum: [L::F; P] = load(l, w, row);
                    for p in 0..P {
                        sum[p] = l.add(sum[p], passed[p]);
                    }
                    store(l, w, row, sum);
                }
            }
            open = add_rows(l, open, &g[..to], &rows[..to]);
            store(l, &mut self.open, at * P, open);
            store(l, &mut self.passed, at * P, passed);
        }
    }

    /// V_i += Σ_s g_i h for `R` rows; returns R.
    #[inline(always)]
    fn accumulate<L: Lanes, const R: usize, const P: usize>(
        &self,
        l: L,
        samples: &Samples<'_>,
        row: usize,
        v: &mut [Pack],
    ) -> usize {
        let mut sum = [[l.splat(0.0); P]; R];
        for (r, sum) in sum.iter_mut().enumerate() {
            *sum = load(l, v, (row + r) * P);
        }
        for (sample, &begin) in self.samples.clone().zip(&self.begin) {
            let at = sample * samples.n_dims + row;
            let (g, segment) = (&samples.g[at..][..R], &samples.segment[at..][..R]);
            if R > 1 && segment[0] == segment[R - 1] {
                // Four times out of five, on digits: h is read once.
                let h: [L::F; P] = load(l, &self.h, begin + segment[0] as usize * P);
                for r in 0..R {
                    let g = l.splat(g[r]);
                    for p in 0..P {
                        sum[r][p] = l.fma(g, h[p], sum[r][p]);
                    }
                }
                continue;
            }
            for r in 0..R {
                let h: &[Pack; P] = self.h[begin + segment[r] as usize * P..][..P].try_into().expect("P packs");
                let g = l.splat(g[r]);
                for p in 0..P {
                    sum[r][p] = l.fma(g, l.load(&h[p]), sum[r][p]);
                }
            }
        }
        for (r, sum) in sum.into_iter().enumerate() {
            store(l, v, (row + r) * P, sum);
        }
        R
    }
}

/// Adds g_i V_i for some steps, the last one first.
#[inline(always)]
fn add_rows<L: Lanes, const P: usize>(l: L, mut sum: [L::F; P], g: &[f32], rows: &[[Pack; P]]) -> [L::F; P] {
    for (g, row) in g.iter().zip(rows).rev() {
        let g = l.splat(*g);
        for p in 0..P {
            sum[p] = l.fma(g, l.load(&row[p]), sum[p]);
        }
    }
    sum
}

/// Reads the `P` packs from `at` on.
#[inline(always)]
fn load<L: Lanes, const P: usize>(l: L, packs: &[Pack], at: usize) -> [L::F; P] {
    let packs: &[Pack; P] = packs[at..][..P].try_into().expect("P packs");
    let mut out = [l.splat(0.0); P];
    for (out, pack) in out.iter_mut().zip(packs) {
        *out = l.load(pack);
    }
    out
}

/// Writes the `P` packs from `at` on.
#[inline(always)]
fn store<L: Lanes, const P: usize>(l: L, packs: &mut [Pack], at: usize, values: [L::F; P]) {
    let packs: &mut [Pack; P] = (&mut packs[at..][..P]).try_into().expect("P packs");
    for (pack, value) in packs.iter_mut().zip(values) {
        l.store(pack, value);
    }
}
