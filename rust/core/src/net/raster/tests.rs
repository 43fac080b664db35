//! Every plan and every instruction set against whole images computed node by node.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Activations, InLanes, Pixels, Plan, Raster, walk::SITES};
use crate::{
    checkpoint::Tensor,
    kernels::{Isa, Kernel, LANES, Lanes, Pack},
    layers::{combine::Pair, gate, pointwise::Pointwise},
    net::{
        compile::{Supply, compile},
        graph::{Graph, Op},
        sites::Sites,
        spec::Spec,
    },
};

/// Numbers of either sign, now and then zero.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if self.0 >> 60 == 0 { 0.0 } else { (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0 }
    }

    fn take(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }
}

/// A graph in the making.
struct Builder {
    channels: usize,
    nodes: Vec<Value>,
    tensors: BTreeMap<String, Tensor>,
    widths: BTreeMap<String, usize>,
    numbers: Numbers,
}

impl Builder {
    fn new(channels: usize, input: Value, width: usize) -> Self {
        let widths = [("x".to_owned(), width)].into();
        Self { channels, nodes: vec![input], tensors: BTreeMap::new(), widths, numbers: Numbers(1) }
    }

    /// Taps to `n` channels in as many groups as the image has, the first of which see none of its own site's values.
    fn taps(&mut self, name: &str, from: &str, n: usize, offsets: &[[i32; 2]]) {
        let n_in = self.widths[from];
        let scale = 1.0 / ((n_in * offsets.len()) as f32).sqrt();
        let weight = self.numbers.take(n * n_in * offsets.len()).into_iter().map(|w| w * scale * 2.0).collect();
        self.tensors.insert(format!("{name}.w"), Tensor::new("w", vec![n, n_in, offsets.len()], weight).unwrap());
        self.tensors.insert(format!("{name}.b"), Tensor::new("b", vec![n], self.numbers.take(n)).unwrap());
        let degrees: Vec<_> = (0..n).map(|j| (j * self.channels / n) as i32 - 1).collect();
        self.push(
            json!({"name": name, "op": "taps", "from": from, "offsets": offsets, "weight": format!("{name}.w"),
                         "bias": format!("{name}.b"), "degrees": degrees}),
            n,
        );
    }

    /// `n` channels for each of the image's, which see it.
    fn embed(&mut self, name: &str, from: &str, n: usize) {
        self.taps(name, from, n * self.channels, &[[0, 0]]);
        let degrees: Vec<_> = (0..n * self.channels).map(|j| (j / n) as i32).collect();
        self.nodes.last_mut().expect("a node")["degrees"] = json!(degrees);
    }

    fn push(&mut self, node: Value, width: usize) {
        self.widths.insert(node["name"].as_str().unwrap().to_owned(), width);
        self.nodes.push(node);
    }

    fn op(&mut self, name: &str, op: &str, from: Value) {
        let first = from.as_str().or_else(|| from[0].as_str()).unwrap();
        let width = self.widths[first] * if op == "concat_elu" { 2 } else { 1 };
        self.push(json!({"name": name, "op": op, "from": from}), width);
    }

    fn graph(&self, shape: [usize; 3], output: &str, features: &str) -> Value {
        json!({"space": {"event_shape": shape, "n_classes": 3}, "nodes": self.nodes, "output": output, "features": features})
    }
}

const ABOVE: [[i32; 2]; 6] = [[-2, -1], [-2, 0], [-2, 3], [-1, -2], [-1, 0], [-1, 1]];
const BEFORE: [[i32; 2]; 5] = [[-1, 0], [-1, 1], [0, -3], [0, -1], [0, 0]];
const SQUARE_ABOVE: [[i32; 2]; 6] = [[-1, -1], [-1, 0], [-1, 1], [0, -1], [0, 0], [0, 1]];

