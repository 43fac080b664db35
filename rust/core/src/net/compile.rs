//! From the graph that a file says to one that can be run: names resolved, shapes compared, causality proved.

mod bounds;
mod supply;

use std::{borrow::Cow, collections::HashMap};

use self::bounds::{Bound, place};
pub use self::supply::{Supply, Tensors};
use super::{
    graph::{Graph, Node, Op},
    lag::Lag,
    sites::Sites,
    spec::{LayerSpec, NodeSpec, Spec},
};
use crate::{
    checkpoint::Tensor,
    error::Error,
    layers::{combine::Pair, pointwise::Pointwise},
};

/// What is known of a graph as it is read node by node.
struct Compiler<'a, 's> {
    sites: &'s Sites,
    supply: &'s mut Supply<'a>,
    nodes: Vec<Node<'a>>,
    by_name: HashMap<String, usize>,
    /// For each channel of each node, what it depends on last.
    bounds: Vec<Vec<Bound>>,
}

/// A layer, the degrees of its channels, and their bounds.
type Layer<'a> = (Op<'a>, Vec<i32>, Vec<Bound>);

/// A graph of a file with these tensors, of which it may be one of several.
///
/// # Errors
/// [`Error::Format`], which names the node, if a node reads what is not there or stands after it, a tensor has another shape, or more is
/// made of the tensors than a file may; if the graph leaks, with the path on which it does.
pub fn compile<'a>(spec: &Spec<'_>, sites: &Sites, supply: &mut Supply<'a>) -> Result<Graph<'a>, Error> {
    let mut compiler = Compiler { sites, supply, nodes: Vec::new(), by_name: HashMap::new(), bounds: Vec::new() };
    for node in spec.nodes() {
        let node = node?;
        let name = node.name.clone();
        compiler.push(node).map_err(|reason| Error::format(format!("node {name:?}: {reason}")))?;
    }
    let output = compiler.find(&spec.fields.output).map_err(|reason| Error::format(format!("output: {reason}")))?;
    compiler.check_output(output)?;
    let features = spec.fields.features.as_ref().map(|name| compiler.find(name)).transpose();
    let features = features.map_err(|reason| Error::format(format!("features: {reason}")))?;
    Ok(Graph { nodes: compiler.nodes, output, features })
}

