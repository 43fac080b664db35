//! out[r][p] = Σ_k scalar[r][k] · vector[k][p]: the product that convolutions are made of.
//!
//! An accumulator of a few rows × a few packs stays in registers. Every output is one chain of fused multiply-adds in
//! the order of k, whatever the split into rows and packs, so the bits depend on neither; nor do they depend on which
//! of the two factors is called the scalar.

use super::lanes::{LANES, Lanes, Pack};

/// The most rows held in registers at once.
const ROWS: usize = 8;

/// One term of the sum: a stretch of k, and where the factors that meet there begin.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Where row 0 begins in the scalars.
    pub scalar: usize,
    /// Where pack 0 begins in the vectors, in floats.
    pub vector: usize,
    /// How many k.
    pub depth: usize,
}

/// The left factor.
#[derive(Clone, Copy)]
pub struct Scalars<'a> {
    /// Of all terms.
    pub floats: &'a [f32],
    /// Floats from one row to the next.
    pub row_step: usize,
    /// Floats from one k to the next.
    pub k_step: usize,
}

/// The right factor.
#[derive(Clone, Copy)]
pub struct Vectors<'a> {
    /// Of all terms; packs may begin anywhere in it.
    pub floats: &'a [f32],
    /// Floats from one k to the next.
    pub k_step: usize,
}

/// What each sum begins with.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// One float a row.
    Rows(&'a [f32]),
    /// The same packs in every row.
    Packs(&'a [Pack]),
    /// What the output holds.
    Out,
}

/// What is done to a sum before it is stored.
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    /// Nothing.
    Keep,
    /// max(·, 0); a NaN stays one.
    Relu,
    /// The sum with the same place of these rows, so many floats apart.
    Add(&'a [f32], usize),
}

/// Which factor enters as max(·, 0). A NaN stays one, so that an overflow is seen at the end.
#[derive(Clone, Copy, PartialEq)]
pub enum Relu {
    /// Neither.
    None,
    /// The left one.
    Scalars,
    /// The right one.
    Vectors,
}

// As constants of `add_terms`.
const NONE: u8 = Relu::None as u8;
const SCALARS: u8 = Relu::Scalars as u8;
const VECTORS: u8 = Relu::Vectors as u8;

/// out[r][p] = finish(start + Σ over terms and k of scalar[r][k] · vector[k][p]).
pub struct Product<'a> {
    /// What is summed.
    pub terms: &'a [Term],
    /// The left factor.
    pub scalars: Scalars<'a>,
    /// The right factor.
    pub vectors: Vectors<'a>,
    /// What is done to the factors first.
    pub relu: Relu,
    /// What comes before the sum.
    pub start: Start<'a>,
    /// What comes after the sum.
    pub finish: Finish<'a>,
    /// Rows to compute.
    pub rows: usize,
    /// Packs to compute in each.
    pub packs: usize,
}

/// Computes a product into rows of packs, `out_step` packs apart.
#[inline(always)]
pub fn matmul<L: Lanes>(l: L, product: &Product<'_>, out: &mut [Pack], out_step: usize) {
    let (mut pack, most_rows) = (0, ROWS.min(L::MATMUL_SUMS));
    while pack < product.packs {
        let most_packs = L::MATMUL_PACKS.min(L::MATMUL_SUMS / product.rows.clamp(1, most_rows));
        let packs = even_part(product.packs - pack, most_packs);
        let mut row = 0;
        while row < product.rows {
            let rows = even_part(product.rows - row, most_rows);
            let tile = Tile { product, row, pack, out_step };
            match packs {
                1 => tile.rows::<L, 1>(l, rows, out),
                2 => tile.rows::<L, 2>(l, rows, out),
                3 => tile.rows::<L, 3>(l, rows, out),
                _ => tile.rows::<L, 4>(l, rows, out),
            }
            row += rows;
        }
        pack += packs;
    }
}

/// The first of the fewest nearly equal parts of `len`, each at most `most`.
pub fn even_part(len: usize, most: usize) -> usize {
    len.div_ceil(len.div_ceil(most))
}

/// A corner of the output.
struct Tile<'a> {
    product: &'a Product<'a>,
    row: usize,
    pack: usize,
    out_step: usize,
}

