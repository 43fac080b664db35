//! The walk of a block: far products as a stretch begins, near ones as a tile begins, and the rest step by step.

use std::ops::Range;

use super::{
    Layer, Vector,
    dense::{Dense, Part, STRETCH, TILE},
    elementwise::{Average, Elementwise},
    rows::{AddRows, From, Lists},
    steps::Steps,
};
use crate::{
    error::{Error, resize},
    kernels::{
        Isa, Kernel, LANES, Lanes, Pack, flat, flat_mut,
        matmul::{Finish, Product, Relu, Scalars, Start, Term, Vectors, matmul},
    },
    layers::combine::{Member, average_bits, average_classes},
    model::Scratch,
};

/// Samples from which on they stand side by side in vectors.
const SIDE_BY_SIDE: usize = 5;
/// The most samples a block.
const BLOCK: usize = 128;
/// Packs that the units of a block may take beyond its least size.
const MEMORY: usize = 1 << 16;

/// What stands side by side in a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InLanes {
    /// Samples, of one unit.
    Samples,
    /// Units of one sample.
    Units,
}

/// Where the sums of a dense layer are that stand sample by sample: those of a stretch, and those of a tile. In packs.
#[derive(Clone, Copy, Default)]
struct Sums {
    far: usize,
    /// From one sample to the next. One pack more than there are sums, so that they can be read from anywhere.
    far_step: usize,
    near: usize,
    near_step: usize,
}

/// A block on its walk.
struct Walk<'a, S> {
    net: &'a Vector,
    block: &'a mut S,
    isa: Isa,
    in_lanes: InLanes,
    /// The units of all nodes: unit u of sample s is float u · `unit_step` + s · `sample_step`.
    units: &'a mut [Pack],
    unit_step: usize,
    sample_step: usize,
    /// For each node.
    places: Vec<Sums>,
    sums: &'a mut [Pack],
    lists: Lists<'a>,
    /// For each sample 0, or NaN once a unit is not finite.
    poison: Vec<Pack>,
    parameters: &'a mut Vec<f32>,
    /// For a categorical mean.
    logits: Vec<f32>,
}

impl Vector {
    /// Samples a block at which the walk is at its best.
    pub fn block_len(&self) -> usize {
        (MEMORY * LANES / self.n_units.max(1)).clamp(LANES, BLOCK) / LANES * LANES
    }

    /// Walks the steps of a block.
    pub fn walk(&self, block: &mut impl Steps, scratch: &mut Scratch) -> Result<(), Error> {
        let in_lanes = if block.len() < SIDE_BY_SIDE { InLanes::Units } else { InLanes::Samples };
        self.walk_with(in_lanes, block, scratch)
    }

    pub(super) fn walk_with(
        &self,
        in_lanes: InLanes,
        block: &mut impl Steps,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let len = block.len();
        // Units an odd number of cache lines apart spread over all sets of a cache.
        let (unit_step, sample_step, n_floats) = match in_lanes {
            InLanes::Samples => {
                let step = (len.div_ceil(LANES) | 1) * LANES;
                (step, 1, step * self.n_units)
            }
            // The last one is read as a whole vector.
            InLanes::Units => (1, self.n_units, self.n_units * len + LANES),
        };
        let n_packs = n_floats.div_ceil(LANES);
        let mut end = 0;
        let places = self.nodes.iter().map(|node| match &node.layer {
            Layer::Dense(dense) if in_lanes == InLanes::Units || self.reads_ones(dense) => {
                let most = |parts: &[Part]| parts.iter().map(Part::packs).max().unwrap_or(0);
                let (far_step, near_step) = (most(&dense.far) + 1, most(&dense.near));
                let sums = Sums { far: end, far_step, near: end + len * far_step, near_step };
                end = sums.near + len * near_step;
                sums
            }
            _ => Sums::default(),
        });
        let places: Vec<_> = places.collect();
        let Scratch { packs, floats, indices } = scratch;
        packs.clear();
        resize(packs, n_packs + end, Pack::ZERO)?;
        let (units, sums) = packs.split_at_mut(n_packs);
        let lists = Lists::new(len, if self.ones { self.n_steps } else { 0 }, indices)?;
        let (isa, poison) = (block.isa(), vec![Pack::ZERO; len.div_ceil(LANES)]);
        let mut walk = Walk {
            net: self,
            block,
            isa,
            in_lanes,
            units,
            unit_step,
            sample_step,
            places,
            sums,
            lists,
            poison,
            parameters: floats,
            logits: Vec::new(),
        };
        walk.run()
    }