impl<'a> Compiler<'a, '_> {
    fn find(&self, name: &str) -> Result<usize, String> {
        self.by_name.get(name).copied().ok_or_else(|| {
            format!("it reads {name:?}, which is no node before it; what goes round in a circle cannot be computed")
        })
    }

    /// Nodes, of which there must be some.
    fn find_all(&self, names: &[String]) -> Result<Vec<usize>, String> {
        if names.is_empty() {
            return Err("from is empty; wanted a node at least".into());
        }
        names.iter().map(|name| self.find(name)).collect()
    }

    fn push(&mut self, NodeSpec { name, layer }: NodeSpec) -> Result<(), String> {
        let is_input = matches!(layer, LayerSpec::Values { .. } | LayerSpec::OneHot {});
        if is_input != self.nodes.is_empty() {
            return Err("the first node, and no other, is the input: \"values\" or \"one_hot\"".into());
        }
        // A node has groups of channels, as many as a site has dimensions.
        self.supply.spend(self.sites.n_dims())?;
        let layer = self.layer(layer)?;
        if self.by_name.insert(name.clone(), self.nodes.len()).is_some() {
            return Err("another node has the same name".into());
        }
        self.add(name, layer);
        Ok(())
    }

    fn add(&mut self, name: String, (op, degrees, bounds): Layer<'a>) -> usize {
        let lag = bounds.iter().map(|bound| bound.lag).max().unwrap_or(Lag::NOTHING);
        self.nodes.push(Node { name, op, degrees, lag });
        self.bounds.push(bounds);
        self.nodes.len() - 1
    }

    /// A layer, its degrees, and its channels' bounds.
    fn layer(&mut self, layer: LayerSpec) -> Result<Layer<'a>, String> {
        let pointwise = |compiler: &mut Self, from: &str, function| {
            let from = compiler.find(from)?;
            compiler.same(Op::Pointwise { from, function })
        };
        match layer {
            LayerSpec::Values { scale, shift } => {
                if !(scale.is_finite() && shift.is_finite()) {
                    return Err(format!("scale is {scale} and shift {shift}; wanted finite numbers"));
                }
                self.input(Op::Values { scale, shift }, &vec![1; self.sites.n_dims()])
            }
            LayerSpec::OneHot {} => self.input(Op::OneHot, &self.sites.n_classes),
            LayerSpec::Taps { from, offsets, weight, bias, degrees } => {
                self.taps(&from, offsets, (&weight, bias.as_deref()), degrees, false)
            }
            LayerSpec::Dense { from, weight, bias, degrees } => {
                self.taps(&from, vec![[0, 0]], (&weight, bias.as_deref()), degrees, true)
            }
            LayerSpec::Relu { from } => pointwise(self, &from, Pointwise::Relu),
            LayerSpec::LeakyRelu { from, slope } if slope.is_finite() => {
                pointwise(self, &from, Pointwise::LeakyRelu(slope))
            }
            LayerSpec::LeakyRelu { slope, .. } => Err(format!("slope is {slope}; wanted a finite number")),
            LayerSpec::Elu { from } => pointwise(self, &from, Pointwise::Elu),
            LayerSpec::Tanh { from } => pointwise(self, &from, Pointwise::Tanh),
            LayerSpec::Sigmoid { from } => pointwise(self, &from, Pointwise::Sigmoid),
            LayerSpec::Silu { from } => pointwise(self, &from, Pointwise::Silu),
            LayerSpec::Gelu { from } => pointwise(self, &from, Pointwise::Gelu),
            LayerSpec::ConcatElu { from } => {
                // elu(x), and then elu(−x): the ELU of x and its negative.
                let from = self.find(&from)?;
                let negative = self.same(Op::Pointwise { from, function: Pointwise::Negate })?;
                let negative = self.add(String::new(), negative);
                let both = self.concatenated(vec![from, negative])?;
                let from = self.add(String::new(), both);
                self.same(Op::Pointwise { from, function: Pointwise::Elu })
            }
            LayerSpec::Concat { from } => {
                let from = self.find_all(&from)?;
                self.concatenated(from)
            }
            LayerSpec::Gate { from } => self.pair(&from, Pair::Gate),
            LayerSpec::Add { from } => self.pair(&from, Pair::Add),
            LayerSpec::Multiply { from } => self.pair(&from, Pair::Multiply),
            LayerSpec::Average { from } => {
                let from = self.find_all(&from)?;
                self.check_alike(&from)?;
                let first = &self.nodes[from[0]];
                if !self.parameters().map(|(_, degree)| degree).eq(first.degrees.iter().copied()) {
                    return Err(format!("{:?} does not hold the parameters of a site's distributions", first.name));
                }
                self.same(Op::Average { from })
            }
        }
    }

    /// The input, with so many channels for each dimension of the site.
    fn input(&mut self, op: Op<'a>, widths: &[usize]) -> Result<Layer<'a>, String> {
        self.supply.spend(widths.iter().sum())?;
        let steps = self.sites.steps.iter().zip(widths);
        let degrees: Vec<_> = steps.flat_map(|(&step, &width)| std::iter::repeat_n(step as i32, width)).collect();
        let bounds = degrees.iter().map(|&degree| Bound { lag: Lag::own_site(degree), via: None }).collect();
        Ok((op, degrees, bounds))
    }

    /// What is computed channel by channel from nodes of the same channels.
    fn same(&mut self, op: Op<'a>) -> Result<Layer<'a>, String> {
        let sources = op.sources();
        self.supply.spend(self.nodes[sources[0]].degrees.len())?;
        let degrees = self.nodes[sources[0]].degrees.clone();
        let bounds = (0..degrees.len()).map(|channel| {
            let last = sources.iter().map(|&node| (self.bounds[node][channel].lag, node)).max();
            last.map_or(Bound::NOTHING, |(lag, node)| Bound { lag, via: place((node, channel)) })
        });
        let bounds = bounds.collect();
        Ok((op, degrees, bounds))
    }

    fn concatenated(&mut self, from: Vec<usize>) -> Result<Layer<'a>, String> {
        self.supply.spend(from.iter().map(|&node| self.nodes[node].degrees.len()).sum())?;
        let channels = || from.iter().flat_map(|&node| (0..self.nodes[node].degrees.len()).map(move |c| (node, c)));
        let degrees = channels().map(|(node, channel)| self.nodes[node].degrees[channel]).collect();
        let bounds = channels().map(|at| Bound { lag: self.bounds[at.0][at.1].lag, via: place(at) }).collect();
        Ok((Op::Concat { from }, degrees, bounds))
    }

    /// A function of two nodes of the same channels.
    fn pair(&mut self, names: &[String; 2], function: Pair) -> Result<Layer<'a>, String> {
        let from = [self.find(&names[0])?, self.find(&names[1])?];
        self.check_alike(&from)?;
        self.same(Op::Pair { from, function })
    }

    fn check_alike(&self, nodes: &[usize]) -> Result<(), String> {
        let first = &self.nodes[nodes[0]];
        for node in &nodes[1..] {
            let other = &self.nodes[*node];
            let (n, m) = (first.degrees.len(), other.degrees.len());
            if n != m {
                return Err(format!("{:?} has {n} channels, and {:?} has {m}", first.name, other.name));
            }
            if let Some(channel) = (0..n).find(|&channel| first.degrees[channel] != other.degrees[channel]) {
                let [a, b] = [first, other].map(|node| node.degrees[channel]);
                return Err(format!(
                    "channel {channel} has degree {a} in {:?}, and {b} in {:?}",
                    first.name, other.name
                ));
            }
        }
        Ok(())
    }

    fn taps(
        &mut self,
        from: &str,
        offsets: Vec<[i32; 2]>,
        (weight, bias): (&str, Option<&str>),
        degrees: Option<Vec<i32>>,
        dense: bool,
    ) -> Result<Layer<'a>, String> {
        let from = self.find(from)?;
        if let Some(twice) = offsets.iter().enumerate().find(|(at, offset)| offsets[..*at].contains(offset)) {
            return Err(format!("the offset {:?} stands twice", twice.1));
        }
        let n_in = self.nodes[from].degrees.len();
        let shape = |tensor: &Tensor| {
            let n_out = tensor.shape().first().copied().unwrap_or(0);
            [n_out, n_in].into_iter().chain((!dense).then_some(offsets.len())).collect()
        };
        let tensor = self.supply.tensor(weight, shape)?;
        let (n_out, weight) = (tensor.shape()[0], Cow::Borrowed(tensor.data()));
        self.supply.spend(n_out)?;
        let bias = match bias {
            Some(name) => Cow::Borrowed(self.supply.tensor(name, |_| vec![n_out])?.data()),
            None => Cow::Owned(vec![0.0; n_out]),
        };
        let degrees = degrees.unwrap_or_else(|| vec![-1; n_out]);
        let last = self.sites.n_dims() as i32 - 1;
        if degrees.len() != n_out {
            return Err(format!("it has {} degrees; wanted {n_out}, as many as it has outputs", degrees.len()));
        }
        if let Some(degree) = degrees.iter().find(|&&degree| !(-1..=last).contains(&degree)) {
            return Err(format!("a degree is {degree}; wanted −1 to {last}"));
        }
        let bounds = self.bounds_of_taps(from, &offsets, &degrees);
        Ok((Op::Taps { from, offsets, weight, bias }, degrees, bounds))
    }
}

#[cfg(test)]
mod tests;
