//! Products of a block: what inputs add to the units of a stretch or tile as it begins.

use std::ops::Range;

use super::{
    Layer, Vector,
    dense::{Dense, Part, STRETCH, TILE},
    rows::{AddRows, From, Inputs, Lists},
    walk::{InLanes, Walk},
};
use crate::kernels::{
    Kernel, LANES, Lanes, Pack, flat,
    matmul::{Finish, Product, Relu, Scalars, Start, Term, Vectors, matmul},
};

/// Inputs multiplied at a time.
const INPUTS: usize = 256;

impl Walk<'_> {
    /// What the inputs known before a stretch add to its units.
    pub fn far(&mut self, stretch: usize) {
        if let Layer::Dense(dense) = &self.net.nodes[self.net.output].layer {
            self.first_output = dense.far[stretch].units.start;
        }
        for (index, node) in self.net.nodes.iter().enumerate() {
            let Layer::Dense(dense) = &node.layer else { continue };
            let (part, sums) = (&dense.far[stretch], self.places[index]);
            let (weights, bias) = (dense.weights(part), dense.bias(stretch));
            if part.units.is_empty() {
                continue;
            }
            if self.net.reads_ones(dense) || self.in_lanes == InLanes::Units {
                let inputs = inputs(self.net, dense, part, &self.lists, false, (self.units, self.sample_step));
                let (start, out, step) = (From::Bias(bias), &mut self.sums[sums.far..], sums.far_step);
                self.isa.run(AddRows { part, weights, inputs, len: self.len, start, out, step });
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
            if self.net.reads_ones(dense) || self.in_lanes == InLanes::Units {
                let inputs = inputs(self.net, dense, part, &self.lists, true, (self.units, self.sample_step));
                let stretch = &dense.far[tile * TILE / STRETCH];
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
        let (before, own) = self.units.split_at_mut(self.unit(index, units.start) * step);
        let source = (self.net.nodes[dense.from].at + part.inputs.start) * self.unit_step;
        let weights = flat(dense.weights(part));
        // A few inputs at a time for all units: so they come from a near cache.
        for inputs in (0..depth.max(1)).step_by(INPUTS) {
            let n_inputs = INPUTS.min(depth - inputs);
            let mut unit = units.start;
            while unit < units.end {
                // Up to the end of the panel.
                let (panel, first) = ((unit - part.units.start) / LANES, (unit - part.units.start) % LANES);
                let rows = (LANES - first).min(units.end - unit);
                let scalar = (panel * part.inputs.len() + inputs) * LANES + first;
                let terms = [Term { scalar, vector: source + inputs * self.unit_step, depth: n_inputs }];
                let start = match bias {
                    Some(bias) if inputs == 0 => Start::Rows(&flat(bias)[panel * LANES + first..]),
                    _ => Start::Out,
                };
                let product = Product {
                    terms: &terms,
                    scalars: Scalars { floats: weights, row_step: 1, k_step: LANES },
                    vectors: Vectors { floats: flat(before), k_step: self.unit_step },
                    relu: Relu::None,
                    start,
                    finish: Finish::Keep,
                    rows,
                    packs: self.len.div_ceil(LANES),
                };
                self.isa.run(Multiply { product, out: &mut own[(unit - units.start) * step..], out_step: step });
                unit += rows;
            }
        }
    }
}

/// The inputs of a part, sample by sample.
fn inputs<'w>(
    net: &Vector,
    dense: &Dense,
    part: &Part,
    lists: &'w Lists<'_>,
    since_mark: bool,
    (units, step): (&'w [Pack], usize),
) -> Inputs<'w> {
    if net.reads_ones(dense) {
        return Inputs::Ones { lists, since_mark };
    }
    let first = net.nodes[dense.from].at + part.inputs.start;
    Inputs::Numbers { floats: &flat(units)[first..], step }
}

/// A product of its own.
struct Multiply<'a> {
    product: Product<'a>,
    out: &'a mut [Pack],
    out_step: usize,
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        matmul(l, &self.product, self.out, self.out_step);
    }
}
