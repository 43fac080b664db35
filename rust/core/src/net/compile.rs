//! From the graph that a file says to one that can be run: names resolved, shapes compared, causality proved.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{
    graph::{Graph, Node, Op},
    lag::Lag,
    sites::Sites,
    spec::{LayerSpec, NodeSpec, Spec},
};
use crate::{checkpoint::Tensor, error::Error, layers::pointwise::Pointwise};

/// Weights that the nodes may read for each float of the file: several may read one tensor, each with masks of its own.
const MOST_WEIGHTS: usize = 64;
/// Channels that the nodes may have for each float of the file, and beside that. Few nodes that widen could make many of few.
const MOST_CHANNELS: (usize, usize) = (8, 4096);

/// Tensors by name.
type Tensors = BTreeMap<String, Tensor>;

/// What is known of a graph as it is read node by node.
struct Compiler<'a> {
    sites: &'a Sites,
    tensors: &'a Tensors,
    nodes: Vec<Node<'a>>,
    by_name: HashMap<String, usize>,
    /// For each channel of each node, what it depends on last.
    bounds: Vec<Vec<Bound>>,
    /// Tensors read so far.
    read: BTreeSet<&'a str>,
    /// Floats of the file, and weights and channels so far.
    n_floats: usize,
    n_weights: usize,
    n_channels: usize,
}

/// A layer, the degrees of its channels, and their bounds.
type Layer<'a> = (Op<'a>, Vec<i32>, Vec<Bound>);

/// How far what a channel depends on goes, and the node that it comes from.
#[derive(Clone, Copy)]
struct Bound {
    lag: Lag,
    via: Option<(u32, u32)>,
}

impl Bound {
    const NOTHING: Self = Self { lag: Lag::NOTHING, via: None };
}

/// The graph of a file with these tensors.
///
/// # Errors
/// [`Error::Format`], which names the node, if a node reads what is not there or stands after it, a tensor has another shape, or one is
/// not used; if the graph leaks, with the path on which it does.
pub fn compile<'a>(spec: &Spec<'_>, sites: &'a Sites, tensors: &'a Tensors) -> Result<Graph<'a>, Error> {
    let mut compiler = Compiler {
        sites,
        tensors,
        nodes: Vec::new(),
        by_name: HashMap::new(),
        bounds: Vec::new(),
        read: BTreeSet::new(),
        n_floats: tensors.values().map(|tensor| tensor.data().len()).sum(),
        n_weights: 0,
        n_channels: 0,
    };
    for node in spec.nodes() {
        let node = node?;
        let name = node.name.clone();
        compiler.push(node).map_err(|reason| Error::format(format!("node {name:?}: {reason}")))?;
    }
    let output = compiler.find(&spec.fields.output).map_err(|reason| Error::format(format!("output: {reason}")))?;
    compiler.check_output(output)?;
    let features = spec.fields.features.as_ref().map(|name| compiler.find(name)).transpose();
    let features = features.map_err(|reason| Error::format(format!("features: {reason}")))?;
    if let Some(name) = tensors.keys().find(|name| !compiler.read.contains(name.as_str())) {
        return Err(Error::format(format!("unexpected tensor {name:?}: no node of the graph reads it")));
    }
    Ok(Graph { nodes: compiler.nodes, output, features })
}

impl<'a> Compiler<'a> {
    fn find(&self, name: &str) -> Result<usize, String> {
        self.by_name.get(name).copied().ok_or_else(|| {
            format!("it reads {name:?}, which is no node before it; what goes round in a circle cannot be computed")
        })
    }

    fn find_all(&self, names: &[String]) -> Result<Vec<usize>, String> {
        names.iter().map(|name| self.find(name)).collect()
    }

