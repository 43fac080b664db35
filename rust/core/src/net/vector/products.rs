//! Products of a block: what inputs add to the units of a stretch or tile as it begins.

use std::ops::Range;

use super::{
    Layer, Vector,
    dense::{Dense, Part, TILE},
    ones::{Lists, Words},
    rows::{AddRows, From, Inputs, TurnOver},
    walk::{InLanes, Sums, Walk},
};
use crate::kernels::{
    Kernel, LANES, Lanes, Pack, flat,
    matmul::{Finish, Product, Relu, Scalars, Start, Term, Vectors, even_part, matmul},
};

/// Inputs multiplied at a time.
const INPUTS: usize = 128;
/// Packs of samples multiplied at a time.
const PACKS: usize = 3;

impl Walk<'_> {
    /// As the stretches of some layers begin at this step: what the inputs known before them add to their units.
    pub fn far(&mut self, step: usize) {
        for (index, node) in self.net.nodes.iter().enumerate() {
            let Layer::Dense(dense) = &node.layer else { continue };
            if !step.is_multiple_of(dense.stretch) {
                continue;
            }
            let stretch = step / dense.stretch;
            let (part, sums) = (&dense.far[stretch], self.places[index]);
            if index == self.net.output {
                self.first_output = part.units.start;
            }
            let (weights, bias) = (dense.weights(part), dense.bias(stretch));
            if part.units.is_empty() {
                continue;
            }
            if self.net.reads_ones(dense) || self.in_lanes == InLanes::Units {
                let inputs =
                    inputs(self.net, dense, part, (&self.words, &self.lists), false, (self.units, self.sample_step));
                let (start, out, step) = (From::Bias(bias), &mut self.sums[sums.far..], sums.far_step);
                self.isa.run(AddRows { part, weights, inputs, len: self.len, start, out, step });
                if !self.net.adds_rows(dense, self.in_lanes) {
                    self.turn_over(index, &part.units);
                }
            } else {
                self.multiply(index, dense, part, (&part.units, part.inputs.len()), Some(bias));
            }
        }
    }

    /// What the inputs known since the stretch began add to the units of a tile.
    pub fn near(&mut self, tile: usize) {
        for (index, node) in self.net.nodes.iter().enumerate() {
            let Layer::Dense(dense) = &node.layer else { continue };
            let (part, sums) = (&dense.near[tile], self.places[index]);
            if part.units.is_empty() {
                continue;
            }
            if self.net.adds_rows(dense, self.in_lanes) {
                let inputs =
                    inputs(self.net, dense, part, (&self.words, &self.lists), true, (self.units, self.sample_step));
                let stretch = &dense.far[tile * TILE / dense.stretch];
                let (far, out) = self.sums.split_at_mut(sums.near);
                let far = &flat(&far[sums.far..])[part.units.start - stretch.units.start..];
                let (start, step) = (From::Sums { floats: far, step: sums.far_step * LANES }, sums.near_step);
                let weights = dense.weights(part);
                self.isa.run(AddRows { part, weights, inputs, len: self.len, start, out, step });
            } else {
                self.multiply(index, dense, part, (&part.units, part.inputs.len()), None);
            }
        }
    }

    /// Moves the sums of a stretch that stand sample by sample to their units.
    fn turn_over(&mut self, index: usize, units: &Range<usize>) {
        let (Sums { far, far_step, .. }, units_step) = (self.places[index], self.unit_step / LANES);
        let first = self.unit(index, units.start) * units_step;
        let (sums, n_units, len) = (&self.sums[far..], units.len(), self.len);
        let units = &mut self.units[first..];
        self.isa.run(TurnOver { sums, sums_step: far_step, n_units, len, units, units_step });
    }

    /// Samples side by side: what the first `depth` inputs of a part add to some of its units, which begin with their bias or
    /// go on.
    pub fn multiply(
        &mut self,
        index: usize,
        dense: &Dense,
        part: &Part,
        (units, depth): (&Range<usize>, usize),
        bias: Option<&[Pack]>,
    ) {
        if depth == 0 && bias.is_none() || units.is_empty() {
            return;
        }
        let step = self.unit_step / LANES;
        let first = self.unit(index, units.start) * step;
        let vector = self.unit(dense.from, part.inputs.start) * self.unit_step;
        let (before, own) = self.units.split_at_mut(first);
        self.isa.run(Multiply {
            weights: flat(dense.weights(part)),
            n_inputs: part.inputs.len(),
            rows: units.start - part.units.start..units.end - part.units.start,
            depth,
            bias: bias.map(flat),
            vectors: Vectors { floats: flat(before), k_step: self.unit_step },
            vector,
            packs: self.len.div_ceil(LANES),
            out: own,
            out_step: step,
        });
    }
}

/// The inputs of a part, sample by sample.
fn inputs<'w>(
    net: &Vector,
    dense: &Dense,
    part: &Part,
    (words, lists): (&'w Words, &'w Lists<'_>),
    since_mark: bool,
    (units, step): (&'w [Pack], usize),
) -> Inputs<'w> {
    if net.reads_ones(dense) {
        return if net.input_is_bits() { Inputs::Bits(words) } else { Inputs::Ones { lists, since_mark } };
    }
    let first = net.nodes[dense.from].at + part.inputs.start;
    Inputs::Numbers { floats: &flat(units)[first..], step }
}

/// What some inputs of a part add to some of its units, of samples side by side.
struct Multiply<'a> {
    /// Those of the part, in panels of 16 units.
    weights: &'a [f32],
    /// The part's inputs.
    n_inputs: usize,
    /// The units, counted from the part's first one.
    rows: Range<usize>,
    /// The first inputs of the part: how many.
    depth: usize,
    /// What the sums begin with, if they do not go on from what `out` holds.
    bias: Option<&'a [f32]>,
    vectors: Vectors<'a>,
    /// Where the first input is.
    vector: usize,
    packs: usize,
    out: &'a mut [Pack],
    out_step: usize,
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { weights, n_inputs, rows, depth, bias, vectors, vector, packs, out, out_step } = self;
        // Some inputs of some samples at a time for all units: so they come from the nearest cache.
        for input in (0..depth.max(1)).step_by(INPUTS) {
            let mut pack = 0;
            while pack < packs {
                let n_packs = even_part(packs - pack, PACKS);
                let mut row = rows.start;
                while row < rows.end {
                    // Up to the end of the panel.
                    let (panel, first) = (row / LANES, row % LANES);
                    let n_rows = (LANES - first).min(rows.end - row);
                    let terms = [Term {
                        scalar: (panel * n_inputs + input) * LANES + first,
                        vector: vector + input * vectors.k_step + pack * LANES,
                        depth: INPUTS.min(depth - input),
                    }];
                    let start = match bias {
                        Some(bias) if input == 0 => Start::Rows(&bias[row..]),
                        _ => Start::Out,
                    };
                    let product = Product {
                        terms: &terms,
                        scalars: Scalars { floats: weights, row_step: 1, k_step: LANES },
                        vectors,
                        relu: Relu::None,
                        start,
                        finish: Finish::Keep,
                        rows: n_rows,
                        packs: n_packs,
                    };
                    matmul(l, &product, &mut out[(row - rows.start) * out_step + pack..], out_step);
                    row += n_rows;
                }
                pack += n_packs;
            }
        }
    }
}
