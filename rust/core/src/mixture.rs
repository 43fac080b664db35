//! Mixtures of models of the same events, each in an order of its own: p(x) = (1/K) Σ p_k(x), of joint probabilities.
//!
//! So are networks averaged that know several orders (Uria, Murray, Larochelle, *A deep and tractable density estimator*, ICML 2014;
//! Germain, Gregor, Murray, Larochelle, *MADE*, ICML 2015). A sample is one of a single member, which is picked by a uniform of the
//! sample's own ([`philox::member`]) and then draws it with the uniforms that any model has for this sample. A mixture has
//! no conditionals in one order, so whatever takes these is refused.
//!
//! Every walk is one of the engine, of one member, over all rows (scores) or those that it was picked for (draws).

use std::time::Instant;

use crate::{
    distribution::Call,
    driver::{Decide, Draw, Driver, Score},
    engine::{self, Batch, HEARTBEAT},
    error::{Error, resize},
    kernels::{Isa, Pack, in_default_mode},
    model::Model,
    outputs::Outputs,
    philox,
    space::Space,
    values::{Array, Values, ValuesMut},
};

/// The most samples that go through all members together, and values that these may have. Results do not depend on them.
const MOST: (usize, usize) = (1 << 16, 1 << 22);

/// A mixture in equal parts.
pub struct Mixture {
    space: Space,
    members: Vec<Box<dyn Model>>,
    n_params: usize,
}

impl Mixture {
    /// Of these members, which have so many parameters together.
    ///
    /// # Errors
    /// [`Error::Format`] if there are none, or one has other events than the first one.
    pub fn new(members: Vec<Box<dyn Model>>, n_params: usize) -> Result<Self, Error> {
        let Some(first) = members.first() else { return Err(Error::format("a mixture has no members")) };
        let space = Space::new(first.space().shape().to_vec(), first.space().classes().clone(), || None)?;
        for (at, member) in members.iter().enumerate() {
            let other = member.space();
            if other.shape() != space.shape() {
                let (found, wanted) = (other.shape(), space.shape());
                return Err(Error::format(format!(
                    "member {at}: its event shape is {found:?}; wanted that of member 0, {wanted:?}"
                )));
            }
            if other.classes() != space.classes() {
                return Err(Error::format(format!("member {at}: it has other numbers of classes than member 0")));
            }
        }
        Ok(Self { space, members, n_params })
    }

    /// The space of its samples, in the natural order.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Its members.
    pub fn members(&self) -> &[Box<dyn Model>] {
        &self.members
    }

    /// Parameters that have an effect in some member.
    pub fn n_params(&self) -> usize {
        self.n_params
    }

    /// What it answers whoever asks for conditionals.
    pub fn no_order(&self) -> Error {
        Error::Mixture { n_members: self.members.len() }
    }

    /// The log-probabilities of rows of values in nats.
    ///
    /// # Errors
    /// As [`engine::run`].
    pub fn log_prob(&self, x: Values<'_>, out: &mut [f64], call: Call<'_>) -> Result<(), Error> {
        let mut walks = Walks::new(call, self.members.len());
        let rows = self.rows_at_once();
        for (at, out) in out.chunks_mut(rows).enumerate() {
            self.score(x, at * rows, out, &mut walks)?;
        }
        Ok(())
    }

    /// Fills `x` with samples, and `log_prob` where it is given with what [`Mixture::log_prob`] says of them.
    ///
    /// # Errors
    /// As [`engine::run`].
    pub fn draw(
        &self,
        draw: &Draw,
        mut x: ValuesMut<'_>,
        mut log_prob: Option<&mut [f64]>,
        call: Call<'_>,
    ) -> Result<(), Error> {
        let scores = if log_prob.is_some() { self.members.len() } else { 0 };
        let mut walks = Walks::new(call, 1 + scores);
        x.dtype().check("x", &self.space)?;
        let n = x.len() / self.space.n_dims();
        for first in (0..n).step_by(self.rows_at_once()) {
            let rows = first..n.min(first + self.rows_at_once());
            self.draw_rows(draw, first, rows.len(), &mut x, &mut walks)?;
            if let Some(log_prob) = &mut log_prob {
                self.score(x.read(), first, &mut log_prob[rows], &mut walks)?;
            }
        }
        Ok(())
    }

    fn rows_at_once(&self) -> usize {
        (MOST.1 / self.space.n_dims()).clamp(1, MOST.0)
    }

