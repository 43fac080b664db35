//! The models with kernels of their own, one a folder: config, weights in the kernel's layout, walk and gradient; and
//! the list of all kinds.

pub mod fvsbn;
mod gradient;
pub mod nade;
pub mod training;

pub use fvsbn::Fvsbn;
pub use nade::Nade;

use std::iter;

use crate::{
    checkpoint::Checkpoint,
    distribution::Distribution,
    error::Error,
    kernels::in_default_mode,
    mixture::Mixture,
    model::Model,
    net::{Network, spec, version1},
};

/// Builds what a checkpoint describes.
///
/// # Errors
/// [`Error::Format`] if the kind is unknown, the config is not the kind's, or the tensors are not the config's.
pub fn build(checkpoint: &Checkpoint) -> Result<Distribution, Error> {
    in_default_mode(|| {
        let Checkpoint { kind, graph, tensors, .. } = checkpoint;
        let model: Box<dyn Model> = match (kind.as_str(), graph) {
            (fvsbn::KIND, None) => Box::new(Fvsbn::new(checkpoint)?),
            (nade::KIND, None) => Box::new(Nade::new(checkpoint)?),
            (fvsbn::KIND | nade::KIND, Some(_)) => return Err(Error::format(format!("a {kind} has no graph"))),
            (_, Some(graph)) => match spec::members(graph)? {
                Some(members) => {
                    let (networks, n_params) = Network::several(members, tensors)?;
                    let members = networks.into_iter().map(|network| Box::new(network) as Box<dyn Model>);
                    return Mixture::new(members.collect(), n_params).map(Distribution::Mixture);
                }
                None => Box::new(Network::new(graph, tensors)?),
            },
            (version1::PIXEL_CNN, None) => Box::new(version1::pixel_cnn(checkpoint)?),
            (other, None) => {
                return Err(Error::format(format!(
                    "unknown kind {other:?} without a graph; this release knows {}, {} and {}",
                    fvsbn::KIND,
                    nade::KIND,
                    version1::PIXEL_CNN
                )));
            }
        };
        Ok(Distribution::Model(model))
    })
}

/// Refuses weights with which the sum of a row's absolute values leaves the range of f32: within it, no logit can
/// overflow, whatever the data.
fn check_range<'a>(what: &str, rows: impl Iterator<Item = f64> + 'a) -> Result<(), Error> {
    for (row, bound) in rows.enumerate() {
        if bound > f64::from(f32::MAX) / 2.0 {
            return Err(Error::format(format!("{what} {row} has weights so large that it can overflow float32")));
        }
    }
    Ok(())
}

/// For each column of rows of bits, nonzero if a row has a one there.
fn any(rows: &[u8], n_dims: usize) -> Vec<u8> {
    let mut any = vec![0; n_dims];
    for row in rows.chunks_exact(n_dims) {
        any.iter_mut().zip(row).for_each(|(any, x)| *any |= x);
    }
    any
}

/// Up to 64 values as the bits of a word.
#[inline(always)]
fn mask(values: &[u8]) -> u64 {
    values.iter().rev().fold(0, |bits, &value| bits << 1 | u64::from(value == 1))
}

/// The places of a mask's bits, in ascending order.
#[inline(always)]
fn places(mut mask: u64) -> impl Iterator<Item = usize> {
    iter::from_fn(move || {
        let at = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        at
    })
}

/// Σ |value|
fn abs_sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value.abs())).sum()
}
