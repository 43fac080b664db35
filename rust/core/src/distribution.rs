//! What a file describes: a model, or a mixture of several. Both can be scored and drawn from; the rest takes one model.

use crate::{
    driver::{Draw, Driver, Score},
    engine::{self, Batch},
    error::Error,
    mixture::Mixture,
    model::Model,
    outputs::Outputs,
    space::Space,
    values::{Values, ValuesMut},
};

/// A distribution that can be scored and drawn from.
pub enum Distribution {
    /// p(x) = ∏ p(x_i | x_<i)
    Model(Box<dyn Model>),
    /// p(x) = (1/K) Σ p_k(x)
    Mixture(Mixture),
}

/// How a call runs.
pub struct Call<'a> {
    /// As [`Batch::threads`].
    pub threads: usize,
    /// Called now and then on the calling thread with the number of samples done; the call ends if it returns false.
    pub go_on: &'a mut dyn FnMut(usize) -> bool,
}

impl Distribution {
    /// The space of its samples. That of a mixture has the natural order, whatever the orders of its members.
    pub fn space(&self) -> &Space {
        match self {
            Self::Model(model) => model.space(),
            Self::Mixture(mixture) => mixture.space(),
        }
    }

    /// Parameters that have an effect.
    pub fn n_params(&self) -> usize {
        match self {
            Self::Model(model) => model.n_params(),
            Self::Mixture(mixture) => mixture.n_params(),
        }
    }

    /// Shape of one sample's features, if there are any.
    pub fn feature_shape(&self) -> Option<Vec<usize>> {
        self.one().ok()?.feature_shape()
    }

    /// The model, for what takes conditionals in one order.
    ///
    /// # Errors
    /// [`Error::Mixture`] if it is none.
    pub fn one(&self) -> Result<&dyn Model, Error> {
        match self {
            Self::Model(model) => Ok(&**model),
            Self::Mixture(mixture) => Err(mixture.no_order()),
        }
    }

    /// The model, as [`Distribution::one`].
    ///
    /// # Errors
    /// [`Error::Mixture`] if it is none.
    pub fn into_one(self) -> Result<Box<dyn Model>, Error> {
        match self {
            Self::Model(model) => Ok(model),
            Self::Mixture(mixture) => Err(mixture.no_order()),
        }
    }

    /// Scores rows of [`Space::n_dims`] values, walking `n_steps` steps as [`Batch::n_steps`] says. A mixture has `log_prob` alone.
    ///
    /// # Errors
    /// Those of [`Score::new`] and [`engine::run`]; [`Error::Mixture`] if a mixture is asked for something else.
    pub fn score(
        &self,
        x: Values<'_>,
        n_steps: Option<usize>,
        outputs: Outputs<'_>,
        call: Call<'_>,
    ) -> Result<(), Error> {
        let score = Score::new(self.space(), x)?;
        match self {
            Self::Model(model) => {
                let (n, driver) = (x.len() / model.space().n_dims(), Driver::Score(&score));
                let batch = Batch { n, driver, n_steps, block_len: None, outputs, threads: call.threads };
                engine::run(&**model, batch, call.go_on)
            }
            Self::Mixture(mixture) => match joint(outputs) {
                Some((None, Some(log_prob))) if n_steps.is_none() => mixture.log_prob(x, log_prob, call),
                _ => Err(mixture.no_order()),
            },
        }
    }

    /// Draws `n` samples: fills `x`, and `log_prob` where it is given.
    ///
    /// # Errors
    /// Those of [`engine::run`]; [`Error::Mixture`] if a mixture is asked for something else.
    pub fn draw(&self, draw: &Draw, n: usize, outputs: Outputs<'_>, call: Call<'_>) -> Result<(), Error> {
        match self {
            Self::Model(model) => {
                let driver = Driver::Decide(draw);
                let batch = Batch { n, driver, n_steps: None, block_len: None, outputs, threads: call.threads };
                engine::run(&**model, batch, call.go_on)
            }
            Self::Mixture(mixture) => match joint(outputs) {
                Some((Some(x), log_prob)) => mixture.draw(draw, x, log_prob, call),
                _ => Err(mixture.no_order()),
            },
        }
    }
}

/// Samples and their log-probabilities, unless there is more in the outputs: that takes conditionals.
fn joint(outputs: Outputs<'_>) -> Option<(Option<ValuesMut<'_>>, Option<&mut [f64]>)> {
    match outputs {
        Outputs {
            x,
            log_prob,
            log_weight: None,
            conditionals: None,
            surprise: None,
            log_conditional: None,
            features: None,
            tape: None,
            code: None,
        } => Some((x, log_prob)),
        _ => None,
    }
}
