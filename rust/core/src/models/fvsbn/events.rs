//! The rows of weights that samples add: one for each pair of inputs that are not both zero.

use super::{
    PAIR_ROWS,
    walk::{AHEAD, GROUP},
};
use crate::kernels::{LANES, Pack};

/// Inputs whose rows stay in the second-level cache, 128 KiB a block of outputs, while all samples add theirs.
pub const NEAR: usize = 1024;

/// For each sample, the rows that it adds to every later block: those of its pairs of inputs so far that are not both zero.
pub struct Events<'a> {
    /// In the order of the inputs, then rows of zeros; `capacity` a sample, interleaved between the samples of a group.
    rows: &'a mut [u32],
    pub counts: Vec<usize>,
    capacity: usize,
    /// For each sample that is the first of its group, the numbers of rows of 0, `NEAR`, 2 · `NEAR`, … inputs, the same for the
    /// whole group.
    pub marks: Vec<Vec<usize>>,
    /// For a sample on its own, the sums of `AHEAD` blocks, and how many of its rows they hold.
    pub ahead: Vec<([Pack; AHEAD], usize)>,
}

impl<'a> Events<'a> {
    /// No rows yet.
    pub fn new(samples: usize, n_dims: usize, room: &'a mut Vec<u32>) -> Self {
        let capacity = n_dims.next_multiple_of(LANES) / 2;
        room.clear();
        room.resize(samples * capacity, 0);
        let ahead = vec![([Pack::ZERO; AHEAD], 0); samples % GROUP];
        Self { rows: room, counts: vec![0; samples], capacity, marks: vec![vec![0]; samples], ahead }
    }

    /// The rows and their numbers of the `N` samples from `sample` on.
    #[inline(always)]
    pub fn group<const N: usize>(&mut self, sample: usize) -> (&mut [[u32; N]], &mut [usize; N]) {
        let rows = &mut self.rows[sample * self.capacity..][..N * self.capacity];
        let counts = &mut self.counts[sample..][..N];
        (rows.as_chunks_mut().0, counts.try_into().expect("N samples"))
    }

    /// Adds the values of 16 inputs from `first` on.
    #[inline(always)]
    pub fn push<const N: usize>(&mut self, sample: usize, first: usize, ones: &[u16; N]) {
        let (rows, counts) = self.group::<N>(sample);
        for n in 0..N {
            for (half, byte) in ones[n].to_le_bytes().into_iter().enumerate() {
                let base = ((first + 8 * half) / 2 * PAIR_ROWS) as u32;
                let (offsets, events) = EVENTS[usize::from(byte)];
                for (rows, offset) in rows[counts[n]..][..4].iter_mut().zip(offsets) {
                    rows[n] = base + u32::from(offset);
                }
                counts[n] += usize::from(events);
            }
        }
        if (first + LANES).is_multiple_of(NEAR) {
            // What follows the shorter lists are rows of zeros.
            let most = counts.iter().copied().fold(0, usize::max);
            counts.fill(most);
            self.marks[sample].push(most);
        }
    }
}

/// For the values of eight inputs, as bits: the rows of the pairs that are not both zero, then a row of zeros; and how many
/// there are.
const EVENTS: [([u8; 4], u8); 256] = {
    let mut events = [([0; 4], 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let mut pair = 0;
        while pair < 4 {
            let values = byte >> (2 * pair) & 3;
            if values != 0 {
                let (rows, count) = &mut events[byte];
                rows[*count as usize] = (pair * PAIR_ROWS + values) as u8;
                *count += 1;
            }
            pair += 1;
        }
        byte += 1;
    }
    events
};