impl Tile<'_> {
    #[inline(always)]
    fn rows<L: Lanes, const PACKS: usize>(&self, l: L, rows: usize, out: &mut [Pack]) {
        match rows {
            1 => self.compute::<L, 1, PACKS>(l, out),
            2 => self.compute::<L, 2, PACKS>(l, out),
            3 => self.compute::<L, 3, PACKS>(l, out),
            4 => self.compute::<L, 4, PACKS>(l, out),
            5 => self.compute::<L, 5, PACKS>(l, out),
            6 => self.compute::<L, 6, PACKS>(l, out),
            7 => self.compute::<L, 7, PACKS>(l, out),
            _ => self.compute::<L, ROWS, PACKS>(l, out),
        }
    }

    #[inline(always)]
    fn compute<L: Lanes, const R: usize, const PACKS: usize>(&self, l: L, out: &mut [Pack]) {
        // Shapes that `matmul` never asks for are not compiled.
        if PACKS > L::MATMUL_PACKS || R * PACKS > L::MATMUL_SUMS {
            return;
        }
        let Product { start, finish, .. } = *self.product;
        // Loops over the tile are plain and small, so that they are unrolled and the sums stay in registers.
        let mut sum = [[l.splat(0.0); PACKS]; R];
        match start {
            Start::Rows(floats) => {
                let floats: &[f32; R] = floats[self.row..][..R].try_into().expect("R rows");
                for r in 0..R {
                    sum[r] = [l.splat(floats[r]); PACKS];
                }
            }
            Start::Packs(packs) => {
                let packs: &[Pack; PACKS] = packs[self.pack..][..PACKS].try_into().expect("PACKS packs");
                for sums in &mut sum {
                    for p in 0..PACKS {
                        sums[p] = l.load(&packs[p]);
                    }
                }
            }
            Start::Out => {
                for r in 0..R {
                    let out = &out[(self.row + r) * self.out_step + self.pack..][..PACKS];
                    for p in 0..PACKS {
                        sum[r][p] = l.load(&out[p]);
                    }
                }
            }
        }
        match self.product.relu {
            Relu::None => self.add_terms::<L, R, PACKS, NONE>(l, &mut sum),
            Relu::Scalars => self.add_terms::<L, R, PACKS, SCALARS>(l, &mut sum),
            Relu::Vectors => self.add_terms::<L, R, PACKS, VECTORS>(l, &mut sum),
        }
        match finish {
            Finish::Keep => {}
            Finish::Relu => {
                for sum in sum.as_flattened_mut() {
                    *sum = l.max(l.splat(0.0), *sum);
                }
            }
            Finish::Add(other, step) => {
                for r in 0..R {
                    let other = &other[(self.row + r) * step + self.pack * LANES..][..PACKS * LANES];
                    let other: &[[f32; LANES]; PACKS] = other.as_chunks().0.try_into().expect("PACKS packs");
                    for p in 0..PACKS {
                        sum[r][p] = l.add(sum[r][p], l.read(&other[p]));
                    }
                }
            }
        }
        for r in 0..R {
            let out = &mut out[(self.row + r) * self.out_step + self.pack..][..PACKS];
            for p in 0..PACKS {
                l.store(&mut out[p], sum[r][p]);
            }
        }
    }

    /// Adds all terms to the sums; `RELU` is a [`Relu`].
    #[inline(always)]
    fn add_terms<L: Lanes, const R: usize, const PACKS: usize, const RELU: u8>(
        &self,
        l: L,
        sum: &mut [[L::F; PACKS]; R],
    ) {
        let Product { terms, scalars, vectors, .. } = *self.product;
        for term in terms.iter().filter(|term| term.depth > 0) {
            let scalar = term.scalar + self.row * scalars.row_step;
            let vector = term.vector + self.pack * LANES;
            let last = |at: usize, steps: [usize; 2], counts: [usize; 2]| {
                let extent = |i: usize| (counts[i] - 1).saturating_mul(steps[i]);
                at.saturating_add(extent(0)).saturating_add(extent(1))
            };
            assert!(last(scalar, [scalars.row_step, scalars.k_step], [R, term.depth]) < scalars.floats.len());
            assert!(last(vector, [1, vectors.k_step], [PACKS * LANES, term.depth]) < vectors.floats.len());
            for k in 0..term.depth {
                // SAFETY: indices grow with r, k and p, and the largest was checked above.
                let (scalar, vector) = unsafe {
                    (
                        scalars.floats.as_ptr().add(scalar + k * scalars.k_step),
                        vectors.floats.as_ptr().add(vector + k * vectors.k_step),
                    )
                };
                let mut v = [l.splat(0.0); PACKS];
                for (p, v) in v.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *v = l.read(unsafe { &*vector.add(p * LANES).cast::<[f32; LANES]>() });
                    if RELU == VECTORS {
                        *v = l.max(l.splat(0.0), *v);
                    }
                }
                for (r, sums) in sum.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let mut x = l.splat(unsafe { *scalar.add(r * scalars.row_step) });
                    if RELU == SCALARS {
                        x = l.max(l.splat(0.0), x);
                    }
                    for (sum, &v) in sums.iter_mut().zip(&v) {
                        *sum = l.fma(x, v, *sum);
                    }
                }
            }
        }
    }
}
