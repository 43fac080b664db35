//! Lossless compression with a model.
//!
//! A model gives each value x_i the probability p(x_i | x_<i); an entropy coder writes it in −log₂ p(x_i | x_<i) bits,
//! and reads it back from the same probability. [`interval`] makes integers of the probabilities, [`coder`] makes bytes
//! of the integers, and [`container`] makes a file of the bytes.
//!
//! A decoder must find the encoder's probabilities bit for bit. They come from the package's own kernels, which give
//! the same bits on every machine, and nothing here uses any but exact operations of IEEE 754. A release with other kernels may give
//! others: the file names the revision of the arithmetic ([`Model::revision`]), and one with another is refused.

pub mod coder;
pub mod container;
pub mod interval;

use std::ops::Range;

use self::{
    coder::Decoder,
    container::{Container, Header},
    interval::{Interval, Split},
};
use crate::{
    driver::{self, Decode, Driver, Score},
    engine::{self, Batch},
    error::Error,
    model::Model,
    outputs::Outputs,
    values::ValuesMut,
};

/// Samples a block, unless the caller says otherwise: a file is less than 1 % larger than its samples' −Σ log₂ p where these
/// take 6 bytes each and more.
pub const BLOCK_LEN: u32 = 256;

/// The file of some samples, whatever the threads; `sha256` is that of the model's own file.
///
/// # Errors
/// As [`engine::run`], and [`Error::Codec`] if a block has none or too many samples.
pub fn encode(
    model: &dyn Model,
    sha256: [u8; 32],
    score: &Score<'_>,
    (n, block_len): (usize, u32),
    threads: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u8>, Error> {
    let space = model.space();
    let [n_dims, n_classes] = [space.n_dims(), space.most_classes()].map(|size| size as u32);
    let revision = Some(model.revision());
    let header = Header { model: sha256, n_samples: n as u64, block_len, n_dims, n_classes, revision };
    header.check()?;
    let mut payloads = vec![Vec::new(); n.div_ceil(block_len as usize)];
    let outputs = Outputs { code: Some(&mut payloads), ..Outputs::default() };
    let block_len = Some(block_len as usize);
    let batch = Batch { n, driver: Driver::Score(score), n_steps: None, block_len, outputs, threads };
    engine::run(model, batch, go_on)?;
    container::to_bytes(&header, &payloads)
}

/// Writes the samples of some blocks of a file that this model has compressed.
///
/// # Errors
/// As [`engine::run`], and [`Error::Codec`] if a block is not what an encoder wrote.
///
/// # Panics
/// If there are no such blocks, or `x` has not the length of their samples.
pub fn decode(
    model: &dyn Model,
    container: &Container<'_>,
    blocks: Range<usize>,
    x: ValuesMut<'_>,
    threads: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<(), Error> {
    let block_len = container.header().block_len as usize;
    let n = x.len() / model.space().n_dims();
    assert_eq!(n.div_ceil(block_len), blocks.len(), "blocks of samples");
    let payloads = Payloads { container, first: blocks.start, block_len };
    let outputs = Outputs { x: Some(x), ..Outputs::default() };
    let batch =
        Batch { n, driver: Driver::Decode(&payloads), n_steps: None, block_len: Some(block_len), outputs, threads };
    engine::run(model, batch, go_on)
}

/// The blocks of a file, from the one with the first sample on.
struct Payloads<'a> {
    container: &'a Container<'a>,
    first: usize,
    block_len: usize,
}

impl Decode for Payloads<'_> {
    fn decoder(&self, first: usize) -> Result<Box<dyn driver::Decoder + '_>, Error> {
        let block = self.first + first / self.block_len;
        let decoder = Decoder::new(self.container.block(block)?).map_err(|error| in_block(block, &error))?;
        Ok(Box::new(Payload { block, decoder, damage: None }))
    }
}

/// What is left of a block. Once damage is found its values are zeros.
struct Payload<'a> {
    block: usize,
    decoder: Decoder<'a>,
    damage: Option<Error>,
}

impl Payload<'_> {
    fn next<T: Default>(&mut self, decoded: impl FnOnce(&mut Decoder<'_>) -> Result<T, Error>) -> T {
        if self.damage.is_some() {
            return T::default();
        }
        decoded(&mut self.decoder).unwrap_or_else(|error| {
            self.damage = Some(error);
            T::default()
        })
    }
}

impl driver::Decoder for Payload<'_> {
    fn bit(&mut self, conditional: Split) -> u8 {
        self.next(|decoder| decoder.decode(|quantile| conditional.at(quantile)))
    }

    fn value(&mut self, conditional: &dyn Fn(u32) -> (u32, Interval)) -> u32 {
        self.next(|decoder| decoder.decode(conditional))
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let Self { block, decoder, damage } = *self;
        damage.map_or_else(|| decoder.finish(), Err).map_err(|error| in_block(block, &error))
    }
}

fn in_block(block: usize, error: &Error) -> Error {
    Error::codec(format!("block {block} of the file: {error}"))
}
