//! `ancestral._core.Model`: arrays in, arrays filled. All checks with friendly words are in `ancestral.model`;
//! those here keep the core safe from any caller.

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use ancestral_core::{
    checkpoint::{self, Checkpoint, Tensor},
    codec::{self, container::Container},
    distribution::{self, Distribution},
    driver::{Allowed, Draw, Driver, Restrict, Score},
    engine::Batch,
    kernels::in_default_mode,
    model, models,
    space::{Classes, Space},
    values::{Dtype, Values},
};
use numpy::{PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::{IntoPyObjectExt, exceptions::PyValueError, prelude::*, types::PyBytes};

use crate::{
    arrays::{slice, writable},
    door::{interruptible, raise, walk},
    outputs::{Arrays, borrow},
    values::{ReadValues, WriteValues},
};

/// A model of the core, or a mixture of several.
#[pyclass(frozen, module = "ancestral._core")]
pub struct Model {
    checkpoint: Checkpoint,
    distribution: Distribution,
    sha256: OnceLock<[u8; 32]>,
}

impl Model {
    fn new(checkpoint: Checkpoint) -> PyResult<Self> {
        let distribution = models::build(&checkpoint).map_err(raise)?;
        Ok(Self { checkpoint, distribution, sha256: OnceLock::new() })
    }

    /// The model, unless it is a mixture.
    fn one(&self) -> PyResult<&dyn model::Model> {
        self.distribution.one().map_err(raise)
    }

    fn space(&self) -> &Space {
        self.distribution.space()
    }

    fn sha256_of_file(&self) -> [u8; 32] {
        *self.sha256.get_or_init(|| self.checkpoint.sha256())
    }

    /// A compressed file, if this model has made it.
    fn container<'a>(&self, blob: &'a [u8]) -> PyResult<Container<'a>> {
        let container = Container::from_bytes(blob).map_err(raise)?;
        container.check_model(self.one()?, &self.sha256_of_file()).map_err(raise)?;
        Ok(container)
    }

    /// The type of its values.
    fn values(&self) -> Dtype {
        Dtype::of(self.space())
    }

    fn rows(&self, values: usize) -> PyResult<usize> {
        let n_dims = self.space().n_dims();
        if values.is_multiple_of(n_dims) {
            Ok(values / n_dims)
        } else {
            Err(PyValueError::new_err(format!("x has {values} values; wanted a multiple of {n_dims}")))
        }
    }
}

#[pymethods]
impl Model {
    /// A model from its kind, its config as JSON, and its tensors; a network from its graph as JSON too.
    #[staticmethod]
    #[pyo3(signature = (kind, config, tensors, graph=None))]
    fn from_tensors(
        py: Python<'_>,
        kind: String,
        config: &str,
        tensors: HashMap<String, PyReadonlyArrayDyn<'_, f32>>,
        graph: Option<&str>,
    ) -> PyResult<Self> {
        let mut read = BTreeMap::new();
        for (name, array) in tensors {
            let data = slice(&format!("tensor {name:?}"), &array, array.len())?;
            let tensor = Tensor::new(&name, array.shape().to_vec(), data.to_vec()).map_err(raise)?;
            read.insert(name, tensor);
        }
        let floats = read.values().map(|tensor| tensor.data().len()).sum();
        let config = checkpoint::parse(config, floats).map_err(raise)?;
        let graph = graph.map(|graph| checkpoint::parse_graph(graph, floats)).transpose().map_err(raise)?;
        py.detach(|| Self::new(Checkpoint { kind, config, graph, tensors: read }))
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

    /// The graph of a network as JSON; None for a model that is not one, or in a file of version 1.
    #[getter]
    fn graph(&self) -> Option<String> {
        self.checkpoint.graph.as_ref().map(ToString::to_string)
    }

    /// Shape of one event.
    #[getter]
    fn event_shape(&self) -> Vec<usize> {
        self.space().shape().to_vec()
    }

    /// Values a dimension can take: one number, or where they differ a list of those of the event's flat dimensions.
    #[getter]
    fn n_classes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.space().classes() {
            Classes::Same(n) => n.into_bound_py_any(py),
            Classes::PerDim(each) => each.into_bound_py_any(py),
        }
    }

