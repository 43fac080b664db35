//! A block of samples on its walk: what the driver wants, what the model decides, and where the results go.

mod outputs;

use std::sync::atomic::{AtomicBool, Ordering};

pub use outputs::Outputs;

use crate::{
    codec::{
        coder::Encoder,
        interval::{self, Interval, Split},
    },
    driver::{Decide, Decoder, Driver},
    error::{Error, resize},
    event::Event,
    head::{self, Categorical},
    kernels::{Isa, LANES, Pack, flat, flat_mut},
    model::Model,
};

/// What all blocks of a batch have in common.
pub struct Task<'a> {
    /// The instruction set to run on.
    pub isa: Isa,
    /// What supplies the conditionals.
    pub model: &'a dyn Model,
    /// Decides their values.
    pub driver: Driver<'a>,
    /// Steps to walk.
    pub n_steps: usize,
    /// Set when the caller has asked to stop.
    pub stop: &'a AtomicBool,
}

/// Memory of a worker for the blocks it walks.
#[derive(Default)]
pub struct Room {
    field: Vec<Pack>,
    x: Vec<u8>,
    weights: Vec<Pack>,
    /// A row of the field, to be worked on.
    row: Vec<Pack>,
    fixed: Vec<bool>,
    proposal: Vec<f32>,
    splits: Vec<Split>,
    intervals: Vec<Interval>,
}

/// Where a block's values come from.
enum Source<'a> {
    Data,
    Rule(&'a dyn Decide),
    Decoder(Box<dyn Decoder + 'a>),
}

/// A block of samples, all at the same step of the walk.
pub struct Block<'a> {
    /// The instruction set to run on.
    pub isa: Isa,
    /// Samples in the block.
    pub len: usize,
    /// Steps to walk; what a model leaves beyond them is not looked at.
    pub n_steps: usize,
    /// Bernoulli head: `packs` packs a sample, thresholds as the walk begins (unless the values are given or decoded) and
    /// logits as it ends, in the model's order.
    pub field: &'a mut [Pack],
    /// Values, `n_dims` a sample, in the model's order: those of the data where they are given, else zero as the walk
    /// begins.
    pub x: &'a mut [u8],
    model: &'a dyn Model,
    event: &'a Event,
    source: Source<'a>,
    first: usize,
    weights: &'a mut [Pack],
    row: &'a mut Vec<Pack>,
    fixed: &'a mut Vec<bool>,
    proposal: &'a mut Vec<f32>,
    splits: &'a mut Vec<Split>,
    /// Where `code` is wanted, that of each value, as `x` has them.
    intervals: &'a mut Vec<Interval>,
    out: Outputs<'a>,
    stop: &'a AtomicBool,
}

impl<'a> Block<'a> {
    /// The block of samples `first` to `first + len` − 1, its thresholds asked of the driver.
    ///
    /// # Errors
    /// Those of a decoder; [`Error::Memory`].
    pub fn new(
        task: &Task<'a>,
        (first, len): (usize, usize),
        mut out: Outputs<'a>,
        room: &'a mut Room,
    ) -> Result<Self, Error> {
        let &Task { isa, model, driver, n_steps, stop } = task;
        let event = model.event();
        let bernoulli = event.n_classes() == 2;
        let packs = if bernoulli { event.n_dims().div_ceil(LANES) } else { 0 };
        let Room { field, x, weights, row, fixed, proposal, splits, intervals } = room;
        resize(field, len * packs, Pack::ZERO)?;
        weights.resize(event.n_classes().div_ceil(LANES), Pack::ZERO);
        x.clear();
        resize(x, len * event.n_dims(), 0)?;
        if out.code.is_some() {
            resize(intervals, len * event.n_dims(), Split::HALF.interval(0))?;
        }
        for sums in [&mut out.log_prob, &mut out.log_weight].into_iter().flatten() {
            sums.fill(0.0);
        }
        let source = match driver {
            Driver::Score(score) => {
                for (sample, x) in x.chunks_exact_mut(event.n_dims()).enumerate() {
                    score.values(first + sample, x);
                }
                Source::Data
            }
            Driver::Decide(decide) => {
                for (sample, thresholds) in field.chunks_exact_mut(packs.max(1)).enumerate() {
                    decide.thresholds(isa, first + sample, thresholds);
                }
                Source::Rule(decide)
            }
            Driver::Decode(decode) => Source::Decoder(decode.decoder(first)?),
        };
        Ok(Self {
            isa,
            len,
            n_steps,
            field,
            x,
            model,
            event,
            source,
            first,
            weights,
            row,
            fixed,
            proposal,
            splits,
            intervals,
            out,
            stop,
        })
    }

