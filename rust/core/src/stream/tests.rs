//! Every plan and every instruction set against a plain convolution of whole images.

use super::{Activations, Graph, InLanes, Kernel2d, Mask, NodeId, Pixels, Plan, Then};
use crate::kernels::{Isa, LANES, Pack};

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

/// The channels of a whole image: `maps[channel][y][x]`.
type Maps = Vec<Vec<Vec<f32>>>;

fn group_of(channel: usize, n: usize, n_groups: usize) -> usize {
    channel * n_groups / n
}

fn plain_conv(input: &Maps, kernel: Kernel2d<'_>, mask: Mask, n_groups: usize) -> Maps {
    let (height, width, size) = (input[0].len(), input[0][0].len(), kernel.size);
    let (n_in, n_out, radius) = (input.len(), kernel.bias.len(), size / 2);
    let visible = |ky: usize, kx: usize, i: usize, o: usize| {
        let (i, o) = (group_of(i, n_in, n_groups), group_of(o, n_out, n_groups));
        (ky, kx) < (radius, radius) || ((ky, kx) == (radius, radius) && (i < o || (i == o && mask == Mask::B)))
    };
    let at = |y: usize, x: usize, o: usize| {
        let mut sum = kernel.bias[o];
        for (ky, kx, i) in (0..size).flat_map(|ky| (0..size).flat_map(move |kx| (0..n_in).map(move |i| (ky, kx, i)))) {
            let inside = (y + ky).checked_sub(radius).zip((x + kx).checked_sub(radius));
            if let Some((y, x)) = inside.filter(|&(y, x)| y < height && x < width)
                && visible(ky, kx, i, o)
            {
                sum = input[i][y][x].mul_add(kernel.weight[((o * n_in + i) * size + ky) * size + kx], sum);
            }
        }
        sum
    };
    (0..n_out).map(|o| (0..height).map(|y| (0..width).map(|x| at(y, x, o)).collect()).collect()).collect()
}

fn each(maps: &Maps, f: impl Fn(f32) -> f32) -> Maps {
    maps.iter().map(|rows| rows.iter().map(|row| row.iter().map(|&x| f(x)).collect()).collect()).collect()
}

fn sum(a: &Maps, b: &Maps) -> Maps {
    let rows = |(a, b): (&Vec<Vec<f32>>, &Vec<Vec<f32>>)| {
        a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
    };
    a.iter().zip(b).map(rows).collect()
}

/// A graph with all that a graph may have, and the same in plain loops.
struct Net {
    n_groups: usize,
    width: usize,
    /// Weights, bias and size.
    layers: Vec<(Vec<f32>, Vec<f32>, usize)>,
}

impl Net {
    fn new(n_groups: usize, width: usize, [wide, narrow, out]: [usize; 3], numbers: &mut Numbers) -> Self {
        let shapes = [(wide, n_groups, 5), (narrow, wide, 1), (narrow, narrow, 3), (wide, narrow, 1), (out, wide, 1)];
        let layers =
            shapes.map(|(out, from, size)| (numbers.take(out * from * size * size), numbers.take(out), size)).to_vec();
        Self { n_groups, width, layers }
    }

