//! What each channel depends on last, and whether the conditionals depend on what comes before alone.

use super::{super::lag::Lag, Compiler};
use crate::error::Error;

/// How far what a channel depends on goes, and the node and channel that it comes from.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) lag: Lag,
    pub(super) via: Option<(u32, u32)>,
}

impl Bound {
    pub(super) const NOTHING: Self = Self { lag: Lag::NOTHING, via: None };
}

/// A node and its channel, in less memory.
pub(super) fn place((node, channel): (usize, usize)) -> Option<(u32, u32)> {
    Some((node as u32, channel as u32))
}

impl Compiler<'_, '_> {
    /// The bounds of the outputs of taps: what they read at other sites is the same for all of them, and at their own they read the
    /// inputs whose degrees are at most theirs.
    pub(super) fn bounds_of_taps(&self, from: usize, offsets: &[[i32; 2]], degrees: &[i32]) -> Vec<Bound> {
        let inputs = &self.bounds[from];
        let largest = |bounds: &mut dyn Iterator<Item = (usize, Lag)>| {
            let last = bounds.max_by_key(|&(_, lag)| lag);
            last.map_or(Bound::NOTHING, |(channel, lag)| Bound { lag, via: place((from, channel)) })
        };
        let [height, width] = [self.sites.height, self.sites.width].map(|size| i32::try_from(size).unwrap_or(i32::MAX));
        let elsewhere = offsets.iter().filter(|&&[row, column]| {
            [row, column] != [0, 0] && row.unsigned_abs() < height as u32 && column.unsigned_abs() < width as u32
        });
        let mut elsewhere =
            elsewhere.flat_map(|&offset| inputs.iter().enumerate().map(move |(i, bound)| (i, bound.lag.at(offset))));
        let elsewhere = largest(&mut elsewhere);
        let own = offsets.contains(&[0, 0]);
        // The largest bound of the inputs of each degree and below; degrees begin with −1.
        let mut up_to = vec![Bound::NOTHING; self.sites.steps.len() + 1];
        if own {
            for (channel, (bound, &degree)) in inputs.iter().zip(&self.nodes[from].degrees).enumerate() {
                let at = &mut up_to[(degree + 1) as usize];
                if bound.lag >= at.lag {
                    *at = Bound { lag: bound.lag, via: place((from, channel)) };
                }
            }
            for at in 1..up_to.len() {
                if up_to[at - 1].lag > up_to[at].lag {
                    up_to[at] = up_to[at - 1];
                }
            }
        }
        let bound = |&degree: &i32| {
            let own = up_to[(degree + 1) as usize];
            if own.lag > elsewhere.lag { own } else { elsewhere }
        };
        degrees.iter().map(bound).collect()
    }

    /// For each parameter of a site's distributions its dimension, and the degree that it needs: the step before.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (usize, i32)> {
        let dims = self.sites.steps.iter().zip(&self.sites.n_parameters).enumerate();
        dims.flat_map(|(dim, (&step, &n))| std::iter::repeat_n((dim, step as i32 - 1), n))
    }

    /// Each parameter of a dimension may depend on the steps before it only.
    pub(super) fn check_output(&self, output: usize) -> Result<(), Error> {
        let (node, widths) = (&self.nodes[output], &self.sites.n_parameters);
        let wanted: usize = widths.iter().sum();
        if node.degrees.len() != wanted {
            let n = node.degrees.len();
            return Err(Error::format(format!(
                "the output, node {:?}, has {n} channels; wanted {wanted}, one for each parameter of a site's distributions",
                node.name
            )));
        }
        for (channel, (dim, degree)) in self.parameters().enumerate() {
            if node.degrees[channel] != degree {
                return Err(Error::format(format!(
                    "the output, node {:?}, has degree {} at channel {channel}; wanted {degree}, the step before dimension {dim}",
                    node.name, node.degrees[channel],
                )));
            }
            if self.bounds[output][channel].lag > Lag::own_site(degree) {
                return Err(Error::format(format!(
                    "the graph leaks: the distribution of dimension {dim} of a site depends on what comes with it or after it, on the path {}",
                    self.path(output, channel)
                )));
            }
        }
        Ok(())
    }

    /// The nodes on the way from the input to a channel, with the channels of each.
    fn path(&self, node: usize, channel: usize) -> String {
        let mut path = Vec::new();
        let mut at = place((node, channel));
        while let Some((node, channel)) = at {
            let (node, channel) = (node as usize, channel as usize);
            path.push(format!("{:?} ({channel})", self.nodes[node].name));
            at = self.bounds[node][channel].via;
        }
        path.reverse();
        path.join(" → ")
    }
}
