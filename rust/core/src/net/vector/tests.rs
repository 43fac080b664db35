//! Random graphs against plain loops in f64, and bits against bits.

use std::ops::Range;

use super::{Vector, bits::View, steps::Steps, walk::InLanes};
use crate::{
    error::Error,
    kernels::{Isa, LANES, Pack, flat, flat_mut},
    layers::{combine::Pair, pointwise::Pointwise},
    model::Scratch,
    net::{
        graph::{Graph, Node, Op},
        lag::Lag,
        params,
        sites::Sites,
    },
};

/// A small generator of numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// From −1 to 1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
    fn floats(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| scale * self.float()).collect()
    }
}

/// A block whose values are given, or follow from the parameters and fixed noise.
struct Samples {
    isa: Isa,
    len: usize,
    n_steps: usize,
    /// Of the first sample.
    first: usize,
    given: bool,
    /// By step and sample.
    values: Vec<Vec<u32>>,
    parameters: Vec<Vec<f32>>,
    features: Vec<f32>,
    n_features: usize,
    /// The view of bits, sample by sample: thresholds and values.
    bits: Option<(Vec<Pack>, Vec<u8>)>,
}

impl Steps for Samples {
    fn isa(&self) -> Isa {
        self.isa
    }
    fn len(&self) -> usize {
        self.len
    }
    fn n_steps(&self) -> usize {
        self.n_steps
    }
    fn given(&self) -> bool {
        self.given
    }
    fn bits(&mut self) -> Option<View<'_>> {
        self.bits.as_mut().map(|(field, x)| View { field, x })
    }
    fn decide(&mut self, step: usize, samples: Range<usize>, parameters: &[f32]) -> Result<(), Error> {
        let n = parameters.len() / samples.len();
        for (sample, parameters) in samples.zip(parameters.chunks_exact(n)) {
            if parameters.iter().any(|p| !p.is_finite()) {
                return Err(Error::Overflow { sample: self.first + sample });
            }
            if !self.given {
                let mut noise = noise(self.first + sample, step);
                let mut best = (f32::NEG_INFINITY, 0);
                for (k, p) in parameters.iter().enumerate() {
                    let score = p + 3.0 * noise.float();
                    best = if score > best.0 { (score, k as u32) } else { best };
                }
                self.values[step][sample] = if n == 1 { u32::from(best.0 > 0.0) } else { best.1 };
            }
        }
        self.parameters[step] = parameters.to_vec();
        Ok(())
    }
    fn values(&self, step: usize, values: &mut [u32]) {
        values.copy_from_slice(&self.values[step]);
    }
    fn features(&mut self, sample: usize) -> Option<&mut [f32]> {
        (self.n_features > 0).then(|| &mut self.features[sample * self.n_features..][..self.n_features])
    }
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Samples {
    fn new(isa: Isa, (first, len): (usize, usize), n_steps: usize, n_features: usize) -> Self {
        let values = vec![vec![0; len]; n_steps];
        let parameters = vec![Vec::new(); n_steps];
        let features = vec![f32::NAN; len * n_features];
        Self { isa, len, n_steps, first, given: false, values, parameters, features, n_features, bits: None }
    }

    /// The view of bits, of a vector of so many dimensions.
    fn show_bits(&mut self, n_dims: usize) {
        let packs = n_dims.div_ceil(LANES);
        let mut field = vec![Pack([f32::NAN; LANES]); self.len * packs];
        let mut x = vec![0; self.len * n_dims];
        for sample in 0..self.len {
            for step in 0..self.n_steps {
                x[sample * n_dims + step] = self.values[step][sample] as u8;
                if !self.given {
                    let threshold = -3.0 * noise(self.first + sample, step).float();
                    flat_mut(&mut field)[sample * packs * LANES + step] = threshold;
                }
            }
        }
        self.bits = Some((field, x));
    }

    /// Takes values and parameters from the view of bits, if that was used.
    fn take_bits(&mut self) {
        let Some((field, x)) = self.bits.take() else { return };
        if self.parameters.iter().all(Vec::is_empty) {
            let (n_dims, packs) = (x.len() / self.len, field.len() / self.len);
            for step in 0..self.n_steps {
                self.values[step] = x[step..].iter().step_by(n_dims).map(|&x| x.into()).collect();
                self.parameters[step] = flat(&field)[step..].iter().step_by(packs * LANES).copied().collect();
            }
        }
    }
}

