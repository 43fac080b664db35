//! `ancestral._core.FvsbnStep` and `NadeStep`: the likelihood and its gradient, for one step of training.

use std::num::NonZero;

use ancestral_core::{
    block::Outputs,
    driver::{Driver, Score},
    engine::Batch,
    model::Model,
    models::{Fvsbn, Nade, fvsbn, gradient::Scored, nade},
};
use numpy::{PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    arrays::{slice, slice_mut, writable},
    door::{interruptible, raise, walk},
};

/// An array that is read.
type Read<'py, T> = PyReadonlyArrayDyn<'py, T>;
/// An array that is filled.
type Write<'a, 'py, T> = &'a Bound<'py, PyArrayDyn<T>>;

/// Fills `log_prob` (n) and `probs` (n, `n_dims`) for the rows of `x`.
fn score(
    py: Python<'_>,
    model: &dyn Model,
    x: &Read<'_, u8>,
    log_prob: Write<'_, '_, f64>,
    probs: Write<'_, '_, f32>,
    threads: usize,
) -> PyResult<()> {
    let n_dims = model.event().n_dims();
    let n = log_prob.len();
    let x = slice("x", x, n * n_dims)?;
    let (mut log_prob, mut probs) = (writable("log_prob", log_prob)?, writable("probs", probs)?);
    let outputs = Outputs {
        log_prob: Some(slice_mut("log_prob", &mut log_prob, n)?),
        conditionals: Some(slice_mut("probs", &mut probs, n * n_dims)?),
        ..Outputs::default()
    };
    let score = py.detach(|| Score::new(model.event(), x)).map_err(raise)?;
    walk(py, model, Batch { n, driver: Driver::Score(&score), n_steps: None, block_len: None, outputs, threads }, None)
}

/// What the gradient is taken of: as many rows as `scale` has values.
fn scored<'a>(
    n_dims: usize,
    x: &'a Read<'_, u8>,
    probs: &'a Read<'_, f32>,
    scale: &'a Read<'_, f32>,
) -> PyResult<Scored<'a>> {
    let n = scale.len();
    Ok(Scored {
        x: slice("x", x, n * n_dims)?,
        probs: slice("probs", probs, n * n_dims)?,
        scale: slice("scale", scale, n)?,
    })
}

/// At least one.
fn at_least_one(threads: usize) -> NonZero<usize> {
    NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN)
}

/// The weights of one step of an FVSBN.
#[pyclass(frozen, module = "ancestral._core")]
pub struct FvsbnStep {
    fvsbn: Fvsbn,
}

#[pymethods]
impl FvsbnStep {
    /// From weight (`n_dims`, `n_dims`), of which the strict lower triangle counts, and bias (`n_dims`).
    #[new]
    fn new(py: Python<'_>, weight: Read<'_, f32>, bias: Read<'_, f32>) -> PyResult<Self> {
        let size = bias.len().checked_mul(bias.len()).filter(|size| *size > 0);
        let wanted = size.ok_or_else(|| PyValueError::new_err("bias is empty"))?;
        let weights = [slice("weight", &weight, wanted)?, slice("bias", &bias, bias.len())?];
        Ok(Self { fvsbn: py.detach(|| Fvsbn::in_training(weights)).map_err(raise)? })
    }

    /// Fills `log_prob` (n) and `probs` (n, `n_dims`) for the rows of `x`.
    fn score(
        &self,
        py: Python<'_>,
        x: Read<'_, u8>,
        log_prob: Write<'_, '_, f64>,
        probs: Write<'_, '_, f32>,
        threads: usize,
    ) -> PyResult<()> {
        score(py, &self.fvsbn, &x, log_prob, probs, threads)
    }

    /// Fills the gradient of Σ scale · log p for rows `x` whose `probs` are those of `score`.
    #[expect(clippy::too_many_arguments, reason = "three of the samples, two of the weights")]
    fn gradient(
        &self,
        py: Python<'_>,
        x: Read<'_, u8>,
        probs: Read<'_, f32>,
        scale: Read<'_, f32>,
        weight: Write<'_, '_, f32>,
        bias: Write<'_, '_, f32>,
        threads: usize,
    ) -> PyResult<()> {
        let n_dims = self.fvsbn.event().n_dims();
        let scored = scored(n_dims, &x, &probs, &scale)?;
        let (mut weight, mut bias) = (writable("weight", weight)?, writable("bias", bias)?);
        let out = fvsbn::gradient::Gradient {
            weight: slice_mut("weight", &mut weight, n_dims * n_dims)?,
            bias: slice_mut("bias", &mut bias, n_dims)?,
        };
        let threads = at_least_one(threads);
        interruptible(py, None, |go_on| fvsbn::gradient::gradient(scored, out, threads, &mut || go_on(0)))
    }
}

/// The weights of one step of a NADE.
#[pyclass(frozen, module = "ancestral._core")]
pub struct NadeStep {
    nade: Nade,
}

#[pymethods]
impl NadeStep {
    /// From W (`n_hidden`, `n_dims`), c (`n_hidden`), V (`n_dims`, `n_hidden`) and b (`n_dims`).
    #[new]
    fn new(py: Python<'_>, w: Read<'_, f32>, c: Read<'_, f32>, v: Read<'_, f32>, b: Read<'_, f32>) -> PyResult<Self> {
        let size = b.len().checked_mul(c.len()).filter(|size| *size > 0);
        let wanted = size.ok_or_else(|| PyValueError::new_err("c or b is empty"))?;
        let weights =
            [slice("w", &w, wanted)?, slice("c", &c, c.len())?, slice("v", &v, wanted)?, slice("b", &b, b.len())?];
        Ok(Self { nade: py.detach(|| Nade::in_training(weights)).map_err(raise)? })
    }

    /// Fills `log_prob` (n) and `probs` (n, `n_dims`) for the rows of `x`.
    fn score(
        &self,
        py: Python<'_>,
        x: Read<'_, u8>,
        log_prob: Write<'_, '_, f64>,
        probs: Write<'_, '_, f32>,
        threads: usize,
    ) -> PyResult<()> {
        score(py, &self.nade, &x, log_prob, probs, threads)
    }

    /// Fills the gradient of Σ scale · log p for rows `x` whose `probs` are those of `score`.
    #[expect(clippy::too_many_arguments, reason = "three of the samples, four of the weights")]
    fn gradient(
        &self,
        py: Python<'_>,
        x: Read<'_, u8>,
        probs: Read<'_, f32>,
        scale: Read<'_, f32>,
        w: Write<'_, '_, f32>,
        c: Write<'_, '_, f32>,
        v: Write<'_, '_, f32>,
        b: Write<'_, '_, f32>,
        threads: usize,
    ) -> PyResult<()> {
        let (n_dims, n_hidden) = (self.nade.event().n_dims(), self.nade.n_hidden());
        let scored = scored(n_dims, &x, &probs, &scale)?;
        let (mut w, mut c) = (writable("w", w)?, writable("c", c)?);
        let (mut v, mut b) = (writable("v", v)?, writable("b", b)?);
        let out = nade::gradient::Gradient {
            w: slice_mut("w", &mut w, n_dims * n_hidden)?,
            c: slice_mut("c", &mut c, n_hidden)?,
            v: slice_mut("v", &mut v, n_dims * n_hidden)?,
            b: slice_mut("b", &mut b, n_dims)?,
        };
        let threads = at_least_one(threads);
        interruptible(py, None, |go_on| nade::gradient::gradient(&self.nade, scored, out, threads, &mut || go_on(0)))
    }
}
