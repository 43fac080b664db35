//! A block of samples, in the order in which every task visits them: tile by tile, from the last steps to the first.

use std::ops::Range;

use super::ROWS;
use crate::models::{mask, places, training::Objective};

/// The most samples in a block, which has a bit of a word for each, and one for their prefix.
const SAMPLES: usize = u64::BITS as usize - 1;

/// Samples that are visited together, and last their common *prefix*: the steps up to a sample's first active bit,
/// where h is the same for all. It counts as one more sample without active bits, whose g is the sum of theirs.
pub struct SampleBlock<'a> {
    /// E after all active bits of each sample; NaN where the walk has left the odds.
    odds: &'a [f32],
    /// The steps of each sample's active bits, but for one at the last step, after which no step comes.
    active: Vec<u32>,
    /// Where those of each sample begin, and end.
    marks: Vec<usize>,
    /// For each tile of `ROWS` steps and each sample, g of the steps.
    g: Vec<[f32; ROWS]>,
    /// For each tile and sample, a bit for every step that begins a segment.
    begins: Vec<u8>,
    tiles: Vec<Members>,
    /// The sums of g.
    pub b: Vec<f32>,
}

/// The samples that are past their prefix at a tile, as bits.
#[derive(Clone, Copy, Default)]
struct Members {
    /// Those that begin no segment.
    unchanged: u64,
    /// Those that begin one or more.
    beginning: u64,
}

/// A sample at a tile of steps.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Among those of the block.
    pub sample: usize,
    /// g of each step.
    pub g: &'a [f32; ROWS],
    /// A bit for every step that begins a segment.
    pub begins: u8,
}

/// Cuts samples into blocks of about the same size.
pub fn cut(n: usize) -> Vec<Range<usize>> {
    let blocks = n.div_ceil(SAMPLES);
    (0..blocks).map(|at| at * n / blocks..(at + 1) * n / blocks).collect()
}

impl<'a> SampleBlock<'a> {
    /// Those samples of an objective, of `n_dims` values each.
    pub fn new(objective: Objective<'a>, n_dims: usize, samples: Range<usize>) -> Self {
        let odds = &objective.tape.state;
        let n_hidden = odds.len() / objective.scale.len();
        let (len, n_tiles) = (samples.len() + 1, n_dims.div_ceil(ROWS));
        let mut block = Self {
            odds: &odds[samples.start * n_hidden..samples.end * n_hidden],
            active: Vec::new(),
            marks: vec![0],
            g: vec![[0.0; ROWS]; n_tiles * len],
            begins: vec![0; n_tiles * len],
            tiles: vec![Members::default(); n_tiles],
            b: vec![0.0; n_dims],
        };
        // Of one sample, at every step.
        let (mut g, mut begins) = (vec![0.0; n_tiles * ROWS], vec![0; n_tiles * ROWS]);
        for (at, sample) in samples.enumerate() {
            objective.logit_gradients(sample, &mut g[..n_dims]);
            block.b.iter_mut().zip(&g).for_each(|(b, g)| *b += *g);
            let x = &objective.x[sample * n_dims..][..n_dims - 1];
            begins[1..].iter_mut().zip(x).for_each(|(begins, &x)| *begins = u8::from(x == 1));
            for (eight, first) in x.chunks(8).zip((0..).step_by(8)) {
                // As a rule there are none.
                if eight != [0; 8] {
                    block.active.extend((first..).zip(eight).filter(|(_, x)| **x == 1).map(|(step, _): (u32, _)| step));
                }
            }
            block.marks.push(block.active.len());
            block.add(at, g.as_chunks().0, begins.as_chunks().0);
        }
        block.marks.push(block.active.len());
        block
    }

    /// Adds a sample's entries.
    fn add(&mut self, at: usize, g: &[[f32; ROWS]], begins: &[[u8; ROWS]]) {
        let len = self.g.len() / self.tiles.len();
        let mut in_prefix = true;
        let entries = self.g.chunks_exact_mut(len).zip(self.begins.chunks_exact_mut(len)).zip(&mut self.tiles);
        for (((all, bits), members), (g, begins)) in entries.zip(g.iter().zip(begins)) {
            all[at] = *g;
            bits[at] = mask(begins) as u8;
            let begins = bits[at] != 0;
            in_prefix &= !begins;
            members.unchanged |= u64::from(!in_prefix && !begins) << at;
            members.beginning |= u64::from(begins) << at;
            if in_prefix {
                all[len - 1].iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
            }
        }
    }

    /// Samples, and one for the prefix, which is the last.
    pub fn len(&self) -> usize {
        self.marks.len() - 1
    }

    /// The active bits of each sample.
    pub fn active(&self) -> impl Iterator<Item = &[u32]> {
        self.marks.windows(2).map(|mark| &self.active[mark[0]..mark[1]])
    }

    /// For each sample but the prefix, E after its active bits, if the tape has it.
    pub fn odds(&self) -> impl Iterator<Item = Option<&'a [f32]>> {
        let rows = self.odds.chunks_exact(self.odds.len() / (self.len() - 1));
        rows.map(|odds| (!odds[0].is_nan()).then_some(odds))
    }

    /// The samples at a tile of steps: those that begin no segment, the prefix among them, and the others.
    pub fn entries(&self, tile: usize) -> (impl Iterator<Item = Entry<'_>>, impl Iterator<Item = Entry<'_>>) {
        let len = self.len();
        let all = tile * len..(tile + 1) * len;
        let (g, begins) = (&self.g[all.clone()], &self.begins[all]);
        let entry = move |sample| Entry { sample, g: &g[sample], begins: begins[sample] };
        let Members { unchanged, beginning } = self.tiles[tile];
        (places(unchanged | 1 << (len - 1)).map(entry), places(beginning).map(entry))
    }
}