    fn push(&mut self, NodeSpec { name, layer }: NodeSpec) -> Result<(), String> {
        let is_input = matches!(layer, LayerSpec::Values { .. } | LayerSpec::OneHot {});
        if is_input != self.nodes.is_empty() {
            return Err("the first node, and no other, is the input: \"values\" or \"one_hot\"".into());
        }
        let n_channels = self.width(&layer)?;
        self.n_channels = self.n_channels.saturating_add(n_channels).saturating_add(self.sites.steps.len());
        let most = MOST_CHANNELS.0.saturating_mul(self.n_floats).saturating_add(MOST_CHANNELS.1);
        if self.n_channels > most {
            return Err(format!(
                "the nodes have more than {most} channels, too many for a file of {} floats",
                self.n_floats
            ));
        }
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

    fn tensor(&mut self, name: &str) -> Result<&'a Tensor, String> {
        let (name, tensor) = self.tensors.get_key_value(name).ok_or_else(|| format!("tensor {name:?} is missing"))?;
        self.read.insert(name);
        Ok(tensor)
    }

    /// The channels of a layer.
    fn width(&mut self, layer: &LayerSpec) -> Result<usize, String> {
        let width = |name: &String| Ok::<_, String>(self.nodes[self.find(name)?].degrees.len());
        match layer {
            LayerSpec::Values { .. } => Ok(self.sites.steps.len()),
            LayerSpec::OneHot {} => Ok(self.sites.n_classes.iter().sum()),
            LayerSpec::Taps { weight, .. } | LayerSpec::Dense { weight, .. } => {
                Ok(self.tensor(weight)?.shape().first().copied().unwrap_or(0))
            }
            LayerSpec::Relu { from }
            | LayerSpec::LeakyRelu { from, .. }
            | LayerSpec::Elu { from }
            | LayerSpec::Tanh { from }
            | LayerSpec::Sigmoid { from }
            | LayerSpec::Silu { from }
            | LayerSpec::Gelu { from } => width(from),
            // With those of the two nodes in between.
            LayerSpec::ConcatElu { from } => Ok(5 * width(from)?),
            LayerSpec::Gate { from } | LayerSpec::Add { from } | LayerSpec::Multiply { from } => width(&from[0]),
            LayerSpec::Average { from } => from.first().map_or(Ok(0), width),
            LayerSpec::Concat { from } => from.iter().map(width).sum(),
        }
    }

