//! `ancestral._core.fvsbn_score`, `fvsbn_gradient`, `nade_score` and `nade_gradient`: the likelihood and its gradient,
//! for one step of training, from the weights where they are.

use ancestral_core::models::{
    Fvsbn, Nade,
    training::{self, Objective, Trainable},
};
use numpy::{PyArray1, PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    arrays::{slice, slice_mut, writable},
    door::interruptible,
};

/// An array that is read.
type Read<'py, T> = PyReadonlyArrayDyn<'py, T>;
/// An array that is filled.
type Write<'py, T> = Bound<'py, PyArrayDyn<T>>;
/// log p of the rows of `x` in nats, (n).
type LogProb<'py> = Bound<'py, PyArray1<f64>>;

/// What a likelihood leaves for its gradient.
#[pyclass(module = "ancestral._core", frozen)]
pub struct Tape(training::Tape);

/// The same of each of `N`, or the first error.
fn try_array<T, const N: usize>(items: impl Iterator<Item = PyResult<T>>) -> PyResult<[T; N]> {
    let items: Vec<_> = items.collect::<PyResult<_>>()?;
    let Ok(items) = items.try_into() else { unreachable!("as many as there are weights") };
    Ok(items)
}

/// The weights, if they fit each other.
fn slices<'a, 'w, T: Trainable<'w, N>, const N: usize>(arrays: &'a [Read<'_, f32>; N]) -> PyResult<[&'a [f32]; N]> {
    let lens = T::lens(arrays.each_ref().map(|array| array.len()));
    try_array(T::NAMES.into_iter().zip(arrays).zip(lens).map(|((name, array), len)| match array.len() {
        0 => Err(PyValueError::new_err(format!("{name} is empty"))),
        _ => slice(name, array, len),
    }))
}

/// log p of the rows of `x`, NaN if the weights are not finite or too large, and what the gradient asks for.
fn score<'a, 'py, T: Trainable<'a, N>, const N: usize>(
    py: Python<'py>,
    weights: &'a [Read<'_, f32>; N],
    x: &Read<'_, u8>,
    threads: usize,
) -> PyResult<(LogProb<'py>, Tape)> {
    let weights = slices::<T, N>(weights)?;
    let n = x.shape().first().copied().unwrap_or(0);
    let x = slice("x", x, n * weights[N - 1].len())?;
    let (log_prob, tape) =
        interruptible(py, None, |go_on| training::log_prob::<T, N>(weights, x, threads, &mut || go_on(0)))?;
    Ok((PyArray1::from_vec(py, log_prob), Tape(tape)))
}

/// Fills `gradients`, shaped as the weights, with the gradient of Σ scale · log p for the rows `x` whose likelihood
/// left the tape.
fn gradient<'a, T: Trainable<'a, N>, const N: usize>(
    py: Python<'_>,
    weights: &'a [Read<'_, f32>; N],
    (x, Tape(tape), scale): (&Read<'_, u8>, &Tape, &Read<'_, f32>),
    gradients: &[Write<'_, f32>; N],
    threads: usize,
) -> PyResult<()> {
    let weights = slices::<T, N>(weights)?;
    let (n, n_dims) = (scale.len(), weights[N - 1].len());
    if (tape.probs.len(), tape.state.len()) != (n * n_dims, n * T::state_len(weights)) {
        return Err(PyValueError::new_err(format!("tape is not of {n} samples and this model")));
    }
    let objective = Objective { x: slice("x", x, n * n_dims)?, scale: slice("scale", scale, n)?, tape };
    let named = T::NAMES.into_iter().zip(gradients);
    let mut arrays: [_; N] = try_array(named.map(|(name, out)| writable(name, out)))?;
    let named = T::NAMES.into_iter().zip(&mut arrays).zip(weights);
    let out = try_array(named.map(|((name, out), weight)| slice_mut(name, out, weight.len())))?;
    interruptible(py, None, |go_on| training::gradient::<T, N>(weights, objective, out, threads, &mut || go_on(0)))
}

/// log p of the rows of `x` by an FVSBN's weight (`n_dims`, `n_dims`), of which the strict lower triangle counts, and
/// bias (`n_dims`); NaN if they are not finite or too large. And the tape that `fvsbn_gradient` asks for.
#[pyfunction]
pub fn fvsbn_score<'py>(
    py: Python<'py>,
    weights: [Read<'py, f32>; 2],
    x: Read<'py, u8>,
    threads: usize,
) -> PyResult<(LogProb<'py>, Tape)> {
    score::<Fvsbn, 2>(py, &weights, &x, threads)
}

/// Fills `gradients`, shaped as the weights, with the gradient of Σ scale · log p, from the tape of `fvsbn_score`.
#[pyfunction]
pub fn fvsbn_gradient(
    py: Python<'_>,
    weights: [Read<'_, f32>; 2],
    x: Read<'_, u8>,
    tape: &Tape,
    scale: Read<'_, f32>,
    gradients: [Write<'_, f32>; 2],
    threads: usize,
) -> PyResult<()> {
    gradient::<Fvsbn, 2>(py, &weights, (&x, tape, &scale), &gradients, threads)
}

/// log p of the rows of `x` by a NADE's W (`n_dims`, `n_hidden`), c (`n_hidden`), V (`n_dims`, `n_hidden`) and b
/// (`n_dims`); NaN if they are not finite or too large. And the tape that `nade_gradient` asks for.
#[pyfunction]
pub fn nade_score<'py>(
    py: Python<'py>,
    weights: [Read<'py, f32>; 4],
    x: Read<'py, u8>,
    threads: usize,
) -> PyResult<(LogProb<'py>, Tape)> {
    score::<Nade<'_>, 4>(py, &weights, &x, threads)
}

/// Fills `gradients`, shaped as the weights, with the gradient of Σ scale · log p, from the tape of `nade_score`.
#[pyfunction]
pub fn nade_gradient(
    py: Python<'_>,
    weights: [Read<'_, f32>; 4],
    x: Read<'_, u8>,
    tape: &Tape,
    scale: Read<'_, f32>,
    gradients: [Write<'_, f32>; 4],
    threads: usize,
) -> PyResult<()> {
    gradient::<Nade<'_>, 4>(py, &weights, (&x, tape, &scale), &gradients, threads)
}
