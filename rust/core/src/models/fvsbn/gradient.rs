//! The gradient of Σ_s scale_s log p(x_s). With g_si = scale_s (x_si − p_si), the gradient in logit i,
//!
//! ```text
//! ∂/∂w_ij = Σ_s g_si x_sj  (j < i),    ∂/∂b_i = Σ_s g_si
//! ```
//!
//! An active bit x_sj adds the vector g_s to the gradients of column j; zeros cost nothing. A task has the rows of a
//! tile of 64 outputs. It takes a tile of 64 inputs at a time, whose sums stay in the first-level cache while all
//! samples add theirs, in their order: the bits do not depend on the threads. A sample takes ρ D² / 32 additions of 16
//! lanes, where ρ is its fraction of ones.

use crate::{
    error::Error,
    kernels::{Isa, Kernel, LANES, Lanes, Pack, flat_mut, in_default_mode, load_packs},
    models::{
        gradient::{share, write},
        mask, places,
        training::Objective,
    },
};

/// Outputs of a tile, and inputs of one: a bit of a word for each.
const TILE: usize = u64::BITS as usize;
/// Packs of a tile.
const PACKS: usize = TILE / LANES;

/// Writes the gradient in weight (`n_dims`, `n_dims`), zero where j ≥ i, and bias (`n_dims`). `go_on` is asked before
/// each tile of outputs.
///
/// # Errors
/// Those of [`crate::models::training::gradient`].
pub fn gradient(
    objective: Objective<'_>,
    [weight, bias]: [&mut [f32]; 2],
    threads: usize,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    in_default_mode(|| {
        let isa = Isa::get()?;
        let n_dims = bias.len();
        let samples = Samples::new(objective, n_dims);
        let tiles = weight.chunks_mut(TILE * n_dims).zip(bias.chunks_mut(TILE)).enumerate();
        // The last tile has the most inputs, so it comes first.
        share(tiles.rev(), threads, go_on, |(tile, (weight, bias)), check| {
            check()?;
            isa.run(TileGradient { samples: &samples, n_dims, tile, weight, bias });
            Ok(())
        })
    })
}

/// The samples, one after the other.
struct Samples {
    /// Tiles of a sample.
    tiles: usize,
    /// For each sample and tile, g; zero beyond the last dimension.
    g: Vec<[Pack; PACKS]>,
    /// For each sample and tile, its active bits.
    active: Vec<u64>,
}

impl Samples {
    fn new(objective: Objective<'_>, n_dims: usize) -> Self {
        let tiles = n_dims.div_ceil(TILE);
        let mut g = vec![[Pack::ZERO; PACKS]; objective.scale.len() * tiles];
        for (sample, tiles) in g.chunks_exact_mut(tiles).enumerate() {
            objective.logit_gradients(sample, &mut flat_mut(tiles.as_flattened_mut())[..n_dims]);
        }
        let active = objective.x.chunks_exact(n_dims).flat_map(|x| x.chunks(TILE).map(mask)).collect();
        Self { tiles, g, active }
    }
}

/// The gradient of one tile of outputs.
struct TileGradient<'a> {
    samples: &'a Samples,
    n_dims: usize,
    tile: usize,
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

impl Kernel for TileGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { samples: Samples { tiles, g, active }, n_dims, tile, weight, bias } = self;
        let g = || g.iter().skip(tile).step_by(*tiles);
        let mut total = [Pack::ZERO; PACKS];
        for g in g() {
            add(l, &mut total, load_packs(l, g));
        }
        bias.copy_from_slice(&flat_mut(&mut total)[..bias.len()]);
        for inputs in 0..=tile {
            // For each input, the gradient of its column.
            let mut sums = [[Pack::ZERO; PACKS]; TILE];
            for (g, active) in g().zip(active.iter().skip(inputs).step_by(*tiles)) {
                let g = load_packs(l, g);
                for input in places(*active) {
                    add(l, &mut sums[input], g);
                }
            }
            write_columns(l, &sums, weight, n_dims, inputs * TILE);
        }
        for (output, row) in weight.chunks_exact_mut(n_dims).enumerate() {
            row[tile * TILE + output..].fill(0.0);
        }
    }
}

/// Adds the values of a tile.
#[inline(always)]
fn add<L: Lanes>(l: L, sums: &mut [Pack; PACKS], values: [L::F; PACKS]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        l.store(sum, l.add(l.load(sum), value));
    }
}

/// Writes columns of the outputs' rows, which have `len` values each, from column `from` on.
#[inline(always)]
fn write_columns<L: Lanes>(l: L, columns: &[[Pack; PACKS]; TILE], out: &mut [f32], len: usize, from: usize) {
    let end = len.min(from + TILE);
    for first in (from..end).step_by(LANES) {
        for (p, out) in out.chunks_mut(LANES * len).enumerate() {
            let mut square = [l.splat(0.0); LANES];
            square.iter_mut().zip(&columns[first - from..]).for_each(|(x, column)| *x = l.load(&column[p]));
            l.transpose(&mut square);
            for (row, out) in square.into_iter().zip(out.chunks_exact_mut(len)) {
                write(l, row, &mut out[first..end]);
            }
        }
    }
}
