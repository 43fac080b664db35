//! Layers of networks, one a file.
pub mod gate;
pub mod pointwise;
pub mod taps;
