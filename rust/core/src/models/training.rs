//! A step of training in the core: log p of a batch, and the gradient of Σ_s scale_s log p(x_s) in the weights.
//!
//! The likelihood pass is a walk of given values. What the gradient pass needs of it is its [`Tape`].

use crate::{
    driver::{Driver, Score},
    engine::{self, Batch},
    error::Error,
    model::Model,
    outputs::Outputs,
    values::Values,
};

/// A family whose gradient the core computes. Its weights are `N` arrays in row-major order, the last of them a bias
/// for each dimension; values and weights are indexed by step.
pub trait Trainable<'a, const N: usize>: Model + Sized {
    /// Names of the arrays.
    const NAMES: [&'static str; N];

    /// The lengths that the arrays must have: of vectors those found, from which those of matrices follow.
    fn lens(found: [usize; N]) -> [usize; N];

    /// Floats of [`Tape::state`] that the walk of a sample leaves.
    fn state_len(weights: [&[f32]; N]) -> usize;

    /// The model of one likelihood pass. Its likelihoods mean nothing unless it [is bounded](Self::is_bounded).
    ///
    /// # Errors
    /// [`Error::Isa`].
    fn in_training(weights: [&'a [f32]; N]) -> Result<Self, Error>;

    /// Whether the weights are finite, and so small that no sum of some of them leaves the range of f32.
    fn is_bounded(&self) -> bool;

    /// Writes the gradient; [`gradient`] says more. It needs the weights only, and nothing of what a model lays out for
    /// its walk.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once `go_on` has returned false, [`Error::Isa`]. The gradient is then partly written.
    fn gradient(
        weights: [&[f32]; N],
        objective: Objective<'_>,
        out: [&mut [f32]; N],
        threads: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error>;
}

/// What a likelihood pass leaves for the gradient pass.
pub struct Tape {
    /// p(x_i = 1 | x_<i), `n_dims` a sample.
    pub probs: Vec<f32>,
    /// The state in which the walk of each sample ended, [`Trainable::state_len`] floats: of NADE, the odds of its
    /// hidden units, or NaN; of FVSBN, nothing.
    pub state: Vec<f32>,
    /// [`Trainable::is_bounded`]
    pub bounded: bool,
}

/// The part of a [`Tape`] that the walks of some samples write.
pub struct TapeMut<'a> {
    state: &'a mut [f32],
    state_len: usize,
}

impl TapeMut<'_> {
    /// The same, for a shorter time.
    pub(crate) fn reborrow(&mut self) -> TapeMut<'_> {
        TapeMut { state: self.state, state_len: self.state_len }
    }

    /// Splits off that of the first `len` samples.
    pub(crate) fn split_off(&mut self, len: usize) -> Self {
        let state = self.state.split_off_mut(..len * self.state_len).expect("as many as the batch has samples");
        Self { state, state_len: self.state_len }
    }

    /// A sample's state.
    pub fn state(&mut self, sample: usize) -> &mut [f32] {
        &mut self.state[sample * self.state_len..][..self.state_len]
    }
}

/// Σ_s scale_s log p(x_s), whose gradient is wanted.
#[derive(Clone, Copy)]
pub struct Objective<'a> {
    /// Values, `n_dims` a sample.
    pub x: &'a [u8],
    /// ∂loss / ∂log p(x_s), one a sample.
    pub scale: &'a [f32],
    /// That of log p(x), with the same weights.
    pub tape: &'a Tape,
}

impl Objective<'_> {
    /// ∂loss / ∂logit_i = scale_s (x_i − p_i) for all steps i of a sample.
    pub(super) fn logit_gradients(self, sample: usize, out: &mut [f32]) {
        let row = sample * out.len()..(sample + 1) * out.len();
        let scale = self.scale[sample];
        for ((out, &x), p) in out.iter_mut().zip(&self.x[row.clone()]).zip(&self.tape.probs[row]) {
            *out = scale * (f32::from(x) - p);
        }
    }
}

/// log p of the rows of `x` in nats, and the tape. log p is NaN if the weights are not bounded. `go_on` is asked now
/// and then on the calling thread.
///
/// # Errors
/// Those of [`engine::run`]; [`Error::Support`] if a value is not a bit.
///
/// # Panics
/// If the weights have other lengths than [`Trainable::lens`] says.
pub fn log_prob<'a, T: Trainable<'a, N>, const N: usize>(
    weights: [&'a [f32]; N],
    x: &[u8],
    threads: usize,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(Vec<f64>, Tape), Error> {
    let model = T::in_training(weights)?;
    let (n, state_len) = (x.len() / model.space().n_dims(), T::state_len(weights));
    let score = Score::new(model.space(), Values::U8(x))?;
    let mut log_prob = vec![0.0; n];
    let mut tape = Tape { probs: vec![0.0; x.len()], state: vec![0.0; n * state_len], bounded: model.is_bounded() };
    let outputs = Outputs {
        log_prob: Some(&mut log_prob),
        conditionals: Some(&mut tape.probs),
        tape: Some(TapeMut { state: &mut tape.state, state_len }),
        ..Outputs::default()
    };
    let batch = Batch { n, driver: Driver::Score(&score), n_steps: None, block_len: None, outputs, threads };
    engine::run(&model, batch, &mut |_| go_on())?;
    if !tape.bounded {
        log_prob.fill(f64::NAN);
    }
    Ok((log_prob, tape))
}

/// Fills `out`, whose arrays are as long as the weights, with the gradient of an objective; with NaN if the weights are
/// not bounded. The bits do not depend on `threads`, of which 0 are as good as 1. `go_on` is asked now and then on the
/// calling thread.
///
/// # Errors
/// [`Error::Interrupted`] once `go_on` has returned false, [`Error::Isa`]. The gradient is then partly written.
///
/// # Panics
/// If the lengths do not agree.
pub fn gradient<'a, T: Trainable<'a, N>, const N: usize>(
    weights: [&'a [f32]; N],
    objective: Objective<'_>,
    out: [&mut [f32]; N],
    threads: usize,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    if objective.tape.bounded {
        return T::gradient(weights, objective, out, threads, go_on);
    }
    out.into_iter().for_each(|out| out.fill(f32::NAN));
    Ok(())
}