    /// Teacher forcing: `x` is given, and the field holds nothing as the walk begins.
    pub fn given(&self) -> bool {
        matches!(self.source, Source::Data)
    }

    /// Each value is told once its logit is known, turn by turn ([`crate::model::Model::turn`]), and there are no thresholds.
    pub fn decoded(&self) -> bool {
        matches!(self.source, Source::Decoder(_))
    }

    /// Bernoulli head, decoded values: those of all samples at a step that is a turn, from their logits in the field.
    pub fn decode_step(&mut self, step: usize) {
        let n_dims = self.event.n_dims();
        self.row.resize(self.len.div_ceil(LANES), Pack::ZERO);
        let logits = flat(self.field)[step..].iter().step_by(n_dims.next_multiple_of(LANES));
        flat_mut(self.row).iter_mut().zip(logits).for_each(|(out, &logit)| *out = logit);
        let Source::Decoder(decoder) = &mut self.source else { unreachable!("only decoded values are asked for") };
        self.splits.resize(self.len, Split::HALF);
        Split::of_logits(self.isa, self.row, self.splits);
        let x = self.x[step..].iter_mut().step_by(n_dims);
        x.zip(&*self.splits).for_each(|(x, &split)| *x = decoder.bit(split));
    }

    /// Bernoulli head, decoded values: one sample's from this step on, up to the first one; how many there are. At most
    /// [`LANES`], and as many as there are logits, each of which holds if all values before it are zeros.
    pub fn decode_to_one(&mut self, sample: usize, step: usize, logits: &[f32]) -> usize {
        let mut pack = Pack::ZERO;
        pack.0[..logits.len()].copy_from_slice(logits);
        let mut splits = [Split::HALF; LANES];
        Split::of_logits(self.isa, &[pack], &mut splits);
        let Source::Decoder(decoder) = &mut self.source else { unreachable!("only decoded values are asked for") };
        let Some(zeros) = splits[..logits.len()].iter().position(|&split| decoder.bit(split) == 1) else {
            return logits.len();
        };
        self.x[sample * self.event.n_dims() + step + zeros] = 1;
        zeros + 1
    }

    /// Categorical head: finds one sample's value at this step, and books its probability.
    pub fn choose(&mut self, sample: usize, step: usize, logits: &[f32]) -> u8 {
        let at = sample * self.event.n_dims() + step;
        let mut proposed = None;
        if let Source::Rule(decide) = self.source {
            self.proposal.clear();
            self.proposal.extend_from_slice(logits);
            if decide.propose(self.first + sample, step, self.proposal) {
                let proposal = Categorical::new(self.isa, self.proposal, self.weights);
                let value = proposal.quantile(decide.uniform(self.first + sample, step));
                proposed = Some((value, proposal.log_normalizer()));
            }
        }
        let conditional = Categorical::new(self.isa, logits, self.weights);
        self.x[at] = match (&mut self.source, proposed) {
            (_, Some((value, _))) => value,
            (Source::Data, _) => self.x[at],
            (Source::Rule(decide), _) => conditional.quantile(decide.uniform(self.first + sample, step)),
            (Source::Decoder(decoder), _) => decoder.class(&conditional),
        };
        let value = self.x[at];
        if step < self.n_steps {
            if let Some(log_prob) = &mut self.out.log_prob {
                log_prob[sample] += conditional.log_prob(value);
            }
            if let (Some(log_weight), Some((_, log_set))) = (&mut self.out.log_weight, proposed) {
                log_weight[sample] += log_set - conditional.log_normalizer();
            }
        }
        if let (Some(out), true) = (&mut self.out.log_conditional, step + 1 == self.n_steps) {
            let n = self.event.n_classes();
            let classes = out[sample * n..][..n].iter_mut().enumerate();
            classes.for_each(|(k, out)| *out = conditional.log_prob(k as u8));
        }
        if self.out.code.is_some() {
            self.intervals[at] = interval::of_class(&conditional, value);
        }
        let place = sample * self.event.n_dims() + self.event.dim(step);
        if let Some(surprise) = &mut self.out.surprise {
            surprise[place] = -conditional.log_prob(value) as f32;
        }
        if let Some(conditionals) = &mut self.out.conditionals {
            let n = self.event.n_classes();
            conditionals[place * n..][..n].iter_mut().zip(conditional.probs()).for_each(|(out, p)| *out = p);
        }
        value
    }

    /// One sample's values up to `n_steps`, and where its features are to be written, if they are wanted.
    pub fn features(&mut self, sample: usize) -> Option<(&[u8], &mut [f32])> {
        let all = self.out.features.as_mut()?;
        let n_features = all.len() / self.len;
        let x = &self.x[sample * self.event.n_dims()..][..self.n_steps];
        Some((x, &mut all[sample * n_features..][..n_features]))
    }

