//! A masked convolution as a list of taps: masked weights are not stored and cost nothing.

use super::maps::Channels;
use crate::kernels::{LANES, Pack, matmul::Term};

/// What a convolution may see of the current pixel (van den Oord, Kalchbrenner, Kavukcuoglu, *Pixel recurrent neural
/// networks*, ICML 2016). Pixels above and to the left are always seen, those below and to the right never.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mask {
    /// Groups before the output's own.
    A,
    /// Groups up to the output's own.
    B,
}

/// Weights (`out`, `in`, `size`, `size`) and bias (`out`), in row-major order; `size` is odd.
#[derive(Clone, Copy)]
pub struct Kernel2d<'a> {
    /// The weights.
    pub weight: &'a [f32],
    /// The bias.
    pub bias: &'a [f32],
    /// Height and width.
    pub size: usize,
}

/// One output group of a convolution: what is multiplied, in the order of summation.
#[derive(Debug)]
pub struct ConvGroup {
    taps: Vec<Tap>,
    /// Weights of all taps, `depth` rows of packs each.
    pub weight: Vec<Pack>,
    /// Bias of the group's outputs.
    pub bias: Vec<Pack>,
}

/// A group of input channels at one neighbour.
#[derive(Debug)]
struct Tap {
    /// Rows up.
    up: usize,
    /// Columns to the right; negative to the left.
    right: isize,
    /// The input stretch within a sample's floats, and where its weights begin.
    term: Term,
}

/// The output groups of a masked convolution from `input` to `output`.
pub fn masked(kernel: Kernel2d<'_>, mask: Mask, input: &Channels, output: &Channels) -> Vec<ConvGroup> {
    let Kernel2d { weight, bias, size } = kernel;
    let (n_in, radius) = (input.len(), size / 2);
    let group = |(index, out): (usize, &super::maps::Group)| {
        let mut group = ConvGroup { taps: Vec::new(), weight: Vec::new(), bias: vec![Pack::ZERO; out.packs()] };
        for o in 0..out.len {
            group.bias[o / LANES].0[o % LANES] = bias[out.first + o];
        }
        for (ky, kx) in (0..=radius).flat_map(|ky| (0..size).map(move |kx| (ky, kx))) {
            let visible = if (ky, kx) < (radius, radius) {
                input.groups.len()
            } else if (ky, kx) == (radius, radius) {
                index + usize::from(mask == Mask::B)
            } else {
                0
            };
            for from in input.groups.iter().take(visible).filter(|from| from.len > 0) {
                let term = Term { input: from.at, depth: from.len, weight: group.weight.len() };
                group.taps.push(Tap { up: radius - ky, right: kx as isize - radius as isize, term });
                for i in from.first..from.first + from.len {
                    let begin = group.weight.len();
                    group.weight.resize(begin + out.packs(), Pack::ZERO);
                    for o in 0..out.len {
                        let at = (((out.first + o) * n_in + i) * size + ky) * size + kx;
                        group.weight[begin + o / LANES].0[o % LANES] = weight[at];
                    }
                }
            }
        }
        group
    };
    output.groups.iter().enumerate().map(group).collect()
}

impl ConvGroup {
    /// Rows above the current one that are looked at.
    pub fn rows_up(&self) -> usize {
        self.taps.iter().map(|tap| tap.up).max().unwrap_or(0)
    }

    /// Whether anything but the current pixel is looked at.
    pub fn sees_neighbours(&self) -> bool {
        self.taps.iter().any(|tap| tap.up > 0 || tap.right != 0)
    }

    /// Weights, masked ones left out, and bias.
    pub fn n_params(&self, outputs: usize) -> usize {
        (self.taps.iter().map(|tap| tap.term.depth).sum::<usize>() + 1) * outputs
    }

    /// The terms of the sum at a pixel: those taps that fall inside the image, each moved to where `locate` says
    /// its pixel begins. A tap outside would add zeros.
    #[inline(always)]
    pub fn terms(
        &self,
        (y, x): (usize, usize),
        width: usize,
        locate: impl Fn(usize, usize) -> usize,
        out: &mut Vec<Term>,
    ) {
        out.clear();
        for tap in &self.taps {
            if let (Some(y), Some(x)) = (y.checked_sub(tap.up), x.checked_add_signed(tap.right))
                && x < width
            {
                out.push(Term { input: locate(y, x) + tap.term.input, ..tap.term });
            }
        }
    }
}
