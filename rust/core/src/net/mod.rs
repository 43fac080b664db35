//! Networks as data: a graph of layers, and what computes it.

pub mod graph;
pub mod vector;
