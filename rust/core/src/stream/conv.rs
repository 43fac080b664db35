//! A masked convolution as a list of taps: masked weights are not stored and cost nothing.

use std::ops::Range;

use super::maps::{Channels, Group, InLanes, Map};
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
    /// Weights of all taps: for each of a tap's inputs, a row of packs as long as `bias`.
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
    /// The input channels.
    from: Group,
    /// Where their weights begin, in packs.
    weight: usize,
}

/// The terms of a sum, kept from one pixel to the next: between the borders of a row they only move.
#[derive(Default)]
pub struct Terms {
    terms: Vec<Term>,
    /// The row they are for, and the column if no tap falls outside the row there.
    inside_from: Option<(usize, usize)>,
}

/// The output groups of a masked convolution from `input` to `output`.
pub fn masked(kernel: Kernel2d<'_>, mask: Mask, input: &Channels, output: &Channels) -> Vec<ConvGroup> {
    let Kernel2d { weight, bias, size } = kernel;
    let (n_in, radius) = (input.len(), size / 2);
    let group = |(index, out): (usize, &Group)| {
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
                let (up, right) = (radius - ky, kx as isize - radius as isize);
                group.taps.push(Tap { up, right, from: *from, weight: group.weight.len() });
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

    /// Columns to either side that are looked at.
    pub fn columns_aside(&self) -> usize {
        self.taps.iter().map(|tap| tap.right.unsigned_abs()).max().unwrap_or(0)
    }

    /// Inputs of each output: its multiply-adds at one pixel.
    pub fn depth(&self) -> usize {
        self.taps.iter().map(|tap| tap.from.len).sum()
    }

    /// The terms of the sum at some pixels of row `y`, and how many floats further on their inputs are. A tap that
    /// falls outside the image for all pixels is left out, one that does so for some meets padding there: both are zero
    /// padding.
    pub fn terms<'t>(
        &self,
        (y, x): (usize, &Range<usize>),
        width: usize,
        input: &Map,
        kept: &'t mut Terms,
    ) -> (&'t [Term], usize) {
        let inside = x.start >= input.reach.columns && x.end + input.reach.columns <= width;
        if let Some((row, first)) = kept.inside_from
            && inside
            && row == y
        {
            return (&kept.terms, input.columns(x.start - first));
        }
        kept.inside_from = inside.then_some((y, x.start));
        kept.terms.clear();
        for tap in &self.taps {
            let first = x.start.cast_signed() + tap.right;
            if let Some(y) = y.checked_sub(tap.up)
                && first + x.len().cast_signed() > 0
                && first < width.cast_signed()
            {
                let (input_at, weight) = (input.at(&tap.from, y, first), tap.weight * LANES);
                let (scalar, vector) = match input.in_lanes {
                    InLanes::Channels => (input_at, weight),
                    InLanes::Sites => (weight, input_at),
                };
                kept.terms.push(Term { scalar, vector, depth: tap.from.len });
            }
        }
        (&kept.terms, 0)
    }
}
