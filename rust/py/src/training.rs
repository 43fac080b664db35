//! `ancestral._core.fvsbn_score`, `fvsbn_gradient`, `nade_score` and `nade_gradient`: the likelihood and its gradient, for one step
//! of training, from the weights where they are.

use std::num::NonZero;

use ancestral_core::{
    block::Outputs,
    driver::{Driver, Score},
    engine::Batch,
    error::Error,
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
type Write<'py, T> = Bound<'py, PyArrayDyn<T>>;

/// Fills `log_prob` (n) and `probs` (n, `n_dims`) for the rows of `x`.
fn score<M: Model>(
    py: Python<'_>,
    model: impl Send + FnOnce() -> Result<M, Error>,
    x: &Read<'_, u8>,
    (log_prob, probs): (&Write<'_, f64>, &Write<'_, f32>),
    threads: usize,
) -> PyResult<()> {
    let model = py.detach(model).map_err(raise)?;
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
    walk(py, &model, Batch { n, driver: Driver::Score(&score), n_steps: None, block_len: None, outputs, threads }, None)
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

/// An FVSBN's weight (`n_dims`, `n_dims`), of which the strict lower triangle counts, and bias (`n_dims`).
fn fvsbn_weights<'a>([weight, bias]: &'a [Read<'_, f32>; 2]) -> PyResult<[&'a [f32]; 2]> {
    let size = bias.len().checked_mul(bias.len()).filter(|size| *size > 0);
    let size = size.ok_or_else(|| PyValueError::new_err("bias is empty"))?;
    Ok([slice("weight", weight, size)?, slice("bias", bias, bias.len())?])
}

/// Fills `log_prob` (n) and `probs` (n, `n_dims`) for the rows of `x`.
#[pyfunction]
pub fn fvsbn_score(
    py: Python<'_>,
    weights: [Read<'_, f32>; 2],
    x: Read<'_, u8>,
    log_prob: Write<'_, f64>,
    probs: Write<'_, f32>,
    threads: usize,
) -> PyResult<()> {
    let weights = fvsbn_weights(&weights)?;
    score(py, || Fvsbn::in_training(weights), &x, (&log_prob, &probs), threads)
}

/// Fills `gradients`, shaped as the weights, with the gradient of Σ scale · log p for rows `x` whose `probs` are those of
/// `fvsbn_score`.
#[pyfunction]
pub fn fvsbn_gradient(
    py: Python<'_>,
    weights: [Read<'_, f32>; 2],
    x: Read<'_, u8>,
    probs: Read<'_, f32>,
    scale: Read<'_, f32>,
    gradients: [Write<'_, f32>; 2],
    threads: usize,
) -> PyResult<()> {
    let [weight, bias] = fvsbn_weights(&weights)?.map(<[f32]>::len);
    let scored = scored(bias, &x, &probs, &scale)?;
    let [mut out_weight, mut out_bias] = [writable("weight", &gradients[0])?, writable("bias", &gradients[1])?];
    let out = fvsbn::gradient::Gradient {
        weight: slice_mut("weight", &mut out_weight, weight)?,
        bias: slice_mut("bias", &mut out_bias, bias)?,
    };
    let threads = at_least_one(threads);
    interruptible(py, None, |go_on| fvsbn::gradient::gradient(scored, out, threads, &mut || go_on(0)))
}

/// A NADE's W (`n_dims`, `n_hidden`), c (`n_hidden`), V (`n_dims`, `n_hidden`) and b (`n_dims`).
fn nade_weights<'a>([w, c, v, b]: &'a [Read<'_, f32>; 4]) -> PyResult<nade::Weights<'a>> {
    let size = b.len().checked_mul(c.len()).filter(|size| *size > 0);
    let size = size.ok_or_else(|| PyValueError::new_err("c or b is empty"))?;
    Ok(nade::Weights {
        w: slice("w", w, size)?,
        c: slice("c", c, c.len())?,
        v: slice("v", v, size)?,
        b: slice("b", b, b.len())?,
    })
}

/// Fills `log_prob` (n) and `probs` (n, `n_dims`) for the rows of `x`.
#[pyfunction]
pub fn nade_score(
    py: Python<'_>,
    weights: [Read<'_, f32>; 4],
    x: Read<'_, u8>,
    log_prob: Write<'_, f64>,
    probs: Write<'_, f32>,
    threads: usize,
) -> PyResult<()> {
    let weights = nade_weights(&weights)?;
    score(py, || Nade::in_training(weights), &x, (&log_prob, &probs), threads)
}

/// Fills `gradients`, shaped as the weights, with the gradient of Σ scale · log p for rows `x` whose `probs` are those of
/// `nade_score`.
#[pyfunction]
pub fn nade_gradient(
    py: Python<'_>,
    weights: [Read<'_, f32>; 4],
    x: Read<'_, u8>,
    probs: Read<'_, f32>,
    scale: Read<'_, f32>,
    gradients: [Write<'_, f32>; 4],
    threads: usize,
) -> PyResult<()> {
    let weights = nade_weights(&weights)?;
    let scored = scored(weights.b.len(), &x, &probs, &scale)?;
    let [w, c, v, b] = &gradients;
    let (mut w, mut c) = (writable("w", w)?, writable("c", c)?);
    let (mut v, mut b) = (writable("v", v)?, writable("b", b)?);
    let out = nade::gradient::Gradient {
        w: slice_mut("w", &mut w, weights.w.len())?,
        c: slice_mut("c", &mut c, weights.c.len())?,
        v: slice_mut("v", &mut v, weights.v.len())?,
        b: slice_mut("b", &mut b, weights.b.len())?,
    };
    let threads = at_least_one(threads);
    interruptible(py, None, |go_on| nade::gradient::gradient(weights, scored, out, threads, &mut || go_on(0)))
}
