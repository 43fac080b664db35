//! Small networks of any layers, over vectors and images, and mixtures of them. Most are sound; some leak, or add nodes that do not
//! fit.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::model::Parts;

/// A graph in the making.
struct Builder<'a> {
    rng: &'a mut Rng,
    /// Dimensions of a site.
    dims: usize,
    is_image: bool,
    nodes: Vec<Value>,
    /// For each node, the degree of each channel.
    degrees: Vec<Vec<i32>>,
    shapes: Vec<(String, Vec<usize>)>,
}

/// A network.
pub fn network(rng: &mut Rng) -> Parts {
    let is_image = rng.bool();
    let dims = rng.usize(1..if is_image { 4 } else { 9 });
    let shape = if is_image { vec![dims, rng.usize(1..5), rng.usize(1..5)] } else { vec![dims] };
    let n_classes: usize = *rng.choice(&[2, 2, 3, 17]).expect("some");
    let one_hot = rng.bool();
    let input = if one_hot { json!({"name": "x", "op": "one_hot"}) } else { json!({"name": "x", "op": "values"}) };
    let width = if one_hot { n_classes } else { 1 };
    let degrees = (0..dims * width).map(|channel| (channel / width) as i32).collect();
    let mut builder = Builder { rng, dims, is_image, nodes: vec![input], degrees: vec![degrees], shapes: Vec::new() };
    for _ in 0..builder.rng.usize(1..8) {
        builder.any();
    }
    let parameters = if n_classes == 2 { 1 } else { n_classes };
    let before: Vec<_> = (0..dims * parameters).map(|channel| (channel / parameters) as i32 - 1).collect();
    let from = builder.source();
    builder.sum(from, before.clone());
    if builder.rng.u8(..4) == 0 {
        // Of two networks.
        let from = builder.source();
        builder.sum(from, before.clone());
        let [.., a, b] = &builder.nodes[..] else { unreachable!("two sums at least") };
        let from = json!([a["name"], b["name"]]);
        builder.push(json!({"op": "average", "from": from}), before.clone());
    }
    let output = builder.nodes.last().expect("the output")["name"].clone();
    let shown = builder.source();
    let features = if builder.rng.bool() { builder.nodes[shown]["name"].clone() } else { Value::Null };
    let Builder { nodes, shapes, .. } = builder;
    let space = json!({"event_shape": shape, "n_classes": n_classes, "order": null});
    let graph = json!({"space": space, "nodes": nodes, "output": output, "features": features});
    let graph = if rng.u8(..3) == 0 { mixture(rng, &graph, &before) } else { graph };
    ("Network", json!({}), Some(graph), shapes)
}

/// Some networks like this one: of vectors, most in an order of their own, with outputs that see what comes before.
fn mixture(rng: &mut Rng, graph: &Value, before: &[i32]) -> Value {
    let dims = graph["space"]["event_shape"][0].as_u64().expect("a number") as i32;
    let is_image = graph["space"]["event_shape"].as_array().is_some_and(|shape| shape.len() > 1);
    let members = (0..rng.usize(2..6)).map(|_| {
        let mut member = graph.clone();
        if !is_image && rng.u8(..4) > 0 {
            let mut steps: Vec<i32> = (0..dims).collect();
            rng.shuffle(&mut steps);
            let visited = |step: i32| steps.iter().position(|&of_dim| of_dim == step).expect("a step");
            member["space"]["order"] = (0..dims).map(visited).collect();
            for node in member["nodes"].as_array_mut().expect("nodes") {
                if node["degrees"] == json!(before) {
                    node["degrees"] = before.iter().map(|dim| steps[(dim + 1) as usize] - 1).collect();
                }
            }
        }
        member
    });
    json!({"members": members.collect::<Vec<_>>()})
}

impl Builder<'_> {
    /// A node, the last ones more often.
    fn source(&mut self) -> usize {
        let n = self.nodes.len();
        if self.rng.bool() { n - 1 } else { self.rng.usize(..n) }
    }

    /// Adds any layer.
    fn any(&mut self) {
        let from = self.source();
        let name = self.nodes[from]["name"].clone();
        let degrees = self.degrees[from].clone();
        match self.rng.u8(..10) {
            0..4 => {
                let n = self.rng.usize(1..10);
                let mut degrees: Vec<_> = (0..n).map(|_| self.rng.i32(-1..self.dims as i32)).collect();
                if self.rng.bool() {
                    degrees.sort_unstable();
                }
                self.sum(from, degrees);
            }
            4 | 5 => {
                let op = *self.rng.choice(&["relu", "relu", "elu", "tanh", "sigmoid", "silu", "gelu"]).expect("some");
                self.push(json!({"op": op, "from": name}), degrees);
            }
            6 => {
                let slope = self.rng.f32();
                self.push(json!({"op": "leaky_relu", "from": name, "slope": slope}), degrees);
            }
            7 => self.push(json!({"op": "concat_elu", "from": name}), degrees.repeat(2)),
            8 => {
                let other = self.source();
                let both = [degrees, self.degrees[other].clone()].concat();
                let from = json!([name, self.nodes[other]["name"]]);
                self.push(json!({"op": "concat", "from": from}), both);
            }
            _ => {
                // With a node of the same channels, mostly.
                let alike: Vec<_> = (0..self.nodes.len()).filter(|&node| self.degrees[node] == degrees).collect();
                let other = *self.rng.choice(&alike).expect("the node itself");
                let op = *self.rng.choice(&["add", "add", "multiply", "gate"]).expect("some");
                let from = json!([name, self.nodes[other]["name"]]);
                self.push(json!({"op": op, "from": from}), degrees);
            }
        }
    }

    /// Adds a sum over what a node has, at some offsets if there are several sites.
    fn sum(&mut self, from: usize, degrees: Vec<i32>) {
        let name = self.nodes[from]["name"].clone();
        let (n_in, n_out, at) = (self.degrees[from].len(), degrees.len(), self.shapes.len());
        let (weight, bias) = (format!("t{at}"), format!("t{}", at + 1));
        let mut node = json!({"op": "dense", "from": name, "weight": weight, "bias": bias, "degrees": degrees});
        let mut shape = vec![n_out, n_in];
        if self.is_image && self.rng.bool() {
            let all = [[0, 0], [0, -1], [-1, 0], [-1, 1], [0, -3], [-2, -1], [0, 1]];
            let mut offsets = all.to_vec();
            self.rng.shuffle(&mut offsets);
            offsets.truncate(self.rng.usize(1..4));
            shape.push(offsets.len());
            node["op"] = "taps".into();
            node["offsets"] = json!(offsets);
        }
        self.shapes.push((weight, shape));
        self.shapes.push((bias, vec![n_out]));
        self.push(node, degrees);
    }

    fn push(&mut self, mut node: Value, degrees: Vec<i32>) {
        node["name"] = format!("n{}", self.nodes.len()).into();
        self.nodes.push(node);
        self.degrees.push(degrees);
    }
}
