//! How many parameters have an effect.

use std::{borrow::Cow, collections::BTreeMap};

use super::graph::{Graph, Op};

/// Weights of some graphs that act on some output, and biases; those that several nodes share count once.
pub fn n_params<'g>(graphs: impl IntoIterator<Item = &'g Graph<'g>>) -> usize {
    // Nodes by the weights and biases that they read, which are told apart by where they are.
    let mut by_weight: BTreeMap<*const f32, Vec<Connections<'_>>> = BTreeMap::new();
    let mut biases: BTreeMap<*const f32, usize> = BTreeMap::new();
    for (graph, node) in graphs.into_iter().flat_map(|graph| graph.nodes.iter().map(move |node| (graph, node))) {
        if let Op::Taps { from, offsets, weight, bias } = &node.op {
            let own_site = offsets.contains(&[0, 0]);
            let elsewhere = offsets.len() - usize::from(own_site);
            let connections =
                Connections { inputs: &graph.nodes[*from].degrees, outputs: &node.degrees, own_site, elsewhere };
            by_weight.entry(weight.as_ptr()).or_default().push(connections);
            if let Cow::Borrowed(bias) = bias {
                biases.insert(bias.as_ptr(), bias.len());
            }
        }
    }
    by_weight.values().map(|nodes| acting(nodes)).sum::<usize>() + biases.values().sum::<usize>()
}

/// What a node's weights connect.
struct Connections<'a> {
    inputs: &'a [i32],
    outputs: &'a [i32],
    /// Whether there is an offset (0, 0), where degrees matter.
    own_site: bool,
    /// Other offsets, where they do not.
    elsewhere: usize,
}

/// Weights that act in some of the nodes that share them.
fn acting(nodes: &[Connections<'_>]) -> usize {
    let [first, others @ ..] = nodes else { return 0 };
    let (n_in, n_out) = (first.inputs.len(), first.outputs.len());
    let elsewhere = first.elsewhere * n_in * n_out;
    if !first.own_site {
        return elsewhere;
    }
    if others.is_empty() {
        let mut inputs = first.inputs.to_vec();
        inputs.sort_unstable();
        let of = |degree: &i32| inputs.partition_point(|input| input <= degree);
        return elsewhere + first.outputs.iter().map(of).sum::<usize>();
    }
    let mut n = elsewhere;
    for output in 0..n_out {
        let acts = |input: &usize| nodes.iter().any(|node| node.inputs[*input] <= node.outputs[output]);
        n += (0..n_in).filter(acts).count();
    }
    n
}
