//! Units that are functions of single units of other nodes, and the mean of distributions.

use crate::{
    kernels::Lanes,
    layers::{combine::Pair, pointwise::Pointwise},
};

/// A function of one or two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// x
    Copy,
    /// f(x)
    Pointwise(Pointwise),
    /// f(a, b)
    Pair(Pair),
}

impl Function {
    /// Whether it can leave the range of floats.
    pub fn can_overflow(self) -> bool {
        matches!(self, Function::Pair(Pair::Add | Pair::Multiply))
    }

    /// The function, lane by lane. Those of one number do not look at b.
    #[inline(always)]
    pub fn apply<L: Lanes>(self, l: L, a: L::F, b: L::F) -> L::F {
        match self {
            Function::Copy => a,
            Function::Pointwise(function) => function.apply(l, a),
            Function::Pair(function) => function.apply(l, a, b),
        }
    }
}

/// A node of such functions.
pub struct Elementwise {
    /// The function.
    pub function: Function,
    /// For each unit, the units that it reads, among those of all nodes: one or two.
    pub sources: [Vec<u32>; 2],
}

/// A node of logits of means.
pub struct Average {
    /// For each of the distributions, for each unit, the logit that it reads, among the units of all nodes.
    pub sources: Vec<Vec<u32>>,
    /// For each unit, how many units in a row describe its distribution: 1 for Bernoulli, else the classes.
    pub sizes: Vec<usize>,
}
