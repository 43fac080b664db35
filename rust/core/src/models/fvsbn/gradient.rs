//! The gradient of Σ_s scale_s log p(x_s): with g_i = x_i − p_i, w_ij gets Σ_s scale_s g_i x_j where j < i, and b_i gets
//! Σ_s scale_s g_i.
//!
//! Zeros cost nothing here either: an input that is one adds the sample's g to its sums. A task owns the rows of 64 outputs, and
//! takes 64 inputs at a time, so that their sums stay in the nearest cache while all samples pass, in their order: the bits
//! do not depend on the threads.

use std::num::NonZero;

use crate::{
    error::Error,
    kernels::{Isa, Kernel, LANES, Lanes, Pack, flat_mut, in_default_mode, load_packs},
    models::{
        gradient::{Scored, share, write},
        mask, places,
    },
};

/// Outputs of a task, and inputs that it takes at a time: a bit of a word for each.
const TILE: usize = u64::BITS as usize;
/// Packs of a tile.
const PACKS: usize = TILE / LANES;

/// Where the gradient is written.
pub struct Gradient<'a> {
    /// (`n_dims`, `n_dims`): zero where j ≥ i.
    pub weight: &'a mut [f32],
    /// (`n_dims`)
    pub bias: &'a mut [f32],
}

/// Writes the gradient. `go_on` is asked on the calling thread, before each tile of outputs.
///
/// # Errors
/// [`Error::Interrupted`] once `go_on` has returned false, [`Error::Isa`]. The gradient is then partly written.
pub fn gradient(
    scored: Scored<'_>,
    out: Gradient<'_>,
    threads: NonZero<usize>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    in_default_mode(|| {
        let isa = Isa::get()?;
        let n_dims = out.bias.len();
        let samples = Samples::new(scored, n_dims);
        let tiles = out.weight.chunks_mut(TILE * n_dims).zip(out.bias.chunks_mut(TILE)).enumerate();
        // The last one has the most inputs: whoever starts with it ends early.
        share(tiles.rev(), threads, go_on, |(at, (weight, bias)), go_on| {
            let go_on = go_on();
            if go_on {
                isa.run(Outputs { samples: &samples, n_dims, at, weight, bias });
            }
            go_on
        })
    })
}

/// The samples, a tile after the other.
struct Samples {
    tiles: usize,
    /// scale_s (x_i − p_i); zero beyond the last dimension.
    g: Vec<[Pack; PACKS]>,
    /// Bit k: whether x is one at the tile's dimension k.
    ones: Vec<u64>,
}

impl Samples {
    fn new(scored: Scored<'_>, n_dims: usize) -> Self {
        let tiles = n_dims.div_ceil(TILE);
        let mut g = vec![[Pack::ZERO; PACKS]; scored.scale.len() * tiles];
        for (sample, tiles) in g.chunks_exact_mut(tiles).enumerate() {
            scored.of_logits(sample, &mut flat_mut(tiles.as_flattened_mut())[..n_dims]);
        }
        let ones = scored.x.chunks_exact(n_dims).flat_map(|x| x.chunks(TILE).map(mask)).collect();
        Self { tiles, g, ones }
    }
}

/// The outputs of tile `at`.
struct Outputs<'a> {
    samples: &'a Samples,
    n_dims: usize,
    at: usize,
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { samples: Samples { tiles, g, ones }, n_dims, at, weight, bias } = self;
        let g = || g.iter().skip(at).step_by(*tiles);
        let mut total = [Pack::ZERO; PACKS];
        for g in g() {
            add(l, &mut total, load_packs(l, g));
        }
        bias.copy_from_slice(&flat_mut(&mut total)[..bias.len()]);
        for tile in 0..=at {
            // For each input, what the outputs' weights get.
            let mut sums = [[Pack::ZERO; PACKS]; TILE];
            for (g, ones) in g().zip(ones.iter().skip(tile).step_by(*tiles)) {
                let g = load_packs(l, g);
                for one in places(*ones) {
                    add(l, &mut sums[one], g);
                }
            }
            write_columns(l, &sums, weight, n_dims, tile * TILE);
        }
        for (output, row) in weight.chunks_exact_mut(n_dims).enumerate() {
            row[at * TILE + output..].fill(0.0);
        }
    }
}

/// Adds a tile's values.
#[inline(always)]
fn add<L: Lanes>(l: L, sums: &mut [Pack; PACKS], values: [L::F; PACKS]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        l.store(sum, l.add(l.load(sum), value));
    }
}

/// Writes what each input's row holds for the outputs into the outputs' rows, `len` values each, from value `from` on.
#[inline(always)]
fn write_columns<L: Lanes>(l: L, rows: &[[Pack; PACKS]; TILE], out: &mut [f32], len: usize, from: usize) {
    let end = len.min(from + TILE);
    for first in (from..end).step_by(LANES) {
        for (p, out) in out.chunks_mut(LANES * len).enumerate() {
            let mut square = [l.splat(0.0); LANES];
            square.iter_mut().zip(&rows[first - from..]).for_each(|(x, row)| *x = l.load(&row[p]));
            l.transpose(&mut square);
            for (column, out) in square.into_iter().zip(out.chunks_exact_mut(len)) {
                write(l, column, &mut out[first..end]);
            }
        }
    }
}
