//! PixelCNN: masked convolutions over images.
//!
//! u = scale · x + shift;  a = conv7×7, mask A (u);  a ← a + up(relu(conv3×3, mask B (relu(down(relu(a)))))) a block;
//! logits = out(relu(hidden(relu(a)))). van den Oord, Kalchbrenner, Kavukcuoglu, *Pixel recurrent neural networks*,
//! ICML 2016.
//!
//! Pixels in raster order, channels within a pixel; padding is zero after the affine map.

use std::ops::Range;

use serde::Deserialize;

use crate::{
    block::Block,
    checkpoint::{Checkpoint, Tensor},
    error::Error,
    kernels::LANES,
    model::{Model, Scratch},
    space::{Classes, Space},
    stream::{Activations, Graph, InLanes, Kernel2d, Mask, NodeId, Pixels, Plan, Then},
};

/// The name in files.
pub const KIND: &str = "PixelCNN";

/// Weight and bias of the three convolutions of a block.
const TENSORS_PER_BLOCK: usize = 6;
/// Samples drawn side by side: three vectors of sites, a tile's width.
const BLOCK: usize = 48;
/// Packs that a block of samples may take beyond its least size.
const MEMORY: usize = 1 << 20;
/// Sites computed side by side where the data are given, about.
const SITES: usize = 144;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    event_shape: [usize; 3],
    n_classes: usize,
    n_channels: usize,
    n_blocks: usize,
    n_head: usize,
    input_scale: f32,
    input_shift: f32,
}

/// A trained PixelCNN.
pub struct PixelCnn {
    space: Space,
    shape: [usize; 3],
    graph: Graph,
    /// The last layer before the logits.
    hidden: NodeId,
    n_head: usize,
    logits: NodeId,
    /// What the first layer sees of each value.
    inputs: Vec<f32>,
    cost: usize,
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let channels = self.event_shape[0];
        let require = |holds: bool, message: String| if holds { Ok(()) } else { Err(Error::format(message)) };
        require((2..=256).contains(&self.n_classes), format!("n_classes is {}; wanted 2 to 256", self.n_classes))?;
        require(
            self.n_channels / 2 >= channels && self.n_channels.is_multiple_of(2),
            format!("n_channels is {}; wanted an even number, two and more for each of {channels}", self.n_channels),
        )?;
        require(self.n_head >= channels, format!("n_head is {}; wanted at least {channels}", self.n_head))?;
        require(
            self.input_scale.is_finite() && self.input_shift.is_finite(),
            format!("input_scale is {} and input_shift {}; wanted finite numbers", self.input_scale, self.input_shift),
        )
    }
}

/// The convolutions in the order of the checks and of the graph: name, outputs, inputs, size.
fn convolutions(config: &Config, outputs: usize) -> Vec<(String, usize, usize, usize)> {
    let (n, half) = (config.n_channels, config.n_channels / 2);
    let mut layers = vec![("input".to_owned(), n, config.event_shape[0], 7)];
    for block in 0..config.n_blocks {
        layers.push((format!("blocks.{block}.down"), half, n, 1));
        layers.push((format!("blocks.{block}.conv"), half, half, 3));
        layers.push((format!("blocks.{block}.up"), n, half, 1));
    }
    layers.push(("head_hidden".to_owned(), config.n_head, n, 1));
    layers.push(("head_out".to_owned(), outputs, config.n_head, 1));
    layers
}

impl PixelCnn {
    /// From `NAME.weight` (out, in, size, size) and `NAME.bias` (out) for the layers `input`, `blocks.I.down`,
    /// `blocks.I.conv`, `blocks.I.up`, `head_hidden` and `head_out`. Masked weights are not looked at.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let config: Config = checkpoint.config()?;
        config.check()?;
        // The number of blocks is the only size that no shape bounds.
        if config.n_blocks > checkpoint.tensors.len() / TENSORS_PER_BLOCK {
            return Err(Error::format(format!("n_blocks is {}, but their tensors are missing", config.n_blocks)));
        }
        let [channels, height, width] = config.event_shape;
        let logits = if config.n_classes == 2 { 1 } else { config.n_classes };
        let layers = convolutions(&config, channels.saturating_mul(logits));
        let wanted: Vec<_> = layers
            .iter()
            .flat_map(|(name, out, from, size)| {
                [(format!("{name}.weight"), vec![*out, *from, *size, *size]), (format!("{name}.bias"), vec![*out])]
            })
            .collect();
        let tensors = checkpoint.expect(&wanted)?;
        // Once the tensors are known to fit. One channel has the natural order.
        let n_pixels = height.saturating_mul(width);
        let dim = |step| ((step % channels) * n_pixels + step / channels) as u32;
        let order = || (channels > 1).then(|| (0..channels * n_pixels).map(dim).collect());
        let space = Space::new(config.event_shape.to_vec(), Classes::Same(config.n_classes as u32), order)?;
        let mut kernels = tensors.chunks_exact(2).zip(&layers).map(|(pair, layer)| kernel(pair, layer.3));
        let mut next = || kernels.next().expect("one kernel a layer");

        let (mut graph, image) = Graph::new(width, channels);
        let mut a = graph.conv(image, next(), Mask::A, Then::Keep);
        for _ in 0..config.n_blocks {
            let h = graph.conv_of_relu(a, next(), Mask::B, Then::Relu);
            let h = graph.conv(h, next(), Mask::B, Then::Relu);
            a = graph.conv(h, next(), Mask::B, Then::Add(a));
        }
        let hidden = graph.conv_of_relu(a, next(), Mask::B, Then::Relu);
        let logits = graph.conv(hidden, next(), Mask::B, Then::Keep);
        let inputs = (0..config.n_classes).map(|value| (value as f32).mul_add(config.input_scale, config.input_shift));
        let cost = graph.n_params().saturating_mul(n_pixels);
        let (shape, n_head) = (config.event_shape, config.n_head);
        Ok(Self { space, shape, graph, hidden, n_head, logits, inputs: inputs.collect(), cost })
    }
}

