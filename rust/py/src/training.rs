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

/// Fills `gradients`, which have these names and the lengths of the weights. The last ones are a bias for each dimension, and there are
/// as many rows as `scale` has values.
fn gradient<'a, const N: usize>(
    py: Python<'_>,
    (names, weights): ([&str; N], [&[f32]; N]),
    (x, probs, scale): (&'a Read<'_, u8>, &'a Read<'_, f32>, &'a Read<'_, f32>),
    gradients: &[Write<'_, f32>; N],
    work: impl Send + FnOnce(Scored<'a>, [&mut [f32]; N], &mut dyn FnMut() -> bool) -> Result<(), Error>,
) -> PyResult<()> {
    let (n, n_dims) = (scale.len(), weights[N - 1].len());
    let scored = Scored {
        x: slice("x", x, n * n_dims)?,
        probs: slice("probs", probs, n * n_dims)?,
        scale: slice("scale", scale, n)?,
    };
    let named = names.into_iter().zip(weights);
    let arrays: PyResult<Vec<_>> = names.into_iter().zip(gradients).map(|(name, out)| writable(name, out)).collect();
    let mut arrays = arrays?;
    let outs: PyResult<Vec<_>> =
        named.zip(&mut arrays).map(|((name, weight), out)| slice_mut(name, out, weight.len())).collect();
    let Ok(outs) = <[_; N]>::try_from(outs?) else { unreachable!("as many as there are names") };
    interruptible(py, None, |go_on| work(scored, outs, &mut || go_on(0)))
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
    let weights = fvsbn_weights(&weights)?;
    gradient(py, (["weight", "bias"], weights), (&x, &probs, &scale), &gradients, |scored, [weight, bias], go_on| {
        let out = fvsbn::gradient::Gradient { weight, bias };
        fvsbn::gradient::gradient(scored, out, at_least_one(threads), go_on)
    })
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
    let nade::Weights { w, c, v, b } = weights;
    let named = (["w", "c", "v", "b"], [w, c, v, b]);
    gradient(py, named, (&x, &probs, &scale), &gradients, |scored, [w, c, v, b], go_on| {
        let out = nade::gradient::Gradient { w, c, v, b };
        nade::gradient::gradient(weights, scored, out, at_least_one(threads), go_on)
    })
}
