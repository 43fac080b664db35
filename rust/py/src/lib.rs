//! `ancestral._core`: what Python sees of the core.

mod arrays;
mod door;
mod model;
mod outputs;
mod training;
mod values;

use numpy::PyArray1;
use pyo3::prelude::*;

/// The Rust core of `ancestral`.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::door::FormatError;
    #[pymodule_export]
    use crate::model::Model;
    #[pymodule_export]
    use crate::training::{Tape, fvsbn_gradient, fvsbn_score, nade_gradient, nade_score};

    use super::*;

    /// Looks up what the first call would: a child that is forked while another thread does so would wait for it for ever.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::door::hears_signals(module.py())?;
        PyArray1::<f64>::zeros(module.py(), 0, false);
        Ok(())
    }

    /// The most threads a call may ask for.
    #[pymodule_export]
    const MAX_THREADS: usize = ancestral_core::engine::MAX_THREADS;

    /// Rows a block of a compressed file, unless asked for otherwise.
    #[pymodule_export]
    const BLOCK_LEN: u32 = ancestral_core::codec::BLOCK_LEN;
    /// The most rows that a block may have.
    #[pymodule_export]
    const MAX_BLOCK_LEN: u32 = ancestral_core::codec::container::MAX_BLOCK_LEN;

    /// The first `n` uniforms for choosing among weighted samples of a row: a function of seed and row, between 0 and 1.
    #[pyfunction]
    fn resampling_uniforms(py: Python<'_>, seed: u64, row: u64, n: usize) -> Bound<'_, PyArray1<f64>> {
        PyArray1::from_iter(py, (0..n).map(|at| ancestral_core::philox::resampling_uniform(seed, row, at)))
    }

    /// The instruction set in use: "portable", "avx2" or "avx512".
    #[pyfunction]
    fn isa() -> PyResult<&'static str> {
        ancestral_core::kernels::Isa::get().map(|isa| isa.name()).map_err(crate::door::raise)
    }
}
