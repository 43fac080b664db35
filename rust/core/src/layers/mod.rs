//! What networks are made of beside products of matrices, on sixteen lanes: the same bits on every instruction set.
//!
//! NaN in any operand gives NaN in the lanes that depend on it, so that who looks at a network's outputs sees every
//! overflow that came to ∞ − ∞.

pub mod combine;
pub mod gate;
pub mod pointwise;
#[cfg(test)]
mod tests;
