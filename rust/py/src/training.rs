//! `ancestral._core.fvsbn_score`, `fvsbn_gradient`, `nade_score` and `nade_gradient`: the likelihood and its gradient, for one step
//! of training, from the weights where they are.

use std::num::NonZero;

use ancestral_core::{
    driver::{Driver, Score},
    engine::Batch,
    error::Error,
    model::Model,
    models::{Fvsbn, Nade, fvsbn, gradient, nade},
    outputs::Outputs,
    values::Values,
};
use numpy::{PyArray1, PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    arrays::{slice, slice_mut, writable},
    door::{interruptible, raise, walk},
};

/// An array that is read.
type Read<'py, T> = PyReadonlyArrayDyn<'py, T>;
/// An array that is filled.
type Write<'py, T> = Bound<'py, PyArrayDyn<T>>;

/// What a likelihood leaves for its gradient.
#[pyclass(module = "ancestral._core", frozen)]
pub struct Scored {
    /// p(x_i = 1 | x_<i), `n_dims` a sample.
    probs: Vec<f32>,
    /// As many a sample as the model has.
    features: Vec<f32>,
    /// Whether the weights were: log p and its gradient are NaN if not.
    bounded: bool,
}

impl Scored {
    /// Both, if they are those of `n` samples with so many dimensions and features.
    fn of(&self, n: usize, n_dims: usize, n_features: usize) -> PyResult<(&[f32], &[f32])> {
        let Self { probs, features, .. } = self;
        if (probs.len(), features.len()) == (n * n_dims, n * n_features) {
            Ok((probs, features))
        } else {
            Err(PyValueError::new_err(format!("scored is not of {n} samples and this model")))
        }
    }
}

/// log p of the rows of `x` in nats, (n).
type LogProb<'py> = Bound<'py, PyArray1<f64>>;

/// Scores the rows of `x` with a model made for it, whose weights may be out of bounds.
fn score<'py>(
    py: Python<'py>,
    (model, bounded): (impl Model, bool),
    x: &Read<'_, u8>,
    threads: usize,
) -> PyResult<(LogProb<'py>, Scored)> {
    let n = x.shape().first().copied().unwrap_or(0);
    let n_features = model.feature_shape().map_or(0, |shape| shape.iter().product());
    let x = slice("x", x, n * model.space().n_dims())?;
    let (mut log_prob, mut probs, mut features) = (vec![0.0; n], vec![0.0; x.len()], vec![0.0; n * n_features]);
    let outputs = Outputs {
        log_prob: Some(&mut log_prob),
        conditionals: Some(&mut probs),
        features: Some(&mut features),
        ..Outputs::default()
    };
    let score = py.detach(|| Score::new(model.space(), Values::U8(x))).map_err(raise)?;
    walk(
        py,
        &model,
        Batch { n, driver: Driver::Score(&score), n_steps: None, block_len: None, outputs, threads },
        None,
    )?;
    if !bounded {
        log_prob.fill(f64::NAN);
    }
    Ok((PyArray1::from_vec(py, log_prob), Scored { probs, features, bounded }))
}

/// Fills `gradients`, which have these names and the lengths of the weights, by `work`; with NaN if these are not bounded. The
/// last ones are a bias for each dimension, and there are as many rows as `scale` has values.
fn fill<'a, const N: usize>(
    py: Python<'_>,
    (names, weights): ([&str; N], [&[f32]; N]),
    bounded: bool,
    (x, probs, scale): (&'a Read<'_, u8>, &'a [f32], &'a Read<'_, f32>),
    gradients: &[Write<'_, f32>; N],
    work: impl Send + FnOnce(gradient::Scored<'a>, [&mut [f32]; N], &mut dyn FnMut() -> bool) -> Result<(), Error>,
) -> PyResult<()> {
    let (n, n_dims) = (scale.len(), weights[N - 1].len());
    let scored = gradient::Scored { x: slice("x", x, n * n_dims)?, probs, scale: slice("scale", scale, n)? };
    let named = names.into_iter().zip(weights);
    let arrays: PyResult<Vec<_>> = names.into_iter().zip(gradients).map(|(name, out)| writable(name, out)).collect();
    let mut arrays = arrays?;
    let outs: PyResult<Vec<&mut [f32]>> =
        named.zip(&mut arrays).map(|((name, weight), out)| slice_mut(name, out, weight.len())).collect();
    let Ok(mut outs) = <[_; N]>::try_from(outs?) else { unreachable!("as many as there are names") };
    if !bounded {
        outs.iter_mut().for_each(|out| out.fill(f32::NAN));
        return Ok(());
    }
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

/// log p of the rows of `x`, NaN if the weights are not finite or too large, and what `fvsbn_gradient` asks for.
#[pyfunction]
pub fn fvsbn_score<'py>(
    py: Python<'py>,
    weights: [Read<'py, f32>; 2],
    x: Read<'py, u8>,
    threads: usize,
) -> PyResult<(LogProb<'py>, Scored)> {
    let weights = fvsbn_weights(&weights)?;
    let model = py.detach(|| Fvsbn::in_training(weights)).map_err(raise)?;
    let bounded = model.is_bounded();
    score(py, (model, bounded), &x, threads)
}

/// Fills `gradients`, shaped as the weights, with the gradient of Σ scale · log p for rows `x` that `fvsbn_score` has scored.
#[pyfunction]
pub fn fvsbn_gradient(
    py: Python<'_>,
    weights: [Read<'_, f32>; 2],
    x: Read<'_, u8>,
    scored: &Scored,
    scale: Read<'_, f32>,
    gradients: [Write<'_, f32>; 2],
    threads: usize,
) -> PyResult<()> {
    let weights = fvsbn_weights(&weights)?;
    let (probs, _) = scored.of(scale.len(), weights[1].len(), 0)?;
    let named = (["weight", "bias"], weights);
    fill(py, named, scored.bounded, (&x, probs, &scale), &gradients, |scored, [weight, bias], go_on| {
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

/// log p of the rows of `x`, NaN if the weights are not finite or too large, and what `nade_gradient` asks for.
#[pyfunction]
pub fn nade_score<'py>(
    py: Python<'py>,
    weights: [Read<'py, f32>; 4],
    x: Read<'py, u8>,
    threads: usize,
) -> PyResult<(LogProb<'py>, Scored)> {
    let weights = nade_weights(&weights)?;
    let model = py.detach(|| Nade::in_training(weights)).map_err(raise)?;
    let bounded = model.is_bounded();
    score(py, (model, bounded), &x, threads)
}

/// Fills `gradients`, shaped as the weights, with the gradient of Σ scale · log p for rows `x` that `nade_score` has scored.
#[pyfunction]
pub fn nade_gradient(
    py: Python<'_>,
    weights: [Read<'_, f32>; 4],
    x: Read<'_, u8>,
    scored: &Scored,
    scale: Read<'_, f32>,
    gradients: [Write<'_, f32>; 4],
    threads: usize,
) -> PyResult<()> {
    let weights = nade_weights(&weights)?;
    let nade::Weights { w, c, v, b } = weights;
    let named = (["w", "c", "v", "b"], [w, c, v, b]);
    let (probs, odds) = scored.of(scale.len(), b.len(), c.len())?;
    fill(py, named, scored.bounded, (&x, probs, &scale), &gradients, |scored, [w, c, v, b], go_on| {
        let out = nade::gradient::Gradient { w, c, v, b };
        nade::gradient::gradient(weights, scored, odds, out, at_least_one(threads), go_on)
    })
}
