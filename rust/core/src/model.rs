//! What a model is to the engine: a walk through the dimensions of a block of samples.

use crate::{block::Block, error::Error, kernels::Pack, space::Space};

/// Memory that a worker lends to a model's walk, and keeps from one block to the next.
#[derive(Default)]
pub struct Scratch {
    /// For activations; of any length and content.
    pub packs: Vec<Pack>,
    /// For one conditional; of any length and content.
    pub floats: Vec<f32>,
    /// For lists of events; of any length and content.
    pub indices: Vec<u32>,
}

/// A trained autoregressive model.
pub trait Model: Send + Sync {
    /// The space of its samples.
    fn space(&self) -> &Space;
    /// Parameters that have an effect.
    fn n_params(&self) -> usize;
    /// Multiply-adds for one sample, about: whether a call is worth threads of its own.
    fn cost(&self) -> usize;
    /// Samples a block at which the walk is at its best.
    fn block_len(&self) -> usize;
    /// Shape of one sample's features, if the model has any: hidden units that tell what it has seen.
    fn feature_shape(&self) -> Option<Vec<usize>> {
        None
    }
    /// Where values are decoded: the end of the turn that begins at this step. A block's first sample takes all steps of a turn,
    /// then the second one does, and so on. Part of the format of what is encoded.
    fn turn(&self, step: usize) -> usize;
    /// Revision of the arithmetic: another number wherever the bits of a conditional become others. Compressed files name it.
    fn revision(&self) -> u32;
    /// Walks the dimensions of a block in the model's order: supplies each conditional, and is told the value.
    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error>;
}
