//! The space that samples live in: shape, classes, and the order in which the dimensions are visited.

use crate::error::Error;

/// The most dimensions a model may have.
const MAX_DIMS: usize = 1 << 24;

/// The space that a model's samples live in, and the order in which it visits the dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    shape: Vec<usize>,
    n_dims: usize,
    n_classes: usize,
    order: Option<Vec<u32>>,
}

impl Event {
    /// Events of this shape with values 0 to `n_classes` − 1; `order` lists the flat dimension visited at each step,
    /// `None` being 0, 1, 2, …. It is asked for once the shape is known to be sound.
    ///
    /// # Errors
    /// [`Error::Format`] if there are no or too many dimensions, or the order is not a permutation of them.
    pub fn new(shape: Vec<usize>, n_classes: usize, order: impl FnOnce() -> Option<Vec<u32>>) -> Result<Self, Error> {
        let n_dims = shape.iter().try_fold(1_usize, |size, &n| size.checked_mul(n)).unwrap_or(usize::MAX);
        if n_dims == 0 || n_dims > MAX_DIMS {
            return Err(Error::format(format!("the event shape {shape:?} has not 1 to {MAX_DIMS} dimensions")));
        }
        let order = order();
        if let Some(order) = &order {
            let mut seen = vec![false; n_dims];
            let fresh = |&dim: &u32| seen.get_mut(dim as usize).is_some_and(|seen| !std::mem::replace(seen, true));
            if order.len() != n_dims || !order.iter().all(fresh) {
                return Err(Error::format(format!("\"order\" is not a permutation of 0 to {}", n_dims - 1)));
            }
        }
        let natural = |order: &Vec<u32>| order.iter().enumerate().all(|(step, &dim)| step == dim as usize);
        Ok(Self { shape, n_dims, n_classes, order: order.filter(|order| !natural(order)) })
    }

    /// Shape of one event.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// Dimensions of one event.
    pub fn n_dims(&self) -> usize {
        self.n_dims
    }
    /// Values a dimension can take.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }
    /// The flat dimension visited at each step; `None` where it is the natural order.
    pub fn order(&self) -> Option<&[u32]> {
        self.order.as_deref()
    }
    /// The flat dimension visited at this step.
    pub fn dim(&self, step: usize) -> usize {
        self.order.as_ref().map_or(step, |order| order[step] as usize)
    }
    /// Probabilities that describe one dimension: P(x = 1) for two classes, else one a class.
    pub fn n_conditionals(&self) -> usize {
        if self.n_classes == 2 { 1 } else { self.n_classes }
    }
}
