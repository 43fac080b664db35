//! From a checked graph to layers with weights in the kernel's layout: when each is computed, and what follows a sum at no cost.

use std::collections::BTreeSet;

use super::{Channels, Input, Layer, Node, NodeId, Phase, Raster, Reach, Then};
use crate::{
    error::Error,
    kernels::LANES,
    layers::{
        combine::Pair,
        pointwise::Pointwise,
        taps::{self, Weights},
    },
    net::{
        graph::{self, Graph, Op},
        sites::Sites,
    },
};

impl Raster {
    /// Lays out a graph over a grid of sites.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be computed in the order of the pixels.
    pub fn new(graph: &Graph<'_>, sites: Sites) -> Result<Self, Error> {
        let fused = Fused::of(graph)?;
        let phases = &fused.phases;
        let last = sites.n_dims() as i32 - 1;
        let computed = graph.nodes.iter().skip(1);
        // A group more where something is computed only after the last channel of its own pixel.
        let n_groups =
            sites.n_dims() + usize::from(computed.flat_map(|node| &node.degrees).any(|&degree| degree == last));
        let mut nodes: Vec<Node> = Vec::new();
        let mut place = vec![0; graph.nodes.len()];
        for (at, node) in graph.nodes.iter().enumerate() {
            place[at] = match fused.role[at] {
                Role::Own(_) => nodes.len(),
                Role::Into(host) => place[host],
            };
            let Role::Own(then) = fused.role[at] else { continue };
            let is_input = at == 0;
            let channels = Channels::new(&node.degrees, if is_input { 0 } else { -1 }, n_groups, !is_input);
            let layer = match &node.op {
                Op::Values { scale, shift } => {
                    let most = sites.n_classes.iter().copied().max().unwrap_or(0);
                    Layer::Input(Input::Values((0..most).map(|value| (value as f32).mul_add(*scale, *shift)).collect()))
                }
                Op::OneHot => Layer::Input(Input::OneHot(sites.n_classes.first().copied().unwrap_or(0))),
                Op::Taps { from, offsets, weight, bias } => {
                    let source = &nodes[place[*from]].channels;
                    let groups =
                        taps::groups(Weights { offsets, weight, bias }, source, &channels, [sites.height, sites.width]);
                    let then = match then {
                        After::Nothing => Then::Keep,
                        After::Relu => Then::Relu,
                        After::Add(other) => Then::Add(place[other]),
                    };
                    Layer::Taps { from: place[*from], of_relu: fused.of_relu[at], groups, then }
                }
                Op::Pointwise { from, function } => Layer::Pointwise { from: place[*from], function: *function },
                Op::Pair { from, function } => Layer::Pair { from: from.map(|node| place[node]), function: *function },
                Op::Concat { from } => Layer::Concat { from: from.iter().map(|&node| place[node]).collect() },
                Op::Average { .. } => {
                    let message = format!("node {:?}: an average is for vectors, not for images", node.name);
                    return Err(Error::format(message));
                }
            };
            let phase = phases[at];
            let in_rows = phase != Phase::Pixel;
            let reach = Reach { whole_rows: in_rows, ..Reach::default() };
            let node = Node { layer, channels, reach, phase, in_rows, inside: None };
            look_back(&mut nodes, &node);
            nodes.push(node);
        }
        for shown in graph.features.into_iter().chain([graph.output]) {
            let node = &mut nodes[place[shown]];
            node.reach.whole_rows |= node.phase != Phase::Pixel;
        }
        write_in_place(&mut nodes);
        let only_channels = nodes.iter().skip(1).any(|node| node.phase == Phase::Pixel && node.in_rows);
        let (output, features) = (place[graph.output], graph.features.map(|node| place[node]));
        Ok(Self { sites, n_groups, nodes, output, features, only_channels })
    }
}

/// Tells the nodes that `node` reads how far it looks back at them.
fn look_back(nodes: &mut [Node], node: &Node) {
    for from in node.layer.sources() {
        let source = &mut nodes[from];
        let apart = source.phase != node.phase;
        source.reach.whole_rows |= apart;
        source.in_rows |= node.phase != Phase::Pixel;
    }
    if let Layer::Taps { from, groups, .. } = &node.layer {
        let reach = &mut nodes[*from].reach;
        for group in groups {
            reach.rows = reach.rows.max(group.rows_up());
            reach.columns = reach.columns.max(group.columns_aside());
        }
    }
}

/// Has nodes that are concatenated written where the concatenation stands, if all of them can be: then nothing is copied.
fn write_in_place(nodes: &mut [Node]) {
    let mut first_readers = vec![NodeId::MAX; nodes.len()];
    for (reader, node) in nodes.iter().enumerate().rev() {
        node.layer.sources().into_iter().for_each(|source| first_readers[source] = reader);
    }
    for host in 0..nodes.len() {
        let Layer::Concat { from } = &nodes[host].layer else { continue };
        let from = from.clone();
        let fits = |&source: &NodeId| {
            let node = &nodes[source];
            let aligned = node.channels.groups.iter().all(|group| group.len.is_multiple_of(LANES));
            // Who reads a node must stand behind the memory that it is in.
            let unread = first_readers[source] == host;
            let computed = !matches!(node.layer, Layer::Input(_) | Layer::Concat { .. });
            aligned && unread && computed && node.inside.is_none() && node.phase == nodes[host].phase
        };
        let n_different = from.iter().collect::<BTreeSet<_>>().len();
        if n_different < from.len() || !from.iter().all(fits) {
            continue;
        }
        let mut first = vec![0; nodes[host].channels.groups.len()];
        for &source in &from {
            let [node, host_node] = nodes.get_disjoint_mut([source, host]).expect("a node does not read itself");
            let groups = node.channels.groups.iter_mut().zip(&host_node.channels.groups);
            for ((group, of_host), first) in groups.zip(&mut first) {
                group.move_into(of_host, *first);
                *first += group.len;
            }
            node.inside = Some(host);
            host_node.in_rows |= node.in_rows;
            host_node.reach = host_node.reach.with(node.reach);
        }
        for source in from {
            nodes[source].in_rows = nodes[host].in_rows;
        }
        nodes[host].layer = Layer::Concat { from: Vec::new() };
    }
}

