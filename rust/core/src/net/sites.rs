//! The sites of an event: what a network is computed at.

use crate::{
    error::Error,
    space::{Classes, Space},
};

/// A grid of sites with the same dimensions. A vector is one site.
#[derive(Clone, Debug, PartialEq)]
pub struct Sites {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// For each dimension of a site, the step within the site at which it is visited.
    pub steps: Vec<usize>,
    /// For each dimension of a site, its classes.
    pub n_classes: Vec<usize>,
    /// For each dimension of a site, the parameters of its distribution.
    pub n_parameters: Vec<usize>,
}

impl Sites {
    /// Those of a space.
    ///
    /// # Errors
    /// [`Error::Format`] if it is neither of vectors nor of images, or of images whose pixels differ.
    pub fn of(space: &Space) -> Result<Self, Error> {
        let of = |height, width, steps: Vec<usize>| {
            let n_classes = (0..steps.len()).map(|dim| space.n_classes(dim)).collect();
            let n_parameters = if space.n_conditionals() == 1 { vec![1; steps.len()] } else { Vec::clone(&n_classes) };
            Self { height, width, steps, n_classes, n_parameters }
        };
        match *space.shape() {
            [n_dims] => {
                let mut steps = vec![0; n_dims];
                (0..n_dims).for_each(|step| steps[space.dim(step)] = step);
                Ok(of(1, 1, steps))
            }
            [channels, height, width] => match space.classes() {
                Classes::Same(_) => Ok(of(height, width, (0..channels).collect())),
                Classes::PerDim(_) => Err(Error::format("the dimensions of an image have the same number of classes")),
            },
            _ => Err(Error::format(format!(
                "the event shape is {:?}; wanted (dimensions) or (channels, height, width) for a network",
                space.shape()
            ))),
        }
    }

    /// Dimensions of a site.
    pub fn n_dims(&self) -> usize {
        self.steps.len()
    }
}