fn kernel<'a>(pair: &[&'a Tensor], size: usize) -> Kernel2d<'a> {
    Kernel2d { weight: pair[0].data(), bias: pair[1].data(), size }
}

impl Model for PixelCnn {
    fn space(&self) -> &Space {
        &self.space
    }

    fn n_params(&self) -> usize {
        self.graph.n_params()
    }

    fn cost(&self) -> usize {
        self.cost
    }

    fn block_len(&self) -> usize {
        let packs_per_sample = self.graph.packs_per_sample() + self.space.n_dims().div_ceil(LANES);
        let fit = (MEMORY / packs_per_sample).clamp(6, BLOCK);
        if fit < LANES { fit } else { fit / LANES * LANES }
    }

    fn feature_shape(&self) -> Option<Vec<usize>> {
        Some(vec![self.n_head, self.shape[1], self.shape[2]])
    }

    fn turn(&self, step: usize) -> usize {
        step + 1
    }

    fn revision(&self) -> u32 {
        1
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        if block.given() { self.score(block, scratch) } else { self.draw(block, scratch) }
    }
}

impl PixelCnn {
    /// The walk pixel by pixel.
    fn draw(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let [channels, height, width] = self.shape;
        let samples = 0..block.len;
        let mut state = self.graph.activations(self.graph.plan(block.len), &mut scratch.packs)?;
        for y in 0..height.min(block.n_steps.div_ceil(width * channels)) {
            block.check()?;
            for (x, group) in (0..width).flat_map(|x| (0..channels).map(move |group| (x, group))) {
                let pixels = Pixels { y, x: x..x + 1, groups: group..group + 1 };
                self.graph.step(block.isa, &mut state, &pixels);
                self.decide(block, &state, &samples, &pixels, &mut scratch.floats)?;
                self.feed(block, &samples, &mut state, &pixels);
            }
        }
        Ok(())
    }

    /// The walk where the data are given: a stretch of a row at once, for a few samples after the other.
    fn score(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let [channels, height, width] = self.shape;
        let at_once = (SITES / width).max(1);
        for first in (0..block.len).step_by(at_once) {
            let samples = first..block.len.min(first + at_once);
            let plan = Plan { in_lanes: InLanes::Sites, samples: samples.len(), span: SITES.min(width) };
            let mut state = self.graph.activations(plan, &mut scratch.packs)?;
            for y in 0..height.min(block.n_steps.div_ceil(width * channels)) {
                block.check()?;
                for x in (0..width).step_by(plan.span) {
                    let pixels = Pixels { y, x: x..width.min(x + plan.span), groups: 0..channels };
                    self.feed(block, &samples, &mut state, &pixels);
                    self.graph.step(block.isa, &mut state, &pixels);
                    self.decide(block, &state, &samples, &pixels, &mut scratch.floats)?;
                }
            }
        }
        Ok(())
    }

    /// The steps of a sample at some pixels: row and column of the pixel, group, and step.
    fn steps(&self, pixels: &Pixels) -> impl Iterator<Item = (usize, usize, usize)> {
        let [channels, _, width] = self.shape;
        let (first, groups) = (pixels.y * width + pixels.x.start, pixels.groups.clone());
        (0..pixels.x.len())
            .flat_map(move |x| groups.clone().map(move |group| (x, group, (first + x) * channels + group)))
    }

    /// Shows the graph the values of samples at some pixels.
    fn feed(&self, block: &Block<'_>, samples: &Range<usize>, state: &mut Activations<'_>, pixels: &Pixels) {
        for (at, sample) in samples.clone().enumerate() {
            for (x, group, step) in self.steps(pixels) {
                let value = self.inputs[block.value(sample, step) as usize];
                self.graph.write_input(state, at, (pixels.y, pixels.x.start + x), group, value);
            }
        }
    }

    /// Writes the last layer at one pixel and group, where features are wanted.
    fn show_features(
        &self,
        block: &mut Block<'_>,
        state: &Activations<'_>,
        samples: &Range<usize>,
        pixels: &Pixels,
        (x, group): (usize, usize),
    ) {
        let [_, height, width] = self.shape;
        let view = self.graph.read(state, self.hidden, pixels, group);
        for sample in samples.clone() {
            let Some(out) = block.features(sample) else { return };
            let pixel = pixels.y * width + pixels.x.start + x;
            for (channel, value) in (view.first_channel()..).zip(view.channels(sample - samples.start, x)) {
                out[channel * height * width + pixel] = value;
            }
        }
    }

    /// Books the logits at some pixels, and asks the driver for the values unless they are given.
    fn decide(
        &self,
        block: &mut Block<'_>,
        state: &Activations<'_>,
        samples: &Range<usize>,
        pixels: &Pixels,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error> {
        for (x, group, step) in self.steps(pixels) {
            self.show_features(block, state, samples, pixels, (x, group));
            let view = self.graph.read(state, self.logits, pixels, group);
            logits.clear();
            for sample in samples.clone() {
                logits.extend(view.channels(sample - samples.start, x));
            }
            block.decide(step, samples.clone(), logits)?;
        }
        Ok(())
    }
}
