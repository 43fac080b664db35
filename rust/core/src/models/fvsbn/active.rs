//! The active pairs of each sample: pairs of inputs (x_2k, x_2k+1) that are not both zero, each of which adds a row of
//! weights.

use super::{
    PAIR_ROWS,
    walk::{GROUP, LOOKAHEAD},
};
use crate::kernels::{LANES, Pack};

/// Inputs of a part. All samples add the rows of one part before any adds those of the next, so that the rows, 128 KiB
/// a tile, stay in the second-level cache.
pub const PART: usize = 1024;

/// For each sample, the rows of weights that its active pairs so far add to every later tile.
pub struct ActivePairs<'a> {
    /// Row indices in the order of the inputs, then rows of zeros; `capacity` a sample, interleaved between the samples
    /// of a group.
    rows: &'a mut [u32],
    pub counts: Vec<usize>,
    capacity: usize,
    /// For the first sample of each group, the numbers of rows of the first 0, `PART`, 2 · `PART`, … inputs: the same
    /// for the whole group.
    pub parts: Vec<Vec<usize>>,
    /// For a sample without a group, the sums of `LOOKAHEAD` tiles, and how many of its rows they contain.
    pub lookahead: Vec<([Pack; LOOKAHEAD], usize)>,
}

impl<'a> ActivePairs<'a> {
    /// No pairs yet.
    pub fn new(samples: usize, n_dims: usize, room: &'a mut Vec<u32>) -> Self {
        let capacity = n_dims.next_multiple_of(LANES) / 2;
        room.clear();
        room.resize(samples * capacity, 0);
        let lookahead = vec![([Pack::ZERO; LOOKAHEAD], 0); samples % GROUP];
        Self { rows: room, counts: vec![0; samples], capacity, parts: vec![vec![0]; samples], lookahead }
    }

    /// The row indices and their numbers of the `N` samples from `sample` on.
    #[inline(always)]
    pub fn group<const N: usize>(&mut self, sample: usize) -> (&mut [[u32; N]], &mut [usize; N]) {
        let rows = &mut self.rows[sample * self.capacity..][..N * self.capacity];
        let counts = &mut self.counts[sample..][..N];
        (rows.as_chunks_mut().0, counts.try_into().expect("N samples"))
    }

    /// Adds the active pairs of the 16 inputs from `first` on, whose values are bits of a word for each sample.
    #[inline(always)]
    pub fn push<const N: usize>(&mut self, sample: usize, first: usize, values: &[u16; N]) {
        let (rows, counts) = self.group::<N>(sample);
        for n in 0..N {
            for (half, byte) in values[n].to_le_bytes().into_iter().enumerate() {
                let base = ((first + 8 * half) / 2 * PAIR_ROWS) as u32;
                let (offsets, count) = ROWS_OF_BYTE[usize::from(byte)];
                for (rows, offset) in rows[counts[n]..][..4].iter_mut().zip(offsets) {
                    rows[n] = base + u32::from(offset);
                }
                counts[n] += usize::from(count);
            }
        }
        if (first + LANES).is_multiple_of(PART) {
            // Every sample of the group gets as many rows as the one with the most: beyond its own stand rows of zeros.
            let most = counts.iter().copied().fold(0, usize::max);
            counts.fill(most);
            self.parts[sample].push(most);
        }
    }
}

/// For the values of eight inputs, as bits: the rows of the active pairs among them, relative to those of the first
/// pair, then a row of zeros; and how many pairs are active.
const ROWS_OF_BYTE: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let mut pair = 0;
        while pair < 4 {
            let values = byte >> (2 * pair) & 3;
            if values != 0 {
                let (rows, count) = &mut table[byte];
                rows[*count as usize] = (pair * PAIR_ROWS + values) as u8;
                *count += 1;
            }
            pair += 1;
        }
        byte += 1;
    }
    table
};