/// A plain PixelCNN: fused sums, and rectifiers on both sides.
fn plain_net(shape: [usize; 3], widths: [usize; 2]) -> Builder {
    let [wide, narrow] = widths;
    let mut net = Builder::new(shape[0], json!({"name": "x", "op": "values", "scale": 0.5, "shift": -0.5}), shape[0]);
    net.taps("a", "x", wide, &BEFORE);
    net.op("a+", "relu", "a".into());
    net.taps("down", "a+", narrow, &[[0, 0]]);
    net.op("down+", "relu", "down".into());
    net.taps("conv", "down+", narrow, &BEFORE);
    net.op("conv+", "relu", "conv".into());
    net.taps("up", "conv+", wide, &[[0, 0]]);
    net.op("sum", "add", json!(["a", "up"]));
    net.op("features", "relu", "sum".into());
    net.taps("out", "features", 3 * shape[0], &[[0, 0]]);
    net
}

/// Two stacks, of which the vertical one sees rows above only; gates, and every other layer. Some are `late`: complete only when
/// the row is, for later rows to look at.
fn gated_net(shape: [usize; 3], width: usize, late: bool) -> Builder {
    let mut net = Builder::new(shape[0], json!({"name": "x", "op": "one_hot"}), 3 * shape[0]);
    // An embedding, and so nodes that see their own site.
    net.embed("e", "x", width);
    net.taps("va", "e", width, &ABOVE);
    net.taps("vb", "e", width, &ABOVE[2..]);
    net.op("v", "gate", json!(["va", "vb"]));
    net.taps("v2", "v", width, &SQUARE_ABOVE);
    net.op("v3", "tanh", "v2".into());
    net.taps("ha", "e", width, &BEFORE[2..]);
    net.taps("hv", "v3", width, &[[0, 0]]);
    net.op("hs", "add", json!(["hv", "ha"]));
    net.op("hg", "gate", json!(["hs", "ha"]));
    net.op("he", "concat_elu", "hg".into());
    net.taps("h2", "he", width, &BEFORE[2..]);
    net.op("hm", "multiply", json!(["h2", "hg"]));
    net.taps("late", "hm", width, if late { &[[0, 2], [0, 0]] } else { &[[0, 0]] });
    net.op("late+", "relu", "late".into());
    net.taps("hl", "late+", width, &[[-1, 0], [-1, 2]]);
    net.op("c", "concat", json!(["hm", "hl"]));
    net.widths.insert("c".into(), 2 * width);
    net.op("features", "sigmoid", "c".into());
    net.taps("out", "features", 3 * shape[0], &[[0, 0], [0, -1]]);
    net
}

/// f of one number.
struct Of(f32, f32, Function);

enum Function {
    Pointwise(Pointwise),
    Gate,
}

impl Kernel for Of {
    type Output = f32;

    fn run<L: Lanes>(self, l: L) -> f32 {
        let (mut a, b) = (Pack([self.0; LANES]), Pack([self.1; LANES]));
        match self.2 {
            Function::Pointwise(function) => function.map_packs(l, std::slice::from_mut(&mut a)),
            Function::Gate => {
                let value = gate::gate(l, l.load(&a), l.load(&b));
                l.store(&mut a, value);
            }
        }
        a.0[0]
    }
}

/// The channels of a whole image: `maps[channel][y · width + x]`.
type Maps = Vec<Vec<f32>>;

