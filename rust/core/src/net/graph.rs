//! A network as data, checked: what a file's graph means once shapes are known and causality is proved.
//!
//! An event is a set of *sites* with the same channels: a vector of D dimensions is one site of D channels, an image (C, H, W) has
//! H · W sites of C channels, in raster order. Steps go over sites, and within a site over the channels in the order of the space.
//!
//! Every channel of every node has a *degree*: the last step within its own site whose value it may depend on, −1 for none
//! (the m(k) − 1 of Germain et al., *MADE*, ICML 2015; the groups of van den Oord et al., *Pixel recurrent neural networks*,
//! ICML 2016). What it may see of other sites is proved by [`super::lag`].

use crate::layers::pointwise::Pointwise;

/// Nodes in an order in which each stands after those it reads.
pub struct Graph {
    /// The nodes; the first one is the input.
    pub nodes: Vec<Node>,
    /// The node whose channels are the head's parameters: channel d · P + p is parameter p of the dimension (of the site) d.
    pub output: usize,
    /// The node that `features` shows, if any.
    pub features: Option<usize>,
}

/// A layer and its channels.
pub struct Node {
    /// Its name in the file.
    pub name: String,
    /// How it is computed.
    pub op: Op,
    /// The degree of each channel.
    pub degrees: Vec<i32>,
}

/// What a node computes.
pub enum Op {
    /// The event's values as numbers, scale · x + shift: channel d is dimension d (of the site).
    Values { scale: f32, shift: f32 },
    /// The event's values one-hot: channel d · K + k is 1 where dimension d (of the site) is k, else 0.
    OneHot,
    /// bias + Σ over offsets and channels of weight · input: a dense layer has the one offset (0, 0). A connection at the offset
    /// (0, 0) acts only if the input's degree is at most the output's.
    Taps {
        from: usize,
        /// Rows and columns from the output's site to the input's.
        offsets: Vec<[i32; 2]>,
        /// (outputs, inputs, offsets), row-major.
        weight: Vec<f32>,
        /// (outputs)
        bias: Vec<f32>,
    },
    /// f(x), channel by channel.
    Pointwise { from: usize, function: Pointwise },
    /// tanh(a) · σ(b)
    Gate { tanh: usize, sigmoid: usize },
    /// a + b
    Add { from: [usize; 2] },
    /// a · b
    Multiply { from: [usize; 2] },
    /// The channels of one after those of the other.
    Concat { from: Vec<usize> },
    /// Logits of the mean of the distributions that these logits stand for.
    Average { from: Vec<usize> },
}
