//! PixelCNN: masked convolutions over images.
//!
//! u = scale · x + shift;  a = conv7×7, mask A (u);  a ← a + up(relu(conv3×3, mask B (relu(down(relu(a)))))) a block;
//! logits = out(relu(hidden(relu(a)))). van den Oord, Kalchbrenner, Kavukcuoglu, *Pixel recurrent neural networks*,
//! ICML 2016.
//!
//! Pixels in raster order, channels within a pixel; padding is zero after the affine map.

use serde::Deserialize;

use crate::{
    block::Block,
    checkpoint::{Checkpoint, Tensor},
    error::Error,
    event::Event,
    kernels::{Kernel, LANES, Lanes, flat_mut},
    model::{Model, Scratch},
    stream::{Activations, Graph, Kernel2d, Mask, NodeId, Then},
};

/// The name in files.
pub const KIND: &str = "PixelCNN";

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
    event: Event,
    shape: [usize; 3],
    graph: Graph,
    logits: NodeId,
    /// What the first layer sees of each value.
    inputs: Vec<f32>,
    cost: usize,
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let channels = self.event_shape[0];
        let require = |holds: bool, message: String| if holds { Ok(()) } else { Err(Error::Format(message)) };
        require((2..=256).contains(&self.n_classes), format!("n_classes is {}; wanted 2 to 256", self.n_classes))?;
        require(
            self.n_channels >= 2 * channels && self.n_channels.is_multiple_of(2),
            format!("n_channels is {}; wanted an even number from {} on", self.n_channels, 2 * channels),
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
        if config.n_blocks > checkpoint.tensors.len() {
            return Err(Error::format(format!("n_blocks is {}, but their tensors are missing", config.n_blocks)));
        }
        let [channels, height, width] = config.event_shape;
        let n_pixels = height.saturating_mul(width);
        let step_order = || (0..n_pixels).flat_map(|pixel| (0..channels).map(move |c| (c * n_pixels + pixel) as u32));
        let event = Event::new(config.event_shape.to_vec(), config.n_classes, || Some(step_order().collect()))?;

        let layers = convolutions(&config, channels * event.n_conditionals());
        let wanted: Vec<_> = layers
            .iter()
            .flat_map(|(name, out, from, size)| {
                [(format!("{name}.weight"), vec![*out, *from, *size, *size]), (format!("{name}.bias"), vec![*out])]
            })
            .collect();
        let tensors = checkpoint.expect(&wanted)?;
        let mut kernels = tensors.chunks_exact(2).zip(&layers).map(|(pair, layer)| kernel(pair, layer.3));
        let mut next = || kernels.next().expect("one kernel a layer");

        let (mut graph, image) = Graph::new(width, channels);
        let mut a = graph.conv(image, next(), Mask::A, Then::Keep);
        for _ in 0..config.n_blocks {
            let h = graph.relu(a);
            let h = graph.conv(h, next(), Mask::B, Then::Relu);
            let h = graph.conv(h, next(), Mask::B, Then::Relu);
            a = graph.conv(h, next(), Mask::B, Then::Add(a));
        }
        let h = graph.relu(a);
        let h = graph.conv(h, next(), Mask::B, Then::Relu);
        let logits = graph.conv(h, next(), Mask::B, Then::Keep);
        let inputs = (0..config.n_classes).map(|value| (value as f32).mul_add(config.input_scale, config.input_shift));
        let cost = graph.n_params().saturating_mul(n_pixels);
        Ok(Self { event, shape: config.event_shape, graph, logits, inputs: inputs.collect(), cost })
    }
}

fn kernel<'a>(pair: &[&'a Tensor], size: usize) -> Kernel2d<'a> {
    Kernel2d { weight: pair[0].data(), bias: pair[1].data(), size }
}

impl Model for PixelCnn {
    fn event(&self) -> &Event {
        &self.event
    }

    fn n_params(&self) -> usize {
        self.graph.n_params()
    }

    fn cost(&self) -> usize {
        self.cost
    }

    fn block_len(&self) -> usize {
        // The caches of all samples should fit a second-level cache of 1 MiB; whole tiles of 6 rows use it best.
        (((1 << 14) / self.graph.packs_per_sample()).clamp(6, 48) / 6) * 6
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let [channels, height, width] = self.shape;
        let mut state = self.graph.activations(block.len, &mut scratch.packs);
        for y in 0..height {
            block.check()?;
            for (x, group) in (0..width).flat_map(|x| (0..channels).map(move |group| (x, group))) {
                block.isa.run(Step { graph: &self.graph, state: &mut state, pixel: (y, x), group });
                self.decide(block, &mut state, (y, x), group)?;
            }
        }
        Ok(())
    }
}

impl PixelCnn {
    /// Asks the driver for every sample's value at a pixel and channel, and feeds it to the graph.
    fn decide(
        &self,
        block: &mut Block<'_>,
        state: &mut Activations<'_>,
        pixel: (usize, usize),
        group: usize,
    ) -> Result<(), Error> {
        let [channels, _, width] = self.shape;
        let n_dims = self.event.n_dims();
        let step = (pixel.0 * width + pixel.1) * channels + group;
        let stride = n_dims.div_ceil(LANES) * LANES;
        for sample in 0..block.len {
            let logits = self.graph.read(state, self.logits, sample, pixel, group);
            if !logits.iter().all(|logit| logit.is_finite()) {
                return Err(block.overflow(sample));
            }
            let value = if self.event.n_classes() == 2 {
                let field = &mut flat_mut(block.field)[sample * stride + step];
                let one = logits[0] > *field;
                *field = logits[0];
                block.x[sample * n_dims + step] = u8::from(one);
                u8::from(one)
            } else {
                block.choose(sample, step, logits)
            };
            self.graph.write_input(state, sample, pixel, group, self.inputs[usize::from(value)]);
        }
        Ok(())
    }
}

/// One pixel and channel of the graph, for all samples.
struct Step<'a, 'b> {
    graph: &'a Graph,
    state: &'a mut Activations<'b>,
    pixel: (usize, usize),
    group: usize,
}

impl Kernel for Step<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        self.graph.step(l, self.state, self.pixel, self.group);
    }
}
