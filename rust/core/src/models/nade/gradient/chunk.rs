//! A few samples, in the order in which every task passes them: from the last rows of V to the first.

use std::ops::Range;

use super::ROWS;
use crate::models::gradient::Scored;

/// The most samples in a chunk: what they keep from tile to tile should fit the nearest cache.
const SAMPLES: usize = 64;

/// Samples that are passed together, and one more: all of them before their first one, where their units are the
/// same. It has no ones, and its ∂/∂logit are the sums of theirs.
pub struct Chunk {
    /// The steps of each sample's ones, but for one at the last step: nothing comes after it.
    ones: Vec<u32>,
    /// Where those of each sample begin, and end.
    marks: Vec<usize>,
    /// In the order of the tiles of steps, those without a segment's begin first.
    turns: Vec<Turn>,
    /// For each tile, where its turns with a segment's begin come, and where they end; before the first, zeros.
    tiles: Vec<(usize, usize)>,
    /// The sums of ∂/∂logit.
    pub b: Vec<f32>,
}

/// A sample at a tile of `ROWS` steps.
pub struct Turn {
    /// ∂/∂logit of each step.
    pub g: [f32; ROWS],
    /// Among those of the chunk.
    pub sample: u32,
    /// A bit for every step that begins one.
    pub begins: u32,
}

/// Cuts samples into chunks of about the same size.
pub fn cut(n: usize) -> Vec<Range<usize>> {
    let chunks = n.div_ceil(SAMPLES);
    (0..chunks).map(|at| at * n / chunks..(at + 1) * n / chunks).collect()
}

impl Chunk {
    /// From samples of `n_dims` values.
    pub fn new(scored: Scored<'_>, n_dims: usize, samples: Range<usize>) -> Self {
        let (len, width) = (samples.len(), n_dims.next_multiple_of(ROWS));
        let (mut g, mut b) = (vec![0.0; len * width], vec![0.0; n_dims]);
        // Whether a segment begins, at every step.
        let mut begins = vec![0; len * width];
        let (mut ones, mut marks) = (Vec::new(), vec![0]);
        for (at, sample) in samples.enumerate() {
            let g = &mut g[at * width..][..n_dims];
            scored.of_logits(sample, g);
            b.iter_mut().zip(g).for_each(|(b, g)| *b += *g);
            let x = &scored.x[sample * n_dims..][..n_dims - 1];
            begins[at * width + 1..].iter_mut().zip(x).for_each(|(begins, &x)| *begins = u8::from(x == 1));
            for (eight, first) in x.chunks(8).zip((0..).step_by(8)) {
                // Most have none.
                if eight != [0; 8] {
                    ones.extend((first..).zip(eight).filter(|(_, x)| **x == 1).map(|(step, _): (u32, _)| step));
                }
            }
            marks.push(ones.len());
        }
        marks.push(ones.len());

        let (g, begins) = (g.as_chunks::<ROWS>().0, begins.as_chunks::<ROWS>().0);
        // Whether a sample had a one at the steps before.
        let mut begun = vec![false; len];
        let (mut turns, mut tiles) = (Vec::with_capacity((len + 1) * width / ROWS), vec![(0, 0)]);
        let mut beginning = Vec::new();
        for tile in 0..width / ROWS {
            let mut before = Turn { g: [0.0; ROWS], sample: len as u32, begins: 0 };
            let steps = g[tile..].iter().zip(&begins[tile..]).step_by(width / ROWS);
            for (sample, (begun, (g, begins))) in begun.iter_mut().zip(steps).enumerate() {
                let begins = begins.iter().rev().fold(0, |bits, &begins| bits << 1 | u32::from(begins));
                *begun |= begins != 0;
                if !*begun {
                    before.g.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
                    continue;
                }
                let turn = Turn { g: *g, sample: sample as u32, begins };
                if begins == 0 { turns.push(turn) } else { beginning.push(turn) }
            }
            turns.push(before);
            let quiet = turns.len();
            turns.append(&mut beginning);
            tiles.push((quiet, turns.len()));
        }
        Self { ones, marks, turns, tiles, b }
    }

    /// Samples, with the one more.
    pub fn len(&self) -> usize {
        self.marks.len() - 1
    }

    /// The ones of each sample.
    pub fn ones(&self) -> impl Iterator<Item = &[u32]> {
        self.marks.windows(2).map(|mark| &self.ones[mark[0]..mark[1]])
    }

    /// The samples' turns at a tile of steps: those that begin no segment, and the others.
    pub fn turns(&self, tile: usize) -> (&[Turn], &[Turn]) {
        let (first, (begins, end)) = (self.tiles[tile].1, self.tiles[tile + 1]);
        self.turns[first..end].split_at(begins - first)
    }
}
