//! A graph of streaming layers: a convolutional network that gives its value at a pixel from cached neighbours.
//!
//! Pixels come in raster order and, within a pixel, one group a channel of the image. Every layer computes each of
//! its outputs once and keeps what later pixels look back at, so a whole sample costs one forward pass
//! (Ramachandran et al., *Fast generation for convolutional autoregressive models*, 2017). Where the image is known
//! beforehand, a stretch of a row is computed at once.

mod activations;
mod conv;
mod maps;
#[cfg(test)]
mod tests;

pub use activations::{Activations, Pixels};
use conv::ConvGroup;
pub use conv::{Kernel2d, Mask};
use maps::{Channels, Map, Reach};
pub use maps::{InLanes, Plan};

use crate::kernels::LANES;

/// A node of the graph, by its place.
#[derive(Clone, Copy, Debug)]
pub struct NodeId(usize);

enum Layer {
    /// Written by the caller.
    Input,
    Conv {
        from: NodeId,
        /// Whether it sees max(·, 0) of its input.
        of_relu: bool,
        groups: Vec<ConvGroup>,
        then: Then,
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

impl Graph {
    /// An image of `n_groups` channels, and its node.
    pub fn new(width: usize, n_groups: usize) -> (Self, NodeId) {
        let input =
            Node { layer: Layer::Input, channels: Channels::new(n_groups, n_groups, false), reach: Reach::default() };
        (Self { width, n_groups, nodes: vec![input] }, NodeId(0))
    }

    /// A masked convolution, and what follows it.
    pub fn conv(&mut self, from: NodeId, kernel: Kernel2d<'_>, mask: Mask, then: Then) -> NodeId {
        self.push_conv((from, false), kernel, mask, then)
    }

    /// As `conv`, of max(·, 0) of the input.
    pub fn conv_of_relu(&mut self, from: NodeId, kernel: Kernel2d<'_>, mask: Mask, then: Then) -> NodeId {
        self.push_conv((from, true), kernel, mask, then)
    }

    fn push_conv(&mut self, (from, of_relu): (NodeId, bool), kernel: Kernel2d<'_>, mask: Mask, then: Then) -> NodeId {
        let channels = Channels::new(kernel.bias.len(), self.n_groups, true);
        let source = &mut self.nodes[from.0];
        let groups = conv::masked(kernel, mask, &source.channels, &channels);
        for group in &groups {
            source.reach.rows = source.reach.rows.max(group.rows_up());
            source.reach.columns = source.reach.columns.max(group.columns_aside());
        }
        self.nodes.push(Node { layer: Layer::Conv { from, of_relu, groups, then }, channels, reach: Reach::default() });
        NodeId(self.nodes.len() - 1)
    }

    /// Sum over the groups of all convolutions of f(inputs, outputs, packs of outputs).
    fn sum_over_groups(&self, f: impl Fn(usize, usize, usize) -> usize) -> usize {
        let convs = self.nodes.iter().filter_map(|node| match &node.layer {
            Layer::Conv { groups, .. } => Some(groups.iter().zip(&node.channels.groups)),
            Layer::Input => None,
        });
        convs.flatten().map(|(conv, group)| f(conv.depth(), group.len, group.packs())).sum()
    }

    /// Parameters that have an effect: masked weights do not.
    pub fn n_params(&self) -> usize {
        self.sum_over_groups(|inputs, outputs, _| (inputs + 1) * outputs)
    }

    /// Packs that the activations of one sample take, pixel by pixel, about.
    pub fn packs_per_sample(&self) -> usize {
        let plan = Plan { in_lanes: InLanes::Sites, samples: LANES, span: 1 };
        let map = |node: &Node| Map::new(&node.channels, node.reach, self.width, plan, 0);
        self.nodes.iter().map(|node| map(node).end / LANES).sum::<usize>() / LANES
    }

    /// The plan for so many samples, pixel by pixel, that has the fewest vectors to multiply.
    pub fn plan(&self, samples: usize) -> Plan {
        let vectors_of_sites = samples.div_ceil(LANES) * self.sum_over_groups(|inputs, outputs, _| inputs * outputs);
        let vectors_of_channels = samples * self.sum_over_groups(|inputs, _, packs| inputs * packs);
        let in_lanes = if vectors_of_sites <= vectors_of_channels { InLanes::Sites } else { InLanes::Channels };
        Plan { in_lanes, samples, span: 1 }
    }
}
