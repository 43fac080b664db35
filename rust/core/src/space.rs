//! The space that samples live in: shape, values, and the order in which the dimensions are visited.

use crate::error::Error;

/// The most dimensions a model may have.
pub const MAX_DIMS: usize = 1 << 24;
/// The most values a dimension can take.
pub const MAX_CLASSES: u32 = 1 << 16;

/// How many values dimensions can take: 0 to this number − 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Classes {
    /// Every dimension the same.
    Same(u32),
    /// One number a flat dimension of the event.
    PerDim(Vec<u32>),
}

/// What a dimension can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Support {
    /// 0 or 1.
    Bits,
    /// Classes without an order among them; two for every dimension are [`Support::Bits`].
    Classes(Classes),
}

impl Support {
    /// The support of so many classes: the one place where two of them become bits.
    fn new(classes: Classes) -> Self {
        let classes = match classes {
            Classes::PerDim(each) if each.iter().all(|&n| n == each[0]) => Classes::Same(each[0]),
            classes => classes,
        };
        if classes == Classes::Same(2) { Support::Bits } else { Support::Classes(classes) }
    }
}

/// The space that a model's samples live in, and the order in which it visits the dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    shape: Vec<usize>,
    n_dims: usize,
    support: Support,
    most_classes: usize,
    order: Option<Vec<u32>>,
}

impl Space {
    /// Events of this shape with values of so many classes; `order` lists the flat dimension visited at each step, `None`
    /// being 0, 1, 2, …. It is asked for once the shape is known to be sound.
    ///
    /// # Errors
    /// [`Error::Format`] if there are no or too many dimensions or classes, or the order is not a permutation of the
    /// dimensions.
    pub fn new(shape: Vec<usize>, classes: Classes, order: impl FnOnce() -> Option<Vec<u32>>) -> Result<Self, Error> {
        let n_dims = shape.iter().try_fold(1_usize, |size, &n| size.checked_mul(n)).unwrap_or(usize::MAX);
        if n_dims == 0 || n_dims > MAX_DIMS {
            return Err(Error::format(format!("the event shape {shape:?} has not 1 to {MAX_DIMS} dimensions")));
        }
        let each = match &classes {
            Classes::Same(n) => std::slice::from_ref(n),
            Classes::PerDim(each) if each.len() == n_dims => each,
            Classes::PerDim(each) => {
                let found = each.len();
                return Err(Error::format(format!("n_classes lists {found} dimensions; the event has {n_dims}")));
            }
        };
        if let Some(n) = each.iter().find(|n| !(2..=MAX_CLASSES).contains(n)) {
            return Err(Error::format(format!("n_classes is {n}; wanted 2 to {MAX_CLASSES}")));
        }
        let most_classes = each.iter().max().map_or(0, |&n| n as usize);
        let order = order();
        if let Some(order) = &order {
            let mut seen = vec![false; n_dims];
            let fresh = |&dim: &u32| seen.get_mut(dim as usize).is_some_and(|seen| !std::mem::replace(seen, true));
            if order.len() != n_dims || !order.iter().all(fresh) {
                return Err(Error::format(format!("\"order\" is not a permutation of 0 to {}", n_dims - 1)));
            }
        }
        let natural = |order: &Vec<u32>| order.iter().enumerate().all(|(step, &dim)| step == dim as usize);
        let order = order.filter(|order| !natural(order));
        Ok(Self { shape, n_dims, support: Support::new(classes), most_classes, order })
    }

    /// The same space of images (channels, height, width), visited row by row, and the channels of a pixel in their order.
    #[must_use]
    pub fn in_raster_order(self) -> Self {
        let channels = self.shape[0];
        let n_pixels = self.n_dims / channels;
        let dim = |step| ((step % channels) * n_pixels + step / channels) as u32;
        // One channel has the natural order.
        let order = (channels > 1 && n_pixels > 1).then(|| (0..self.n_dims).map(dim).collect());
        Self { order, ..self }
    }

    /// Shape of one event.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// Dimensions of one event.
    pub fn n_dims(&self) -> usize {
        self.n_dims
    }
    /// What a dimension can be.
    pub fn support(&self) -> &Support {
        &self.support
    }
    /// How many values the dimensions can take.
    pub fn classes(&self) -> &Classes {
        match &self.support {
            Support::Bits => &Classes::Same(2),
            Support::Classes(classes) => classes,
        }
    }
    /// How many values a flat dimension can take.
    pub fn n_classes(&self, dim: usize) -> usize {
        match self.classes() {
            Classes::Same(n) => *n as usize,
            Classes::PerDim(each) => each[dim] as usize,
        }
    }
    /// The largest number of classes of any dimension.
    pub fn most_classes(&self) -> usize {
        self.most_classes
    }
    /// The flat dimension visited at each step; `None` where it is the natural order.
    pub fn order(&self) -> Option<&[u32]> {
        self.order.as_deref()
    }
    /// The flat dimension visited at this step.
    pub fn dim(&self, step: usize) -> usize {
        self.order.as_ref().map_or(step, |order| order[step] as usize)
    }
    /// Probabilities that describe one dimension: P(x = 1) for bits, else one a class, up to the largest number of them.
    pub fn n_conditionals(&self) -> usize {
        if self.support == Support::Bits { 1 } else { self.most_classes }
    }
    /// Parameters of the conditional at this step: the logit of a one for bits, else one logit a class.
    pub fn n_parameters(&self, step: usize) -> usize {
        if self.support == Support::Bits { 1 } else { self.n_classes(self.dim(step)) }
    }

    /// Moves what one sample has for each step to the event's order.
    pub(crate) fn to_event_order<T: Copy, U>(&self, steps: &[T], out: &mut [U], convert: impl Fn(T) -> U) {
        match &self.order {
            None => out.iter_mut().zip(steps).for_each(|(out, &value)| *out = convert(value)),
            Some(order) => steps.iter().zip(order).for_each(|(&value, &dim)| out[dim as usize] = convert(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(classes: Classes) -> Result<Space, Error> {
        Space::new(vec![3, 1], classes, || Some(vec![2, 0, 1]))
    }

    #[test]
    fn two_classes_everywhere_are_bits() {
        for classes in [Classes::Same(2), Classes::PerDim(vec![2; 3])] {
            let space = space(classes).unwrap();
            assert_eq!((space.support(), space.n_conditionals(), space.n_parameters(0)), (&Support::Bits, 1, 1));
        }
    }

    #[test]
    fn classes_may_differ_by_dimension() {
        let space = space(Classes::PerDim(vec![2, 65_536, 3])).unwrap();
        assert_eq!([0, 1, 2].map(|dim| space.n_classes(dim)), [2, 65_536, 3]);
        assert_eq!([0, 1, 2].map(|step| space.n_parameters(step)), [3, 2, 65_536]);
        assert_eq!((space.most_classes(), space.n_conditionals()), (65_536, 65_536));
    }

    #[test]
    fn the_same_number_everywhere_is_one_number() {
        assert_eq!(space(Classes::PerDim(vec![5; 3])), space(Classes::Same(5)));
    }

    #[test]
    fn impossible_classes_are_refused() {
        for classes in [Classes::Same(1), Classes::Same(65_537), Classes::PerDim(vec![2, 0, 2])] {
            assert!(matches!(space(classes), Err(Error::Format(message)) if message.contains("wanted 2 to 65536")));
        }
        for each in [vec![], vec![3; 2], vec![3; 4]] {
            let refused = space(Classes::PerDim(each));
            assert!(matches!(refused, Err(Error::Format(message)) if message.contains("the event has 3")));
        }
    }
}
