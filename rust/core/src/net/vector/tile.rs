//! What is computed step by step, and the values that are found.

use std::ops::Range;

use super::{
    Layer,
    dense::{Dense, Part, TILE},
    elementwise::{Average, Elementwise},
    walk::{InLanes, Sums, Walk},
};
use crate::{
    error::Error,
    kernels::{Kernel, LANES, Lanes, Pack, flat, flat_mut, load_packs, store_packs},
    layers::combine::{Member, average_bits, average_classes},
};

/// The steps of a tile: one after the other, or, where the values are given, all at once, as weights that do not act are zero.
pub struct Tile<'w, 'a> {
    /// The walk.
    pub walk: &'w mut Walk<'a>,
    /// Its first step.
    pub first: usize,
    /// The step after its last one.
    pub end: usize,
    /// Steps that have a value.
    pub n_steps: usize,
}

impl Kernel for Tile<'_, '_> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Self::Output {
        let Self { walk, first, end, n_steps } = self;
        let last = end.min(n_steps);
        if walk.decides_bits && first < last {
            walk.begin_bits(l, first);
        }
        let parts = if walk.given { 1 } else { end - first };
        for part in 0..parts {
            let steps = if parts == 1 { first..end } else { first + part..first + part + 1 };
            let valued = steps.start..steps.end.min(last);
            if walk.given {
                for step in valued.clone() {
                    walk.tell(l, step, step + 1 < end);
                }
            }
            for index in 0..walk.net.nodes.len() {
                walk.compute(l, index, first, &steps);
            }
            for step in valued {
                if walk.decides_bits {
                    walk.decide_bits(l, step);
                } else {
                    walk.decide(step)?;
                }
                if !walk.given {
                    walk.tell(l, step, step + 1 < end);
                }
            }
        }
        if first < last {
            walk.check_finite(last - 1)?;
            if walk.decides_bits {
                walk.end_bits(l, first, last);
            }
        }
        Ok(())
    }
}

/// Units of a step that are fewer than a product holds in registers.
const FEW: usize = 4;

