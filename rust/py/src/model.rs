//! `ancestral._core.Model`: arrays in, arrays filled. All checks with friendly words are in `ancestral.model`;
//! those here keep the core safe from any caller.

use std::collections::{BTreeMap, HashMap};

use ancestral_core::{
    block::Outputs,
    checkpoint::{self, Checkpoint, Tensor},
    driver::{Draw, Driver, Score},
    engine::Batch,
    model, models,
};
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use crate::{
    arrays::{slice, slice_mut, writable},
    door::{raise, walk},
};

/// A model of the core.
#[pyclass(frozen, module = "ancestral._core")]
pub struct Model {
    checkpoint: Checkpoint,
    model: Box<dyn model::Model>,
}

impl Model {
    fn new(checkpoint: Checkpoint) -> PyResult<Self> {
        let model = models::build(&checkpoint).map_err(raise)?;
        Ok(Self { checkpoint, model })
    }

    /// Walks as many samples as `n_values` values make, and fills the arrays.
    fn run(&self, py: Python<'_>, driver: Driver<'_>, n: usize, arrays: Arrays<'_>, call: Call) -> PyResult<()> {
        let Arrays { mut x, mut log_prob, mut conditionals } = arrays;
        let event = self.model.event();
        let outputs = Outputs {
            x: slice_mut("x", &mut x, n * event.n_dims())?,
            log_prob: slice_mut("log_prob", &mut log_prob, n)?,
            conditionals: slice_mut("conditionals", &mut conditionals, n * event.n_dims() * event.n_conditionals())?,
        };
        walk(py, &*self.model, Batch { n, driver, outputs, threads: call.threads }, call.progress)
    }

    fn rows(&self, values: usize) -> PyResult<usize> {
        let n_dims = self.model.event().n_dims();
        if values.is_multiple_of(n_dims) {
            Ok(values / n_dims)
        } else {
            Err(PyValueError::new_err(format!("x has {values} values; wanted a multiple of {n_dims}")))
        }
    }
}

/// Arrays to fill.
#[derive(Default)]
struct Arrays<'py> {
    x: Option<PyReadwriteArrayDyn<'py, u8>>,
    log_prob: Option<PyReadwriteArrayDyn<'py, f64>>,
    conditionals: Option<PyReadwriteArrayDyn<'py, f32>>,
}

/// How to run.
struct Call {
    threads: usize,
    progress: Option<Py<PyAny>>,
}

#[pymethods]
impl Model {
    /// A model from its kind, its config as JSON, and its tensors.
    #[staticmethod]
    fn from_tensors(
        py: Python<'_>,
        kind: String,
        config: &str,
        tensors: HashMap<String, PyReadonlyArrayDyn<'_, f32>>,
    ) -> PyResult<Self> {
        let mut read = BTreeMap::new();
        for (name, array) in tensors {
            let data = array.as_slice().map_err(|error| PyValueError::new_err(format!("tensor {name:?}: {error}")))?;
            let tensor = Tensor::new(&name, array.shape().to_vec(), data.to_vec()).map_err(raise)?;
            read.insert(name, tensor);
        }
        let config = checkpoint::parse(config).map_err(raise)?;
        py.detach(|| Self::new(Checkpoint { kind, config, tensors: read }))
    }

    /// A model from the bytes of a file.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        py.detach(|| Self::new(Checkpoint::from_bytes(data).map_err(raise)?))
    }

    /// The bytes of a file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| self.checkpoint.to_bytes());
        PyBytes::new(py, &bytes)
    }

    /// The family, such as "NADE".
    #[getter]
    fn kind(&self) -> &str {
        &self.checkpoint.kind
    }

    /// The family's settings as JSON.
    #[getter]
    fn config(&self) -> String {
        self.checkpoint.config.to_string()
    }

    /// Shape of one event.
    #[getter]
    fn event_shape(&self) -> Vec<usize> {
        self.model.event().shape().to_vec()
    }

    /// Values a dimension can take.
    #[getter]
    fn n_classes(&self) -> usize {
        self.model.event().n_classes()
    }

    /// Parameters that have an effect.
    #[getter]
    fn n_params(&self) -> usize {
        self.model.n_params()
    }

    /// The flat dimension visited at each step; None where it is 0, 1, 2, ….
    #[getter]
    fn order(&self) -> Option<Vec<u32>> {
        self.model.event().order().map(<[u32]>::to_vec)
    }

    /// Fills `log_prob` and `conditionals`, where given, for the rows of `x`.
    fn score(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyArrayDyn<u8>>,
        log_prob: Option<&Bound<'_, PyArrayDyn<f64>>>,
        conditionals: Option<&Bound<'_, PyArrayDyn<f32>>>,
        threads: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let x = x.try_readonly().map_err(|error| PyValueError::new_err(format!("x: {error}")))?;
        let values = slice("x", &x, x.len())?;
        let arrays = Arrays {
            x: None,
            log_prob: writable("log_prob", log_prob)?,
            conditionals: writable("conditionals", conditionals)?,
        };
        let n = self.rows(values.len())?;
        let score = py.detach(|| Score::new(self.model.event(), values)).map_err(raise)?;
        self.run(py, Driver::Score(&score), n, arrays, Call { threads, progress })
    }

    /// Fills `x`, and `log_prob` where given, with the draws `start`, `start + 1`, … of this seed.
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn draw(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyArrayDyn<u8>>,
        log_prob: Option<&Bound<'_, PyArrayDyn<f64>>>,
        seed: u64,
        start: u64,
        threads: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let n = self.rows(x.len())?;
        if start.checked_add(n as u64).is_none() {
            return Err(PyValueError::new_err(format!("start is {start}; the last index would not fit 64 bits")));
        }
        let arrays =
            Arrays { x: writable("x", Some(x))?, log_prob: writable("log_prob", log_prob)?, conditionals: None };
        self.run(py, Driver::Decide(&Draw { seed, start }), n, arrays, Call { threads, progress })
    }
}