    /// A layer, its degrees, and its channels' bounds.
    fn layer(&mut self, layer: LayerSpec) -> Result<Layer<'a>, String> {
        let pointwise = |compiler: &Self, from: &str, function| {
            let from = compiler.find(from)?;
            Ok(compiler.same(Op::Pointwise { from, function }))
        };
        match layer {
            LayerSpec::Values { scale, shift } => {
                if !(scale.is_finite() && shift.is_finite()) {
                    return Err(format!("scale is {scale} and shift {shift}; wanted finite numbers"));
                }
                Ok(self.input(Op::Values { scale, shift }, |_| 1))
            }
            LayerSpec::OneHot {} => {
                let classes = self.sites.n_classes.clone();
                Ok(self.input(Op::OneHot, |channel| classes[channel]))
            }
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
                let negative = self.add(String::new(), self.same(Op::Pointwise { from, function: Pointwise::Negate }));
                let from = vec![from, negative];
                let both = self.concatenated(Op::Concat { from: from.clone() }, &from)?;
                let from = self.add(String::new(), both);
                Ok(self.same(Op::Pointwise { from, function: Pointwise::Elu }))
            }
            LayerSpec::Concat { from } => {
                let from = self.find_all(&from)?;
                self.concatenated(Op::Concat { from: from.clone() }, &from)
            }
            LayerSpec::Gate { from } => {
                let [tanh, sigmoid] = self.pair(&from)?;
                Ok(self.same(Op::Gate { tanh, sigmoid }))
            }
            LayerSpec::Add { from } => {
                let from = self.pair(&from)?;
                Ok(self.same(Op::Add { from }))
            }
            LayerSpec::Multiply { from } => {
                let from = self.pair(&from)?;
                Ok(self.same(Op::Multiply { from }))
            }
            LayerSpec::Average { from } => {
                let from = self.find_all(&from)?;
                if from.is_empty() {
                    return Err("from is empty; wanted a node at least".into());
                }
                self.check_alike(&from)?;
                let first = &self.nodes[from[0]];
                if !self.parameters().map(|(_, degree)| degree).eq(first.degrees.iter().copied()) {
                    return Err(format!("{:?} does not hold the parameters of a site's distributions", first.name));
                }
                Ok(self.same(Op::Average { from }))
            }
        }
    }

    fn input(&self, op: Op<'a>, width: impl Fn(usize) -> usize) -> Layer<'a> {
        let steps = self.sites.steps.iter().enumerate();
        let degrees: Vec<_> =
            steps.flat_map(|(channel, &step)| std::iter::repeat_n(step as i32, width(channel))).collect();
        let bounds = degrees.iter().map(|&degree| Bound { lag: Lag::own_site(degree), via: None }).collect();
        (op, degrees, bounds)
    }

    /// What is computed channel by channel from nodes of the same channels.
    fn same(&self, op: Op<'a>) -> Layer<'a> {
        let sources = op.sources();
        let degrees = self.nodes[sources[0]].degrees.clone();
        let bounds = (0..degrees.len()).map(|channel| {
            let last = sources.iter().map(|&node| (self.bounds[node][channel].lag, node)).max();
            last.map_or(Bound::NOTHING, |(lag, node)| Bound { lag, via: place((node, channel)) })
        });
        let bounds = bounds.collect();
        (op, degrees, bounds)
    }

    fn concatenated(&self, op: Op<'a>, from: &[usize]) -> Result<Layer<'a>, String> {
        let channels = || from.iter().flat_map(|&node| (0..self.nodes[node].degrees.len()).map(move |c| (node, c)));
        if from.is_empty() {
            return Err("from is empty; wanted a node at least".into());
        }
        let degrees = channels().map(|(node, channel)| self.nodes[node].degrees[channel]).collect();
        let bounds = channels().map(|at| Bound { lag: self.bounds[at.0][at.1].lag, via: place(at) }).collect();
        Ok((op, degrees, bounds))
    }

    /// Two nodes of the same channels.
    fn pair(&self, names: &[String; 2]) -> Result<[usize; 2], String> {
        let nodes = [self.find(&names[0])?, self.find(&names[1])?];
        self.check_alike(&nodes)?;
        Ok(nodes)
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
        let tensor = self.tensor(weight)?;
        let n_out = tensor.shape().first().copied().unwrap_or(0);
        let mut wanted = vec![n_out, self.nodes[from].degrees.len()];
        wanted.extend((!dense).then_some(offsets.len()));
        check_shape(weight, tensor, &wanted)?;
        let weight = Cow::Borrowed(tensor.data());
        let bias = match bias {
            Some(name) => {
                let tensor = self.tensor(name)?;
                check_shape(name, tensor, &[n_out])?;
                Cow::Borrowed(tensor.data())
            }
            None => Cow::Owned(vec![0.0; n_out]),
        };
        self.n_weights = self.n_weights.saturating_add(weight.len() + n_out);
        if self.n_weights / MOST_WEIGHTS > self.n_floats {
            return Err(format!("the nodes read the file's tensors more than {MOST_WEIGHTS} times over"));
        }
        let degrees = degrees.unwrap_or_else(|| vec![-1; n_out]);
        let last = self.sites.steps.len() as i32 - 1;
        if degrees.len() != n_out {
            return Err(format!("it has {} degrees; wanted {n_out}, as many as it has outputs", degrees.len()));
        }
        if let Some(degree) = degrees.iter().find(|&&degree| !(-1..=last).contains(&degree)) {
            return Err(format!("a degree is {degree}; wanted −1 to {last}"));
        }
        let bounds = self.bounds_of_taps(from, &offsets, &degrees);
        Ok((Op::Taps { from, offsets, weight, bias }, degrees, bounds))
    }

    /// The bounds of the outputs of taps: what they read at other sites is the same for all of them, and at their own they read the
    /// inputs whose degrees are at most theirs.
    fn bounds_of_taps(&self, from: usize, offsets: &[[i32; 2]], degrees: &[i32]) -> Vec<Bound> {
        let inputs = &self.bounds[from];
        let largest = |bounds: &mut dyn Iterator<Item = (usize, Lag)>| {
            let last = bounds.max_by_key(|&(_, lag)| lag);
            last.map_or(Bound::NOTHING, |(channel, lag)| Bound { lag, via: place((from, channel)) })
        };
        let [height, width] = [self.sites.height, self.sites.width].map(|size| i32::try_from(size).unwrap_or(i32::MAX));
        let elsewhere = offsets.iter().filter(|&&[row, column]| {
            [row, column] != [0, 0] && row.unsigned_abs() < height as u32 && column.unsigned_abs() < width as u32
        });
        let mut elsewhere =
            elsewhere.flat_map(|&offset| inputs.iter().enumerate().map(move |(i, bound)| (i, bound.lag.at(offset))));
        let elsewhere = largest(&mut elsewhere);
        let own = offsets.contains(&[0, 0]);
        // The largest bound of the inputs of each degree and below; degrees begin with −1.
        let mut up_to = vec![Bound::NOTHING; self.sites.steps.len() + 1];
        if own {
            for (channel, (bound, &degree)) in inputs.iter().zip(&self.nodes[from].degrees).enumerate() {
                let at = &mut up_to[(degree + 1) as usize];
                if bound.lag >= at.lag {
                    *at = Bound { lag: bound.lag, via: place((from, channel)) };
                }
            }
            for at in 1..up_to.len() {
                if up_to[at - 1].lag > up_to[at].lag {
                    up_to[at] = up_to[at - 1];
                }
            }
        }
        let bound = |&degree: &i32| {
            let own = up_to[(degree + 1) as usize];
            if own.lag > elsewhere.lag { own } else { elsewhere }
        };
        degrees.iter().map(bound).collect()
    }

    /// For each parameter of a site's distributions its dimension, and the degree that it needs: the step before.
    fn parameters(&self) -> impl Iterator<Item = (usize, i32)> {
        let dims = self.sites.steps.iter().zip(&self.sites.n_parameters).enumerate();
        dims.flat_map(|(dim, (&step, &n))| std::iter::repeat_n((dim, step as i32 - 1), n))
    }

    /// Each parameter of a dimension may depend on the steps before it only.
    fn check_output(&self, output: usize) -> Result<(), Error> {
        let (node, widths) = (&self.nodes[output], &self.sites.n_parameters);
        let wanted: usize = widths.iter().sum();
        if node.degrees.len() != wanted {
            let n = node.degrees.len();
            return Err(Error::format(format!(
                "the output, node {:?}, has {n} channels; wanted {wanted}, one for each parameter of a site's distributions",
                node.name
            )));
        }
        for (channel, (dim, degree)) in self.parameters().enumerate() {
            if node.degrees[channel] != degree {
                return Err(Error::format(format!(
                    "the output, node {:?}, has degree {} at channel {channel}; wanted {degree}, the step before dimension {dim}",
                    node.name, node.degrees[channel],
                )));
            }
            if self.bounds[output][channel].lag > Lag::own_site(degree) {
                return Err(Error::format(format!(
                    "the graph leaks: the distribution of dimension {dim} of a site depends on what comes with it or after it, on the path {}",
                    self.path(output, channel)
                )));
            }
        }
        Ok(())
    }

    /// The nodes on the way from the input to a channel, with the channels of each.
    fn path(&self, node: usize, channel: usize) -> String {
        let mut path = Vec::new();
        let mut at = place((node, channel));
        while let Some((node, channel)) = at {
            let (node, channel) = (node as usize, channel as usize);
            path.push(format!("{:?} ({channel})", self.nodes[node].name));
            at = self.bounds[node][channel].via;
        }
        path.reverse();
        path.join(" → ")
    }
}

fn check_shape(name: &str, tensor: &Tensor, wanted: &[usize]) -> Result<(), String> {
    if tensor.shape() == wanted {
        return Ok(());
    }
    Err(format!("tensor {name:?} has shape {:?}; wanted {wanted:?}", tensor.shape()))
}

fn place((node, channel): (usize, usize)) -> Option<(u32, u32)> {
    Some((node as u32, channel as u32))
}

#[cfg(test)]
mod tests;