    /// The log-probabilities of the rows from `first` on: a logsumexp over the members in their order.
    fn score(&self, x: Values<'_>, first: usize, out: &mut [f64], walks: &mut Walks<'_>) -> Result<(), Error> {
        let n_dims = self.space.n_dims();
        let x = x.slice(first * n_dims..(first + out.len()) * n_dims);
        let (mut log_prob, mut sums) = (Vec::new(), Vec::new());
        resize(&mut log_prob, out.len(), 0.0)?;
        resize(&mut sums, out.len(), 0.0)?;
        for (at, member) in self.members.iter().enumerate() {
            let score = Score::new(member.space(), x)?;
            let outputs = Outputs { log_prob: Some(&mut log_prob), ..Outputs::default() };
            walks.run(&**member, Driver::Score(&score), out.len(), outputs, |sample| first + sample)?;
            in_default_mode(|| {
                for ((largest, sum), &log_prob) in out.iter_mut().zip(&mut sums).zip(&log_prob) {
                    (*largest, *sum) = if at == 0 { (log_prob, 1.0) } else { add((*largest, *sum), log_prob) };
                }
            });
        }
        in_default_mode(|| {
            for (largest, sum) in out.iter_mut().zip(&sums) {
                *largest += libm::log(sum / self.members.len() as f64);
            }
        });
        Ok(())
    }

    /// Draws `n` rows of `x` from `first` on.
    fn draw_rows(
        &self,
        draw: &Draw,
        first: usize,
        n: usize,
        x: &mut ValuesMut<'_>,
        walks: &mut Walks<'_>,
    ) -> Result<(), Error> {
        let mut rows_of = vec![Vec::new(); self.members.len()];
        for row in first..first + n {
            rows_of[philox::member(draw.seed, draw.start + row as u64, self.members.len())].push(row);
        }
        let most = rows_of.iter().map(Vec::len).max().unwrap_or(0);
        let mut drawn = Array::new(&self.space, most);
        for (member, rows) in self.members.iter().zip(&rows_of).filter(|(_, rows)| !rows.is_empty()) {
            let values = drawn.write().split_off(rows.len() * self.space.n_dims());
            let outputs = Outputs { x: Some(values), ..Outputs::default() };
            let decide = Picked { draw, rows };
            walks.run(&**member, Driver::Decide(&decide), rows.len(), outputs, |sample| rows[sample])?;
            x.scatter(self.space.n_dims(), drawn.read(), rows);
        }
        Ok(())
    }
}

/// One term more in a sum of exponentials, (m, s) for s · exp(m), where m is the largest term's. Since no term of s is above 1, the
/// mean of K terms is not either, and a log-probability never above 0.
fn add((largest, sum): (f64, f64), term: f64) -> (f64, f64) {
    if term == largest {
        (largest, sum + 1.0) // −∞ too
    } else if term < largest {
        (largest, sum + libm::exp(term - largest))
    } else {
        (term, sum * libm::exp(largest - term) + 1.0)
    }
}

/// Draws some rows of a batch only: a member those that it was picked for.
struct Picked<'a> {
    draw: &'a Draw,
    rows: &'a [usize],
}

impl Decide for Picked<'_> {
    fn thresholds(&self, isa: Isa, sample: usize, out: &mut [Pack]) {
        self.draw.thresholds(isa, self.rows[sample], out);
    }

    fn uniform(&self, sample: usize, step: usize) -> f64 {
        self.draw.uniform(self.rows[sample], step)
    }

    fn propose(&self, isa: Isa, sample: usize, step: usize, logits: &[f32], out: &mut Vec<f32>) -> bool {
        self.draw.propose(isa, self.rows[sample], step, logits, out)
    }
}

/// Walks that are one call for the caller.
struct Walks<'a> {
    call: Call<'a>,
    /// Walks that a sample takes.
    each: usize,
    /// Of one sample each, so far.
    done: usize,
    /// When the caller was asked last whether to go on.
    asked: Instant,
}

impl<'a> Walks<'a> {
    fn new(call: Call<'a>, each: usize) -> Self {
        Self { call, each, done: 0, asked: Instant::now() }
    }

    /// Walks `n` samples; `row` tells where a sample stands in the caller's batch.
    fn run(
        &mut self,
        model: &dyn Model,
        driver: Driver<'_>,
        n: usize,
        outputs: Outputs<'_>,
        row: impl Fn(usize) -> usize,
    ) -> Result<(), Error> {
        let Self { call, each, done, asked } = self;
        let mut go_on = |walked| {
            *asked = Instant::now();
            (call.go_on)((*done + walked) / *each)
        };
        let batch = Batch { n, driver, n_steps: None, block_len: None, outputs, threads: call.threads };
        engine::run(model, batch, &mut go_on).map_err(|error| match error {
            Error::Overflow { sample } => Error::Overflow { sample: row(sample) },
            other => other,
        })?;
        self.done += n;
        // The engine asks nobody in a short walk, but of these there may be many.
        if self.asked.elapsed() >= HEARTBEAT {
            self.asked = Instant::now();
            if !(self.call.go_on)(self.done / self.each) {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
