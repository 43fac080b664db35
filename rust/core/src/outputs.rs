//! Where a batch's results go.

use crate::{models::training::TapeMut, space::Space, values::ValuesMut};

/// Slices of the caller's arrays; a missing one is not wanted.
#[derive(Default)]
pub struct Outputs<'a> {
    /// Values, `n_dims` a sample.
    pub x: Option<ValuesMut<'a>>,
    /// Log-probabilities in nats of the values at the steps walked, one a sample.
    pub log_prob: Option<&'a mut [f64]>,
    /// log ∏ p(S_i | x_<i) over the sets that values were drawn within, in nats, one a sample.
    pub log_weight: Option<&'a mut [f64]>,
    /// Probabilities, `n_dims` × `n_conditionals` a sample; zeros beyond the classes of a dimension.
    pub conditionals: Option<&'a mut [f32]>,
    /// −log p(x_i | x_<i) in nats, `n_dims` a sample.
    pub surprise: Option<&'a mut [f32]>,
    /// log p(x_i = k | x_<i) in nats of every class k at the last step walked, the largest number of classes a
    /// sample; −∞ beyond those of the dimension.
    pub log_conditional: Option<&'a mut [f64]>,
    /// Hidden units, as many a sample as [`crate::model::Model::feature_shape`] says.
    pub features: Option<&'a mut [f32]>,
    /// Values in as few bytes as the model's probabilities allow, one list of bytes a block.
    pub code: Option<&'a mut [Vec<u8>]>,
    /// What the walks leave for the gradient of their likelihood, of a model in training.
    pub tape: Option<TapeMut<'a>>,
}

impl<'a> Outputs<'a> {
    /// Splits off the outputs of the next block, of `len` samples with so many features each.
    pub fn split_off(&mut self, len: usize, space: &Space, n_features: usize) -> Self {
        fn front<'a, T>(rest: &mut Option<&'a mut [T]>, len: usize) -> Option<&'a mut [T]> {
            rest.as_mut().map(|rest| rest.split_off_mut(..len).expect("as many as the batch has samples"))
        }
        Self {
            x: self.x.as_mut().map(|x| x.split_off(len * space.n_dims())),
            log_prob: front(&mut self.log_prob, len),
            log_weight: front(&mut self.log_weight, len),
            conditionals: front(&mut self.conditionals, len * space.n_dims() * space.n_conditionals()),
            surprise: front(&mut self.surprise, len * space.n_dims()),
            log_conditional: front(&mut self.log_conditional, len * space.most_classes()),
            features: front(&mut self.features, len * n_features),
            code: front(&mut self.code, usize::from(len > 0)),
            tape: self.tape.as_mut().map(|tape| tape.split_off(len)),
        }
    }
}
