//! The walk of a block: far products as a stretch begins, near ones as a tile begins, and the rest step by step.

use super::{
    Layer, Vector,
    bits::TileOfBits,
    dense::{Dense, Part, STRETCH, TILE},
    ones::{Lists, Words},
    steps::Steps,
    tile::Tile,
};
use crate::{
    block::Block,
    error::{Error, resize},
    kernels::{Isa, LANES, Pack, flat},
    model::Scratch,
};

/// Samples from which on they stand side by side in vectors.
const SIDE_BY_SIDE: usize = 4;
/// The most samples a block.
const BLOCK: usize = 128;
/// Packs that the units of a block may take beyond its least size.
const MEMORY: usize = 1 << 16;

/// What stands side by side in a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InLanes {
    /// Samples, of one unit.
    Samples,
    /// Units of one sample.
    Units,
}

/// Where the sums of a dense layer are that stand sample by sample: those of a stretch, and those of a tile. In packs.
#[derive(Clone, Copy, Default)]
pub struct Sums {
    /// Those of a stretch.
    pub far: usize,
    /// From one sample to the next. One pack more than there are sums, so that they can be read from anywhere.
    pub far_step: usize,
    /// Those of a tile.
    pub near: usize,
    /// From one sample to the next.
    pub near_step: usize,
}

/// A block on its walk.
pub struct Walk<'a> {
    /// The network.
    pub net: &'a Vector,
    /// The block.
    pub block: &'a mut dyn Steps,
    /// The instruction set to run on.
    pub isa: Isa,
    /// Samples.
    pub len: usize,
    /// What fills the vectors.
    pub in_lanes: InLanes,
    /// Values are given.
    pub given: bool,
    /// Bits are decided here, tile by tile.
    pub decides_bits: bool,
    /// The units of all nodes: unit u of sample s is float u · `unit_step` + s · `sample_step`.
    pub units: &'a mut [Pack],
    /// Floats from one unit to the next.
    pub unit_step: usize,
    /// Floats from one sample to the next.
    pub sample_step: usize,
    /// For each node.
    pub places: Vec<Sums>,
    /// The first unit of the input that is stored.
    pub first_input: usize,
    /// The first unit of the output that is stored.
    pub first_output: usize,
    /// Those of all dense layers.
    pub sums: &'a mut [Pack],
    /// The input's ones, of bits.
    pub words: Words,
    /// The input's ones, of one-hot classes.
    pub lists: Lists<'a>,
    /// For each sample 0, or NaN once a unit is not finite.
    pub poison: Vec<Pack>,
    /// Of a step.
    pub parameters: &'a mut Vec<f32>,
    /// Those of a step.
    pub values: Vec<u32>,
    /// For a categorical mean.
    pub logits: Vec<f32>,
    /// For blocks of bits.
    pub bits: TileOfBits,
}

impl Vector {
    /// Samples a block at which the walk is at its best.
    pub fn block_len(&self) -> usize {
        (MEMORY * LANES / self.n_units.max(1)).clamp(LANES, BLOCK) / LANES * LANES
    }