    /// Whether a dense layer reads the list of ones instead of numbers.
    fn reads_ones(&self, dense: &Dense) -> bool {
        self.ones && dense.from == 0
    }
}

impl<S: Steps> Walk<'_, S> {
    fn run(&mut self) -> Result<(), Error> {
        let n_steps = self.block.n_steps();
        let features = self.net.features.is_some() && self.block.features(0).is_some();
        // Units that know all values concern features alone.
        let end = if features { n_steps + 1 } else { n_steps };
        for tile in (0..end).step_by(TILE) {
            if tile.is_multiple_of(STRETCH) {
                self.block.check()?;
                self.far(tile / STRETCH);
                self.lists.mark();
            }
            self.near(tile / TILE);
            let isa = self.isa;
            isa.run(Tile { walk: self, first: tile, end: end.min(tile + TILE), n_steps })?;
        }
        if features {
            self.show_features(n_steps);
        }
        Ok(())
    }

    /// What the inputs known before a stretch add to its units.
    fn far(&mut self, stretch: usize) {
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
                InLanes::Samples => self.multiply(node.at, dense, part, (&part.units, part.inputs.len()), Some(bias)),
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
                        rows: self.block.len(),
                        packs: part.packs(),
                    };
                    self.isa.run(Multiply { product, out, out_step: sums.far_step });
                }
            }
        }
    }

    /// What the inputs known since the stretch began add to the units of a tile.
    fn near(&mut self, tile: usize) {
        for (index, node) in self.net.nodes.iter().enumerate() {
            let Layer::Dense(dense) = &node.layer else { continue };
            let (part, sums) = (&dense.near[tile], self.places[index]);
            if part.units.is_empty() {
                continue;
            }
            let weights = dense.weights(part);
            let reads_ones = self.net.reads_ones(dense);
            if self.in_lanes == InLanes::Samples && !reads_ones {
                self.multiply(node.at, dense, part, (&part.units, part.inputs.len()), None);
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
            for (out, far) in out.chunks_mut(sums.near_step).zip(far.chunks(sums.far_step)).take(self.block.len()) {
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
                rows: self.block.len(),
                packs: part.packs(),
            };
            self.isa.run(Multiply { product, out, out_step: sums.near_step });
        }
    }

    /// Samples side by side: what the first `depth` inputs of a part add to some of its units, which begin with their bias or
    /// go on.
    fn multiply(
        &mut self,
        at: usize,
        dense: &Dense,
        part: &Part,
        (units, depth): (&Range<usize>, usize),
        bias: Option<&[Pack]>,
    ) {
        if depth == 0 && bias.is_none() || units.is_empty() {
            return;
        }
        let step = self.unit_step / LANES;
        let (before, own) = self.units.split_at_mut(at * step);
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
            packs: self.block.len().div_ceil(LANES),
        };
        self.isa.run(Multiply { product, out: &mut own[units.start * step..], out_step: step });
    }

    /// Where features are wanted: the units that know values before this step, and zeros for others.
    fn show_features(&mut self, n_steps: usize) {
        let Some(features) = &self.net.features else { return };
        for sample in 0..self.block.len() {
            let Some(out) = self.block.features(sample) else { return };
            for (out, &(unit, step)) in out.iter_mut().zip(features) {
                let at = unit as usize * self.unit_step + sample * self.sample_step;
                *out = if step as usize <= n_steps { flat(self.units)[at] } else { 0.0 };
            }
        }
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

/// The steps of a tile, one after the other.
struct Tile<'w, 'a, S> {
    walk: &'w mut Walk<'a, S>,
    first: usize,
    end: usize,
    /// Steps that have a value.
    n_steps: usize,
}

impl<S: Steps> Kernel for Tile<'_, '_, S> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Self::Output {
        let Self { walk, first, end, n_steps } = self;
        for step in first..end {
            for index in 0..walk.net.nodes.len() {
                walk.compute(l, index, (first, step));
            }
            if step < n_steps {
                let last = step + 1 == end.min(n_steps);
                walk.decide(step, last)?;
                walk.tell(l, step, step + 1 < end);
            }
        }
        Ok(())
    }
}

