//! The graph of a PixelCNN in a file of version 1, which holds its sizes only.
//!
//! u = scale · x + shift;  a = conv7×7, mask A (u);  a ← a + up(relu(conv3×3, mask B (relu(down(relu(a)))))) a block;
//! logits = out(relu(hidden(relu(a)))). van den Oord, Kalchbrenner, Kavukcuoglu, *Pixel recurrent neural networks*, ICML 2016.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Network;
use crate::{
    checkpoint::{Checkpoint, Tensor},
    error::Error,
};

/// The name in files.
pub const PIXEL_CNN: &str = "PixelCNN";

/// Weight and bias of the three convolutions of a block.
const TENSORS_PER_BLOCK: usize = 6;

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

/// A convolution of the file, whose kernel is square.
struct Convolution {
    name: String,
    n_out: usize,
    n_in: usize,
    size: usize,
}

/// The convolutions in the order of the checks.
fn convolutions(config: &Config, outputs: usize) -> Vec<Convolution> {
    let (n, half) = (config.n_channels, config.n_channels / 2);
    let conv = |name: String, n_out, n_in, size| Convolution { name, n_out, n_in, size };
    let mut layers = vec![conv("input".into(), n, config.event_shape[0], 7)];
    for block in 0..config.n_blocks {
        layers.push(conv(format!("blocks.{block}.down"), half, n, 1));
        layers.push(conv(format!("blocks.{block}.conv"), half, half, 3));
        layers.push(conv(format!("blocks.{block}.up"), n, half, 1));
    }
    layers.push(conv("head_hidden".into(), config.n_head, n, 1));
    layers.push(conv("head_out".into(), outputs, config.n_head, 1));
    layers
}

impl Convolution {
    fn radius(&self) -> i32 {
        (self.size / 2) as i32
    }

    /// The offsets that a mask leaves: rows above, the row up to the centre, and the centre.
    fn offsets(&self) -> Vec<[i32; 2]> {
        let r = self.radius();
        (-r..=0).flat_map(|row| (-r..=r).map(move |column| [row, column])).filter(|offset| *offset <= [0, 0]).collect()
    }

    /// The weights at these offsets, (out, in, offsets).
    fn weights(&self, kernel: &Tensor) -> Result<Tensor, Error> {
        let kept = self.offsets().len();
        // In raster order, those that are left come first.
        let data = kernel.data().chunks_exact(self.size * self.size).flat_map(|kernel| &kernel[..kept]).copied();
        Tensor::new(&self.name, vec![self.n_out, self.n_in, kept], data.collect())
    }

    /// The node that reads `from`; output channel j of N sees the image's channels before channel ⌊j · C / N⌋.
    fn node(&self, from: &str, channels: usize) -> Value {
        let degrees: Vec<_> = (0..self.n_out).map(|j| (j * channels / self.n_out) as i32 - 1).collect();
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{}.{part}", self.name));
        json!({"name": self.name, "op": "taps", "from": from, "offsets": self.offsets(), "weight": weight, "bias": bias,
               "degrees": degrees})
    }
}

/// A PixelCNN from `NAME.weight` (out, in, size, size) and `NAME.bias` (out) for the convolutions `input`, `blocks.I.down`,
/// `blocks.I.conv`, `blocks.I.up`, `head_hidden` and `head_out`. Masked weights are not looked at.
///
/// # Errors
/// [`Error::Format`] if the config is not a PixelCNN's, or the tensors are not the config's.
pub fn pixel_cnn(checkpoint: &Checkpoint) -> Result<Network, Error> {
    let config: Config = checkpoint.config()?;
    config.check()?;
    // The number of blocks is the only size that no shape bounds.
    if config.n_blocks > checkpoint.tensors.len() / TENSORS_PER_BLOCK {
        return Err(Error::format(format!("n_blocks is {}, but their tensors are missing", config.n_blocks)));
    }
    let channels = config.event_shape[0];
    let parameters = if config.n_classes == 2 { 1 } else { config.n_classes };
    let layers = convolutions(&config, channels.saturating_mul(parameters));
    let shape = |layer: &Convolution| {
        let Convolution { name, n_out, n_in, size } = layer;
        [(format!("{name}.weight"), vec![*n_out, *n_in, *size, *size]), (format!("{name}.bias"), vec![*n_out])]
    };
    let wanted: Vec<_> = layers.iter().flat_map(shape).collect();
    let read = checkpoint.expect(&wanted)?;
    let mut tensors = BTreeMap::new();
    for (layer, pair) in layers.iter().zip(read.chunks_exact(2)) {
        tensors.insert(format!("{}.weight", layer.name), layer.weights(pair[0])?);
        tensors.insert(format!("{}.bias", layer.name), pair[1].clone());
    }
    Network::new(&graph(&config, &layers), &tensors)
}

fn graph(config: &Config, layers: &[Convolution]) -> Value {
    let channels = config.event_shape[0];
    let mut nodes =
        vec![json!({"name": "x", "op": "values", "scale": config.input_scale, "shift": config.input_shift})];
    let relu = |from: &str| json!({"name": format!("relu({from})"), "op": "relu", "from": from});
    let mut layers = layers.iter();
    let mut last = "x".to_owned();
    let mut push = |nodes: &mut Vec<Value>, from: &str| {
        let layer = layers.next().expect("as many layers as the network has");
        nodes.push(layer.node(from, channels));
        layer.name.clone()
    };
    let mut a = push(&mut nodes, &last);
    for block in 0..config.n_blocks {
        last.clone_from(&a);
        for _ in ["down", "conv", "up"] {
            nodes.push(relu(&last));
            last = push(&mut nodes, &format!("relu({last})"));
        }
        let sum = format!("blocks.{block}");
        nodes.push(json!({"name": sum, "op": "add", "from": [a, last]}));
        a = sum;
    }
    nodes.push(relu(&a));
    let hidden = push(&mut nodes, &format!("relu({a})"));
    nodes.push(relu(&hidden));
    let features = format!("relu({hidden})");
    let output = push(&mut nodes, &features);
    json!({
        "space": {"event_shape": config.event_shape, "n_classes": config.n_classes},
        "nodes": nodes, "output": output, "features": features,
    })
}
