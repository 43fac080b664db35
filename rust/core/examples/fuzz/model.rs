//! Model files: `Checkpoint::from_bytes`, `models::build`, and a walk through what they accept.

use std::collections::BTreeMap;

use ancestral_core::{
    checkpoint::{Checkpoint, Tensor},
    distribution::{Call, Distribution},
    driver::{Allowed, Draw, Driver, Restrict, Score},
    engine::{self, Batch},
    error::Error,
    model::Model,
    models,
    outputs::Outputs,
    values::Array,
};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::{Target, bytes, graph, header, peak_of};

/// Bytes that reading may allocate for each byte of a file, and beside that.
const MEMORY: (usize, usize) = (64, 1 << 17);
/// Samples to draw from what was accepted.
const N: usize = 3;
/// The largest model that is walked, in dimensions and multiply-adds.
const WALKED: (usize, usize) = (1 << 12, 1 << 18);

/// Well-formed files to damage.
const FILES: usize = 512;

/// Model files.
pub struct ModelFiles {
    well_formed: Vec<Vec<u8>>,
}

impl ModelFiles {
    /// With files to damage.
    pub fn new(rng: &mut Rng) -> Self {
        Self { well_formed: (0..FILES).map(|_| checkpoint(rng).to_bytes()).collect() }
    }

    fn any(&self, rng: &mut Rng) -> &[u8] {
        &self.well_formed[rng.usize(..FILES)]
    }
}

impl Target for ModelFiles {
    fn input(&self, rng: &mut Rng) -> Vec<u8> {
        let mut file = self.any(rng).to_vec();
        match rng.u8(..16) {
            0 => return checkpoint(rng).to_bytes(),
            1..8 => {
                for _ in 0..rng.u8(1..4) {
                    let (text, data) = split(&file);
                    let Ok(mut json) = serde_json::from_slice::<Value>(text) else { break };
                    if !json["__metadata__"].is_object() {
                        break;
                    }
                    let text = header::damage(rng, &mut json);
                    file = join(text.as_bytes(), data);
                }
            }
            8..11 => {
                // Data alone: the header still fits.
                let (text, data) = split(&file);
                let (text, mut data) = (text.to_vec(), data.to_vec());
                let len = data.len();
                (0..rng.u8(1..4)).for_each(|_| bytes::damage(rng, &mut data));
                data.resize(len, 0);
                file = join(&text, &data);
            }
            11..13 => {
                let (text, data) = split(&file);
                let (mut text, data) = (text.to_vec(), data.to_vec());
                (0..rng.u8(1..4)).for_each(|_| bytes::damage(rng, &mut text));
                file = join(&text, &data);
            }
            13 => {
                // The head of one file, and the tail of another.
                let other = self.any(rng);
                file.truncate(bytes::place(rng, &file));
                file.extend(&other[bytes::place(rng, other)..]);
            }
            _ => (0..rng.u8(1..4)).for_each(|_| bytes::damage(rng, &mut file)),
        }
        file
    }

    fn run(&self, input: &[u8]) -> Result<bool, String> {
        let (read, peak) = peak_of(|| {
            let checkpoint = Checkpoint::from_bytes(input)?;
            models::build(&checkpoint).map(|distribution| (checkpoint, distribution))
        });
        // The order of an image of several channels is all that a model's size can make large in a small file.
        let order = read.as_ref().map_or(0, |(_, distribution)| match distribution {
            Distribution::Model(model) => order_bytes(&**model),
            Distribution::Mixture(mixture) => mixture.members().iter().map(|member| order_bytes(&**member)).sum(),
        });
        let most = MEMORY.0 * input.len() + MEMORY.1 + order;
        if peak > most {
            return Err(format!("{peak} bytes allocated for {} of input; at most {most} were promised", input.len()));
        }
        match read {
            Ok((checkpoint, distribution)) => {
                comes_back(&checkpoint)?;
                let seed = input.len() as u64;
                let small = |model: &dyn Model| model.space().n_dims() <= WALKED.0 && model.cost() <= WALKED.1;
                match &distribution {
                    Distribution::Model(model) if small(&**model) => walks(&**model, seed)?,
                    Distribution::Mixture(mixture) if mixture.members().iter().all(|member| small(&**member)) => {
                        mixes(&distribution, seed)?;
                    }
                    _ => {}
                }
                Ok(true)
            }
            Err(Error::Format(message)) if message.is_empty() || message.len() > 2000 => {
                Err(format!("a message of {} bytes", message.len()))
            }
            Err(Error::Format(message)) if message.chars().any(char::is_control) => {
                Err(format!("control characters in the message {message:?}"))
            }
            Err(Error::Format(_)) => Ok(false),
            Err(other) => Err(format!("{other:?} from a reader")),
        }
    }
}