impl Layer {
    /// The nodes that it reads.
    fn sources(&self) -> Vec<NodeId> {
        match self {
            Layer::Input(_) => Vec::new(),
            Layer::Taps { from, then: Then::Add(other), .. } => vec![*from, *other],
            Layer::Taps { from, .. } | Layer::Pointwise { from, .. } => vec![*from],
            Layer::Pair { from, .. } => from.to_vec(),
            Layer::Concat { from } => from.clone(),
        }
    }
}

/// What follows a sum of taps, in nodes of the graph.
#[derive(Clone, Copy)]
enum After {
    Nothing,
    Relu,
    Add(usize),
}

/// What becomes of a node of the graph.
#[derive(Clone, Copy)]
enum Role {
    /// It is kept; if it is a sum of taps, with this after it.
    Own(After),
    /// It is computed by the node at this place, or seen through it.
    Into(usize),
}

/// Which nodes are computed together with others.
struct Fused {
    phases: Vec<Phase>,
    role: Vec<Role>,
    /// Sums of taps that see max(·, 0) of what they read.
    of_relu: Vec<bool>,
}

impl Fused {
    fn of(graph: &Graph<'_>) -> Result<Self, Error> {
        let phases = phases(graph)?;
        let n = graph.nodes.len();
        let mut readers = vec![Vec::new(); n];
        for (at, node) in graph.nodes.iter().enumerate() {
            node.op.sources().into_iter().for_each(|from| readers[from].push(at));
        }
        let shown = |node: usize| node == graph.output || graph.features == Some(node);
        let mut role = vec![Role::Own(After::Nothing); n];
        let mut of_relu = vec![false; n];
        let is_taps = |at: usize| matches!(graph.nodes[at].op, Op::Taps { .. });
        for (at, node) in graph.nodes.iter().enumerate() {
            // A sum of taps that nothing else reads, and that is computed when this node is.
            let free = |role: &[Role], from: usize| {
                is_taps(from)
                    && readers[from].len() == 1
                    && !shown(from)
                    && phases[from] == phases[at]
                    && matches!(role[from], Role::Own(After::Nothing))
            };
            match node.op {
                Op::Pointwise { from, function: Pointwise::Relu } => {
                    if free(&role, from) {
                        role[from] = Role::Own(After::Relu);
                        role[at] = Role::Into(from);
                    } else if !shown(at) && from != 0 && readers[at].iter().all(|&reader| is_taps(reader)) {
                        readers[at].iter().for_each(|&reader| of_relu[reader] = true);
                        role[at] = Role::Into(from);
                    }
                }
                Op::Pair { from: [a, b], function: Pair::Add } => {
                    let (other, host) = if a < b { (a, b) } else { (b, a) };
                    // What is there before the row, or is computed when this is.
                    let is_there = phases[other] == phases[at] || phases[other] == Phase::RowStart;
                    if other != host && other != 0 && free(&role, host) && is_there {
                        role[host] = Role::Own(After::Add(other));
                        role[at] = Role::Into(host);
                    }
                }
                _ => {}
            }
        }
        Ok(Self { phases, role, of_relu })
    }
}

/// When each node can be computed.
fn phases(graph: &Graph<'_>) -> Result<Vec<Phase>, Error> {
    let mut phases: Vec<Phase> = Vec::with_capacity(graph.nodes.len());
    for (at, node) in graph.nodes.iter().enumerate() {
        let fail = |reason: &str| Err(Error::format(format!("node {:?}: {reason}", node.name)));
        let own: &[[i32; 2]] = &[[0, 0]];
        let offsets = if let Op::Taps { offsets, .. } = &node.op { offsets } else { own };
        if offsets.iter().any(|[row, _]| *row > 0) {
            return fail("an offset reads a row below, which is not there yet; wanted rows of 0 or less");
        }
        // What stands on the right in the same row, or is there only after the row.
        let waits = |&from: &usize| {
            let right = phases[from] != Phase::RowStart && offsets.iter().any(|&[row, column]| row == 0 && column > 0);
            right || (phases[from] == Phase::RowEnd && offsets.iter().any(|&[row, _]| row == 0))
        };
        // It may read only those channels of a source that see rows above, but they are computed when the source is.
        let is_there = |&from: &usize| phases[from] == Phase::RowStart || offsets.iter().all(|&[row, _]| row < 0);
        let phase = if at > 0 && node.lag.is_rows_above() && node.op.sources().iter().all(is_there) {
            Phase::RowStart
        } else if node.op.sources().iter().any(waits) {
            Phase::RowEnd
        } else {
            Phase::Pixel
        };
        phases.push(phase);
    }
    let late = |node: &graph::Node<'_>| {
        Error::format(format!("node {:?} is there only after its row, which is too late to be shown", node.name))
    };
    for shown in graph.features.into_iter().chain([graph.output]) {
        if phases[shown] == Phase::RowEnd {
            return Err(late(&graph.nodes[shown]));
        }
    }
    Ok(phases)
}
