//! From a checked graph to what the walk needs: units sorted by degree, weights cut into products.

use super::{
    Dim, Layer, Vector,
    dense::Dense,
    elementwise::{Average, Elementwise, Function},
    units::Units,
};
use crate::{
    error::Error,
    net::graph::{Graph, Node, Op},
};

/// A graph on its way to a [`Vector`].
struct Build<'a> {
    graph: &'a Graph<'a>,
    dims: &'a [Dim],
    /// The input's channels are zeros and ones, of which dense layers read the ones.
    ones: bool,
    /// How many needed nodes read each node; the output and the features count as readers.
    readers: Vec<usize>,
    /// Whether somebody reads the input as numbers.
    stored: bool,
    /// Where each node of the graph stands among `nodes`, if it is needed.
    places: Vec<Option<usize>>,
    nodes: Vec<super::Node>,
    n_units: usize,
    n_params: usize,
}

/// From a graph that has been checked.
pub fn vector(graph: &Graph<'_>, dims: &[Dim]) -> Result<Vector, Error> {
    let ones = match graph.nodes[0].op {
        Op::Values { scale, shift } => scale == 1.0 && shift == 0.0 && dims.iter().all(|dim| dim.n_classes == 2),
        _ => true,
    };
    let readers = readers(graph);
    let reads_ones =
        |(index, node): &(usize, &Node)| ones && readers[*index] > 0 && matches!(node.op, Op::Taps { from: 0, .. });
    let stored = readers[0] > graph.nodes.iter().enumerate().filter(reads_ones).count();
    let places = vec![None; graph.nodes.len()];
    let mut build = Build { graph, dims, ones, readers, stored, places, nodes: Vec::new(), n_units: 0, n_params: 0 };
    for index in 0..graph.nodes.len() {
        if index == 0 || build.readers[index] > 0 {
            let node = build.node(index)?;
            build.places[index] = Some(build.nodes.len());
            build.nodes.push(node);
        }
    }
    Ok(build.finish())
}

/// How many nodes, of those that the output and the features need, read each node.
fn readers(graph: &Graph<'_>) -> Vec<usize> {
    let mut readers = vec![0; graph.nodes.len()];
    readers[graph.output] += 1;
    if let Some(features) = graph.features {
        readers[features] += 1;
    }
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if readers[index] > 0 {
            node.op.sources().into_iter().for_each(|source| readers[source] += 1);
        }
    }
    readers
}