impl Walk<'_> {
    /// The units of a node that are computed before the values of these steps are decided, in a tile that begins at `first`.
    #[inline(always)]
    fn compute<L: Lanes>(&mut self, l: L, index: usize, first: usize, steps: &Range<usize>) {
        let net = self.net;
        let node = &net.nodes[index];
        let units = node.units.of(steps.clone());
        match &node.layer {
            Layer::Values { .. } | Layer::OneHot => {}
            _ if units.is_empty() && !matches!(node.layer, Layer::Dense(_)) => {}
            Layer::Dense(dense) => {
                let part = &dense.own[first / TILE];
                if part.units.is_empty() {
                    return;
                }
                let by_sample = net.adds_rows(dense, self.in_lanes);
                let inputs = &net.nodes[dense.from].units;
                if !by_sample {
                    let depth = inputs.begin(steps.end).saturating_sub(part.inputs.start);
                    if units.len() < FEW {
                        units.clone().for_each(|unit| self.add_own(l, index, dense, part, (unit, depth)));
                    } else {
                        self.multiply(index, dense, part, (&units, depth), None);
                    }
                } else {
                    if !net.reads_ones(dense) {
                        let known = inputs.of(steps.clone());
                        let known = known.start.max(part.inputs.start)..known.end.max(part.inputs.start);
                        self.push(l, index, dense, (part, known));
                    }
                    self.take_sums(index, part, &units);
                }
                self.watch(l, self.unit(index, units.start), units.len());
            }
            Layer::Elementwise(elementwise) => {
                self.elementwise(l, node.at, elementwise, &units);
                if elementwise.function.can_overflow() {
                    self.watch(l, node.at + units.start, units.len());
                }
            }
            Layer::Average(average) => self.average(l, node.at, average, &units),
        }
    }

    /// Samples side by side: adds what the first `depth` inputs of its tile add to a unit.
    #[inline(always)]
    fn add_own<L: Lanes>(&mut self, l: L, index: usize, dense: &Dense, part: &Part, (unit, depth): (usize, usize)) {
        if depth == 0 {
            return;
        }
        let (step, packs) = (self.unit_step / LANES, self.len.div_ceil(LANES));
        let source = self.unit(dense.from, part.inputs.start) * step;
        let (before, own) = self.units.split_at_mut(self.unit(index, unit) * step);
        let (panel, row) = ((unit - part.units.start) / LANES, (unit - part.units.start) % LANES);
        let weights = &dense.weights(part)[panel * part.inputs.len()..][..depth];
        let inputs = &before[source..][..(depth - 1) * step + packs];
        let mut pack = 0;
        while pack < packs {
            let n = 1 << (packs - pack).min(L::MATMUL_SUMS.min(8)).ilog2();
            let (inputs, sums) = (&inputs[pack..], &mut own[pack..][..n]);
            match n {
                1 => add_products::<L, 1>(l, weights, row, (inputs, step), sums),
                2 => add_products::<L, 2>(l, weights, row, (inputs, step), sums),
                4 => add_products::<L, 4>(l, weights, row, (inputs, step), sums),
                _ => add_products::<L, 8>(l, weights, row, (inputs, step), sums),
            }
            pack += n;
        }
    }

    /// Units side by side: adds what inputs that have become known add to the sums of a tile.
    #[inline(always)]
    fn push<L: Lanes>(&mut self, l: L, index: usize, dense: &Dense, (part, known): (&Part, Range<usize>)) {
        let (sums, packs, source) = (self.places[index], part.packs(), self.net.nodes[dense.from].at);
        for sample in 0..self.len {
            let inputs = &flat(self.units)[sample * self.sample_step + source..];
            let sums = &mut self.sums[sums.near + sample * sums.near_step..][..packs];
            for input in known.clone() {
                let value = l.splat(inputs[input]);
                for (sum, weights) in sums.iter_mut().zip(dense.row(part, input)) {
                    l.store(sum, l.fma(value, l.load(weights), l.load(sum)));
                }
            }
        }
    }

    /// Moves sums that are complete to their units.
    #[inline(always)]
    fn take_sums(&mut self, index: usize, part: &Part, units: &Range<usize>) {
        let Sums { near, near_step, .. } = self.places[index];
        for unit in units.clone() {
            let (from, to) = (near * LANES + unit - part.units.start, self.unit(index, unit) * self.unit_step);
            for sample in 0..self.len {
                let sum = flat(self.sums)[from + sample * near_step * LANES];
                flat_mut(self.units)[to + sample * self.sample_step] = sum;
            }
        }
    }

    /// Notices units that are not finite: `n` of all nodes' from `first` on.
    #[inline(always)]
    fn watch<L: Lanes>(&mut self, l: L, first: usize, n: usize) {
        match self.in_lanes {
            InLanes::Samples => {
                let step = self.unit_step / LANES;
                for unit in first..first + n {
                    for (poison, unit) in self.poison.iter_mut().zip(&self.units[unit * step..]) {
                        l.store(poison, l.fma(l.load(unit), l.splat(0.0), l.load(poison)));
                    }
                }
            }
            InLanes::Units => {
                for sample in 0..self.len {
                    for unit in &flat(self.units)[sample * self.sample_step + first..][..n] {
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
                let (step, packs) = (self.unit_step / LANES, self.len.div_ceil(LANES));
                for unit in units.clone() {
                    let [a, b, to] = [a[unit] as usize, b[unit] as usize, at + unit].map(|unit| unit * step);
                    for pack in 0..packs {
                        let (x, y) = (l.load(&self.units[a + pack]), l.load(&self.units[b + pack]));
                        l.store(&mut self.units[to + pack], function.apply(l, x, y));
                    }
                }
            }
            InLanes::Units => {
                for sample in 0..self.len {
                    let all = &mut flat_mut(self.units)[sample * self.sample_step..];
                    for first in units.clone().step_by(LANES) {
                        let of_pack = first..units.end.min(first + LANES);
                        // A vector that is read just after a part of it was written waits; most steps have one unit.
                        let (x, y) = if of_pack.len() == 1 {
                            (l.splat(all[a[first] as usize]), l.splat(all[b[first] as usize]))
                        } else {
                            let [mut x, mut y] = [Pack::ZERO; 2];
                            for (lane, unit) in of_pack.clone().enumerate() {
                                (x.0[lane], y.0[lane]) = (all[a[unit] as usize], all[b[unit] as usize]);
                            }
                            (l.load(&x), l.load(&y))
                        };
                        let mut out = Pack::ZERO;
                        l.store(&mut out, function.apply(l, x, y));
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
            let size = sizes[unit];
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
                let (step, packs) = (self.unit_step / LANES, self.len.div_ceil(LANES));
                let (before, own) = self.units.split_at_mut(to * step);
                let members = sources.iter().map(|source| &before[source[unit] as usize * step..][..packs]);
                average_bits(l, &members.collect::<Vec<_>>(), &mut own[..packs]);
            }
            InLanes::Units => {
                for sample in 0..self.len {
                    let all = &mut flat_mut(self.units)[sample * self.sample_step..];
                    let members: Vec<_> =
                        sources.iter().map(|source| [Pack([all[source[unit] as usize]; LANES])]).collect();
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
        for sample in 0..self.len {
            let all = &mut flat_mut(self.units)[sample * self.sample_step..];
            let logits_of = sources.iter().flat_map(|source| &source[units.clone()]);
            logits.iter_mut().zip(logits_of).for_each(|(to, &unit)| *to = all[unit as usize * step]);
            let members: Vec<_> = logits.chunks_exact(size).map(|logits| Member::new(l, logits)).collect();
            average_classes(l, &members, out);
            all[to * step..].iter_mut().step_by(step).zip(&*out).for_each(|(to, &logit)| *to = logit);
        }
    }
}

/// sums += Σ_k weight k of the row · input k, `P` packs of each input, which are some packs apart.
#[inline(always)]
fn add_products<L: Lanes, const P: usize>(
    l: L,
    weights: &[Pack],
    row: usize,
    (inputs, step): (&[Pack], usize),
    sums: &mut [Pack],
) {
    // Shapes that are never asked for are not compiled.
    let Ok(sums) = <&mut [Pack; P]>::try_from(sums) else { return };
    let mut sum = load_packs(l, sums);
    for (weights, inputs) in weights.iter().zip(inputs.chunks(step)) {
        let weight = l.splat(weights.0[row]);
        for (sum, input) in sum.iter_mut().zip(&inputs[..P]) {
            *sum = l.fma(weight, l.load(input), *sum);
        }
    }
    store_packs(l, sums, sum);
}
