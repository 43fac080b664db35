//! A block of samples on its walk: what the driver wants, what the model decides, and where the results go.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    driver::{Decide, Driver},
    error::Error,
    event::Event,
    head::{self, Categorical},
    kernels::{Isa, LANES, Pack, flat},
};

/// Slices of the caller's arrays; a missing one is not wanted.
#[derive(Default)]
pub struct Outputs<'a> {
    /// Values, `n_dims` a sample.
    pub x: Option<&'a mut [u8]>,
    /// Log-probabilities in nats, one a sample.
    pub log_prob: Option<&'a mut [f64]>,
    /// Probabilities, `n_dims` × `n_conditionals` a sample.
    pub conditionals: Option<&'a mut [f32]>,
}

impl<'a> Outputs<'a> {
    /// Splits off the outputs of the first `len` samples.
    pub fn split_off(&mut self, len: usize, event: &Event) -> Self {
        fn front<'a, T>(rest: &mut Option<&'a mut [T]>, len: usize) -> Option<&'a mut [T]> {
            rest.as_mut().map(|rest| rest.split_off_mut(..len).expect("as many as the batch has samples"))
        }
        Self {
            x: front(&mut self.x, len * event.n_dims()),
            log_prob: front(&mut self.log_prob, len),
            conditionals: front(&mut self.conditionals, len * event.n_dims() * event.n_conditionals()),
        }
    }
}

/// Memory of a worker for the blocks it walks.
#[derive(Default)]
pub struct Room {
    field: Vec<Pack>,
    x: Vec<u8>,
    weights: Vec<Pack>,
}

/// A block of samples, all at the same step of the walk.
pub struct Block<'a> {
    /// The instruction set to run on.
    pub isa: Isa,
    /// Samples in the block.
    pub len: usize,
    /// Bernoulli head: `packs` packs a sample, thresholds as the walk begins (unless the values are given) and logits as it
    /// ends, in the model's order.
    pub field: &'a mut [Pack],
    /// Values, `n_dims` a sample, in the model's order: those of the data where they are given, else zero as the walk
    /// begins.
    pub x: &'a mut [u8],
    event: &'a Event,
    decide: Option<&'a dyn Decide>,
    first: usize,
    weights: &'a mut [Pack],
    out: Outputs<'a>,
    stop: &'a AtomicBool,
}

impl<'a> Block<'a> {
    /// The block of samples `first` to `first + len` − 1, its thresholds asked of the driver.
    pub fn new(
        isa: Isa,
        event: &'a Event,
        driver: Driver<'a>,
        (first, len): (usize, usize),
        out: Outputs<'a>,
        room: &'a mut Room,
        stop: &'a AtomicBool,
    ) -> Self {
        let bernoulli = event.n_classes() == 2;
        let packs = if bernoulli { event.n_dims().div_ceil(LANES) } else { 0 };
        room.field.resize(len * packs, Pack::ZERO);
        room.weights.resize(event.n_classes().div_ceil(LANES), Pack::ZERO);
        room.x.clear();
        room.x.resize(len * event.n_dims(), 0);
        let decide = match driver {
            Driver::Score(score) => {
                for (sample, x) in room.x.chunks_exact_mut(event.n_dims()).enumerate() {
                    score.values(first + sample, x);
                }
                None
            }
            Driver::Decide(decide) => {
                for (sample, thresholds) in room.field.chunks_exact_mut(packs.max(1)).enumerate() {
                    decide.thresholds(isa, first + sample, thresholds);
                }
                Some(decide)
            }
        };
        let (field, x, weights) = (&mut room.field, &mut room.x, &mut room.weights);
        Self { isa, len, field, x, event, decide, first, weights, out, stop }
    }

    /// Teacher forcing: `x` is given, and the field holds nothing as the walk begins.
    pub fn given(&self) -> bool {
        self.decide.is_none()
    }

    /// Categorical head: finds one sample's value at this step, and books its probability.
    pub fn choose(&mut self, sample: usize, step: usize, logits: &[f32]) -> u8 {
        let conditional = Categorical::new(self.isa, logits, self.weights);
        let x = &mut self.x[sample * self.event.n_dims() + step];
        if let Some(decide) = self.decide {
            *x = decide.choose(self.first + sample, step, &conditional);
        }
        let value = *x;
        if let Some(log_prob) = &mut self.out.log_prob {
            if step == 0 {
                log_prob[sample] = 0.0;
            }
            log_prob[sample] += conditional.log_prob(value);
        }
        if let Some(conditionals) = &mut self.out.conditionals {
            let n = self.event.n_classes();
            let at = (sample * self.event.n_dims() + self.event.dim(step)) * n;
            conditionals[at..][..n].iter_mut().zip(conditional.probs()).for_each(|(out, p)| *out = p);
        }
        value
    }

    /// Whether the caller has asked to stop; to be asked now and then in a long walk.
    pub fn check(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The error of a sample whose activations are no longer finite.
    pub fn overflow(&self, sample: usize) -> Error {
        Error::Overflow { sample: self.first + sample }
    }

    /// After the walk: turns logits into the probabilities asked for, and hands out all results in the event's order.
    pub fn finish(mut self) {
        let n_dims = self.event.n_dims();
        let packs = n_dims.div_ceil(LANES);
        if self.event.n_classes() == 2 {
            let rows = self.field.chunks_exact_mut(packs).zip(self.x.chunks_exact(n_dims));
            for (sample, (logits, x)) in rows.enumerate() {
                if let Some(log_prob) = &mut self.out.log_prob {
                    log_prob[sample] = head::bernoulli_log_prob(self.isa, logits, x);
                }
                if let Some(conditionals) = &mut self.out.conditionals {
                    head::bernoulli_probs(self.isa, logits);
                    let out = &mut conditionals[sample * n_dims..][..n_dims];
                    to_event_order(self.event, &flat(logits)[..n_dims], out);
                }
            }
        }
        if let Some(out) = &mut self.out.x {
            for (x, out) in self.x.chunks_exact(n_dims).zip(out.chunks_exact_mut(n_dims)) {
                to_event_order(self.event, x, out);
            }
        }
    }
}

/// Moves values from the model's order to the event's.
fn to_event_order<T: Copy>(event: &Event, values: &[T], out: &mut [T]) {
    match event.order() {
        None => out.copy_from_slice(values),
        Some(order) => values.iter().zip(order).for_each(|(&value, &dim)| out[dim as usize] = value),
    }
}
