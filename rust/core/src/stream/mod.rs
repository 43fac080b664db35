//! A graph of streaming layers: a convolutional network that gives its value at one pixel from cached neighbours.
//!
//! Pixels come in raster order and, within a pixel, one group a channel of the image. Every layer computes each of
//! its outputs once and keeps what later pixels look back at, so a whole sample costs one forward pass
//! (Ramachandran et al., *Fast generation for convolutional autoregressive models*, 2017).

mod conv;
mod maps;

use conv::ConvGroup;
pub use conv::{Kernel2d, Mask};
use maps::{Channels, Reach};

use crate::kernels::{
    LANES, Lanes, Pack, flat, flat_mut,
    matmul::{Finish, Product, Term, matmul},
};

/// A node of the graph, by its place.
#[derive(Clone, Copy, Debug)]
pub struct NodeId(usize);

enum Layer {
    /// Written by the caller.
    Input,
    Conv {
        from: NodeId,
        groups: Vec<ConvGroup>,
        then: Then,
    },
    Relu {
        from: NodeId,
    },
}

/// What follows a convolution, at no cost of its own.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Nothing.
    Keep,
    /// max(·, 0)
    Relu,
    /// The sum with a node of equal channels.
    Add(NodeId),
}

struct Node {
    layer: Layer,
    channels: Channels,
    reach: Reach,
}

/// A network over images `width` wide with `n_groups` channels. Nodes stand after those that they read.
pub struct Graph {
    width: usize,
    n_groups: usize,
    nodes: Vec<Node>,
}

/// The activations of a block of samples on their way through a graph.
pub struct Activations<'a> {
    /// Every node's pixels: sample by sample at each pixel.
    packs: &'a mut [Pack],
    /// Where each node begins.
    begin: Vec<usize>,
    samples: usize,
    terms: Vec<Term>,
}

impl Graph {
    /// An image of `n_groups` channels, and its node.
    pub fn new(width: usize, n_groups: usize) -> (Self, NodeId) {
        let input =
            Node { layer: Layer::Input, channels: Channels::new(n_groups, n_groups, false), reach: Reach::default() };
        (Self { width, n_groups, nodes: vec![input] }, NodeId(0))
    }

    fn push(&mut self, layer: Layer, channels: Channels) -> NodeId {
        self.nodes.push(Node { layer, channels, reach: Reach::default() });
        NodeId(self.nodes.len() - 1)
    }

    /// A masked convolution, and what follows it.
    pub fn conv(&mut self, from: NodeId, kernel: Kernel2d<'_>, mask: Mask, then: Then) -> NodeId {
        let channels = Channels::new(kernel.bias.len(), self.n_groups, true);
        let source = &mut self.nodes[from.0];
        let groups = conv::masked(kernel, mask, &source.channels, &channels);
        for group in &groups {
            source.reach.rows = source.reach.rows.max(group.rows_up());
            source.reach.neighbours |= group.sees_neighbours();
        }
        self.push(Layer::Conv { from, groups, then }, channels)
    }

    /// max(·, 0)
    pub fn relu(&mut self, from: NodeId) -> NodeId {
        self.push(Layer::Relu { from }, self.nodes[from.0].channels.clone())
    }

    /// Parameters that have an effect: masked weights do not.
    pub fn n_params(&self) -> usize {
        let convs = self.nodes.iter().filter_map(|node| match &node.layer {
            Layer::Conv { groups, .. } => Some(groups.iter().zip(&node.channels.groups)),
            _ => None,
        });
        convs.flatten().map(|(conv, group)| conv.n_params(group.len)).sum()
    }

    fn node_packs(&self, node: &Node, samples: usize) -> usize {
        (node.reach.pixels(self.width) * samples * node.channels.stride).div_ceil(LANES)
    }

    /// Packs that one sample's activations take.
    pub fn packs_per_sample(&self) -> usize {
        self.nodes.iter().map(|node| self.node_packs(node, 1)).sum()
    }

    /// Room for the activations of so many samples, in memory that is grown to fit.
    pub fn activations<'a>(&self, samples: usize, memory: &'a mut Vec<Pack>) -> Activations<'a> {
        let mut end = 0;
        let begin = self.nodes.iter().map(|node| {
            let begin = end;
            end += self.node_packs(node, samples);
            begin
        });
        let begin = begin.collect();
        memory.resize(end, Pack::ZERO);
        Activations { packs: memory, begin, samples, terms: Vec::new() }
    }

    /// Where a node's floats for (pixel, sample) begin, within the node.
    #[inline(always)]
    fn offset(&self, node: NodeId, samples: usize, (y, x): (usize, usize)) -> usize {
        let node = &self.nodes[node.0];
        node.reach.slot(self.width, y, x) * samples * node.channels.stride
    }

    /// One group of a node's channels for one sample at a pixel.
    pub fn read<'s>(
        &self,
        state: &'s Activations<'_>,
        node: NodeId,
        sample: usize,
        pixel: (usize, usize),
        group: usize,
    ) -> &'s [f32] {
        let channels = &self.nodes[node.0].channels;
        let at = self.offset(node, state.samples, pixel) + sample * channels.stride + channels.groups[group].at;
        &flat(&state.packs[state.begin[node.0]..])[at..][..channels.groups[group].len]
    }

    /// Writes one channel of the image.
    pub fn write_input(
        &self,
        state: &mut Activations<'_>,
        sample: usize,
        pixel: (usize, usize),
        group: usize,
        value: f32,
    ) {
        let at = self.offset(NodeId(0), state.samples, pixel) + sample * self.n_groups + group;
        flat_mut(state.packs)[at] = value;
    }

    /// Computes one group of every node at a pixel.
    #[inline(always)]
    pub fn step<L: Lanes>(&self, l: L, state: &mut Activations<'_>, pixel: (usize, usize), group: usize) {
        let samples = state.samples;
        for (index, node) in self.nodes.iter().enumerate() {
            let (before, own) = state.packs.split_at_mut(state.begin[index]);
            let place = node.channels.groups[group];
            let stride = node.channels.stride / LANES;
            let own_at = (self.offset(NodeId(index), samples, pixel) + place.at) / LANES;
            // The packs of an elementwise operand for sample 0.
            let operand =
                |from: NodeId| &before[state.begin[from.0] + (self.offset(from, samples, pixel) + place.at) / LANES..];
            match &node.layer {
                Layer::Input => {}
                Layer::Conv { from, groups, then } => {
                    let source = &self.nodes[from.0];
                    let conv = &groups[group];
                    let locate = |y, x| self.offset(*from, samples, (y, x));
                    conv.terms(pixel, self.width, locate, &mut state.terms);
                    let product = Product {
                        terms: &state.terms,
                        input: flat(&before[state.begin[from.0]..]),
                        input_stride: source.channels.stride,
                        weight: &conv.weight,
                        bias: &conv.bias,
                        rows: samples,
                        finish: match then {
                            Then::Keep => Finish::Keep,
                            Then::Relu => Finish::Relu,
                            Then::Add(other) => Finish::Add(operand(*other)),
                        },
                    };
                    matmul(l, &product, &mut own[own_at..], stride);
                }
                Layer::Relu { from } => {
                    let from = operand(*from);
                    for at in (0..samples).flat_map(|sample| sample * stride..sample * stride + place.packs()) {
                        // In this order a NaN stays one, as in `Finish::Relu`.
                        l.store(&mut own[own_at + at], l.max(l.splat(0.0), l.load(&from[at])));
                    }
                }
            }
        }
    }
}
