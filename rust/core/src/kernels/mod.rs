//! Arithmetic on sixteen lanes, and all of the crate's unsafe code.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod float_mode;
mod isa;
mod lanes;
pub mod math;
pub mod matmul;
mod portable;
mod reduce;
#[cfg(test)]
mod tests;

pub use float_mode::in_default_mode;
pub use isa::{Isa, Kernel};
pub use lanes::{LANES, Lanes, Pack, flat, flat_mut, load_packs, prefetch, store_packs, to_pack, to_packs};
pub use reduce::{largest, largest_and_finite, row_sums};
