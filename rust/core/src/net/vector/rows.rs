//! What inputs add to a dense layer, sample by sample: rows of weights.

use std::ops::Range;

use super::{
    dense::Part,
    ones::{Lists, WORD, Words},
};
use crate::kernels::{Kernel, LANES, Lanes, Pack, matmul::even_part};

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
    /// Bits, of which zeros are passed over.
    Bits(&'a Words),
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
        let (packs, depth) = (self.part.packs(), self.part.inputs.len());
        // Of bits a word at a time for all samples: the weights of 64 inputs stay in the nearest cache.
        let chunk = if let Inputs::Bits(_) = self.inputs { WORD } else { depth };
        let mut pack = 0;
        while pack < packs {
            // As many packs as registers hold, of two samples.
            let n = even_part(packs - pack, (L::MATMUL_SUMS / 2).min(8));
            let mut first = 0;
            loop {
                let chunk = first..depth.min(first + chunk);
                match n {
                    1 => self.sums::<L, 1>(l, pack, &chunk),
                    2 => self.sums::<L, 2>(l, pack, &chunk),
                    3 => self.sums::<L, 3>(l, pack, &chunk),
                    4 => self.sums::<L, 4>(l, pack, &chunk),
                    5 => self.sums::<L, 5>(l, pack, &chunk),
                    6 => self.sums::<L, 6>(l, pack, &chunk),
                    7 => self.sums::<L, 7>(l, pack, &chunk),
                    _ => self.sums::<L, 8>(l, pack, &chunk),
                }
                first = chunk.end;
                if first == depth {
                    break;
                }
            }
            pack += n;
        }
    }
}

impl AddRows<'_> {
    /// Adds what some of the part's inputs add to the `P` packs from `pack` on.
    #[inline(always)]
    fn sums<L: Lanes, const P: usize>(&mut self, l: L, pack: usize, chunk: &Range<usize>) {
        // Shapes that are never asked for are not compiled.
        if 2 * P > L::MATMUL_SUMS {
            return;
        }
        for sample in (0..self.len - self.len % 2).step_by(2) {
            self.sums_of::<L, P, 2>(l, sample, pack, chunk);
        }
        if !self.len.is_multiple_of(2) {
            self.sums_of::<L, P, 1>(l, self.len - 1, pack, chunk);
        }
    }

    /// The same for the `S` samples from `first` on.
    #[inline(always)]
    fn sums_of<L: Lanes, const P: usize, const S: usize>(
        &mut self,
        l: L,
        first: usize,
        pack: usize,
        chunk: &Range<usize>,
    ) {
        let mut sums = [[l.splat(0.0); P]; S];
        for (sums, sample) in sums.iter_mut().zip(first..) {
            match self.start {
                _ if chunk.start > 0 => {
                    for (sum, out) in sums.iter_mut().zip(&self.out[sample * self.step + pack..]) {
                        *sum = l.load(out);
                    }
                }
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
        }
        let depth = self.part.inputs.len();
        // Panels of equal length, so that bounds are checked once.
        let mut panels = [&self.weights[..0]; P];
        for (p, panel) in panels.iter_mut().enumerate() {
            *panel = &self.weights[(pack + p) * depth + chunk.start..][..chunk.len()];
        }
        match self.inputs {
            Inputs::Bits(_) if chunk.is_empty() => {}
            Inputs::Bits(words) => {
                let step = self.part.inputs.start + chunk.start;
                let mut words: [u64; S] = std::array::from_fn(|s| words.word(first + s, step));
                // One of each sample in turn, so that no addition waits for the one before.
                while words.iter().all(|&word| word != 0) {
                    for (sums, word) in sums.iter_mut().zip(&mut words) {
                        add_row(l, sums, panels, word.trailing_zeros() as usize);
                        *word &= *word - 1;
                    }
                }
                for (sums, word) in sums.iter_mut().zip(&mut words) {
                    while *word != 0 {
                        add_row(l, sums, panels, word.trailing_zeros() as usize);
                        *word &= *word - 1;
                    }
                }
            }
            Inputs::Ones { lists, since_mark } => {
                for (sums, sample) in sums.iter_mut().zip(first..) {
                    for &one in lists.of(sample, since_mark) {
                        add_row(l, sums, panels, one as usize - self.part.inputs.start);
                    }
                }
            }
            Inputs::Numbers { floats, step } => {
                for k in 0..depth {
                    for (sums, sample) in sums.iter_mut().zip(first..) {
                        let input = l.splat(floats[sample * step + k]);
                        for (sum, panel) in sums.iter_mut().zip(panels) {
                            *sum = l.fma(input, l.load(&panel[k]), *sum);
                        }
                    }
                }
            }
        }
        for (sums, sample) in sums.into_iter().zip(first..) {
            for (out, sum) in self.out[sample * self.step + pack..].iter_mut().zip(sums) {
                l.store(out, sum);
            }
        }
    }
}

/// Adds a row of weights.
#[inline(always)]
fn add_row<L: Lanes, const P: usize>(l: L, sums: &mut [L::F; P], panels: [&[Pack]; P], row: usize) {
    for (sum, panel) in sums.iter_mut().zip(panels) {
        *sum = l.add(*sum, l.load(&panel[row]));
    }
}

/// Turns sums that stand sample by sample over, to units whose samples stand side by side.
pub struct TurnOver<'a> {
    /// Sums, sample by sample.
    pub sums: &'a [Pack],
    /// Packs from one sample to the next.
    pub sums_step: usize,
    /// Units to come from them.
    pub n_units: usize,
    /// Samples.
    pub len: usize,
    /// Those units.
    pub units: &'a mut [Pack],
    /// Packs from one unit to the next.
    pub units_step: usize,
}

impl Kernel for TurnOver<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for group in 0..self.len.div_ceil(LANES) {
            for first in (0..self.n_units).step_by(LANES) {
                let mut rows = [l.splat(0.0); LANES];
                for (row, sample) in rows.iter_mut().zip(group * LANES..self.len) {
                    *row = l.load(&self.sums[sample * self.sums_step + first / LANES]);
                }
                l.transpose(&mut rows);
                for (row, unit) in rows.into_iter().zip(first..self.n_units) {
                    l.store(&mut self.units[unit * self.units_step + group], row);
                }
            }
        }
    }
}