/// Every node of a graph over a whole image of values.
fn whole_image(isa: Isa, graph: &Graph<'_>, sites: &Sites, values: &[Vec<u32>]) -> Vec<Maps> {
    let (height, width) = (sites.height, sites.width);
    let mut maps: Vec<Maps> = Vec::new();
    let pointwise = |function| move |a: f32, b: f32| isa.run(Of(a, b, Function::Pointwise(function)));
    let pairs = |a: &Maps, b: &Maps, f: &dyn Fn(f32, f32) -> f32| -> Maps {
        a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()).collect()
    };
    for node in &graph.nodes {
        let map = match &node.op {
            Op::Values { scale, shift } => {
                let number = |&value: &u32| (value as f32).mul_add(*scale, *shift);
                values.iter().map(|channel| channel.iter().map(number).collect()).collect()
            }
            Op::OneHot => {
                let of = |channel: &Vec<u32>, k| channel.iter().map(|&value| f32::from(u8::from(value == k))).collect();
                values.iter().flat_map(|channel| (0..3).map(move |k| of(channel, k))).collect()
            }
            Op::Taps { from, offsets, weight, bias } => {
                let (input, inputs) = (&maps[*from], &graph.nodes[*from].degrees);
                let mut order: Vec<usize> = (0..inputs.len()).collect();
                order.sort_by_key(|&i| inputs[i]);
                let at = |o: usize, y: usize, x: usize| {
                    let mut sum = bias[o];
                    for (place, &[row, column]) in offsets.iter().enumerate() {
                        let site = y.checked_add_signed(row as isize).zip(x.checked_add_signed(column as isize));
                        let Some((y, x)) = site.filter(|&(y, x)| y < height && x < width) else { continue };
                        for &i in order.iter().filter(|&&i| [row, column] != [0, 0] || inputs[i] <= node.degrees[o]) {
                            let w = weight[(o * inputs.len() + i) * offsets.len() + place];
                            sum = input[i][y * width + x].mul_add(w, sum);
                        }
                    }
                    sum
                };
                let n = bias.len();
                (0..n).map(|o| (0..height * width).map(|site| at(o, site / width, site % width)).collect()).collect()
            }
            Op::Pointwise { from, function } => pairs(&maps[*from], &maps[*from], &pointwise(*function)),
            Op::Pair { from: [a, b], function } => {
                let f = |a, b| match function {
                    Pair::Gate => isa.run(Of(a, b, Function::Gate)),
                    Pair::Add => a + b,
                    Pair::Multiply => a * b,
                };
                pairs(&maps[*a], &maps[*b], &f)
            }
            Op::Concat { from } => from.iter().flat_map(|&node| maps[node].clone()).collect(),
            Op::Average { .. } => unreachable!("not for images"),
        };
        maps.push(map);
    }
    maps
}

/// Streams images through the network, which sees no value before it must: the parameters, and the features.
fn stream(raster: &Raster, isa: Isa, plan: Plan, images: &[Vec<Vec<u32>>]) -> Vec<[Maps; 2]> {
    let Sites { height, width, .. } = raster.sites;
    let channels = raster.sites.n_dims();
    let nodes = [raster.output, raster.features.expect("features")];
    // What is in the memory must not matter.
    let mut memory = vec![Pack([f32::NAN; LANES]); 1000];
    let mut state = raster.activations(plan, &mut memory).expect("little memory");
    let empty = nodes.map(|node| vec![vec![f32::NAN; height * width]; raster.nodes[node].channels.count()]);
    let mut out = vec![empty; images.len()];
    let known = plan.span > 1;
    for y in 0..height {
        raster.begin_row(isa, &mut state, y);
        let at_once = if known { raster.n_groups } else { 1 };
        let groups: Vec<_> = (0..raster.n_groups).step_by(at_once).map(|first| first..first + at_once).collect();
        for (x, groups) in (0..width).step_by(plan.span).flat_map(|x| groups.iter().map(move |groups| (x, groups))) {
            let pixels = Pixels { y, x: x..width.min(x + plan.span), groups: groups.clone() };
            let feed = |state: &mut Activations<'_>| {
                for (channel, x) in groups.clone().flat_map(|channel| pixels.x.clone().map(move |x| (channel, x))) {
                    if channel < channels {
                        let values = images.iter().map(|image| image[channel][y * width + x]);
                        raster.write_input(state, &pixels, (x - pixels.x.start, channel), values);
                    }
                }
            };
            if known {
                feed(&mut state);
            }
            raster.step(isa, &mut state, &pixels);
            for (at, &node) in nodes.iter().enumerate() {
                for group in groups.clone() {
                    let view = raster.read(&state, node, &pixels, group);
                    for (sample, out) in out.iter_mut().enumerate() {
                        for x in pixels.x.clone() {
                            let values = view.numbers.iter().zip(view.channels(sample, x - pixels.x.start));
                            values.for_each(|(&channel, value)| out[at][channel as usize][y * width + x] = value);
                        }
                    }
                }
            }
            if !known {
                feed(&mut state);
            }
        }
        raster.end_row(isa, &mut state, y);
    }
    out
}

