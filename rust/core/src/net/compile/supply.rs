//! The tensors of a file, and how much its graphs may make of them: a small file cannot describe a large network.

use std::collections::{BTreeMap, BTreeSet};

use crate::{checkpoint::Tensor, error::Error};

/// Weights that the nodes may read for each float of the file: several may read one tensor, each with masks of its own.
const MOST_WEIGHTS: usize = 64;
/// Channels that the nodes may have for each float of the file, and beside that. Few nodes that widen could make many of few.
const MOST_CHANNELS: (usize, usize) = (8, 4096);

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// The tensors of a file, and what its graphs have taken of them so far.
pub struct Supply<'a> {
    tensors: &'a Tensors,
    /// Those that some node reads.
    read: BTreeSet<&'a str>,
    n_floats: usize,
    n_weights: usize,
    n_channels: usize,
}

impl<'a> Supply<'a> {
    /// All of them.
    pub fn new(tensors: &'a Tensors) -> Self {
        let n_floats = tensors.values().map(|tensor| tensor.data().len()).sum();
        Self { tensors, read: BTreeSet::new(), n_floats, n_weights: 0, n_channels: 0 }
    }

    /// Floats of all tensors together.
    pub fn n_floats(&self) -> usize {
        self.n_floats
    }

    /// The tensor of this name, of this shape.
    pub(super) fn tensor(
        &mut self,
        name: &str,
        shape: impl FnOnce(&Tensor) -> Vec<usize>,
    ) -> Result<&'a Tensor, String> {
        let (name, tensor) = self.tensors.get_key_value(name).ok_or_else(|| format!("tensor {name:?} is missing"))?;
        self.read.insert(name);
        let wanted = shape(tensor);
        if tensor.shape() != wanted {
            return Err(format!("tensor {name:?} has shape {:?}; wanted {wanted:?}", tensor.shape()));
        }
        self.n_weights = self.n_weights.saturating_add(tensor.data().len());
        if self.n_weights / MOST_WEIGHTS > self.n_floats {
            return Err(format!("the nodes read the file's tensors more than {MOST_WEIGHTS} times over"));
        }
        Ok(tensor)
    }

    /// Counts so many channels more, before there is memory for them.
    pub(super) fn spend(&mut self, n_channels: usize) -> Result<(), String> {
        self.n_channels = self.n_channels.saturating_add(n_channels);
        let most = MOST_CHANNELS.0.saturating_mul(self.n_floats).saturating_add(MOST_CHANNELS.1);
        if self.n_channels <= most {
            return Ok(());
        }
        Err(format!("the nodes have more than {most} channels, too many for a file of {} floats", self.n_floats))
    }

    /// Once all graphs are compiled: each tensor has a node that reads it.
    ///
    /// # Errors
    /// [`Error::Format`], which names a tensor that has none.
    pub fn check_all_read(&self) -> Result<(), Error> {
        match self.tensors.keys().find(|name| !self.read.contains(name.as_str())) {
            Some(name) => Err(Error::format(format!("unexpected tensor {name:?}: no node of the graph reads it"))),
            None => Ok(()),
        }
    }
}
