//! What the network is shown: values, as numbers and as ones.

use super::{
    Layer,
    dense::TILE,
    walk::{InLanes, Walk},
};
use crate::kernels::{Lanes, flat_mut};

impl Walk<'_> {
    /// Shows the network the values of a step.
    #[inline(always)]
    pub fn tell<L: Lanes>(&mut self, l: L, step: usize, goes_on: bool) {
        if self.decides_bits {
            self.tell_bits(l, step, goes_on);
            return;
        }
        self.block.values(step, &mut self.values);
        for sample in 0..self.len {
            self.tell_one(l, step, sample, self.values[sample], goes_on);
        }
    }

    /// The same for one sample.
    #[inline(always)]
    pub fn tell_one<L: Lanes>(&mut self, l: L, step: usize, sample: usize, value: u32, goes_on: bool) {
        self.write(step, sample, value);
        if self.net.ones {
            self.add_one(l, step, sample, value, goes_on);
        }
    }

    /// Writes the numbers that the input is for a value.
    #[inline(always)]
    fn write(&mut self, step: usize, sample: usize, value: u32) {
        let input = &self.net.nodes[0];
        let units = input.units.of(step + 1..step + 2);
        match input.layer {
            // Units side by side read the ones instead, unless somebody reads numbers.
            Layer::Values { .. } if !self.net.stored && self.in_lanes == InLanes::Units => {}
            Layer::Values { scale, shift } => {
                let place = self.unit(0, units.start) * self.unit_step + sample * self.sample_step;
                flat_mut(self.units)[place] = scale.mul_add(value as f32, shift);
            }
            _ if self.net.stored => {
                for unit in units.clone() {
                    let place = self.unit(0, unit) * self.unit_step + sample * self.sample_step;
                    let one = unit - units.start == value as usize;
                    flat_mut(self.units)[place] = f32::from(u8::from(one));
                }
            }
            _ => {}
        }
    }

    /// Notes the one that a value is, and adds it to the sums of its tile if that goes on.
    #[inline(always)]
    fn add_one<L: Lanes>(&mut self, l: L, step: usize, sample: usize, value: u32, goes_on: bool) {
        let input = &self.net.nodes[0];
        let begin = input.units.begin(step + 1);
        let one = match input.layer {
            Layer::Values { .. } if value == 0 => return,
            Layer::Values { .. } => {
                self.words.set(sample, step / TILE * TILE, 1 << (step % TILE));
                begin
            }
            _ => {
                self.lists.push(sample, (begin + value as usize) as u32);
                begin + value as usize
            }
        };
        if goes_on {
            self.push_one(l, step, sample, one);
        }
    }

    /// Adds what a one adds to the sums of the tile that it belongs to.
    #[inline(always)]
    fn push_one<L: Lanes>(&mut self, l: L, step: usize, sample: usize, one: usize) {
        for (index, node) in self.net.nodes.iter().enumerate() {
            let Layer::Dense(dense) = &node.layer else { continue };
            let (part, sums) = (&dense.own[step / TILE], self.places[index]);
            if dense.from != 0 || part.units.is_empty() || !self.net.adds_rows(dense, self.in_lanes) {
                continue;
            }
            let row = dense.row(part, one);
            for (sum, weights) in self.sums[sums.near + sample * sums.near_step..].iter_mut().zip(row) {
                l.store(sum, l.add(l.load(sum), l.load(weights)));
            }
        }
    }
}
