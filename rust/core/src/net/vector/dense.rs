//! A dense layer cut into products: masked weights are not stored, but for those of a tile among themselves.
//!
//! The steps are cut into stretches of [`STRETCH`], and these into tiles of [`TILE`]. What a unit sums is cut likewise: inputs known
//! before its stretch (far), those known before its tile (near), and those of its tile (own). Each part is multiplied at once
//! for all units of the stretch or tile, when it begins, so that weights and activations are read from near caches. A sum goes on
//! from part to part: its order is that of the inputs' degrees, whatever the cut.

use std::ops::Range;

use super::units::Units;
use crate::{
    error::{Error, resize},
    kernels::{LANES, Pack},
};

/// Steps of a tile.
pub const TILE: usize = 16;
/// The most steps of a stretch.
pub const STRETCH: usize = 128;

/// A matrix of weights, in panels of 16 units: a pack for each input, so that weights are read one after the other.
#[derive(Clone, Debug)]
pub struct Part {
    /// The inputs, by their place among those of the node that is read.
    pub inputs: Range<usize>,
    /// The units that are computed, by their place.
    pub units: Range<usize>,
    /// Where the weights begin.
    weights: usize,
}

impl Part {
    /// Packs that hold the units.
    pub fn packs(&self) -> usize {
        self.units.len().div_ceil(LANES)
    }
}

/// The weights of a dense layer.
pub struct Dense {
    /// The node that is read.
    pub from: usize,
    /// The node that is read is the input: its last known value is that of the step before.
    of_input: bool,
    /// Steps of a stretch: [`STRETCH`] or half as many.
    pub stretch: usize,
    /// Of each stretch, beginning on a pack of its own: where, and the packs.
    bias: (Vec<usize>, Vec<Pack>),
    weights: Vec<Pack>,
    /// For each stretch.
    pub far: Vec<Part>,
    /// For each tile.
    pub near: Vec<Part>,
    /// For each tile. Weights that do not act are zero.
    pub own: Vec<Part>,
}

impl Dense {
    /// From `weight` (units, inputs) and `bias` (units) in the order of channels. `steps` is one more than the steps that have a
    /// value: the last units know all values.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new(
        (from, of_input): (usize, bool),
        [inputs, units]: [&Units; 2],
        [weight, bias]: [&[f32]; 2],
        (steps, stretch_len): (usize, usize),
    ) -> Result<Self, Error> {
        let mut dense = Self {
            from,
            of_input,
            stretch: stretch_len,
            bias: (Vec::new(), Vec::new()),
            weights: Vec::new(),
            far: Vec::new(),
            near: Vec::new(),
            own: Vec::new(),
        };
        for stretch in (0..steps).step_by(stretch_len) {
            let of_stretch = units.of(stretch..steps.min(stretch + stretch_len));
            let known = 0..dense.known(inputs, stretch);
            dense.bias.0.push(dense.bias.1.len());
            let begin = dense.bias.1.len();
            dense.bias.1.resize(begin + of_stretch.len().div_ceil(LANES), Pack::ZERO);
            for (i, &channel) in units.channels[of_stretch.clone()].iter().enumerate() {
                // No sum is −0, so that it does not matter whether zeros are added to it.
                dense.bias.1[begin + i / LANES].0[i % LANES] = bias[channel as usize] + 0.0;
            }
            let part = dense.pack([inputs, units], weight, known, of_stretch)?;
            dense.far.push(part);
            for tile in (stretch..steps.min(stretch + stretch_len)).step_by(TILE) {
                let end = steps.min(tile + TILE);
                let known = dense.known(inputs, stretch)..dense.known(inputs, tile);
                let part = dense.pack([inputs, units], weight, known, units.of(tile..end))?;
                dense.near.push(part);
                let within = dense.known(inputs, tile)..inputs.begin(end).max(dense.known(inputs, tile));
                let part = dense.pack([inputs, units], weight, within, units.of(tile..end))?;
                dense.own.push(part);
            }
        }
        Ok(dense)
    }

    /// Inputs that are known as the units of this step are about to be computed.
    pub fn known(&self, inputs: &Units, step: usize) -> usize {
        inputs.begin(step + usize::from(self.of_input))
    }

    /// The matrix of some inputs and units.
    fn pack(
        &mut self,
        [inputs, units]: [&Units; 2],
        weight: &[f32],
        of_inputs: Range<usize>,
        of_units: Range<usize>,
    ) -> Result<Part, Error> {
        let part = Part { inputs: of_inputs, units: of_units, weights: self.weights.len() };
        let depth = part.inputs.len();
        resize(&mut self.weights, part.weights + depth * part.packs(), Pack::ZERO)?;
        let n_inputs = inputs.len();
        for (row, place) in part.units.clone().enumerate() {
            let row_of_weights = &weight[units.channels[place] as usize * n_inputs..][..n_inputs];
            // A unit sees inputs up to its own step.
            let seen = inputs.begin(units.step(place) + 1).clamp(part.inputs.start, part.inputs.end);
            for (k, &channel) in inputs.channels[part.inputs.start..seen].iter().enumerate() {
                self.weights[part.weights + row / LANES * depth + k].0[row % LANES] = row_of_weights[channel as usize];
            }
        }
        Ok(part)
    }

    /// The bias of a stretch's units.
    pub fn bias(&self, stretch: usize) -> &[Pack] {
        &self.bias.1[self.bias.0[stretch]..][..self.far[stretch].packs()]
    }

    /// The weights of a part.
    pub fn weights(&self, part: &Part) -> &[Pack] {
        &self.weights[part.weights..][..part.inputs.len() * part.packs()]
    }

    /// What an input of a part is multiplied by, a pack for each 16 units.
    #[inline(always)]
    pub fn row(&self, part: &Part, input: usize) -> impl Iterator<Item = &Pack> {
        // `step_by` would divide.
        let (weights, depth, row) = (self.weights(part), part.inputs.len(), input - part.inputs.start);
        (0..part.packs()).map(move |pack| &weights[pack * depth + row])
    }
}
