//! What inputs add to a dense layer, sample by sample: rows of weights.

use super::dense::Part;
use crate::{
    error::{Error, resize},
    kernels::{Kernel, LANES, Lanes, Pack},
};

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
    fn of(&self, sample: usize, since_mark: bool) -> &[u32] {
        let begin = if since_mark { self.marks[sample] } else { 0 };
        &self.ones[sample * self.most..][begin..self.counts[sample]]
    }
}

/// What the sums begin with.
#[derive(Clone, Copy)]
pub enum From<'a> {
    /// The bias.
    Bias(&'a [Pack]),
    /// Sums so far, some floats from one sample to the next.
    Sums {
        /// Those of all samples.
        floats: &'a [f32],
        /// From one sample to the next.
        step: usize,
    },
}

/// The inputs of a part.
#[derive(Clone, Copy)]
pub enum Inputs<'a> {
    /// Ones, and zeros that are passed over.
    Ones {
        /// The ones.
        lists: &'a Lists<'a>,
        /// Only those since the stretch began.
        since_mark: bool,
    },
    /// Numbers.
    Numbers {
        /// Those of all samples.
        floats: &'a [f32],
        /// From one sample to the next.
        step: usize,
    },
}

/// Sums of rows of a part's weights, for each sample.
pub struct AddRows<'a> {
    /// The part.
    pub part: &'a Part,
    /// Its weights.
    pub weights: &'a [Pack],
    /// Its inputs.
    pub inputs: Inputs<'a>,
    /// Samples.
    pub len: usize,
    /// What comes before.
    pub start: From<'a>,
    /// Sums, sample by sample.
    pub out: &'a mut [Pack],
    /// Packs from one sample to the next.
    pub step: usize,
}

impl Kernel for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let packs = self.part.packs();
        let mut pack = 0;
        // As many packs as registers hold, for all samples: their weights stay in a near cache.
        while pack < packs {
            let n = match packs - pack {
                rest @ 1..8 => 1 << rest.ilog2(),
                _ => 8,
            };
            for sample in 0..self.len {
                match n {
                    1 => self.sum::<L, 1>(l, sample, pack),
                    2 => self.sum::<L, 2>(l, sample, pack),
                    4 => self.sum::<L, 4>(l, sample, pack),
                    _ => self.sum::<L, 8>(l, sample, pack),
                }
            }
            pack += n;
        }
    }
}

impl AddRows<'_> {
    #[inline(always)]
    fn sum<L: Lanes, const P: usize>(&mut self, l: L, sample: usize, pack: usize) {
        let mut sums = [l.splat(0.0); P];
        match self.start {
            From::Bias(bias) => {
                for (sum, bias) in sums.iter_mut().zip(&bias[pack..]) {
                    *sum = l.load(bias);
                }
            }
            From::Sums { floats, step } => {
                for (sum, floats) in sums.iter_mut().zip(floats[sample * step + pack * LANES..].as_chunks().0) {
                    *sum = l.read(floats);
                }
            }
        }
        let depth = self.part.inputs.len();
        // Panels of equal length, so that bounds are checked once.
        let mut panels = [&self.weights[..0]; P];
        for (p, panel) in panels.iter_mut().enumerate() {
            *panel = &self.weights[(pack + p) * depth..][..depth];
        }
        match self.inputs {
            Inputs::Ones { lists, since_mark } => {
                for &one in lists.of(sample, since_mark) {
                    let one = one as usize - self.part.inputs.start;
                    for (sum, panel) in sums.iter_mut().zip(panels) {
                        *sum = l.add(*sum, l.load(&panel[one]));
                    }
                }
            }
            Inputs::Numbers { floats, step } => {
                for (k, &input) in floats[sample * step..][..depth].iter().enumerate() {
                    let input = l.splat(input);
                    for (sum, panel) in sums.iter_mut().zip(panels) {
                        *sum = l.fma(input, l.load(&panel[k]), *sum);
                    }
                }
            }
        }
        for (out, sum) in self.out[sample * self.step + pack..].iter_mut().zip(sums) {
            l.store(out, sum);
        }
    }
}