    fn kernel(&self, layer: usize) -> Kernel2d<'_> {
        let (weight, bias, size) = &self.layers[layer];
        Kernel2d { weight, bias, size: *size }
    }

    fn graph(&self) -> (Graph, NodeId) {
        let (mut graph, image) = Graph::new(self.width, self.n_groups);
        let a = graph.conv(image, self.kernel(0), Mask::A, Then::Keep);
        let h = graph.conv_of_relu(a, self.kernel(1), Mask::B, Then::Relu);
        let h = graph.conv(h, self.kernel(2), Mask::B, Then::Relu);
        let a = graph.conv(h, self.kernel(3), Mask::B, Then::Add(a));
        let out = graph.conv_of_relu(a, self.kernel(4), Mask::B, Then::Keep);
        (graph, out)
    }

    fn plain(&self, image: &Maps) -> Maps {
        let conv = |input: &Maps, layer, mask| plain_conv(input, self.kernel(layer), mask, self.n_groups);
        let relu = |maps: &Maps| each(maps, |x| x.max(0.0));
        let a = conv(image, 0, Mask::A);
        let h = relu(&conv(&relu(&a), 1, Mask::B));
        let h = relu(&conv(&h, 2, Mask::B));
        conv(&relu(&sum(&conv(&h, 3, Mask::B), &a)), 4, Mask::B)
    }

    /// Streams images through the graph, which sees no value before it must.
    fn stream(&self, isa: Isa, plan: Plan, images: &[Maps]) -> Vec<Maps> {
        let (graph, node) = self.graph();
        let (height, n_out) = (images[0][0].len(), self.layers[4].1.len());
        // What is in the memory must not matter.
        let mut memory = vec![Pack([f32::NAN; LANES]); 1000];
        let mut state = graph.activations(plan, &mut memory).expect("little memory");
        let mut out = vec![vec![vec![vec![f32::NAN; self.width]; height]; n_out]; images.len()];
        let groups = if plan.span == 1 { 1 } else { self.n_groups };
        for y in 0..height {
            for (x, first) in (0..self.width)
                .step_by(plan.span)
                .flat_map(|x| (0..self.n_groups).step_by(groups).map(move |first| (x, first)))
            {
                let pixels = Pixels { y, x: x..self.width.min(x + plan.span), groups: first..first + groups };
                let feed = |state: &mut Activations<'_>| {
                    for (sample, image) in images.iter().enumerate() {
                        for (group, x) in
                            pixels.groups.clone().flat_map(|group| pixels.x.clone().map(move |x| (group, x)))
                        {
                            graph.write_input(state, sample, (y, x), group, image[group][y][x]);
                        }
                    }
                };
                if plan.span > 1 {
                    feed(&mut state);
                }
                graph.step(isa, &mut state, &pixels);
                for group in pixels.groups.clone() {
                    let view = graph.read(&state, node, &pixels, group);
                    let channels = (0..n_out).filter(|&channel| group_of(channel, n_out, self.n_groups) == group);
                    for (at, channel) in channels.enumerate() {
                        for (sample, out) in out.iter_mut().enumerate() {
                            for x in pixels.x.clone() {
                                out[channel][y][x] =
                                    view.channels(sample, x - pixels.x.start).nth(at).expect("a channel");
                            }
                        }
                    }
                }
                if plan.span == 1 {
                    feed(&mut state);
                }
            }
        }
        out
    }
}

#[test]
fn every_plan_gives_the_numbers_of_a_plain_convolution() {
    let mut numbers = Numbers(1);
    for (n_groups, width, height, channels) in [
        (1, 1, 1, [2, 1, 1]),
        (1, 1, 4, [16, 8, 1]),
        (1, 2, 3, [6, 3, 1]),
        (1, 28, 3, [20, 40, 2]),
        (1, 37, 4, [9, 17, 1]),
        (2, 3, 3, [5, 2, 2]),
        (3, 18, 3, [50, 3, 15]),
    ] {
        let net = Net::new(n_groups, width, channels, &mut numbers);
        for samples in [1, 3, 16, 17] {
            let image = |numbers: &mut Numbers| {
                (0..n_groups).map(|_| (0..height).map(|_| numbers.take(width)).collect()).collect::<Maps>()
            };
            let images: Vec<_> = (0..samples).map(|_| image(&mut numbers)).collect();
            let expected: Vec<_> = images.iter().map(|image| net.plain(image)).collect();
            let mut plans = vec![
                Plan { in_lanes: InLanes::Channels, samples, span: 1 },
                Plan { in_lanes: InLanes::Sites, samples, span: 1 },
                Plan { in_lanes: InLanes::Sites, samples, span: width },
            ];
            plans.extend((width > 16).then_some(Plan { in_lanes: InLanes::Sites, samples, span: 16 }));
            for (isa, plan) in Isa::all().into_iter().flat_map(|isa| plans.iter().map(move |&plan| (isa, plan))) {
                // Equal but for the signs of zeros.
                assert!(net.stream(isa, plan, &images) == expected, "{} {plan:?} {width} {channels:?}", isa.name());
            }
        }
    }
}

#[test]
fn a_plan_fills_the_vectors() {
    let net = |channels| Net::new(1, 4, channels, &mut Numbers(2)).graph().0;
    let wide = net([64, 32, 16]);
    assert_eq!([1, 15, 16, 17, 32].map(|n| wide.plan(n).in_lanes == InLanes::Sites), [false, false, true, false, true]);
    let narrow = net([4, 2, 1]);
    assert_eq!([1, 2, 3, 8, 17].map(|n| narrow.plan(n).in_lanes == InLanes::Sites), [false, false, true, true, true]);
}