fn split(file: &[u8]) -> (&[u8], &[u8]) {
    let len = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    file[8..].split_at(len)
}

fn join(text: &[u8], data: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text, data].concat()
}

/// A small model of some kind. Most have weights as models have them, some all that floats can be.
pub fn checkpoint(rng: &mut Rng) -> Checkpoint {
    let (kind, config, graph, shapes) = match rng.u8(..6) {
        0 => fvsbn(rng),
        1 => nade(rng),
        2 => pixelcnn(rng),
        _ => graph::network(rng),
    };
    let scale = if rng.bool() { 1.0 } else { *rng.choice(&[0.0, 1e-42, 30.0, 1e6, 1e18, 1e37]).expect("some") };
    let tensors = shapes.into_iter().map(|(name, shape)| {
        let data = (0..shape.iter().product()).map(|_| scale * (2.0 * rng.f32() - 1.0)).collect();
        let tensor = Tensor::new(&name, shape, data).expect("finite, and as many as the shape says");
        (name, tensor)
    });
    Checkpoint { kind: kind.into(), config, graph, tensors: tensors.collect::<BTreeMap<_, _>>() }
}

/// Kind, config, graph, and the shapes of the tensors by name.
pub type Parts = (&'static str, Value, Option<Value>, Vec<(String, Vec<usize>)>);

fn order(rng: &mut Rng, n_dims: usize) -> Value {
    let mut order: Vec<_> = (0..n_dims).collect();
    rng.shuffle(&mut order);
    if rng.bool() { json!(order) } else { Value::Null }
}

fn fvsbn(rng: &mut Rng) -> Parts {
    let n = rng.usize(1..40);
    let config = json!({"n_dims": n, "order": order(rng, n)});
    ("FVSBN", config, None, vec![("weight".into(), vec![n, n]), ("bias".into(), vec![n])])
}

fn nade(rng: &mut Rng) -> Parts {
    let (n, hidden) = (rng.usize(1..40), rng.usize(1..40));
    let config = json!({"n_dims": n, "n_hidden": hidden, "order": order(rng, n)});
    let shapes = [("W", vec![n, hidden]), ("c", vec![hidden]), ("V", vec![n, hidden]), ("b", vec![n])];
    ("NADE", config, None, shapes.map(|(name, shape)| (name.to_owned(), shape)).into())
}

fn pixelcnn(rng: &mut Rng) -> Parts {
    let shape = [rng.usize(1..4), rng.usize(1..5), rng.usize(1..5)];
    let n_classes = *rng.choice(&[2, 2, 2, 3, 5, 17, 256]).expect("some");
    let half = shape[0] + rng.usize(..6);
    let (n_blocks, n_head) = (rng.usize(..3), shape[0] + rng.usize(..20));
    let logits = shape[0] * if n_classes == 2 { 1 } else { n_classes };
    let mut layers = vec![("input".to_owned(), 2 * half, shape[0], 7)];
    for block in 0..n_blocks {
        layers.push((format!("blocks.{block}.down"), half, 2 * half, 1));
        layers.push((format!("blocks.{block}.conv"), half, half, 3));
        layers.push((format!("blocks.{block}.up"), 2 * half, half, 1));
    }
    layers.push(("head_hidden".to_owned(), n_head, 2 * half, 1));
    layers.push(("head_out".to_owned(), logits, n_head, 1));
    let shapes = layers.into_iter().flat_map(|(name, out, from, size)| {
        [(format!("{name}.weight"), vec![out, from, size, size]), (format!("{name}.bias"), vec![out])]
    });
    let config = json!({
        "event_shape": shape, "n_classes": n_classes, "n_channels": 2 * half, "n_blocks": n_blocks, "n_head": n_head,
        "input_scale": rng.f64(), "input_shift": rng.f64() - 0.5,
    });
    ("PixelCNN", config, None, shapes.collect())
}

/// What is written is read back as it was.
fn comes_back(checkpoint: &Checkpoint) -> Result<(), String> {
    match Checkpoint::from_bytes(&checkpoint.to_bytes()) {
        Ok(again) if again == *checkpoint => Ok(()),
        Ok(_) => Err("the file came back as another model".into()),
        Err(error) => Err(format!("the file did not come back: {error}")),
    }
}

fn order_bytes(model: &dyn Model) -> usize {
    5 * model.space().order().map_or(0, <[u32]>::len)
}

/// Draws and scores a mixture; the outputs are in range and agree.
fn mixes(mixture: &Distribution, seed: u64) -> Result<(), String> {
    let (mut x, mut drawn, mut scored) = (Array::new(mixture.space(), N), [f64::NAN; N], [f64::NAN; N]);
    let outputs = Outputs { x: Some(x.write()), log_prob: Some(&mut drawn), ..Outputs::default() };
    match mixture.draw(&Draw::new(seed, seed << 40), N, outputs, Call { threads: 1, go_on: &mut |_| true }) {
        Ok(()) => {}
        Err(Error::Overflow { .. }) => return Ok(()),
        Err(other) => return Err(format!("{other:?} from a walk")),
    }
    let outputs = Outputs { log_prob: Some(&mut scored), ..Outputs::default() };
    let result = mixture.score(x.read(), None, outputs, Call { threads: 1, go_on: &mut |_| true });
    result.map_err(|error| format!("what was drawn cannot be scored: {error}"))?;
    let holds = |promise: &str, holds: bool| if holds { Ok(()) } else { Err(promise.to_owned()) };
    holds("log_prob of a draw and of its score agree to the bit", drawn.map(f64::to_bits) == scored.map(f64::to_bits))?;
    holds("log_prob is at most 0", scored.iter().all(|&nats| nats <= 0.0))
}

/// Draws, scores and restricts; the outputs are in range and agree.
fn walks(model: &dyn Model, seed: u64) -> Result<(), String> {
    let space = model.space();
    let n_values = N * space.n_dims();
    let (mut x, mut drawn) = (Array::new(space, N), [f64::NAN; N]);
    let temperature = [0.0, 1.0, 1e-30, 0.7, 1e6][seed as usize % 5];
    let draw = Draw { seed, start: seed << 40, temperature };
    let outputs = Outputs { x: Some(x.write()), log_prob: Some(&mut drawn), ..Outputs::default() };
    if !runs(model, Driver::Decide(&draw), outputs)? {
        return Ok(());
    }
    let score = Score::new(space, x.read()).map_err(|error| format!("drawn values are refused: {error}"))?;
    let n_features = model.feature_shape().map_or(0, |shape| shape.iter().product());
    let (mut scored, mut surprise) = ([f64::NAN; N], vec![f32::NAN; n_values]);
    let mut conditionals = vec![f32::NAN; n_values * space.n_conditionals()];
    let mut features = vec![f32::NAN; N * n_features];
    let outputs = Outputs {
        log_prob: Some(&mut scored),
        conditionals: Some(&mut conditionals),
        surprise: Some(&mut surprise),
        ..Outputs::default()
    };
    if !runs(model, Driver::Score(&score), outputs)? {
        return Err("what was drawn cannot be scored".into());
    }
    // Those that see all values may overflow where no conditional does.
    let outputs = Outputs { features: Some(&mut features), ..Outputs::default() };
    if !runs(model, Driver::Score(&score), outputs)? {
        features.fill(0.0);
    }
    let holds = |promise: &str, holds: bool| if holds { Ok(()) } else { Err(promise.to_owned()) };
    holds("log_prob of a draw and of its score agree to the bit", drawn.map(f64::to_bits) == scored.map(f64::to_bits))?;
    holds("log_prob is at most 0", scored.iter().all(|&nats| nats <= 0.0))?;
    holds("conditionals are probabilities", conditionals.iter().all(|p| (0.0..=1.0).contains(p)))?;
    holds("surprise is at least 0", surprise.iter().all(|&nats| nats >= 0.0))?;
    holds("features are finite", features.iter().all(|value| value.is_finite()))?;

    // Half of the dimensions held at what was drawn.
    let (mut low, mut high) = (x.clone(), x.clone());
    for at in (1..n_values).step_by(2) {
        low.set(at, 0);
        high.set(at, space.n_classes(at % space.n_dims()) as u32 - 1);
    }
    let restrict = Restrict::new(space, Allowed::Range { low: low.read(), high: high.read() }, seed, &[0; N], 1);
    let restrict = restrict.map_err(|error| format!("drawn values are no ranges: {error}"))?;
    let (mut within, mut log_weight) = (Array::new(space, N), [f64::NAN; N]);
    let outputs = Outputs { x: Some(within.write()), log_weight: Some(&mut log_weight), ..Outputs::default() };
    if runs(model, Driver::Decide(&restrict), outputs)? {
        let [low, high, within] = [&low, &high, &within].map(Array::read);
        let inside = |at| (low.get(at)..=high.get(at)).contains(&within.get(at));
        holds("what is drawn within ranges is within them", (0..n_values).all(inside))?;
        holds("log_weight is at most 0", log_weight.iter().all(|&nats| nats <= 0.0))?;
    }
    Ok(())
}

/// Whether a walk ended well; one that overflows may fail.
fn runs(model: &dyn Model, driver: Driver<'_>, outputs: Outputs<'_>) -> Result<bool, String> {
    match engine::run(model, Batch { n: N, driver, n_steps: None, block_len: None, outputs, threads: 1 }, &mut |_| true)
    {
        Ok(()) => Ok(true),
        Err(Error::Overflow { .. }) => Ok(false),
        Err(other) => Err(format!("{other:?} from a walk")),
    }
}
