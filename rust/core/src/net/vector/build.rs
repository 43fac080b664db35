//! From a checked graph to what the walk needs: units sorted by degree, weights cut into products.

use super::{
    Layer, Vector,
    dense::{Dense, STRETCH},
    elementwise::{Average, Elementwise, Function},
    units::Units,
};
use crate::{
    error::Error,
    net::{
        graph::{Graph, Node, Op},
        sites::Sites,
    },
};

/// A graph on its way to a [`Vector`].
struct Build<'a> {
    graph: &'a Graph<'a>,
    sites: &'a Sites,
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
    cost: usize,
}

/// From a graph that has been checked.
pub fn vector(graph: &Graph<'_>, sites: &Sites) -> Result<Vector, Error> {
    let ones = match graph.nodes[0].op {
        Op::Values { scale, shift } => scale == 1.0 && shift == 0.0 && sites.n_classes.iter().all(|&n| n == 2),
        _ => true,
    };
    let readers = readers(graph);
    let reads_ones =
        |(index, node): &(usize, &Node)| ones && readers[*index] > 0 && matches!(node.op, Op::Taps { from: 0, .. });
    let stored = readers[0] > graph.nodes.iter().enumerate().filter(reads_ones).count();
    let places = vec![None; graph.nodes.len()];
    let mut build = Build { graph, sites, ones, readers, stored, places, nodes: Vec::new(), n_units: 0, cost: 0 };
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
        let n_steps = self.sites.n_dims();
        let units = Units::new(&node.degrees, n_steps);
        let layer = match &node.op {
            Op::Values { scale, shift } => Layer::Values { scale: *scale, shift: *shift },
            Op::OneHot => Layer::OneHot,
            Op::Taps { from, weight, bias, .. } => {
                let inputs = &self.source(*from).units;
                let cost = (0..units.len()).map(|unit| 1 + inputs.begin(units.step(unit) + 1)).sum::<usize>();
                let place = self.places[*from].expect("sources come first");
                // Bits within a stretch are multiplied whether they are one or not: where there are units enough to fill the
                // registers of a product by rows, stretches are short.
                let bits = *from == 0 && self.ones && matches!(self.nodes[0].layer, Layer::Values { .. });
                let many = units.len() * STRETCH > n_steps * 256;
                let stretch = if bits && many { STRETCH / 2 } else { STRETCH };
                let steps = (n_steps + 1, stretch);
                let dense = Dense::new((place, *from == 0), [inputs, &units], [weight, bias], steps)?;
                self.cost += cost;
                Layer::Dense(dense)
            }
            Op::Pointwise { from, function } => {
                let layer = elementwise(Function::Pointwise(*function), [self.units_of(*from, &units), Vec::new()]);
                // In place, if nobody else reads what was there.
                if self.readers[*from] == 1 && *from != 0 {
                    return Ok(super::Node { units, at: self.source(*from).at, layer });
                }
                layer
            }
            Op::Pair { from, function } => {
                elementwise(Function::Pair(*function), from.map(|index| self.units_of(index, &units)))
            }
            Op::Concat { from } => {
                let each = from.iter().flat_map(|&index| {
                    let source = self.source(index);
                    source.units.places.iter().map(|place| source.at as u32 + place)
                });
                let channels: Vec<u32> = each.collect();
                let sources = units.channels.iter().map(|&channel| channels[channel as usize]).collect();
                elementwise(Function::Copy, [sources, Vec::new()])
            }
            Op::Average { from } => {
                let sources = from.iter().map(|&index| self.units_of(index, &units)).collect();
                let sizes = self.sites.n_parameters.iter().flat_map(|&n| std::iter::repeat_n(n, n));
                let sizes: Vec<usize> = sizes.collect();
                let sizes = units.channels.iter().map(|&channel| sizes[channel as usize]).collect();
                Layer::Average(Average { sources, sizes })
            }
        };
        let at = self.n_units;
        self.n_units += match &layer {
            // Of bits those of a stretch.
            Layer::Values { .. } if !self.stored => STRETCH.min(n_steps),
            Layer::OneHot if !self.stored => 0,
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

    /// The node that a node of the graph has become.
    fn source(&self, index: usize) -> &super::Node {
        &self.nodes[self.places[index].expect("sources come first")]
    }

    /// For each unit, the unit of a source that it reads.
    fn units_of(&self, index: usize, units: &Units) -> Vec<u32> {
        let source = self.source(index);
        let unit = |&channel: &u32| source.at as u32 + source.units.places[channel as usize];
        units.channels.iter().map(unit).collect()
    }

    fn finish(self) -> Vector {
        let Self { graph, sites, ref nodes, .. } = self;
        let first_parameters = prefix_sums(&sites.n_parameters);
        let mut order = vec![0; sites.n_dims()];
        for (dim, &step) in sites.steps.iter().enumerate() {
            order[step] = dim;
        }
        let output = self.source(graph.output);
        let unit = |node: &super::Node, channel: u32| node.at as u32 + node.units.places[channel as usize];
        let (mut begins, mut parameters) = (vec![0], Vec::new());
        for &dim in &order {
            let first = first_parameters[dim];
            parameters.extend(&output.units.places[first..][..sites.n_parameters[dim]]);
            begins.push(parameters.len());
        }
        let features = graph.features.map(|index| {
            let node = self.source(index);
            let step = |channel: u32| node.units.step(node.units.places[channel as usize] as usize) as u32;
            (0..node.units.len() as u32).map(|channel| (unit(node, channel), step(channel))).collect()
        });
        let reads_ones = |node: &super::Node| matches!(&node.layer, Layer::Dense(dense) if dense.from == 0);
        Vector {
            n_steps: sites.n_dims(),
            bits: sites.n_parameters.iter().all(|&n| n == 1),
            n_units: self.n_units,
            output: self.places[graph.output].expect("a node that is needed"),
            windowed: self.is_windowed(graph.output),
            ones: self.ones && nodes.iter().any(reads_ones),
            stored: self.stored,
            begins,
            parameters,
            features,
            cost: self.cost,
            nodes: self.nodes,
        }
    }
}

fn elementwise(function: Function, sources: [Vec<u32>; 2]) -> Layer {
    Layer::Elementwise(Elementwise { function, sources })
}

/// The sums of all counts before each.
fn prefix_sums(counts: &[usize]) -> Vec<usize> {
    let sums = counts.iter().scan(0, |sum, count| {
        *sum += count;
        Some(*sum - count)
    });
    sums.collect()
}
