//! Layers.

pub mod pointwise;
