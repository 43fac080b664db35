//! A few samples, in the order in which every task passes them: from the last rows of V to the first.

use std::ops::Range;

use super::ROWS;
use crate::models::{gradient::Scored, mask, places};

/// The most samples in a chunk, which has a bit for each and one more.
const SAMPLES: usize = u64::BITS as usize - 1;

/// Samples that are passed together, and one more: all of them before their first one, where their units are the
/// same. It has no ones, and its ∂/∂logit are the sums of theirs.
pub struct Chunk<'a> {
    /// E after all ones of each sample, with which scoring ended; NaN for a sample whose odds are no safe floats.
    odds: &'a [f32],
    /// The steps of each sample's ones, but for one at the last step: nothing comes after it.
    ones: Vec<u32>,
    /// Where those of each sample begin, and end.
    marks: Vec<usize>,
    /// For each tile of `ROWS` steps and each sample, ∂/∂logit of the steps.
    g: Vec<[f32; ROWS]>,
    /// As `g`, a bit for every step that begins a segment.
    begins: Vec<u8>,
    tiles: Vec<Tile>,
    /// The sums of ∂/∂logit.
    pub b: Vec<f32>,
}

/// Which samples have a turn at a tile of steps, as bits: those that begin no segment, and those that do.
#[derive(Clone, Copy, Default)]
struct Tile {
    quiet: u64,
    beginning: u64,
}

/// A sample at a tile of steps.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// Among those of the chunk.
    pub sample: usize,
    /// ∂/∂logit of each step.
    pub g: &'a [f32; ROWS],
    /// A bit for every step that begins a segment.
    pub begins: u8,
}

/// Cuts samples into chunks of about the same size.
pub fn cut(n: usize) -> Vec<Range<usize>> {
    let chunks = n.div_ceil(SAMPLES);
    (0..chunks).map(|at| at * n / chunks..(at + 1) * n / chunks).collect()
}

impl<'a> Chunk<'a> {
    /// From samples of `n_dims` values, among all.
    pub fn new(scored: Scored<'_>, odds: &'a [f32], n_dims: usize, samples: Range<usize>) -> Self {
        let n_hidden = odds.len() / scored.scale.len();
        let (len, n_tiles) = (samples.len() + 1, n_dims.div_ceil(ROWS));
        let mut chunk = Self {
            odds: &odds[samples.start * n_hidden..samples.end * n_hidden],
            ones: Vec::new(),
            marks: vec![0],
            g: vec![[0.0; ROWS]; n_tiles * len],
            begins: vec![0; n_tiles * len],
            tiles: vec![Tile::default(); n_tiles],
            b: vec![0.0; n_dims],
        };
        // Rows of a sample: ∂/∂logit, and whether a segment begins, at every step.
        let (mut g, mut begins) = (vec![0.0; n_tiles * ROWS], vec![0; n_tiles * ROWS]);
        for (at, sample) in samples.enumerate() {
            scored.of_logits(sample, &mut g[..n_dims]);
            chunk.b.iter_mut().zip(&g).for_each(|(b, g)| *b += *g);
            let x = &scored.x[sample * n_dims..][..n_dims - 1];
            begins[1..].iter_mut().zip(x).for_each(|(begins, &x)| *begins = u8::from(x == 1));
            for (eight, first) in x.chunks(8).zip((0..).step_by(8)) {
                // Most have none.
                if eight != [0; 8] {
                    chunk.ones.extend((first..).zip(eight).filter(|(_, x)| **x == 1).map(|(step, _): (u32, _)| step));
                }
            }
            chunk.marks.push(chunk.ones.len());
            chunk.add(at, g.as_chunks().0, begins.as_chunks().0);
        }
        chunk.marks.push(chunk.ones.len());
        chunk
    }

    /// Adds a sample's turns.
    fn add(&mut self, at: usize, g: &[[f32; ROWS]], begins: &[[u8; ROWS]]) {
        let len = self.g.len() / self.tiles.len();
        // Whether it had a one at the steps before.
        let mut begun = false;
        let turns = self.g.chunks_exact_mut(len).zip(self.begins.chunks_exact_mut(len)).zip(&mut self.tiles);
        for (((all, bits), tile), (g, begins)) in turns.zip(g.iter().zip(begins)) {
            all[at] = *g;
            bits[at] = mask(begins) as u8;
            let begins = bits[at] != 0;
            begun |= begins;
            tile.quiet |= u64::from(begun && !begins) << at;
            tile.beginning |= u64::from(begins) << at;
            if !begun {
                all[len - 1].iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
            }
        }
    }

    /// Samples, with the one more.
    pub fn len(&self) -> usize {
        self.marks.len() - 1
    }

    /// The ones of each sample.
    pub fn ones(&self) -> impl Iterator<Item = &[u32]> {
        self.marks.windows(2).map(|mark| &self.ones[mark[0]..mark[1]])
    }

    /// E after a sample's ones, if they are safe floats; `None` for the one more.
    pub fn odds(&self, sample: usize) -> Option<Option<&'a [f32]>> {
        let odds = self.odds.chunks_exact(self.odds.len() / (self.len() - 1)).nth(sample)?;
        Some(Some(odds).filter(|odds| !odds[0].is_nan()))
    }

    /// The samples' turns at a tile of steps: those that begin no segment, the one more among them, and the others.
    pub fn turns(&self, tile: usize) -> (impl Iterator<Item = Turn<'_>>, impl Iterator<Item = Turn<'_>>) {
        let len = self.len();
        let all = tile * len..(tile + 1) * len;
        let (g, begins) = (&self.g[all.clone()], &self.begins[all]);
        let turn = move |sample| Turn { sample, g: &g[sample], begins: begins[sample] };
        let Tile { quiet, beginning } = self.tiles[tile];
        (places(quiet | 1 << (len - 1)).map(turn), places(beginning).map(turn))
    }
}
