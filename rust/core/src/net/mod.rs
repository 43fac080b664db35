//! Networks: any graph of layers that supplies p(x_i | x_<i).
//!
//! A file says the graph ([`spec`]); [`compile`] checks it and proves it causal, which gives a [`graph`]; an executor lays it out and
//! walks it: [`vector`] for vectors, [`raster`] for images. There is no code for a family of networks here: a family is a graph.

pub mod compile;
pub mod graph;
pub mod lag;
mod params;
pub mod raster;
pub mod sites;
pub mod spec;
pub mod vector;
pub mod version1;

use std::collections::BTreeMap;

use serde_json::Value;

use self::{raster::Raster, sites::Sites, spec::Spec, vector::Vector};
use crate::{
    block::Block,
    checkpoint::Tensor,
    error::Error,
    model::{Model, Scratch},
    space::Space,
};

/// A trained network.
pub struct Network {
    space: Space,
    executor: Executor,
    n_params: usize,
}

/// What walks a graph.
enum Executor {
    Raster(Raster),
    Vector(Vector),
}

impl Network {
    /// From the graph of a file and its tensors.
    ///
    /// # Errors
    /// [`Error::Format`] if they do not make a network whose conditionals each depend on the steps before only.
    pub fn new(graph: &Value, tensors: &BTreeMap<String, Tensor>) -> Result<Self, Error> {
        let spec = Spec::from_json(graph)?;
        let space = &spec.fields.space;
        let held: usize = tensors.values().map(|tensor| tensor.data().len()).sum();
        // The dimensions of a site have weights of their own, and are as many as these at most; the sites of an image have none.
        let of_a_site = space.event_shape.first().copied().unwrap_or(0);
        if of_a_site > held {
            return Err(Error::format(format!(
                "the tensors hold {held} floats, too few for {of_a_site} dimensions of a site"
            )));
        }
        let space = space.without_raster_order()?;
        let sites = Sites::of(&space)?;
        let graph = compile::compile(&spec, &sites, tensors)?;
        let n_params = params::n_params(&graph);
        if space.shape().len() == 1 {
            let executor = Executor::Vector(Vector::new(&graph, &sites)?);
            return Ok(Self { space, executor, n_params });
        }
        let executor = Executor::Raster(Raster::new(&graph, sites.clone())?);
        Ok(Self { space: space.in_raster_order(), executor, n_params })
    }
}

impl Model for Network {
    fn space(&self) -> &Space {
        &self.space
    }

    fn n_params(&self) -> usize {
        self.n_params
    }

    fn cost(&self) -> usize {
        match &self.executor {
            Executor::Raster(raster) => raster.cost(),
            Executor::Vector(vector) => vector.cost(),
        }
    }

    fn block_len(&self) -> usize {
        match &self.executor {
            Executor::Raster(raster) => raster.block_len(),
            Executor::Vector(vector) => vector.block_len(),
        }
    }

    fn feature_shape(&self) -> Option<Vec<usize>> {
        match &self.executor {
            Executor::Raster(raster) => raster.feature_shape(),
            Executor::Vector(vector) => vector.n_features().map(|n| vec![n]),
        }
    }

    fn turn(&self, step: usize) -> usize {
        step + 1
    }

    fn revision(&self) -> u32 {
        1
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        match &self.executor {
            Executor::Raster(raster) => raster.walk(block, scratch),
            Executor::Vector(vector) => vector.walk(block, scratch),
        }
    }
}