/// What decides a value.
fn noise(sample: usize, step: usize) -> Random {
    Random((sample as u64) << 32 | step as u64)
}

/// A dimension of a vector.
#[derive(Clone, Copy)]
struct Dim {
    /// The step at which it is visited.
    step: u32,
    n_classes: u32,
    n_parameters: u32,
}

/// The one site of these dimensions.
fn sites(dims: &[Dim]) -> Sites {
    let each = |of: fn(&Dim) -> u32| dims.iter().map(|dim| of(dim) as usize).collect();
    let [steps, n_classes, n_parameters] =
        [each(|dim| dim.step), each(|dim| dim.n_classes), each(|dim| dim.n_parameters)];
    Sites { height: 1, width: 1, steps, n_classes, n_parameters }
}

/// A case: a graph and its dimensions.
struct Case {
    name: String,
    graph: Graph<'static>,
    dims: Vec<Dim>,
}

/// Builds graphs node by node.
struct Builder {
    random: Random,
    nodes: Vec<Node<'static>>,
    dims: Vec<Dim>,
}

impl Builder {
    fn new(seed: u64, n_dims: usize, n_classes: impl Fn(usize) -> u32, input: Option<(f32, f32)>) -> Self {
        let mut random = Random(seed);
        let mut order: Vec<u32> = (0..n_dims as u32).collect();
        for i in (1..n_dims).rev() {
            order.swap(i, random.below(i + 1));
        }
        let all_bits = (0..n_dims).all(|d| n_classes(d) == 2);
        let dims: Vec<Dim> = (0..n_dims)
            .map(|d| Dim {
                step: order[d],
                n_classes: n_classes(d),
                n_parameters: if all_bits { 1 } else { n_classes(d) },
            })
            .collect();
        let (op, degrees) = match input {
            Some((scale, shift)) => {
                (Op::Values { scale, shift }, dims.iter().map(|dim| dim.step as i32).collect::<Vec<_>>())
            }
            None => (Op::OneHot, dims.iter().flat_map(|dim| vec![dim.step as i32; dim.n_classes as usize]).collect()),
        };
        Self { random, nodes: vec![Node { name: "input".into(), op, degrees, lag: Lag::NOTHING }], dims }
    }

    fn push(&mut self, op: Op<'static>, degrees: Vec<i32>) -> usize {
        self.nodes.push(Node { name: self.nodes.len().to_string(), op, degrees, lag: Lag::NOTHING });
        self.nodes.len() - 1
    }

    fn dense(&mut self, from: usize, degrees: Vec<i32>) -> usize {
        let n_inputs = self.nodes[from].degrees.len();
        let scale = 2.0 / (n_inputs as f32).sqrt();
        let weight = self.random.floats(degrees.len() * n_inputs, scale);
        let bias = self.random.floats(degrees.len(), 1.0);
        self.push(Op::Taps { from, offsets: vec![[0, 0]], weight: weight.into(), bias: bias.into() }, degrees)
    }

    /// A hidden layer with random degrees, some units seeing nothing.
    fn hidden(&mut self, from: usize, n: usize) -> usize {
        let n_dims = self.dims.len();
        let degrees = (0..n).map(|_| self.random.below(n_dims) as i32 - 1).collect();
        self.dense(from, degrees)
    }

    fn relu(&mut self, from: usize) -> usize {
        let degrees = self.nodes[from].degrees.clone();
        self.push(Op::Pointwise { from, function: Pointwise::Relu }, degrees)
    }

    fn of_two(&mut self, function: Pair, from: [usize; 2]) -> usize {
        let [a, b] = from.map(|node| self.nodes[node].degrees.clone());
        let degrees = a.iter().zip(&b).map(|(&a, &b)| a.max(b)).collect();
        self.push(Op::Pair { from, function }, degrees)
    }