impl<S: Steps> Walk<'_, S> {
    /// The units of a node that are computed before this step's value is decided, in a tile that begins at `first`.
    #[inline(always)]
    fn compute<L: Lanes>(&mut self, l: L, index: usize, (first, step): (usize, usize)) {
        let net = self.net;
        let node = &net.nodes[index];
        let units = node.units.of(step..step + 1);
        match &node.layer {
            Layer::Values { .. } | Layer::OneHot => {}
            Layer::Dense(dense) => {
                let part = &dense.own[first / TILE];
                if part.units.is_empty() {
                    return;
                }
                let by_sample = self.in_lanes == InLanes::Units || net.reads_ones(dense);
                let inputs = &net.nodes[dense.from].units;
                if !by_sample {
                    let depth = inputs.begin(step + 1).saturating_sub(part.inputs.start);
                    self.multiply(node.at, dense, part, (&units, depth), None);
                } else {
                    if !net.reads_ones(dense) {
                        let known = inputs.of(step..step + 1);
                        let known = known.start.max(part.inputs.start)..known.end.max(part.inputs.start);
                        self.push(l, index, dense, (part, known));
                    }
                    self.take_sums(index, part, &units);
                }
                self.watch(l, node.at, &units);
            }
            Layer::Elementwise(elementwise) => {
                self.elementwise(l, node.at, elementwise, &units);
                if elementwise.function.can_overflow() {
                    self.watch(l, node.at, &units);
                }
            }
            Layer::Average(average) => self.average(l, node.at, average, &units),
        }
    }

    /// Units side by side: adds what inputs that have become known add to the sums of a tile.
    #[inline(always)]
    fn push<L: Lanes>(&mut self, l: L, index: usize, dense: &Dense, (part, known): (&Part, Range<usize>)) {
        let (sums, packs, source) = (self.places[index], part.packs(), self.net.nodes[dense.from].at);
        let weights = dense.weights(part);
        for sample in 0..self.block.len() {
            let inputs = &flat(self.units)[sample * self.sample_step + source..];
            let sums = &mut self.sums[sums.near + sample * sums.near_step..][..packs];
            for input in known.clone() {
                let value = l.splat(inputs[input]);
                let row = &weights[(input - part.inputs.start) * packs..][..packs];
                for (sum, weights) in sums.iter_mut().zip(row) {
                    l.store(sum, l.fma(value, l.load(weights), l.load(sum)));
                }
            }
        }
    }

    /// Moves sums that are complete to their units.
    #[inline(always)]
    fn take_sums(&mut self, index: usize, part: &Part, units: &Range<usize>) {
        let (sums, at) = (self.places[index], self.net.nodes[index].at);
        let sums_of = |all: &[Pack], sample: usize, unit: usize| {
            let place = (sums.near + sample * sums.near_step) * LANES + unit - part.units.start;
            flat(all)[place]
        };
        for unit in units.clone() {
            for sample in 0..self.block.len() {
                let to = (at + unit) * self.unit_step + sample * self.sample_step;
                flat_mut(self.units)[to] = sums_of(self.sums, sample, unit);
            }
        }
    }

    /// Notices units that are not finite.
    #[inline(always)]
    fn watch<L: Lanes>(&mut self, l: L, at: usize, units: &Range<usize>) {
        match self.in_lanes {
            InLanes::Samples => {
                let step = self.unit_step / LANES;
                for unit in units.clone() {
                    for (poison, unit) in self.poison.iter_mut().zip(&self.units[(at + unit) * step..]) {
                        l.store(poison, l.fma(l.load(unit), l.splat(0.0), l.load(poison)));
                    }
                }
            }
            InLanes::Units => {
                for sample in 0..self.block.len() {
                    let first = sample * self.sample_step + at;
                    for unit in &flat(self.units)[first + units.start..first + units.end] {
                        flat_mut(&mut self.poison)[sample] += unit * 0.0;
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn elementwise<L: Lanes>(&mut self, l: L, at: usize, node: &Elementwise, units: &Range<usize>) {
        let Elementwise { function, sources: [a, b] } = node;
        // Functions of one number get it twice.
        let b = if b.is_empty() { a } else { b };
        match self.in_lanes {
            InLanes::Samples => {
                let (step, packs) = (self.unit_step / LANES, self.block.len().div_ceil(LANES));
                for unit in units.clone() {
                    let [a, b, to] = [a[unit] as usize, b[unit] as usize, at + unit].map(|unit| unit * step);
                    for pack in 0..packs {
                        let (x, y) = (l.load(&self.units[a + pack]), l.load(&self.units[b + pack]));
                        l.store(&mut self.units[to + pack], function.apply(l, x, y));
                    }
                }
            }
            InLanes::Units => {
                for sample in 0..self.block.len() {
                    let all = &mut flat_mut(self.units)[sample * self.sample_step..];
                    for first in units.clone().step_by(LANES) {
                        let of_pack = first..units.end.min(first + LANES);
                        let [mut x, mut y] = [Pack::ZERO; 2];
                        for (lane, unit) in of_pack.clone().enumerate() {
                            (x.0[lane], y.0[lane]) = (all[a[unit] as usize], all[b[unit] as usize]);
                        }
                        let mut out = Pack::ZERO;
                        l.store(&mut out, function.apply(l, l.load(&x), l.load(&y)));
                        all[at + of_pack.start..at + of_pack.end].copy_from_slice(&out.0[..of_pack.len()]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn average<L: Lanes>(&mut self, l: L, at: usize, node: &Average, units: &Range<usize>) {
        let Average { sources, sizes } = node;
        let mut unit = units.start;
        while unit < units.end {
            let size = sizes[unit] as usize;
            if size == 1 {
                self.average_bit(l, at + unit, sources, unit);
            } else {
                self.average_classes(l, at + unit, sources, unit..unit + size);
            }
            unit += size;
        }
    }

    /// The logit of a mean of Bernoulli distributions, which becomes the unit `to`.
    #[inline(always)]
    fn average_bit<L: Lanes>(&mut self, l: L, to: usize, sources: &[Vec<u32>], unit: usize) {
        match self.in_lanes {
            InLanes::Samples => {
                let (step, packs) = (self.unit_step / LANES, self.block.len().div_ceil(LANES));
                let (before, own) = self.units.split_at_mut(to * step);
                let members = sources.iter().map(|source| &before[source[unit] as usize * step..][..packs]);
                average_bits(l, &members.collect::<Vec<_>>(), &mut own[..packs]);
            }
            InLanes::Units => {
                for sample in 0..self.block.len() {
                    let all = &mut flat_mut(self.units)[sample * self.sample_step..];
                    let members: Vec<_> = sources.iter().map(|source| [Pack([all[source[unit] as usize]; LANES])]).collect();
                    let mut out = [Pack::ZERO];
                    average_bits(l, &members.iter().map(<[Pack; 1]>::as_slice).collect::<Vec<_>>(), &mut out);
                    all[to] = out[0].0[0];
                }
            }
        }
    }

    /// The logits of a mean of categorical distributions, which become the units from `to` on.
    #[inline(always)]
    fn average_classes<L: Lanes>(&mut self, l: L, to: usize, sources: &[Vec<u32>], units: Range<usize>) {
        let (step, size) = (self.unit_step, units.len());
        self.logits.resize(size * (sources.len() + 1), 0.0);
        let (out, logits) = self.logits.split_at_mut(size);
        for sample in 0..self.block.len() {
            let all = &mut flat_mut(self.units)[sample * self.sample_step..];
            let logits_of = sources.iter().flat_map(|source| &source[units.clone()]);
            logits.iter_mut().zip(logits_of).for_each(|(to, &unit)| *to = all[unit as usize * step]);
            let members: Vec<_> = logits.chunks_exact(size).map(|logits| Member::new(l, logits)).collect();
            average_classes(l, &members, out);
            all[to * step..].iter_mut().step_by(step).zip(&*out).for_each(|(to, &logit)| *to = logit);
        }
    }

    /// Finds the values at a step.
    fn decide(&mut self, step: usize, last_of_tile: bool) -> Result<(), Error> {
        let len = self.block.len();
        let units = &self.net.parameters[self.net.begins[step]..self.net.begins[step + 1]];
        let poisoned = last_of_tile && flat(&self.poison)[..len].iter().any(|poison| poison.is_nan());
        if let ([unit], InLanes::Samples, false) = (units, self.in_lanes, poisoned) {
            let parameters = &flat(self.units)[*unit as usize * self.unit_step..][..len];
            return self.block.decide(step, 0..len, parameters);
        }
        self.parameters.clear();
        self.parameters.resize(len * units.len(), 0.0);
        for (p, &unit) in units.iter().enumerate() {
            let from = flat(self.units)[unit as usize * self.unit_step..].iter().step_by(self.sample_step);
            self.parameters[p..].iter_mut().step_by(units.len()).zip(from).for_each(|(to, &from)| *to = from);
        }
        if poisoned {
            // The block knows how to say which sample it is.
            for (parameters, poison) in self.parameters.chunks_exact_mut(units.len()).zip(flat(&self.poison)) {
                parameters[0] += poison;
            }
        }
        self.block.decide(step, 0..len, self.parameters)
    }

    /// Shows the network the values of a step.
    #[inline(always)]
    fn tell<L: Lanes>(&mut self, l: L, step: usize, goes_on: bool) {
        let net = self.net;
        let input = &net.nodes[0];
        let units = input.units.of(step + 1..step + 2);
        for sample in 0..self.block.len() {
            let value = self.block.value(sample, step);
            if net.stored {
                let place = |unit: usize| (input.at + unit) * self.unit_step + sample * self.sample_step;
                match input.layer {
                    Layer::Values { scale, shift } => {
                        flat_mut(self.units)[place(units.start)] = scale.mul_add(value as f32, shift);
                    }
                    _ => {
                        for unit in units.clone() {
                            let one = unit - units.start == value as usize;
                            flat_mut(self.units)[place(unit)] = f32::from(u8::from(one));
                        }
                    }
                }
            }
            if net.ones {
                let one = match input.layer {
                    Layer::Values { .. } if value == 0 => continue,
                    Layer::Values { .. } => units.start,
                    _ => units.start + value as usize,
                };
                self.lists.push(sample, one as u32);
                if goes_on {
                    self.push_one(l, step, sample, one);
                }
            }
        }
    }

    /// Adds what a one adds to the sums of the tile that it belongs to.
    #[inline(always)]
    fn push_one<L: Lanes>(&mut self, l: L, step: usize, sample: usize, one: usize) {
        for (index, node) in self.net.nodes.iter().enumerate() {
            let Layer::Dense(dense) = &node.layer else { continue };
            let (part, sums) = (&dense.own[step / TILE], self.places[index]);
            if dense.from != 0 || part.units.is_empty() {
                continue;
            }
            let packs = part.packs();
            let row = &dense.weights(part)[(one - part.inputs.start) * packs..][..packs];
            for (sum, weights) in self.sums[sums.near + sample * sums.near_step..].iter_mut().zip(row) {
                l.store(sum, l.add(l.load(sum), l.load(weights)));
            }
        }
    }
}
