//! `ancestral._core.NadeStep`: NADE's likelihood and its gradient, for one step of training.

use std::num::NonZero;

use ancestral_core::{
    block::Outputs,
    driver::{Driver, Score},
    engine::Batch,
    model::Model,
    models::nade::{
        Nade,
        gradient::{Gradient, Scored, gradient},
    },
};
use numpy::{PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    arrays::{slice, slice_mut, writable},
    door::{interruptible, raise, walk},
};

/// The weights of one step.
#[pyclass(frozen, module = "ancestral._core")]
pub struct NadeStep {
    nade: Nade,
}

#[pymethods]
impl NadeStep {
    /// From W's transpose (`n_dims`, `n_hidden`), c (`n_hidden`), V (`n_dims`, `n_hidden`) and b (`n_dims`).
    #[new]
    fn new(
        py: Python<'_>,
        w: PyReadonlyArrayDyn<'_, f32>,
        c: PyReadonlyArrayDyn<'_, f32>,
        v: PyReadonlyArrayDyn<'_, f32>,
        b: PyReadonlyArrayDyn<'_, f32>,
    ) -> PyResult<Self> {
        let size = b.len().checked_mul(c.len()).filter(|size| *size > 0);
        let wanted = size.ok_or_else(|| PyValueError::new_err("c or b is empty"))?;
        let weights =
            [slice("w", &w, wanted)?, slice("c", &c, c.len())?, slice("v", &v, wanted)?, slice("b", &b, b.len())?];
        Ok(Self { nade: py.detach(|| Nade::in_training(weights)).map_err(raise)? })
    }

    /// Hidden units.
    #[getter]
    fn n_hidden(&self) -> usize {
        self.nade.n_hidden()
    }

    /// Fills `log_prob` (n) and `probs` (n, `n_dims`) for the rows of `x`.
    fn score(
        &self,
        py: Python<'_>,
        x: PyReadonlyArrayDyn<'_, u8>,
        log_prob: &Bound<'_, PyArrayDyn<f64>>,
        probs: &Bound<'_, PyArrayDyn<f32>>,
        threads: usize,
    ) -> PyResult<()> {
        let n_dims = self.nade.event().n_dims();
        let n = log_prob.len();
        let x = slice("x", &x, n * n_dims)?;
        let (mut log_prob, mut probs) = (writable("log_prob", log_prob)?, writable("probs", probs)?);
        let outputs = Outputs {
            log_prob: Some(slice_mut("log_prob", &mut log_prob, n)?),
            conditionals: Some(slice_mut("probs", &mut probs, n * n_dims)?),
            ..Outputs::default()
        };
        let score = py.detach(|| Score::new(self.nade.event(), x)).map_err(raise)?;
        walk(
            py,
            &self.nade,
            Batch { n, driver: Driver::Score(&score), n_steps: None, block_len: None, outputs, threads },
            None,
        )
    }

    /// Fills the gradient of Σ scale · log p for rows `x` whose `probs` are those of `score`.
    #[expect(clippy::too_many_arguments, reason = "three of the samples, four of the weights")]
    fn gradient(
        &self,
        py: Python<'_>,
        x: PyReadonlyArrayDyn<'_, u8>,
        probs: PyReadonlyArrayDyn<'_, f32>,
        scale: PyReadonlyArrayDyn<'_, f32>,
        w: &Bound<'_, PyArrayDyn<f32>>,
        c: &Bound<'_, PyArrayDyn<f32>>,
        v: &Bound<'_, PyArrayDyn<f32>>,
        b: &Bound<'_, PyArrayDyn<f32>>,
        threads: usize,
    ) -> PyResult<()> {
        let (n_dims, n_hidden, n) = (self.nade.event().n_dims(), self.nade.n_hidden(), scale.len());
        let scored = Scored {
            x: slice("x", &x, n * n_dims)?,
            probs: slice("probs", &probs, n * n_dims)?,
            scale: slice("scale", &scale, n)?,
        };
        let (mut w, mut c) = (writable("w", w)?, writable("c", c)?);
        let (mut v, mut b) = (writable("v", v)?, writable("b", b)?);
        let out = Gradient {
            w: slice_mut("w", &mut w, n_dims * n_hidden)?,
            c: slice_mut("c", &mut c, n_hidden)?,
            v: slice_mut("v", &mut v, n_dims * n_hidden)?,
            b: slice_mut("b", &mut b, n_dims)?,
        };
        let threads = NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN);
        interruptible(py, None, |go_on| gradient(&self.nade, scored, out, threads, &mut || go_on(0)))
    }
}