impl Build<'_> {
    /// A node of the graph, all of whose sources are among `nodes`.
    fn node(&mut self, index: usize) -> Result<super::Node, Error> {
        let node = &self.graph.nodes[index];
        let n_steps = self.dims.len();
        let steps = self.steps(index);
        let units = Units::new(&steps, n_steps);
        let layer = match &node.op {
            Op::Values { scale, shift } => Layer::Values { scale: *scale, shift: *shift },
            Op::OneHot => Layer::OneHot,
            Op::Taps { from, weight, bias, .. } => {
                let inputs = &self.source(*from).units;
                let n_params = (0..units.len()).map(|unit| 1 + inputs.begin(units.step(unit) + 1)).sum::<usize>();
                let place = self.places[*from].expect("sources come first");
                let dense = Dense::new((place, *from == 0), [inputs, &units], [weight, bias], n_steps + 1)?;
                self.n_params += n_params;
                Layer::Dense(dense)
            }
            Op::Pointwise { from, function } => {
                let sources = self.units_of(*from, &units, |channel| channel);
                // In place, if nobody else reads what was there.
                if self.readers[*from] == 1 && *from != 0 {
                    let at = self.source(*from).at;
                    return Ok(super::Node {
                        units,
                        at,
                        layer: self.elementwise(Function::Pointwise(*function), [sources, Vec::new()]),
                    });
                }
                self.elementwise(Function::Pointwise(*function), [sources, Vec::new()])
            }
            Op::Gate { tanh: a, sigmoid: b } => self.both(Function::Gate, [*a, *b], &units),
            Op::Add { from } => self.both(Function::Add, *from, &units),
            Op::Multiply { from } => self.both(Function::Multiply, *from, &units),
            Op::Concat { from } => {
                let each = from.iter().flat_map(|&index| {
                    let source = self.source(index);
                    source.units.places.iter().map(|place| source.at as u32 + place)
                });
                let channels: Vec<u32> = each.collect();
                let sources = units.channels.iter().map(|&channel| channels[channel as usize]).collect();
                self.elementwise(Function::Copy, [sources, Vec::new()])
            }
            Op::Average { from } => {
                let sources = from.iter().map(|&index| self.units_of(index, &units, |channel| channel)).collect();
                let sizes = self.dims.iter().flat_map(|dim| vec![dim.n_parameters; dim.n_parameters as usize]);
                let sizes: Vec<u32> = sizes.collect();
                let sizes = units.channels.iter().map(|&channel| sizes[channel as usize]).collect();
                Layer::Average(Average { sources, sizes })
            }
        };
        let at = self.n_units;
        self.n_units += match &layer {
            Layer::Values { .. } | Layer::OneHot if !self.stored => 0,
            Layer::Dense(dense) if self.is_windowed(index) => {
                dense.far.iter().map(|part| part.units.len()).max().unwrap_or(0)
            }
            _ => units.len(),
        };
        Ok(super::Node { units, at, layer })
    }

    /// Whether only the units of a stretch are stored: those of an output that no node reads.
    fn is_windowed(&self, index: usize) -> bool {
        index == self.graph.output && self.readers[index] == 1 && matches!(self.graph.nodes[index].op, Op::Taps { .. })
    }

    /// The step before which each channel of a node is computed.
    fn steps(&self, index: usize) -> Vec<u32> {
        let node = &self.graph.nodes[index];
        let of = |index: usize| {
            let units = &self.source(index).units;
            units.places.iter().map(|&place| units.step(place as usize) as u32).collect::<Vec<_>>()
        };
        match &node.op {
            Op::Values { .. } => self.dims.iter().map(|dim| dim.step + 1).collect(),
            Op::OneHot => self.dims.iter().flat_map(|dim| vec![dim.step + 1; dim.n_classes as usize]).collect(),
            Op::Taps { .. } => node.degrees.iter().map(|&degree| (degree + 1) as u32).collect(),
            Op::Concat { from } => from.iter().flat_map(|&index| of(index)).collect(),
            op => {
                let mut steps: Vec<u32> = vec![0; node.degrees.len()];
                for source in op.sources() {
                    let of_source = of(source);
                    for (channel, step) in steps.iter_mut().enumerate() {
                        *step = of_source[channel].max(*step);
                    }
                }
                if matches!(op, Op::Average { .. }) {
                    // All parameters of a dimension at once.
                    let mut rest = &mut steps[..];
                    for dim in self.dims {
                        let (own, others) = rest.split_at_mut(dim.n_parameters as usize);
                        let last = own.iter().copied().max().unwrap_or(0);
                        own.fill(last);
                        rest = others;
                    }
                }
                steps
            }
        }
    }

    /// The node that a node of the graph has become.
    fn source(&self, index: usize) -> &super::Node {
        &self.nodes[self.places[index].expect("sources come first")]
    }

    /// For each unit, the unit of a source that it reads.
    fn units_of(&self, index: usize, units: &Units, channel_of: impl Fn(u32) -> u32) -> Vec<u32> {
        let source = self.source(index);
        let unit = |&channel: &u32| source.at as u32 + source.units.places[channel_of(channel) as usize];
        units.channels.iter().map(unit).collect()
    }

    fn both(&self, function: Function, from: [usize; 2], units: &Units) -> Layer {
        self.elementwise(function, from.map(|index| self.units_of(index, units, |channel| channel)))
    }

    fn elementwise(&self, function: Function, sources: [Vec<u32>; 2]) -> Layer {
        Layer::Elementwise(Elementwise { function, sources })
    }

    fn finish(self) -> Vector {
        let Self { graph, dims, ref nodes, .. } = self;
        let first_parameters = prefix_sums(dims.iter().map(|dim| dim.n_parameters));
        let mut order = vec![0; dims.len()];
        for (index, dim) in dims.iter().enumerate() {
            order[dim.step as usize] = index;
        }
        let output = self.source(graph.output);
        let unit = |node: &super::Node, channel: u32| node.at as u32 + node.units.places[channel as usize];
        let (mut begins, mut parameters) = (vec![0], Vec::new());
        for &dim in &order {
            let first = first_parameters[dim];
            parameters.extend(&output.units.places[first as usize..][..dims[dim].n_parameters as usize]);
            begins.push(parameters.len());
        }
        let features = graph.features.map(|index| {
            let node = self.source(index);
            let step = |channel: u32| node.units.step(node.units.places[channel as usize] as usize) as u32;
            (0..node.units.len() as u32).map(|channel| (unit(node, channel), step(channel))).collect()
        });
        let bytes = |node: &super::Node| if let Layer::Dense(dense) = &node.layer { dense.bytes() } else { 0 };
        let reads_ones = |node: &super::Node| matches!(&node.layer, Layer::Dense(dense) if dense.from == 0);
        Vector {
            n_steps: dims.len(),
            bits: dims.iter().all(|dim| dim.n_parameters == 1),
            n_units: self.n_units,
            output: self.places[graph.output].expect("a node that is needed"),
            windowed: self.is_windowed(graph.output),
            ones: self.ones && nodes.iter().any(reads_ones),
            stored: self.stored,
            begins,
            parameters,
            features,
            n_params: self.n_params,
            bytes: nodes.iter().map(bytes).sum(),
            nodes: self.nodes,
        }
    }
}

/// The sums of all counts before each.
fn prefix_sums(counts: impl Iterator<Item = u32>) -> Vec<u32> {
    let sums = counts.scan(0, |sum, count| {
        *sum += count;
        Some(*sum - count)
    });
    sums.collect()
}
