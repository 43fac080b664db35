//! The activations of a block of samples on their way through a network over images.

use std::{iter, ops::Range};

use super::{
    InLanes, Input, Layer, NodeId, Phase, Plan, Raster, Then,
    elementwise::{Combine, Rows},
    maps::{Group, Map},
};
use crate::{
    error::{Error, resize},
    kernels::{
        Isa, Kernel, LANES, Lanes, Pack, flat, flat_mut,
        matmul::{Finish, Product, Relu, Scalars, Start, Vectors, matmul},
    },
    layers::taps::Terms,
};

/// What is computed at once.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// The row.
    pub y: usize,
    /// The columns: from a multiple of the plan's span, as many as that unless the row ends.
    pub x: Range<usize>,
    /// The groups of channels: one at each pixel, or all where the image is known.
    pub groups: Range<usize>,
}

/// The activations of a block of samples.
pub struct Activations<'a> {
    packs: &'a mut [Pack],
    /// Where they are, node by node.
    maps: Vec<Map>,
    plan: Plan,
    /// For each node and group.
    terms: Vec<Terms>,
}

struct Step<'a, 'b> {
    isa: Isa,
    raster: &'a Raster,
    state: &'a mut Activations<'b>,
    phase: Phase,
    pixels: &'a Pixels,
}

impl Kernel for Step<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        self.raster.step_on(l, self.isa, self.state, self.phase, self.pixels);
    }
}

/// A group of channels, at some pixels of all samples.
pub struct View<'s> {
    floats: &'s [f32],
    map: &'s Map,
    group: &'s Group,
    /// The numbers of its channels.
    pub numbers: &'s [u32],
}

impl View<'_> {
    /// The channels of one sample, at the pixel number `x`.
    #[inline]
    pub fn channels(&self, sample: usize, x: usize) -> impl Iterator<Item = f32> {
        let at = sample * self.map.sample + x * self.map.pixel;
        (0..self.group.len).map(move |channel| self.floats[at + channel * self.map.channel])
    }
}

