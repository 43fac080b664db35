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

use serde_json::Value;

use self::{
    compile::{Supply, Tensors},
    graph::Graph,
    raster::Raster,
    sites::Sites,
    spec::{MAX_NODES, Spec},
    vector::Vector,
};
use crate::{
    block::Block,
    error::Error,
    model::{Model, Scratch},
    space::{MAX_DIMS, Space},
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

/// A graph that has been checked, and what it is over.
struct Checked<'a> {
    space: Space,
    sites: Sites,
    graph: Graph<'a>,
}

impl Network {
    /// From the graph of a file and its tensors.
    ///
    /// # Errors
    /// [`Error::Format`] if they do not make a network whose conditionals each depend on the steps before only.
    pub fn new(graph: &Value, tensors: &Tensors) -> Result<Self, Error> {
        let mut supply = Supply::new(tensors);
        let checked = Checked::new(&Spec::from_json(graph)?, &mut supply)?;
        supply.check_all_read()?;
        checked.network()
    }

    /// From several graphs of a file, which share its tensors: the networks, and how many parameters they have together.
    ///
    /// # Errors
    /// As [`Network::new`], naming the network by its number; what a file may hold, its networks may hold together.
    pub fn several(graphs: &[Value], tensors: &Tensors) -> Result<(Vec<Self>, usize), Error> {
        let mut supply = Supply::new(tensors);
        let specs = numbered(graphs.iter().map(Spec::from_json))?;
        let n_nodes: usize = specs.iter().map(Spec::n_nodes).sum();
        if n_nodes > MAX_NODES {
            let n = specs.len();
            return Err(Error::format(format!("the {n} members have {n_nodes} nodes; wanted at most {MAX_NODES}")));
        }
        let checked = numbered(specs.iter().map(|spec| Checked::new(spec, &mut supply)))?;
        supply.check_all_read()?;
        // An image's order takes memory that no file does.
        let n_dims: usize = checked.iter().map(|checked| checked.space.n_dims()).sum();
        if n_dims > MAX_DIMS {
            let n = checked.len();
            return Err(Error::format(format!("the {n} members have {n_dims} dimensions; wanted at most {MAX_DIMS}")));
        }
        let n_params = params::n_params(checked.iter().map(|checked| &checked.graph));
        Ok((numbered(checked.into_iter().map(Checked::network))?, n_params))
    }
}

/// All of them, or the first error with the number of the member that it is of.
fn numbered<T>(members: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    let of = |(at, member): (usize, Result<T, Error>)| {
        member.map_err(|error| match error {
            Error::Format(reason) => Error::format(format!("member {at}: {reason}")),
            other => other,
        })
    };
    members.enumerate().map(of).collect()
}

impl<'a> Checked<'a> {
    fn new(spec: &Spec<'_>, supply: &mut Supply<'a>) -> Result<Self, Error> {
        let space = &spec.fields.space;
        let held = supply.n_floats();
        // The dimensions of a site have weights of their own, and are as many as these at most; the sites of an image have none.
        let of_a_site = space.event_shape.first().copied().unwrap_or(0);
        if of_a_site > held {
            return Err(Error::format(format!(
                "the tensors hold {held} floats, too few for {of_a_site} dimensions of a site"
            )));
        }
        let space = space.without_raster_order()?;
        let sites = Sites::of(&space)?;
        let graph = compile::compile(spec, &sites, supply)?;
        Ok(Self { space, sites, graph })
    }

    fn network(self) -> Result<Network, Error> {
        let Self { space, sites, graph } = self;
        let n_params = params::n_params([&graph]);
        if space.shape().len() == 1 {
            let executor = Executor::Vector(Vector::new(&graph, &sites)?);
            return Ok(Network { space, executor, n_params });
        }
        let executor = Executor::Raster(Raster::new(&graph, sites)?);
        Ok(Network { space: space.in_raster_order(), executor, n_params })
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
