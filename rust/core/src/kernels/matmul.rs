//! out += Σ_k in[k] · weight[k] for a few rows at once: the product that convolutions are made of.
//!
//! Outputs stand in the lanes, and an accumulator of `ROWS` × `PACKS` vectors stays in registers. Every output is
//! one chain of fused multiply-adds in the order of k, whatever the split into rows and packs, so the bits depend
//! on neither.

use super::lanes::{Lanes, Pack};

/// Rows held in registers at once.
const ROWS: usize = 6;

/// One term of the sum: a stretch of every input row, and where the weights that meet it begin.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Where row 0 begins in the input, in floats.
    pub input: usize,
    /// Inputs of a row that count.
    pub depth: usize,
    /// Where the `depth` × `width` packs of weights begin.
    pub weight: usize,
}

/// What is done to a sum before it is stored.
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    /// Nothing.
    Keep,
    /// max(·, 0). A NaN stays one, so that an overflow is seen at the end.
    Relu,
    /// The pack at the same place here is added.
    Add(&'a [Pack]),
}

/// out[r][p] = finish(bias[p] + Σ over terms and k of input[r][k] · weight[k][p]).
pub struct Product<'a> {
    /// What is summed.
    pub terms: &'a [Term],
    /// Rows of floats.
    pub input: &'a [f32],
    /// Floats from one input row to the next.
    pub input_stride: usize,
    /// Weights of all terms.
    pub weight: &'a [Pack],
    /// What each sum begins with; its length is the width of the output.
    pub bias: &'a [Pack],
    /// Rows to compute.
    pub rows: usize,
    /// What comes after the sum.
    pub finish: Finish<'a>,
}

/// Computes a product into rows of packs, `out_stride` apart.
#[inline(always)]
pub fn matmul<L: Lanes>(l: L, product: &Product<'_>, out: &mut [Pack], out_stride: usize) {
    let mut pack = 0;
    while pack < product.bias.len() {
        let packs = (product.bias.len() - pack).min(L::MATMUL_PACKS);
        let mut row = 0;
        while row < product.rows {
            let tile = Tile { product, row, pack, out_stride };
            row += match packs {
                4 => tile.rows::<L, 4>(l, out),
                3 => tile.rows::<L, 3>(l, out),
                2 => tile.rows::<L, 2>(l, out),
                _ => tile.rows::<L, 1>(l, out),
            };
        }
        pack += packs;
    }
}

/// A corner of the output.
struct Tile<'a> {
    product: &'a Product<'a>,
    row: usize,
    pack: usize,
    out_stride: usize,
}

impl Tile<'_> {
    /// Computes as many rows as fit, and says how many.
    #[inline(always)]
    fn rows<L: Lanes, const PACKS: usize>(&self, l: L, out: &mut [Pack]) -> usize {
        match self.product.rows - self.row {
            1 => self.compute::<L, 1, PACKS>(l, out),
            2 => self.compute::<L, 2, PACKS>(l, out),
            3 => self.compute::<L, 3, PACKS>(l, out),
            4 | 5 => self.compute::<L, 4, PACKS>(l, out),
            _ => self.compute::<L, ROWS, PACKS>(l, out),
        }
    }

    #[inline(always)]
    fn compute<L: Lanes, const R: usize, const PACKS: usize>(&self, l: L, out: &mut [Pack]) -> usize {
        let Product { terms, input, input_stride, weight, bias, finish, .. } = *self.product;
        let width = bias.len();
        let mut sum = [[l.splat(0.0); PACKS]; R];
        for p in 0..PACKS {
            let bias = l.load(&bias[self.pack + p]);
            for row in &mut sum {
                row[p] = bias;
            }
        }
        for term in terms {
            let mut inputs: [&[f32]; R] = [&[]; R];
            for (r, stretch) in inputs.iter_mut().enumerate() {
                *stretch = &input[term.input + (self.row + r) * input_stride..][..term.depth];
            }
            let weights = &weight[term.weight..][..term.depth * width];
            for (k, weights) in weights.chunks_exact(width).enumerate() {
                let weights: &[Pack; PACKS] = weights[self.pack..][..PACKS].try_into().expect("PACKS packs");
                let mut w = [l.splat(0.0); PACKS];
                for p in 0..PACKS {
                    w[p] = l.load(&weights[p]);
                }
                for r in 0..R {
                    let x = l.splat(inputs[r][k]);
                    for p in 0..PACKS {
                        sum[r][p] = l.fma(x, w[p], sum[r][p]);
                    }
                }
            }
        }
        for (r, sums) in sum.into_iter().enumerate() {
            let at = (self.row + r) * self.out_stride + self.pack;
            let row = &mut out[at..][..PACKS];
            for (p, sum) in sums.into_iter().enumerate() {
                let value = match finish {
                    Finish::Keep => sum,
                    Finish::Relu => l.max(l.splat(0.0), sum),
                    Finish::Add(other) => l.add(sum, l.load(&other[at + p])),
                };
                l.store(&mut row[p], value);
            }
        }
        R
    }
}
