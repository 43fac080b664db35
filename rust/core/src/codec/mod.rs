//! Lossless compression with a model: what does not depend on the model's walk.
//!
//! A model gives each value x_i the probability p(x_i | x_<i); an entropy coder writes it in −log₂ p(x_i | x_<i) bits,
//! and reads it back from the same probability. [`interval`] makes integers of the probabilities, [`coder`] makes bytes
//! of the integers, and [`container`] makes a file of the bytes.
//!
//! A decoder must find the encoder's probabilities bit for bit. They come from the package's own kernels, which give
//! the same bits on every machine, and nothing here uses any but exact operations of IEEE 754.

pub mod coder;
pub mod container;
pub mod interval;
