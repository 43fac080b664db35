//! A network as data, checked: what the graph of a file means once its shapes are known and causality is proved.
//!
//! An event is a set of *sites* with the same channels: a vector of D dimensions is one site of D channels, an image (C, H, W) has
//! H · W sites of C channels. Steps go over the sites in raster order and, within a site, over its channels in the order of the space.
//!
//! Every channel of every node has a *degree*: the last step within its own site whose value it may depend on, −1 for none
//! (m(k) − 1 in Germain et al., *MADE*, ICML 2015; the groups of channels of van den Oord et al., *Pixel recurrent neural
//! networks*, ICML 2016). What it may see of other sites is proved by [`super::lag`].

use std::borrow::Cow;

use super::lag::Lag;
use crate::layers::{combine::Pair, pointwise::Pointwise};

/// Nodes in an order in which each stands after those that it reads.
pub struct Graph<'a> {
    /// The nodes; the first one is the input.
    pub nodes: Vec<Node<'a>>,
    /// The node whose channels are the head's parameters: channel d · P + p is parameter p of dimension d of the site.
    pub output: usize,
    /// The node that `features` shows, if any.
    pub features: Option<usize>,
}

/// A layer, and its channels.
pub struct Node<'a> {
    /// Its name in the file.
    pub name: String,
    /// How it is computed.
    pub op: Op<'a>,
    /// The degree of each channel.
    pub degrees: Vec<i32>,
    /// The largest bound of its channels.
    pub lag: Lag,
}

/// What a node computes.
pub enum Op<'a> {
    /// The event's values as numbers, scale · x + shift: channel d is dimension d of the site.
    Values {
        /// Factor.
        scale: f32,
        /// What a zero becomes.
        shift: f32,
    },
    /// The event's values one-hot: channel d · K + k is 1 where dimension d of the site is k, else 0.
    OneHot,
    /// bias + Σ over offsets and channels of weight · input; a dense layer has the one offset (0, 0). A connection at the offset
    /// (0, 0) acts only if the input's degree is at most the output's.
    Taps {
        /// What is read.
        from: usize,
        /// Rows and columns from the output's site to the input's.
        offsets: Vec<[i32; 2]>,
        /// (outputs, inputs, offsets), row-major.
        weight: Cow<'a, [f32]>,
        /// (outputs)
        bias: Cow<'a, [f32]>,
    },
    /// f(x), channel by channel.
    Pointwise {
        /// What is read.
        from: usize,
        /// f
        function: Pointwise,
    },
    /// f(a, b), channel by channel.
    Pair {
        /// a and b
        from: [usize; 2],
        /// f
        function: Pair,
    },
    /// The channels of one after those of the other.
    Concat {
        /// What is read.
        from: Vec<usize>,
    },
    /// Parameters of the mean of the distributions that several nodes hold the parameters of.
    Average {
        /// What is read.
        from: Vec<usize>,
    },
}

impl Op<'_> {
    /// The nodes that it reads.
    pub fn sources(&self) -> Vec<usize> {
        match self {
            Op::Values { .. } | Op::OneHot => Vec::new(),
            Op::Taps { from, .. } | Op::Pointwise { from, .. } => vec![*from],
            Op::Pair { from, .. } => from.to_vec(),
            Op::Concat { from } | Op::Average { from } => from.clone(),
        }
    }
}
