//! The arrays that a walk fills.

use ancestral_core::{distribution::Distribution, outputs::Outputs};
use numpy::{Element, PyArrayDyn, PyReadwriteArrayDyn};
use pyo3::prelude::*;

use crate::{
    arrays::{slice_mut, writable},
    values::WriteValues,
};

/// Arrays to fill.
#[derive(Default)]
pub struct Arrays<'py> {
    pub x: Option<WriteValues<'py>>,
    pub log_prob: Option<PyReadwriteArrayDyn<'py, f64>>,
    pub log_weight: Option<PyReadwriteArrayDyn<'py, f64>>,
    pub conditionals: Option<PyReadwriteArrayDyn<'py, f32>>,
    pub surprise: Option<PyReadwriteArrayDyn<'py, f32>>,
    pub log_conditional: Option<PyReadwriteArrayDyn<'py, f64>>,
    pub features: Option<PyReadwriteArrayDyn<'py, f32>>,
}

impl Arrays<'_> {
    /// As outputs of `n` samples.
    pub fn outputs(&mut self, distribution: &Distribution, n: usize) -> PyResult<Outputs<'_>> {
        let space = distribution.space();
        let n_features = distribution.feature_shape().map_or(0, |shape| shape.iter().product());
        Ok(Outputs {
            x: self.x.as_mut().map(|x| x.slice("x", n * space.n_dims())).transpose()?,
            log_prob: wanted("log_prob", &mut self.log_prob, n)?,
            log_weight: wanted("log_weight", &mut self.log_weight, n)?,
            conditionals: wanted("conditionals", &mut self.conditionals, n * space.n_dims() * space.n_conditionals())?,
            surprise: wanted("surprise", &mut self.surprise, n * space.n_dims())?,
            log_conditional: wanted("log_conditional", &mut self.log_conditional, n * space.most_classes())?,
            features: wanted("features", &mut self.features, n * n_features)?,
            ..Outputs::default()
        })
    }
}

/// Borrows an array that may be missing.
pub fn borrow<'py, T: Element>(
    name: &str,
    array: Option<&Bound<'py, PyArrayDyn<T>>>,
) -> PyResult<Option<PyReadwriteArrayDyn<'py, T>>> {
    array.map(|array| writable(name, array)).transpose()
}

/// The values of an array that may be missing.
fn wanted<'a, T: Element>(
    name: &str,
    array: &'a mut Option<PyReadwriteArrayDyn<'_, T>>,
    len: usize,
) -> PyResult<Option<&'a mut [T]>> {
    array.as_mut().map(|array| slice_mut(name, array, len)).transpose()
}
