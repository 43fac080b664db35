//! Networks over images: a graph of layers that keeps what later pixels look back at.
//!
//! Pixels come in raster order and, within a pixel, one channel of the image after the other. Every layer computes each of its
//! outputs once, so a whole sample costs one forward pass (Ramachandran et al., *Fast generation for convolutional
//! autoregressive models*, 2017). Where the image is known beforehand, a stretch of a row is computed at once.
//!
//! When a node is computed follows from what it sees ([`Phase`]): one that sees only rows above is computed a row at a time, also
//! while pixels are drawn; the others pixel by pixel, each group of channels as soon as the image's channels that it sees are known.

mod activations;
mod build;
mod elementwise;
pub mod maps;
#[cfg(test)]
mod tests;
mod walk;

pub use activations::{Activations, Pixels};
use maps::{Channels, Map, Plan, Reach};

use self::maps::InLanes;
use crate::{
    kernels::LANES,
    layers::{combine::Pair, pointwise::Pointwise, taps::TapsGroup},
    net::sites::Sites,
};

/// Samples drawn side by side: three vectors of sites, a tile's width.
const BLOCK: usize = 48;
/// Packs that a block of samples may take beyond its least size.
const MEMORY: usize = 1 << 20;

/// When a node is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A row at a time, before the row's first pixel: it sees rows above only.
    RowStart,
    /// Pixel by pixel, and within a pixel group by group.
    Pixel,
    /// A row at a time, after the row's last pixel: only later rows look at it.
    RowEnd,
}

/// A node, by its place.
type NodeId = usize;

enum Layer {
    /// The image: for each value of a channel, what its channels of the node are; written by the walk.
    Input(Input),
    Taps {
        from: NodeId,
        /// Whether it sees max(·, 0) of its input.
        of_relu: bool,
        groups: Vec<TapsGroup>,
        then: Then,
    },
    Pointwise {
        from: NodeId,
        function: Pointwise,
    },
    Pair {
        from: [NodeId; 2],
        function: Pair,
    },
    /// Those of the nodes that are not written in its place from the beginning.
    Concat {
        from: Vec<NodeId>,
    },
}

/// How the network sees values.
enum Input {
    /// As one number: for each value, that number.
    Values(Vec<f32>),
    /// One-hot, in so many channels for each of the image's.
    OneHot(usize),
}

/// What follows a sum of taps, at no cost of its own.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Nothing.
    Keep,
    /// max(·, 0)
    Relu,
    /// The sum with a node of the same channels.
    Add(NodeId),
}

struct Node {
    layer: Layer,
    channels: Channels,
    reach: Reach,
    phase: Phase,
    /// Whether several pixels of it are computed or read at once while single ones are drawn.
    in_rows: bool,
    /// The concatenation in whose memory it stands.
    inside: Option<NodeId>,
}

/// A network over images.
pub struct Raster {
    sites: Sites,
    /// Groups of channels that are computed one after the other at a pixel: what may see none of its channels, the first one, ….
    n_groups: usize,
    /// Nodes stand after those that they read.
    nodes: Vec<Node>,
    output: NodeId,
    features: Option<NodeId>,
    /// Whether vectors must hold channels while pixels are drawn.
    only_channels: bool,
}

impl Raster {
    /// Sum over the groups of all taps of f(inputs, outputs, packs of outputs).
    fn sum_over_groups(&self, f: impl Fn(usize, usize, usize) -> usize) -> usize {
        let taps = self.nodes.iter().filter_map(|node| match &node.layer {
            Layer::Taps { groups, .. } => Some(groups.iter().zip(&node.channels.groups)),
            _ => None,
        });
        taps.flatten().map(|(taps, group)| f(taps.depth(), group.len, group.packs())).sum()
    }

    /// Multiply-adds of one sample.
    pub fn cost(&self) -> usize {
        let at_a_site = self.sum_over_groups(|inputs, outputs, _| (inputs + 1) * outputs);
        at_a_site.saturating_mul(self.sites.height * self.sites.width)
    }

    /// Packs that the activations of one sample take while it is drawn, about.
    fn packs_per_sample(&self) -> usize {
        let plan = Plan { in_lanes: InLanes::Sites, samples: LANES, span: 1, row_span: 1 };
        let map = |node: &Node| Map::new(&node.channels, node.reach, self.sites.width, &plan, 1, 0);
        let nodes = self.nodes.iter().filter(|node| node.inside.is_none());
        nodes.map(|node| map(node).end / LANES).sum::<usize>() / LANES
    }

    /// Samples drawn side by side, whose activations take little memory: vectors of sites are full.
    pub fn block_len(&self) -> usize {
        let n_dims = self.sites.n_dims() * self.sites.height * self.sites.width;
        let fit = (MEMORY / (self.packs_per_sample() + n_dims.div_ceil(LANES))).clamp(6, BLOCK);
        if fit < LANES { fit } else { fit / LANES * LANES }
    }

    /// The plan for so many samples, pixel by pixel, that has the fewest vectors to multiply.
    fn plan(&self, samples: usize) -> Plan {
        let vectors_of_sites = samples.div_ceil(LANES) * self.sum_over_groups(|inputs, outputs, _| inputs * outputs);
        let vectors_of_channels = samples * self.sum_over_groups(|inputs, _, packs| inputs * packs);
        let in_lanes = if vectors_of_sites <= vectors_of_channels && !self.only_channels {
            InLanes::Sites
        } else {
            InLanes::Channels
        };
        Plan { in_lanes, samples, span: 1, row_span: self.row_span() }
    }

    /// Pixels of a row that are computed at once where they are known.
    fn row_span(&self) -> usize {
        walk::SITES.min(self.sites.width)
    }

    /// The shape of one sample's features: channels, height and width.
    pub fn feature_shape(&self) -> Option<Vec<usize>> {
        self.features.map(|node| vec![self.nodes[node].channels.count(), self.sites.height, self.sites.width])
    }
}
