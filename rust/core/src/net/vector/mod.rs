//! The executor of a graph over one site: vectors, whose dimensions are visited one a step.
//!
//! A unit of degree m is computed once in a sample, when the value of step m is known, so that a draw costs one forward pass
//! (Germain, Gregor, Murray, Larochelle, *MADE*, ICML 2015, computes all units for each dimension). Units are sorted by degree.
//! [`dense`] says how sums are cut into products; what depends on the step alone is computed as the step is reached.
//!
//! A vector holds either 16 samples, or 16 units of one sample where there are few samples. Every sum is one chain of fused
//! multiply-adds, bias first, then inputs by degree, so the bits are the same.

mod bits;
mod build;
mod dense;
mod elementwise;
mod ones;
mod products;
mod rows;
mod steps;
mod tell;
#[cfg(test)]
mod tests;
mod tile;
mod units;
mod walk;

use self::{
    dense::Dense,
    elementwise::{Average, Elementwise},
    units::Units,
};
use super::{graph::Graph, sites::Sites};
use crate::error::Error;

/// A node that the output or the features need.
struct Node {
    units: Units,
    /// Its first unit among those of all nodes. Nodes that are computed in place have that of the node they read.
    at: usize,
    layer: Layer,
}

enum Layer {
    /// scale · x + shift
    Values {
        scale: f32,
        shift: f32,
    },
    OneHot,
    Dense(Dense),
    Elementwise(Elementwise),
    Average(Average),
}

/// A network over vectors.
pub struct Vector {
    /// Those that are needed, the input first.
    nodes: Vec<Node>,
    n_steps: usize,
    /// Units of all nodes that are stored.
    n_units: usize,
    /// The node of the parameters.
    output: usize,
    /// The output's units are stored for a stretch at a time: nobody but the block reads them.
    windowed: bool,
    /// The space is one of bits.
    bits: bool,
    /// Some dense layer reads which channels of the input are one, of bits or of one-hot classes.
    ones: bool,
    /// The input is stored as numbers too: some node reads these.
    stored: bool,
    /// For each step, where its parameters begin among `parameters`.
    begins: Vec<usize>,
    /// The output's units in the order of the parameters.
    parameters: Vec<u32>,
    /// For each channel of the features, its unit among those of all nodes, and the step before which it is computed.
    features: Option<Vec<(u32, u32)>>,
    cost: usize,
}

impl Vector {
    /// From a graph that has been checked, over one site.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new(graph: &Graph<'_>, sites: &Sites) -> Result<Self, Error> {
        build::vector(graph, sites)
    }

    /// Multiply-adds for one sample, about.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Numbers that `features` shows of a sample.
    pub fn n_features(&self) -> Option<usize> {
        self.features.as_ref().map(Vec::len)
    }
}