impl Raster {
    /// Room for the activations of a block, in memory that is grown to fit.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn activations<'a>(&self, plan: Plan, memory: &'a mut Vec<Pack>) -> Result<Activations<'a>, Error> {
        let mut end = 0;
        let mut maps: Vec<Map> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let span = if node.in_rows { plan.row_span } else { plan.span };
            let map = Map::new(&node.channels, node.reach, self.sites.width, &plan, span, end);
            if node.inside.is_none() {
                end = map.end;
            }
            maps.push(map);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(host) = node.inside {
                maps[index] = maps[host];
            }
        }
        let terms = iter::repeat_with(Terms::default).take(self.nodes.len() * self.n_groups).collect();
        // All zeros: that is the padding.
        memory.clear();
        resize(memory, end / LANES, Pack::ZERO)?;
        Ok(Activations { packs: memory, maps, plan, terms })
    }

    /// Shows the network the values of all samples in a channel of the image, at the pixel number `x`.
    pub fn write_input(
        &self,
        state: &mut Activations<'_>,
        pixels: &Pixels,
        (x, channel): (usize, usize),
        values: impl Iterator<Item = u32>,
    ) {
        let (map, node) = (&state.maps[0], &self.nodes[0]);
        let Layer::Input(input) = &node.layer else { unreachable!("the first node is the input") };
        let first = map.here(&node.channels.groups[channel], pixels.x.start) + x * map.pixel;
        let sites = flat_mut(state.packs)[first..].chunks_mut(map.sample);
        match input {
            Input::Values(numbers) => sites.zip(values).for_each(|(site, value)| site[0] = numbers[value as usize]),
            Input::OneHot(n_classes) => {
                let (sample, channel) = (map.sample, map.channel);
                let floats = &mut flat_mut(state.packs)[first..];
                for (at, value) in values.enumerate() {
                    for k in 0..*n_classes {
                        floats[at * sample + k * channel] = f32::from(u8::from(k == value as usize));
                    }
                }
            }
        }
    }

    /// The channels of a node that belong to one of the image's, at the pixels just computed: those of one degree.
    pub fn read<'s>(&'s self, state: &'s Activations<'_>, node: NodeId, pixels: &Pixels, group: usize) -> View<'s> {
        let (map, channels) = (&state.maps[node], &self.nodes[node].channels);
        let group = &channels.groups[group];
        // A group without channels may stand at the end of all memory.
        let floats = if group.len == 0 { &[] } else { &flat(state.packs)[map.here(group, pixels.x.start)..] };
        View { floats, map, group, numbers: channels.of(group) }
    }

    /// Begins a row: to be called before anything of it is computed or written.
    pub fn begin_row(&self, isa: Isa, state: &mut Activations<'_>, y: usize) {
        state.maps.iter_mut().for_each(|map| map.begin_row(y));
        self.step_row(isa, state, Phase::RowStart, y);
    }

    /// Ends a row, once all pixels of it are computed and written.
    pub fn end_row(&self, isa: Isa, state: &mut Activations<'_>, y: usize) {
        self.step_row(isa, state, Phase::RowEnd, y);
    }

    /// Computes some pixels in every node that is computed pixel by pixel.
    pub fn step(&self, isa: Isa, state: &mut Activations<'_>, pixels: &Pixels) {
        isa.run(Step { isa, raster: self, state, phase: Phase::Pixel, pixels });
    }

    /// Computes a row in every node that is computed a row at a time, before or after its pixels.
    fn step_row(&self, isa: Isa, state: &mut Activations<'_>, phase: Phase, y: usize) {
        if self.nodes.iter().all(|node| node.phase != phase) {
            return;
        }
        let pixels = Pixels { y, x: 0..self.sites.width, groups: 0..self.n_groups };
        isa.run(Step { isa, raster: self, state, phase, pixels: &pixels });
    }

    #[inline(always)]
    fn step_on<L: Lanes>(&self, l: L, isa: Isa, state: &mut Activations<'_>, phase: Phase, pixels: &Pixels) {
        // Node by node, since a pixel sees all groups of the pixel on its left, and a row all of the row.
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.phase == phase) {
            let span = if node.in_rows { state.plan.row_span } else { state.plan.span };
            for group in pixels.groups.clone().filter(|&group| node.channels.groups[group].len > 0) {
                // `step_by` would divide, which takes as long as a small sum.
                let mut x = pixels.x.start;
                while x < pixels.x.end {
                    let end = pixels.x.end.min(x + span);
                    self.compute((l, isa), state, (index, group), (pixels.y, &(x..end)));
                    x = end;
                }
            }
        }
    }

    /// Computes a group of a node's channels at some pixels.
    #[inline(always)]
    fn compute<L: Lanes>(
        &self,
        (l, isa): (L, Isa),
        state: &mut Activations<'_>,
        (index, group): (NodeId, usize),
        (y, x): (usize, &Range<usize>),
    ) {
        let Activations { packs, maps, plan, terms } = state;
        let (node, map) = (&self.nodes[index], &maps[index]);
        let place = &node.channels.groups[group];
        let sites = x.len() * plan.samples;
        let (rows, width) = match plan.in_lanes {
            InLanes::Channels => (sites, place.packs()),
            InLanes::Sites => (place.len, sites.div_ceil(LANES)),
        };
        let first = map.here(place, x.start);
        let (before, own) = packs.split_at_mut(map.begin / LANES);
        let own = &mut own[(first - map.begin) / LANES..];
        let own_step = map.row_step() / LANES;
        match &node.layer {
            Layer::Input(_) => return,
            Layer::Concat { from } if from.is_empty() => return,
            Layer::Taps { from, of_relu, groups, then } => {
                let (taps, source) = (&groups[group], &maps[*from]);
                let (terms, further) =
                    taps.terms((y, x), self.sites.width, source, &mut terms[index * self.n_groups + group]);
                let inputs = &flat(before)[further..];
                let finish = match then {
                    Then::Keep => Finish::Keep,
                    Then::Relu => Finish::Relu,
                    Then::Add(other) => {
                        let map = &maps[*other];
                        let group = self.nodes[*other].channels.groups[group];
                        Finish::Add(&flat(before)[map.here(&group, x.start)..], map.row_step())
                    }
                };
                let (weights, weight_step) = (flat(&taps.weight), place.packs() * LANES);
                let (scalars, vectors, start, relu) = match plan.in_lanes {
                    InLanes::Channels => (
                        Scalars { floats: inputs, row_step: source.sample, k_step: source.channel },
                        Vectors { floats: weights, k_step: weight_step },
                        Start::Packs(&taps.bias),
                        Relu::Scalars,
                    ),
                    InLanes::Sites => (
                        Scalars { floats: weights, row_step: 1, k_step: weight_step },
                        Vectors { floats: inputs, k_step: source.channel },
                        Start::Rows(flat(&taps.bias)),
                        Relu::Vectors,
                    ),
                };
                let relu = if *of_relu { relu } else { Relu::None };
                let product = Product { terms, scalars, vectors, relu, start, finish, rows, packs: width };
                matmul(l, &product, own, own_step);
            }
            layer => {
                let rows = Rows { n: rows, packs: width, x: x.start, group, own, own_step };
                isa.run(Combine { raster: self, layer, maps, before: flat(before), rows });
            }
        }
        if map.padded && plan.in_lanes == InLanes::Sites {
            // The last vector of a row reaches into the padding.
            for row in 0..rows {
                let sites_of_row = &mut flat_mut(own)[row * map.channel..][..width * LANES];
                sites_of_row[sites..].fill(0.0);
            }
        }
    }
}