    /// Whether the caller has asked to stop; to be asked now and then in a long walk.
    pub fn check(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The error of a sample whose activations are no longer finite.
    pub fn overflow(&self, sample: usize) -> Error {
        Error::Overflow { sample: self.first + sample }
    }

    /// After the walk: turns logits into what was asked for, and hands out all results in the event's order.
    ///
    /// # Errors
    /// Those of a decoder.
    pub fn finish(mut self) -> Result<(), Error> {
        if self.event.n_classes() == 2 {
            for sample in 0..self.len {
                self.finish_bernoulli(sample);
            }
        }
        let n_dims = self.event.n_dims();
        if let Some(out) = &mut self.out.x {
            for (x, out) in self.x.chunks_exact(n_dims).zip(out.chunks_exact_mut(n_dims)) {
                to_event_order(self.event, x, out);
            }
        }
        if let Some([code]) = &mut self.out.code {
            *code = encode(self.model, self.intervals);
        }
        if let Source::Decoder(decoder) = self.source { decoder.finish() } else { Ok(()) }
    }

    /// What follows from one sample's logits.
    fn finish_bernoulli(&mut self, sample: usize) {
        let n_dims = self.event.n_dims();
        let packs = n_dims.div_ceil(LANES);
        let logits = &self.field[sample * packs..][..packs];
        let x = &self.x[sample * n_dims..][..n_dims];
        if let Some(log_prob) = &mut self.out.log_prob {
            let walked = self.n_steps;
            log_prob[sample] = head::bernoulli_log_prob(self.isa, &logits[..walked.div_ceil(LANES)], &x[..walked]);
        }
        if let (Some(out), Some(last)) = (&mut self.out.log_conditional, self.n_steps.checked_sub(1)) {
            let logit = [Pack([flat(logits)[last]; LANES])];
            let zero_and_one = [0, 1].map(|x| head::bernoulli_log_prob(self.isa, &logit, &[x]));
            out[2 * sample..][..2].copy_from_slice(&zero_and_one);
        }
        if let (Some(log_weight), Source::Rule(decide)) = (&mut self.out.log_weight, &self.source) {
            self.row.clear();
            self.row.extend_from_slice(logits);
            self.fixed.resize(n_dims, false);
            decide.fixed(self.first + sample, self.fixed);
            for ((logit, &fixed), &x) in flat_mut(self.row).iter_mut().zip(&*self.fixed).zip(x) {
                if !fixed {
                    // log p = 0
                    *logit = if x == 1 { f32::INFINITY } else { f32::NEG_INFINITY };
                }
            }
            log_weight[sample] = head::bernoulli_log_prob(self.isa, self.row, x);
        }
        if self.out.code.is_some() {
            self.splits.resize(n_dims, Split::HALF);
            Split::of_logits(self.isa, logits, self.splits);
            let intervals = &mut self.intervals[sample * n_dims..][..n_dims];
            for ((interval, split), &x) in intervals.iter_mut().zip(&*self.splits).zip(x) {
                *interval = split.interval(x);
            }
        }
        if let Some(surprise) = &mut self.out.surprise {
            self.row.clear();
            self.row.extend_from_slice(logits);
            head::bernoulli_surprise(self.isa, self.row, x);
            to_event_order(self.event, &flat(self.row)[..n_dims], &mut surprise[sample * n_dims..][..n_dims]);
        }
        if let Some(conditionals) = &mut self.out.conditionals {
            self.row.clear();
            self.row.extend_from_slice(logits);
            head::bernoulli_probs(self.isa, self.row);
            to_event_order(self.event, &flat(self.row)[..n_dims], &mut conditionals[sample * n_dims..][..n_dims]);
        }
    }
}

/// Codes a block's values in the order in which they are decoded: turn by turn.
fn encode(model: &dyn Model, intervals: &[Interval]) -> Vec<u8> {
    let n_dims = model.event().n_dims();
    let mut encoder = Encoder::default();
    let mut step = 0;
    while step < n_dims {
        let end = model.turn(step).min(n_dims);
        for sample in intervals.chunks_exact(n_dims) {
            sample[step..end].iter().for_each(|&interval| encoder.encode(interval));
        }
        step = end;
    }
    encoder.finish()
}

/// Moves values from the model's order to the event's.
fn to_event_order<T: Copy>(event: &Event, values: &[T], out: &mut [T]) {
    match event.order() {
        None => out.copy_from_slice(values),
        Some(order) => values.iter().zip(order).for_each(|(&value, &dim)| out[dim as usize] = value),
    }
}