    /// Name of the dtype of its values: "uint8" for up to 256 classes, or "uint16".
    #[getter]
    fn dtype(&self) -> &'static str {
        self.values().name()
    }

    /// Parameters that have an effect.
    #[getter]
    fn n_params(&self) -> usize {
        self.distribution.n_params()
    }

    /// The flat dimension visited at each step; None where it is 0, 1, 2, …, and for a mixture.
    #[getter]
    fn order(&self) -> Option<Vec<u32>> {
        self.space().order().map(<[u32]>::to_vec)
    }

    /// The orders of a mixture's members, as `order`; None for a model.
    #[getter]
    fn orders(&self) -> Option<Vec<Option<Vec<u32>>>> {
        let Distribution::Mixture(mixture) = &self.distribution else { return None };
        Some(mixture.members().iter().map(|member| member.space().order().map(<[u32]>::to_vec)).collect())
    }

    /// SHA-256 of the bytes of its file.
    #[getter]
    fn sha256(&self, py: Python<'_>) -> [u8; 32] {
        py.detach(|| self.sha256_of_file())
    }

    /// Shape of one sample's features; None where the model has none.
    #[getter]
    fn feature_shape(&self) -> Option<Vec<usize>> {
        self.distribution.feature_shape()
    }

    /// Fills the arrays that are given for the rows of `x`, walking `n_steps` steps: `log_prob` is that of their values, and
    /// `log_conditional` (rows, `n_classes`) that of each class at the last of them.
    #[pyo3(signature = (x, threads, progress, *, log_prob=None, conditionals=None, surprise=None, log_conditional=None,
        features=None, n_steps=None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn score(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        threads: usize,
        progress: Option<Py<PyAny>>,
        log_prob: Option<&Bound<'_, PyArrayDyn<f64>>>,
        conditionals: Option<&Bound<'_, PyArrayDyn<f32>>>,
        surprise: Option<&Bound<'_, PyArrayDyn<f32>>>,
        log_conditional: Option<&Bound<'_, PyArrayDyn<f64>>>,
        features: Option<&Bound<'_, PyArrayDyn<f32>>>,
        n_steps: Option<usize>,
    ) -> PyResult<()> {
        let x = ReadValues::new("x", x, self.values())?;
        let values = x.all("x")?;
        let mut arrays = Arrays {
            log_prob: borrow("log_prob", log_prob)?,
            conditionals: borrow("conditionals", conditionals)?,
            surprise: borrow("surprise", surprise)?,
            log_conditional: borrow("log_conditional", log_conditional)?,
            features: borrow("features", features)?,
            ..Arrays::default()
        };
        let outputs = arrays.outputs(&self.distribution, self.rows(values.len())?)?;
        interruptible(py, progress, |go_on| {
            self.distribution.score(values, n_steps, outputs, distribution::Call { threads, go_on })
        })
    }

    /// Fills `x`, and `log_prob` where given, with the draws `start`, `start + 1`, … of this seed.
    #[pyo3(signature = (x, seed, start, threads, progress, *, log_prob=None, temperature=1.0))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn draw(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        seed: u64,
        start: u64,
        threads: usize,
        progress: Option<Py<PyAny>>,
        log_prob: Option<&Bound<'_, PyArrayDyn<f64>>>,
        temperature: f64,
    ) -> PyResult<()> {
        let x = WriteValues::new("x", x, self.values())?;
        let n = self.rows(x.len())?;
        if start.checked_add(n as u64).is_none() {
            return Err(PyValueError::new_err(format!("start is {start}; the last index would not fit 64 bits")));
        }
        let mut arrays = Arrays { x: Some(x), log_prob: borrow("log_prob", log_prob)?, ..Arrays::default() };
        let outputs = arrays.outputs(&self.distribution, n)?;
        let draw = Draw { seed, start, temperature: in_default_mode(|| temperature as f32) };
        interruptible(py, progress, |go_on| {
            self.distribution.draw(&draw, n, outputs, distribution::Call { threads, go_on })
        })
    }

    /// Draws `n_paths` paths for each row of sets, with the uniforms of the samples from the row's `first` on, and fills
    /// `log_weight` and, where given, `x` and `log_prob`. The sets are `low` to `high` (rows, `n_dims`); or, without `high`,
    /// those marked in `low`, uint8 (rows, `n_dims`, largest number of classes). Without `x` and `log_prob` the walk ends with the last restricted
    /// step of any row.
    #[pyo3(signature = (low, high, log_weight, seed, first, n_paths, threads, progress, *, x=None, log_prob=None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn restrict(
        &self,
        py: Python<'_>,
        low: &Bound<'_, PyAny>,
        high: Option<&Bound<'_, PyAny>>,
        log_weight: &Bound<'_, PyArrayDyn<f64>>,
        seed: u64,
        first: PyReadonlyArrayDyn<'_, u64>,
        n_paths: usize,
        threads: usize,
        progress: Option<Py<PyAny>>,
        x: Option<&Bound<'_, PyAny>>,
        log_prob: Option<&Bound<'_, PyArrayDyn<f64>>>,
    ) -> PyResult<()> {
        let (model, space) = (self.one()?, self.space());
        // Marks are bytes, whatever the model's values.
        let low = ReadValues::new("low", low, if high.is_some() { self.values() } else { Dtype::U8 })?;
        let high = high.map(|high| ReadValues::new("high", high, self.values())).transpose()?;
        let (allowed, rows) = match (low.all("low")?, &high) {
            (low, Some(high)) => {
                let rows = self.rows(low.len())?;
                (Allowed::Range { low, high: high.slice("high", low.len())? }, rows)
            }
            (Values::U8(marks), None) => (Allowed::Sets(marks), self.rows(marks.len() / space.most_classes())?),
            (Values::U16(_), None) => unreachable!("marks are bytes"),
        };
        let first = slice("first", &first, rows)?;
        let n = log_weight.len();
        let last = first.iter().max().map_or(Some(0), |first| first.checked_add(n_paths as u64));
        if rows.checked_mul(n_paths) != Some(n) || last.is_none() {
            return Err(PyValueError::new_err(format!("{rows} rows with {n_paths} paths make no {n} samples")));
        }
        let mut arrays = Arrays {
            x: x.map(|x| WriteValues::new("x", x, self.values())).transpose()?,
            log_prob: borrow("log_prob", log_prob)?,
            log_weight: Some(writable("log_weight", log_weight)?),
            ..Arrays::default()
        };
        let restrict = py.detach(|| Restrict::new(space, allowed, seed, first, n_paths));
        let restrict = restrict.map_err(raise)?;
        let n_steps = (x.is_none() && log_prob.is_none()).then(|| restrict.n_steps());
        let outputs = arrays.outputs(&self.distribution, n)?;
        let driver = Driver::Decide(&restrict);
        walk(py, model, Batch { n, driver, n_steps, block_len: None, outputs, threads }, progress)
    }

    /// The rows of `x` in a compressed file of blocks of `block_len` rows.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'_, PyAny>,
        block_len: u32,
        threads: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let x = ReadValues::new("x", x, self.values())?;
        let values = x.all("x")?;
        let n = self.rows(values.len())?;
        let model = self.one()?;
        let blob = interruptible(py, progress, |go_on| {
            let score = Score::new(model.space(), values)?;
            codec::encode(model, self.sha256_of_file(), &score, (n, block_len), threads, go_on)
        })?;
        Ok(PyBytes::new(py, &blob))
    }

    /// Rows and rows a block of a compressed file, if this model has made it.
    fn encoded(&self, py: Python<'_>, blob: &[u8]) -> PyResult<(u64, u32)> {
        py.detach(|| {
            let container = self.container(blob)?;
            Ok((container.header().n_samples, container.header().block_len))
        })
    }

    /// Fills `x` with the rows of some blocks of a compressed file: as many as `x` has room for, from block `first` on.
    fn decode(
        &self,
        py: Python<'_>,
        blob: &[u8],
        first: usize,
        x: &Bound<'_, PyAny>,
        threads: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let container = self.container(blob)?;
        let mut x = WriteValues::new("x", x, self.values())?;
        let n = self.rows(x.len())?;
        let header = container.header();
        let blocks = first..first.saturating_add(n.div_ceil(header.block_len as usize));
        let rows: u64 =
            blocks.clone().map(|block| header.samples(block as u64)).map(|rows| rows.end - rows.start).sum();
        if blocks.end > container.n_blocks() || n as u64 != rows {
            return Err(PyValueError::new_err(format!("x has {n} rows, which are not those of blocks {blocks:?}")));
        }
        let x = x.slice("x", n * self.space().n_dims())?;
        let model = self.one()?;
        interruptible(py, progress, |go_on| codec::decode(model, &container, blocks, x, threads, go_on))
    }
}
