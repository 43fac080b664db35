//! Taps: a convolution as a list of offsets. Weights that do not act are not stored, and cost nothing.
//!
//! out(o, site) = bias(o) + Σ over offsets and inputs i of weight(o, i, offset) · in(i, site + offset): 1-D and 2-D, dilated, shifted,
//! masked, not square.

use std::ops::Range;

use crate::{
    kernels::{LANES, Pack, matmul::Term},
    net::raster::maps::{Channels, Group, InLanes, Map},
};

/// Weights (outputs, inputs, offsets) and bias (outputs), in row-major order.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// Rows and columns from the output's site to the input's; none lies below it.
    pub offsets: &'a [[i32; 2]],
    /// The weights.
    pub weight: &'a [f32],
    /// The bias.
    pub bias: &'a [f32],
}

/// The outputs of one degree: what is multiplied, in the order of summation.
#[derive(Debug)]
pub struct TapsGroup {
    taps: Vec<Tap>,
    /// Weights of all taps: for each of a tap's inputs, a row of packs as long as `bias`.
    pub weight: Vec<Pack>,
    /// Bias of the group's outputs.
    pub bias: Vec<Pack>,
}

/// A group of input channels at one offset.
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

/// The output groups of taps from `input` to `output`, in an image of this height and width: what would always read outside it is
/// left out.
pub fn groups(
    weights: Weights<'_>,
    input: &Channels,
    output: &Channels,
    [height, width]: [usize; 2],
) -> Vec<TapsGroup> {
    let Weights { offsets, weight, bias } = weights;
    let group = |(index, out): (usize, &Group)| {
        let mut group = TapsGroup { taps: Vec::new(), weight: Vec::new(), bias: vec![Pack::ZERO; out.packs()] };
        for (at, &o) in output.of(out).iter().enumerate() {
            group.bias[at / LANES].0[at % LANES] = bias[o as usize];
        }
        if out.len == 0 {
            return group;
        }
        for (at_offset, &[row, column]) in offsets.iter().enumerate() {
            let (up, right) = (row.unsigned_abs() as usize, column as isize);
            if up >= height || right.unsigned_abs() >= width {
                continue;
            }
            for (in_index, from) in input.groups.iter().enumerate().filter(|(_, from)| from.len > 0) {
                if [row, column] == [0, 0] && input.degree(in_index) > output.degree(index) {
                    break;
                }
                group.taps.push(Tap { up, right, from: *from, weight: group.weight.len() });
                for &i in input.of(from) {
                    let begin = group.weight.len();
                    group.weight.resize(begin + out.packs(), Pack::ZERO);
                    for (at, &o) in output.of(out).iter().enumerate() {
                        let place = (o as usize * input.count() + i as usize) * offsets.len() + at_offset;
                        group.weight[begin + at / LANES].0[at % LANES] = weight[place];
                    }
                }
            }
        }
        group
    };
    output.groups.iter().enumerate().map(group).collect()
}

impl TapsGroup {
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
