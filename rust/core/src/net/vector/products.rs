//! Products of a block: what inputs add to the units of a stretch or tile as it begins.

use std::ops::Range;

use super::{
    Layer,
    dense::{Dense, Part, STRETCH, TILE},
    rows::{AddRows, From},
    walk::{InLanes, Walk},
};
use crate::kernels::{
    Kernel, LANES, Lanes, Pack, flat, flat_mut,
    matmul::{Finish, Product, Relu, Scalars, Start, Term, Vectors, matmul},
};

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
            if self.net.reads_ones(dense) {
                let out = &mut self.sums[sums.far..];
                let (lists, start, step) = (&self.lists, From::Bias(bias), sums.far_step);
                self.isa.run(AddRows { part, weights, lists, since_mark: false, start, out, step });
                continue;
            }
            match self.in_lanes {
                InLanes::Samples => self.multiply(index, dense, part, (&part.units, part.inputs.len()), Some(bias)),
                InLanes::Units => {
                    let out = &mut self.sums[sums.far..];
                    let source = self.net.nodes[dense.from].at;
                    let terms = [Term { scalar: source + part.inputs.start, vector: 0, depth: part.inputs.len() }];
                    let product = Product {
                        terms: &terms,
                        scalars: Scalars { floats: flat(self.units), row_step: self.sample_step, k_step: 1 },
                        vectors: Vectors { floats: flat(weights), k_step: part.packs() * LANES },
                        relu: Relu::None,
                        start: Start::Packs(bias),
                        finish: Finish::Keep,
                        rows: self.len,
                        packs: part.packs(),
                    };
                    self.isa.run(Multiply { product, out, out_step: sums.far_step });
                }
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
            let weights = dense.weights(part);
            let reads_ones = self.net.reads_ones(dense);
            if self.in_lanes == InLanes::Samples && !reads_ones {
                self.multiply(index, dense, part, (&part.units, part.inputs.len()), None);
                continue;
            }
            let stretch = &dense.far[tile * TILE / STRETCH];
            let (far, out) = self.sums.split_at_mut(sums.near);
            let far = &far[sums.far..];
            let first = part.units.start - stretch.units.start;
            if reads_ones {
                let start = From::Sums { floats: &flat(far)[first..], step: sums.far_step * LANES };
                let (lists, step) = (&self.lists, sums.near_step);
                self.isa.run(AddRows { part, weights, lists, since_mark: true, start, out, step });
                continue;
            }
            for (out, far) in out.chunks_mut(sums.near_step).zip(far.chunks(sums.far_step)).take(self.len) {
                let n = part.packs() * LANES;
                flat_mut(out)[..n].copy_from_slice(&flat(far)[first..][..n]);
            }
            let source = self.net.nodes[dense.from].at;
            let terms = [Term { scalar: source + part.inputs.start, vector: 0, depth: part.inputs.len() }];
            let product = Product {
                terms: &terms,
                scalars: Scalars { floats: flat(self.units), row_step: self.sample_step, k_step: 1 },
                vectors: Vectors { floats: flat(weights), k_step: part.packs() * LANES },
                relu: Relu::None,
                start: Start::Out,
                finish: Finish::Keep,
                rows: self.len,
                packs: part.packs(),
            };
            self.isa.run(Multiply { product, out, out_step: sums.near_step });
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
        let terms = [Term { scalar: units.start - part.units.start, vector: source, depth }];
        let product = Product {
            terms: &terms,
            scalars: Scalars { floats: flat(dense.weights(part)), row_step: 1, k_step: part.packs() * LANES },
            vectors: Vectors { floats: flat(before), k_step: self.unit_step },
            relu: Relu::None,
            start: bias.map_or(Start::Out, |bias| Start::Rows(flat(bias))),
            finish: Finish::Keep,
            rows: units.len(),
            packs: self.len.div_ceil(LANES),
        };
        self.isa.run(Multiply { product, out: own, out_step: step });
    }
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