    fn output(&mut self, from: usize) -> usize {
        let degrees = self.dims.iter().flat_map(|dim| vec![dim.step as i32 - 1; dim.n_parameters as usize]).collect();
        self.dense(from, degrees)
    }

    fn case(self, name: &str, output: usize, features: Option<usize>) -> Case {
        Case { name: name.into(), graph: Graph { nodes: self.nodes, output, features }, dims: self.dims }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let bits = |_| 2;
    for (n_dims, hidden) in [(1, 3), (2, 5), (16, 16), (17, 40), (40, 7), (150, 60), (150, 700), (300, 33)] {
        let mut b = Builder::new(n_dims as u64, n_dims, bits, Some((1.0, 0.0)));
        let h = b.hidden(0, hidden);
        let h = b.relu(h);
        let out = b.output(h);
        cases.push(b.case(&format!("bits {n_dims} {hidden}"), out, Some(h)));
    }
    for depth in [2, 3] {
        for n_classes in [2, 3, 17] {
            let input = (n_classes == 2).then_some((1.0, 0.0));
            let mut b = Builder::new(depth + 7 * u64::from(n_classes), 37, |_| n_classes, input);
            let mut h = 0;
            for size in [50, 20, 90].into_iter().take(depth as usize) {
                h = b.hidden(h, size);
                h = b.relu(h);
            }
            let out = b.output(h);
            cases.push(b.case(&format!("{depth} layers, {n_classes} classes"), out, Some(h)));
        }
    }
    // Direct connections, a residual sum, a gate, a product, a concatenation with the input.
    for (name, n_classes, input) in
        [("bits", 2, Some((1.0, 0.0))), ("one-hot", 5, None), ("values", 5, Some((0.5, -1.0))), ("both bits", 2, None)]
    {
        let mut b = Builder::new(
            99 + u64::from(n_classes),
            45,
            |d| if name == "one-hot" { 2 + d as u32 % 4 } else { n_classes },
            input,
        );
        let first = b.hidden(0, 60);
        let h = b.relu(first);
        let second = b.hidden(h, 60);
        let h = b.of_two(Pair::Add, [first, second]);
        let third = b.hidden(h, 60);
        let h = b.of_two(Pair::Gate, [h, third]);
        let h = b.of_two(Pair::Multiply, [h, first]);
        let degrees = [h, 0].iter().flat_map(|&node| b.nodes[node].degrees.clone()).collect();
        let all = b.push(Op::Concat { from: vec![h, 0] }, degrees);
        let out = b.output(all);
        let direct = b.output(0);
        let unused = b.hidden(0, 10);
        b.relu(unused);
        let out = b.of_two(Pair::Add, [out, direct]);
        cases.push(b.case(&format!("all, {name}"), out, Some(all)));
    }
    // The mean of three networks.
    for n_classes in [2, 3, 17] {
        let mut b = Builder::new(5, 37, |_| n_classes, (n_classes == 2).then_some((1.0, 0.0)));
        let outputs: Vec<_> = (0..3)
            .map(|_| {
                let h = b.hidden(0, 31);
                let h = b.relu(h);
                b.output(h)
            })
            .collect();
        let degrees = b.nodes[outputs[0]].degrees.clone();
        let out = b.push(Op::Average { from: outputs }, degrees);
        cases.push(b.case(&format!("mean of {n_classes} classes"), out, None));
    }
    // Outputs that see less than they may, and the input as its own features.
    let mut b = Builder::new(6, 20, |_| 3, None);
    let h = b.hidden(0, 30);
    let mut degrees: Vec<i32> = b.dims.iter().flat_map(|dim| vec![dim.step as i32 - 1; 3]).collect();
    for degree in &mut degrees {
        *degree = b.random.below((*degree + 2) as usize) as i32 - 1;
    }
    let out = b.dense(h, degrees);
    cases.push(b.case("less than allowed", out, Some(0)));
    cases
}

/// Every node's channels for one sample, from the formulas alone. `values` by step.
fn formulas(case: &Case, values: &[u32]) -> Vec<Vec<f64>> {
    let Case { graph, dims, .. } = case;
    let mut all: Vec<Vec<f64>> = Vec::new();
    for node in &graph.nodes {
        let channels = match &node.op {
            Op::Values { scale, shift } => dims
                .iter()
                .map(|dim| f64::from(values[dim.step as usize]) * f64::from(*scale) + f64::from(*shift))
                .collect(),
            Op::OneHot => dims
                .iter()
                .flat_map(|dim| (0..dim.n_classes).map(|k| f64::from(u8::from(values[dim.step as usize] == k))))
                .collect(),
            Op::Taps { from, weight, bias, .. } => {
                let (inputs, degrees) = (&all[*from], &graph.nodes[*from].degrees);
                let unit = |o: usize| {
                    let seen = |i: &usize| degrees[*i] <= node.degrees[o];
                    let term = |i: usize| f64::from(weight[o * inputs.len() + i]) * inputs[i];
                    f64::from(bias[o]) + (0..inputs.len()).filter(seen).map(term).sum::<f64>()
                };
                (0..bias.len()).map(unit).collect()
            }
            Op::Pointwise { from, function: Pointwise::Relu } => all[*from].iter().map(|x| x.max(0.0)).collect(),
            #[allow(unreachable_patterns)]
            Op::Pointwise { .. } => unreachable!("not in these graphs"),
            Op::Pair { from: [a, b], function } => {
                let f = |(a, b): (&f64, &f64)| match function {
                    Pair::Gate => a.tanh() / (1.0 + (-b).exp()),
                    Pair::Add => a + b,
                    Pair::Multiply => a * b,
                };
                all[*a].iter().zip(&all[*b]).map(f).collect()
            }
            Op::Concat { from } => from.iter().flat_map(|&node| all[node].clone()).collect(),
            Op::Average { from } => {
                let mut out = Vec::new();
                for dim in dims {
                    let (first, n) = (out.len(), dim.n_parameters as usize);
                    let logits = from.iter().map(|&node| {
                        let logits = &all[node][first..first + n];
                        if n == 1 { vec![0.0, logits[0]] } else { logits.to_vec() }
                    });
                    let mut mean = vec![0.0; n.max(2)];
                    for logits in logits {
                        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
                        mean.iter_mut().zip(&logits).for_each(|(mean, logit)| *mean += logit.exp() / total);
                    }
                    let logits: Vec<f64> = mean.iter().map(|mean| (mean / from.len() as f64).ln()).collect();
                    out.extend(if n == 1 { vec![logits[1] - logits[0]] } else { logits });
                }
                out
            }
        };
        all.push(channels);
    }
    all
}

/// Parameters and features of samples, drawn or with the values given.
fn walk(net: &Vector, in_lanes: InLanes, samples: &mut Samples) {
    // Memory that holds something.
    let mut scratch = Scratch::default();
    scratch.packs.resize(100, crate::kernels::Pack([f32::NAN; 16]));
    net.walk_with(in_lanes, samples, &mut scratch).unwrap();
    samples.take_bits();
}

#[test]
fn parameters_are_those_of_the_formulas() {
    for case in cases() {
        let net = Vector::new(&case.graph, &sites(&case.dims)).unwrap();
        for isa in Isa::all() {
            for in_lanes in [InLanes::Samples, InLanes::Units] {
                let mut samples = Samples::new(isa, (0, 5), case.dims.len(), net.n_features().unwrap_or(0));
                if net.bits {
                    samples.show_bits(case.dims.len());
                }
                walk(&net, in_lanes, &mut samples);
                for sample in 0..5 {
                    let values: Vec<u32> = samples.values.iter().map(|values| values[sample]).collect();
                    let all = formulas(&case, &values);
                    let mut first = 0;
                    for dim in &case.dims {
                        let n = dim.n_parameters as usize;
                        let got = &samples.parameters[dim.step as usize][sample * n..][..n];
                        for (got, want) in got.iter().zip(&all[case.graph.output][first..first + n]) {
                            assert!((f64::from(*got) - want).abs() < 2e-4, "{}: {got} for {want}", case.name);
                        }
                        first += n;
                    }
                    if let (Some(n), Some(features)) = (net.n_features(), case.graph.features) {
                        for (got, want) in samples.features[sample * n..][..n].iter().zip(&all[features]) {
                            assert!((f64::from(*got) - want).abs() < 2e-4, "{}: feature {got} for {want}", case.name);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn bits_depend_on_nothing_but_the_sample() {
    const N: usize = 117;
    for case in cases() {
        let net = Vector::new(&case.graph, &sites(&case.dims)).unwrap();
        let (n_steps, n_features) = (case.dims.len(), net.n_features().unwrap_or(0));
        let mut all = Samples::new(Isa::all()[0], (0, N), n_steps, n_features);
        walk(&net, InLanes::Samples, &mut all);
        for isa in Isa::all() {
            for in_lanes in [InLanes::Samples, InLanes::Units] {
                for (first, len, given, steps) in [
                    (0, 1, false, n_steps),
                    (1, 3, true, n_steps),
                    (4, 16, false, n_steps),
                    (20, 17, true, n_steps),
                    (17, 100, false, n_steps),
                    (5, 7, false, n_steps.div_ceil(2)),
                    (5, 7, true, n_steps / 2),
                ] {
                    let mut part = Samples::new(isa, (first, len), steps, n_features);
                    part.given = given;
                    if given {
                        let values = all.values.iter().map(|values| values[first..first + len].to_vec());
                        part.values = values.take(steps).collect();
                    }
                    if net.bits && first != 1 {
                        part.show_bits(n_steps);
                    }
                    walk(&net, in_lanes, &mut part);
                    let place = (&case.name, isa.name(), in_lanes, first);
                    for step in 0..steps {
                        let n = all.parameters[step].len() / N;
                        assert_eq!(part.values[step], all.values[step][first..first + len], "{place:?}");
                        let want = &all.parameters[step][first * n..(first + len) * n];
                        assert_eq!(part.parameters[step], want, "{place:?} step {step}");
                    }
                    if steps == n_steps {
                        let want = &all.features[first * n_features..(first + len) * n_features];
                        assert_eq!(part.features, want, "{place:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_unit_that_is_not_finite_ends_the_walk() {
    let mut b = Builder::new(1, 40, |_| 2, Some((1.0, 0.0)));
    let h = b.hidden(0, 50);
    let h = b.relu(h);
    let out = b.output(h);
    let mut case = b.case("overflow", out, None);
    let Op::Taps { weight, .. } = &mut case.graph.nodes[1].op else { unreachable!() };
    // Below the range of floats once two values are one; a ReLU then hides it.
    weight.to_mut().fill(-3e38);
    let net = Vector::new(&case.graph, &sites(&case.dims)).unwrap();
    for isa in Isa::all() {
        for in_lanes in [InLanes::Samples, InLanes::Units] {
            let mut samples = Samples::new(isa, (10, 20), 40, 0);
            samples.given = true;
            samples.values.iter_mut().for_each(|values| values[7] = 1);
            samples.show_bits(40);
            let error = net.walk_with(in_lanes, &mut samples, &mut Scratch::default()).unwrap_err();
            assert!(matches!(error, Error::Overflow { sample: 17 }), "{error}");
        }
    }
}

#[test]
fn masked_weights_are_not_counted() {
    let mut b = Builder::new(3, 5, |_| 2, Some((1.0, 0.0)));
    let h = b.dense(0, vec![-1, 0, 3, 3]);
    let out = b.output(h);
    let case = b.case("count", out, None);
    let net = Vector::new(&case.graph, &sites(&case.dims)).unwrap();
    // What the hidden units see, and what the outputs see of them; the biases are no parameters, as no tensor holds them.
    let n_weights = (1 + 4 + 4) + (1 + 2 + 2 + 2 + 4);
    assert_eq!((params::n_params([&case.graph]), net.cost()), (n_weights, n_weights + 4 + 5));
}
