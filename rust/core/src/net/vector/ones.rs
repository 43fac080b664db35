//! Which channels of the input are one, sample by sample: of bits as words, of one-hot classes as lists.

use crate::error::{Error, resize};

/// For each sample, the units of the input that are one, in the order of the steps.
pub struct Lists<'a> {
    ones: &'a mut Vec<u32>,
    /// The most of a sample.
    most: usize,
    /// How many each sample has.
    counts: Vec<usize>,
    /// How many each sample had when the stretch began.
    marks: Vec<usize>,
}

impl<'a> Lists<'a> {
    /// For so many samples, with so many ones at most.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new(len: usize, most: usize, ones: &'a mut Vec<u32>) -> Result<Self, Error> {
        resize(ones, len * most, 0)?;
        Ok(Self { ones, most, counts: vec![0; len], marks: vec![0; len] })
    }

    /// Adds a one.
    #[inline(always)]
    pub fn push(&mut self, sample: usize, one: u32) {
        self.ones[sample * self.most + self.counts[sample]] = one;
        self.counts[sample] += 1;
    }

    /// A stretch begins.
    pub fn mark(&mut self) {
        self.marks.copy_from_slice(&self.counts);
    }

    /// Those of a sample, all or since the mark.
    #[inline(always)]
    pub fn of(&self, sample: usize, since_mark: bool) -> &[u32] {
        let begin = if since_mark { self.marks[sample] } else { 0 };
        &self.ones[sample * self.most..][begin..self.counts[sample]]
    }
}

/// Steps of a word.
pub const WORD: usize = u64::BITS as usize;

/// For each sample of bits, its values so far: 64 steps a word.
pub struct Words {
    words: Vec<u64>,
    /// Words a sample.
    step: usize,
}

impl Words {
    /// Zeros for so many samples.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new(len: usize, n_steps: usize) -> Result<Self, Error> {
        let (mut words, step) = (Vec::new(), n_steps.div_ceil(WORD));
        resize(&mut words, len * step, 0)?;
        Ok(Self { words, step })
    }

    /// Sets the values that are one among the 16 from `first` on, a multiple of 16.
    #[inline(always)]
    pub fn set(&mut self, sample: usize, first: usize, bits: u16) {
        self.words[sample * self.step + first / WORD] |= u64::from(bits) << (first % WORD);
    }

    /// A sample's word that begins with this step, a multiple of 64.
    #[inline(always)]
    pub fn word(&self, sample: usize, first: usize) -> u64 {
        self.words[sample * self.step + first / WORD]
    }
}