fn check(net: &Builder, shape: [usize; 3]) {
    let json = net.graph(shape, "out", "features");
    let spec = Spec::from_json(&json).expect("a graph");
    let space = spec.fields.space.without_raster_order().expect("a space");
    let sites = Sites::of(&space).expect("an image");
    let graph = compile(&spec, &sites, &mut Supply::new(&net.tensors)).expect("causal");
    let raster = Raster::new(&graph, sites.clone()).expect("in the order of the pixels");
    let [channels, height, width] = shape;
    let mut numbers = Numbers(7);
    let mut value = || (numbers.next().abs() * 3.0) as u32;
    for samples in [1, 3, 16, 17] {
        let mut image = || (0..channels).map(|_| (0..height * width).map(|_| value()).collect()).collect();
        let images: Vec<Vec<Vec<u32>>> = (0..samples).map(|_| image()).collect();
        let row_span = SITES.min(width);
        let plan = |in_lanes, span| Plan { in_lanes, samples, span, row_span: if span == 1 { row_span } else { span } };
        let mut plans = vec![plan(InLanes::Channels, 1), plan(InLanes::Sites, width)];
        plans.extend((!raster.only_channels).then_some(plan(InLanes::Sites, 1)));
        plans.extend((width > 16).then_some(plan(InLanes::Sites, 16)));
        for isa in Isa::all() {
            let shown = |image: &Vec<Vec<u32>>| {
                let maps = whole_image(isa, &graph, &sites, image);
                [graph.output, graph.features.expect("features")].map(|node| maps[node].clone())
            };
            let expected: Vec<_> = images.iter().map(shown).collect();
            for plan in &plans {
                // Equal but for the signs of zeros.
                assert!(stream(&raster, isa, *plan, &images) == expected, "{} {plan:?} {shape:?}", isa.name());
            }
        }
    }
}

#[test]
fn every_plan_gives_the_numbers_of_whole_images() {
    for (shape, widths) in [
        ([1, 1, 1], [2, 1]),
        ([1, 4, 1], [16, 8]),
        ([1, 3, 2], [6, 3]),
        ([1, 3, 28], [20, 40]),
        ([1, 4, 37], [9, 17]),
        ([2, 3, 3], [5, 2]),
        ([3, 3, 18], [50, 3]),
    ] {
        check(&plain_net(shape, widths), shape);
    }
}

#[test]
fn stacks_that_see_rows_are_computed_a_row_at_a_time() {
    for (shape, width) in
        [([1, 1, 1], 3), ([1, 5, 1], 4), ([1, 1, 6], 17), ([1, 4, 5], 20), ([1, 5, 21], 6), ([3, 4, 5], 7)]
    {
        check(&gated_net(shape, width, false), shape);
        check(&gated_net(shape, width, true), shape);
    }
}

#[test]
fn a_plan_fills_the_vectors() {
    let raster = |widths| {
        let net = plain_net([1, 3, 4], widths);
        let json = net.graph([1, 3, 4], "out", "features");
        let spec = Spec::from_json(&json).expect("a graph");
        let sites = Sites::of(&spec.fields.space.without_raster_order().expect("a space")).expect("an image");
        let graph = compile(&spec, &sites, &mut Supply::new(&net.tensors)).expect("causal");
        Raster::new(&graph, sites.clone()).expect("in the order of the pixels")
    };
    let lanes = |raster: &Raster, n| raster.plan(n).in_lanes == InLanes::Sites;
    let wide = raster([64, 32]);
    assert_eq!([1, 16, 17, 32].map(|n| lanes(&wide, n)), [false, true, false, true]);
    let narrow = raster([4, 2]);
    assert_eq!([1, 3, 8, 17].map(|n| lanes(&narrow, n)), [false, true, true, true]);
}