    /// Walks the steps of a block.
    ///
    /// # Errors
    /// Those of the block; [`Error::Memory`].
    pub fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let in_lanes = if block.len < SIDE_BY_SIDE { InLanes::Units } else { InLanes::Samples };
        self.walk_with(in_lanes, block, scratch)
    }

    pub(super) fn walk_with(
        &self,
        in_lanes: InLanes,
        block: &mut dyn Steps,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let len = block.len();
        // Units an odd number of cache lines apart spread over all sets of a cache.
        let (unit_step, sample_step, n_floats) = match in_lanes {
            InLanes::Samples => {
                let step = (len.div_ceil(LANES) | 1) * LANES;
                (step, 1, step * self.n_units)
            }
            // The last one is read as a whole vector.
            InLanes::Units => (1, self.n_units, self.n_units * len + LANES),
        };
        let n_packs = n_floats.div_ceil(LANES);
        let mut end = 0;
        let places = self.nodes.iter().map(|node| match &node.layer {
            Layer::Dense(dense) if in_lanes == InLanes::Units || self.reads_ones(dense) => {
                let most = |parts: &[Part]| parts.iter().map(Part::packs).max().unwrap_or(0);
                let near = if self.adds_rows(dense, in_lanes) { most(&dense.near) } else { 0 };
                let (far_step, near_step) = (most(&dense.far) + 1, near);
                let sums = Sums { far: end, far_step, near: end + len * far_step, near_step };
                end = sums.near + len * near_step;
                sums
            }
            _ => Sums::default(),
        });
        let places: Vec<_> = places.collect();
        let Scratch { packs, floats, indices } = scratch;
        if packs.len() < n_packs + end {
            resize(packs, n_packs + end, Pack::ZERO)?;
        }
        let (units, sums) = packs.split_at_mut(n_packs);
        let n_ones = |wanted: bool| if self.ones && wanted { self.n_steps } else { 0 };
        let lists = Lists::new(len, n_ones(!self.input_is_bits()), indices)?;
        let words = Words::new(len, n_ones(self.input_is_bits()))?;
        let (isa, poison) = (block.isa(), vec![Pack::ZERO; len.div_ceil(LANES)]);
        let (given, decides_bits) = (block.given(), self.bits && block.bits().is_some());
        let mut walk = Walk {
            net: self,
            block,
            isa,
            len,
            in_lanes,
            given,
            decides_bits,
            units,
            unit_step,
            sample_step,
            places,
            first_input: 0,
            first_output: 0,
            sums,
            words,
            lists,
            poison,
            parameters: floats,
            values: vec![0; len],
            logits: Vec::new(),
            bits: TileOfBits::default(),
        };
        walk.run()
    }

    /// Whether a dense layer reads which inputs are one instead of numbers.
    pub(super) fn reads_ones(&self, dense: &Dense) -> bool {
        self.ones && dense.from == 0
    }

    /// Whether what a dense layer reads within a stretch is added row by row too: of units side by side, and of one-hot
    /// classes. Bits of samples side by side are multiplied as numbers.
    pub(super) fn adds_rows(&self, dense: &Dense, in_lanes: InLanes) -> bool {
        in_lanes == InLanes::Units || self.reads_ones(dense) && !self.input_is_bits()
    }

    /// Whether the input has one channel a dimension.
    pub(super) fn input_is_bits(&self) -> bool {
        matches!(self.nodes[0].layer, Layer::Values { .. })
    }
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let n_steps = self.block.n_steps();
        let features = self.net.features.is_some() && self.block.features(0).is_some();
        // Units that know all values concern features alone.
        let end = if features { n_steps + 1 } else { n_steps };
        for tile in (0..end).step_by(TILE) {
            if tile.is_multiple_of(STRETCH) {
                self.block.check()?;
                self.lists.mark();
                self.first_input = if self.net.stored { 0 } else { tile };
            }
            self.far(tile);
            self.near(tile / TILE);
            let isa = self.isa;
            isa.run(Tile { walk: self, first: tile, end: end.min(tile + TILE), n_steps })?;
        }
        if features {
            self.show_features(n_steps);
        }
        Ok(())
    }

    /// Where a unit of a node is among those of all nodes.
    #[inline(always)]
    pub fn unit(&self, index: usize, unit: usize) -> usize {
        let first = match index {
            0 => self.first_input,
            _ if self.net.windowed && index == self.net.output => self.first_output,
            _ => 0,
        };
        self.net.nodes[index].at + unit - first
    }

    /// Where features are wanted: the units that know values before this step, and zeros for others.
    fn show_features(&mut self, n_steps: usize) {
        let Some(features) = &self.net.features else { return };
        for sample in 0..self.len {
            let Some(out) = self.block.features(sample) else { return };
            for (out, &(unit, step)) in out.iter_mut().zip(features) {
                let at = unit as usize * self.unit_step + sample * self.sample_step;
                *out = if step as usize <= n_steps { flat(self.units)[at] } else { 0.0 };
            }
        }
    }

    /// Finds the values at a step.
    pub fn decide(&mut self, step: usize) -> Result<(), Error> {
        let len = self.len;
        let units = &self.net.parameters[self.net.begins[step]..self.net.begins[step + 1]];
        if let (&[unit], InLanes::Samples) = (units, self.in_lanes) {
            let unit = self.unit(self.net.output, unit as usize);
            return self.block.decide(step, 0..len, &flat(self.units)[unit * self.unit_step..][..len]);
        }
        self.parameters.clear();
        self.parameters.resize(len * units.len(), 0.0);
        for (p, &unit) in units.iter().enumerate() {
            let from = self.unit(self.net.output, unit as usize) * self.unit_step;
            for sample in 0..len {
                self.parameters[sample * units.len() + p] = flat(self.units)[from + sample * self.sample_step];
            }
        }
        self.block.decide(step, 0..len, self.parameters)
    }

    /// Whether all units have been finite, as a tile ends; the error is the block's, which knows its samples.
    pub fn check_finite(&mut self, step: usize) -> Result<(), Error> {
        let poison = &flat(&self.poison)[..self.len];
        if poison.iter().all(|poison| !poison.is_nan()) {
            return Ok(());
        }
        let n_parameters = self.net.begins[step + 1] - self.net.begins[step];
        self.parameters.clear();
        self.parameters.extend(poison.iter().flat_map(|&poison| std::iter::repeat_n(poison, n_parameters)));
        self.block.decide(step, 0..self.len, self.parameters)
    }
}
