//! The activations of a block of samples on their way through a graph.

use std::{iter, ops::Range};

use super::{
    Graph, InLanes, Layer, NodeId, Plan, Then,
    conv::Terms,
    maps::{Group, Map},
};
use crate::{
    error::{Error, resize},
    kernels::{
        Isa, Kernel, LANES, Lanes, Pack, flat, flat_mut,
        matmul::{Finish, Product, Relu, Scalars, Start, Vectors, matmul},
    },
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
    graph: &'a Graph,
    state: &'a mut Activations<'b>,
    pixels: &'a Pixels,
}

impl Kernel for Step<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        self.graph.step_on(l, self.state, self.pixels);
    }
}

/// A group of channels, at some pixels of all samples.
pub struct View<'s> {
    floats: &'s [f32],
    map: &'s Map,
    group: &'s Group,
}

impl View<'_> {
    /// The group's first channel among all of the node.
    pub fn first_channel(&self) -> usize {
        self.group.first
    }

    /// The channels of one sample, at the pixel number `x`.
    #[inline]
    pub fn channels(&self, sample: usize, x: usize) -> impl Iterator<Item = f32> {
        let at = sample * self.map.sample + x * self.map.pixel;
        (0..self.group.len).map(move |channel| self.floats[at + channel * self.map.channel])
    }
}

impl Graph {
    /// Room for the activations of a block, in memory that is grown to fit.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn activations<'a>(&self, plan: Plan, memory: &'a mut Vec<Pack>) -> Result<Activations<'a>, Error> {
        let mut end = 0;
        let maps = self.nodes.iter().map(|node| {
            let map = Map::new(&node.channels, node.reach, self.width, plan, end);
            end = map.end;
            map
        });
        let maps = maps.collect();
        let terms = iter::repeat_with(Terms::default).take(self.nodes.len() * self.n_groups).collect();
        // All zeros: that is the padding.
        memory.clear();
        resize(memory, end / LANES, Pack::ZERO)?;
        Ok(Activations { packs: memory, maps, plan, terms })
    }

    /// Writes one channel of the image.
    pub fn write_input(
        &self,
        state: &mut Activations<'_>,
        sample: usize,
        (y, x): (usize, usize),
        group: usize,
        value: f32,
    ) {
        let map = &state.maps[0];
        let at = map.at(&self.nodes[0].channels.groups[group], y, x.cast_signed()) + sample * map.sample;
        flat_mut(state.packs)[at] = value;
    }

    /// One group of a node's channels, at the pixels just computed.
    pub fn read<'s>(&'s self, state: &'s Activations<'_>, node: NodeId, pixels: &Pixels, group: usize) -> View<'s> {
        let (map, group) = (&state.maps[node.0], &self.nodes[node.0].channels.groups[group]);
        let first = map.at(group, pixels.y, pixels.x.start.cast_signed());
        View { floats: &flat(state.packs)[first..], map, group }
    }

    /// Computes some pixels in every node.
    pub fn step(&self, isa: Isa, state: &mut Activations<'_>, pixels: &Pixels) {
        isa.run(Step { graph: self, state, pixels });
    }

    #[inline(always)]
    fn step_on<L: Lanes>(&self, l: L, state: &mut Activations<'_>, pixels: &Pixels) {
        let Pixels { y, x, groups } = pixels;
        let Plan { in_lanes, samples, .. } = state.plan;
        // Node by node, since a pixel sees all groups of the pixel on its left.
        let each = (0..self.nodes.len()).flat_map(|index| groups.clone().map(move |group| (index, group)));
        for (index, group) in each {
            let (node, map) = (&self.nodes[index], &state.maps[index]);
            let place = &node.channels.groups[group];
            let (before, own) = state.packs.split_at_mut(map.begin / LANES);
            // Rows of packs: channels of a sample, or sites of a channel.
            let (rows, packs) = match in_lanes {
                InLanes::Channels => (samples, place.packs()),
                InLanes::Sites => (place.len, (x.len() * samples).div_ceil(LANES)),
            };
            let row_step = |map: &Map| match in_lanes {
                InLanes::Channels => map.sample / LANES,
                InLanes::Sites => map.channel / LANES,
            };
            let first_row = |map: &Map| map.at(place, *y, x.start.cast_signed());
            let own = &mut own[(first_row(map) - map.begin) / LANES..];
            let operand = |from: &NodeId| {
                let map = &state.maps[from.0];
                (&before[first_row(map) / LANES..], row_step(map))
            };
            match &node.layer {
                Layer::Input => continue,
                Layer::Conv { from, of_relu, groups, then } => {
                    let (conv, source) = (&groups[group], &state.maps[from.0]);
                    let kept = &mut state.terms[index * self.n_groups + group];
                    let (terms, further) = conv.terms((*y, x), self.width, source, kept);
                    let (inputs, weights) = (&flat(before)[further..], flat(&conv.weight));
                    let weight_step = place.packs() * LANES;
                    let (scalars, vectors, start, relu) = match in_lanes {
                        InLanes::Channels => (
                            Scalars { floats: inputs, row_step: source.sample, k_step: source.channel },
                            Vectors { floats: weights, k_step: weight_step },
                            Start::Packs(&conv.bias),
                            Relu::Scalars,
                        ),
                        InLanes::Sites => (
                            Scalars { floats: weights, row_step: 1, k_step: weight_step },
                            Vectors { floats: inputs, k_step: source.channel },
                            Start::Rows(flat(&conv.bias)),
                            Relu::Vectors,
                        ),
                    };
                    let finish = match then {
                        Then::Keep => Finish::Keep,
                        Then::Relu => Finish::Relu,
                        Then::Add(other) => {
                            let (packs, step) = operand(other);
                            Finish::Add(packs, step)
                        }
                    };
                    let relu = if *of_relu { relu } else { Relu::None };
                    let product = Product { terms, scalars, vectors, relu, start, finish, rows, packs };
                    matmul(l, &product, own, row_step(map));
                }
            }
            if map.padded {
                // The last vector of a row reaches into the padding.
                for row in 0..rows {
                    let sites = &mut flat_mut(own)[row * map.channel..][..packs * LANES];
                    sites[x.len() * samples..].fill(0.0);
                }
            }
        }
    }
}
