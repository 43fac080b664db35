//! The walk of a network over images through a block of samples.

use std::ops::Range;

use super::{Activations, InLanes, Pixels, Plan, Raster};
use crate::{block::Block, error::Error, model::Scratch};

/// Sites computed side by side where the data are given, about.
pub const SITES: usize = 144;

impl Raster {
    /// Walks a block through all pixels.
    pub fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        if block.given() { self.score(block, scratch) } else { self.draw(block, scratch) }
    }

    /// Rows that have a step of the walk.
    fn rows(&self, block: &Block<'_>) -> Range<usize> {
        0..self.sites.height.min(block.n_steps.div_ceil(self.sites.width * self.sites.n_dims()))
    }

    /// The walk pixel by pixel.
    fn draw(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let channels = self.sites.n_dims();
        let samples = 0..block.len;
        let mut state = self.activations(self.plan(block.len), &mut scratch.packs)?;
        for y in self.rows(block) {
            block.check()?;
            self.begin_row(block.isa, &mut state, y);
            for x in 0..self.sites.width {
                for channel in 0..channels {
                    let pixels = Pixels { y, x: x..x + 1, groups: channel..channel + 1 };
                    self.step(block.isa, &mut state, &pixels);
                    self.show_features(block, &state, &samples, &pixels)?;
                    self.decide(block, &state, &samples, &pixels, &mut scratch.floats)?;
                    self.feed(block, &mut state, &samples, &pixels);
                }
                if self.n_groups > channels {
                    let pixels = Pixels { y, x: x..x + 1, groups: channels..self.n_groups };
                    self.step(block.isa, &mut state, &pixels);
                    self.show_features(block, &state, &samples, &pixels)?;
                }
            }
            self.end_row(block.isa, &mut state, y);
        }
        Ok(())
    }

    /// The walk where the data are given: a stretch of a row at once, for a few samples after the other.
    fn score(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let (channels, width) = (self.sites.n_dims(), self.sites.width);
        let at_once = (SITES / width).max(1);
        for first in (0..block.len).step_by(at_once) {
            let samples = first..block.len.min(first + at_once);
            let span = self.row_span();
            let plan = Plan { in_lanes: InLanes::Sites, samples: samples.len(), span, row_span: span };
            let mut state = self.activations(plan, &mut scratch.packs)?;
            for y in self.rows(block) {
                block.check()?;
                self.begin_row(block.isa, &mut state, y);
                for x in (0..width).step_by(span) {
                    let mut pixels = Pixels { y, x: x..width.min(x + span), groups: 0..channels };
                    self.feed(block, &mut state, &samples, &pixels);
                    pixels.groups = 0..self.n_groups;
                    self.step(block.isa, &mut state, &pixels);
                    self.show_features(block, &state, &samples, &pixels)?;
                    pixels.groups = 0..channels;
                    self.decide(block, &state, &samples, &pixels, &mut scratch.floats)?;
                }
                self.end_row(block.isa, &mut state, y);
            }
        }
        Ok(())
    }

    /// The steps of a sample at some pixels: column of the pixel among these, channel, and step.
    fn steps(&self, pixels: &Pixels) -> impl Iterator<Item = (usize, usize, usize)> {
        let (channels, width) = (self.sites.n_dims(), self.sites.width);
        let (first, groups) = (pixels.y * width + pixels.x.start, pixels.groups.clone());
        (0..pixels.x.len())
            .flat_map(move |x| groups.clone().map(move |group| (x, group, (first + x) * channels + group)))
    }

    /// Shows the network the values of samples at some pixels.
    fn feed(&self, block: &Block<'_>, state: &mut Activations<'_>, samples: &Range<usize>, pixels: &Pixels) {
        for (x, channel, step) in self.steps(pixels) {
            let values = samples.clone().map(|sample| block.value(sample, step));
            self.write_input(state, pixels, (x, channel), values);
        }
    }

    /// Has the values at some pixels decided, from the parameters that were computed there.
    fn decide(
        &self,
        block: &mut Block<'_>,
        state: &Activations<'_>,
        samples: &Range<usize>,
        pixels: &Pixels,
        parameters: &mut Vec<f32>,
    ) -> Result<(), Error> {
        for (x, channel, step) in self.steps(pixels) {
            let view = self.read(state, self.output, pixels, channel);
            parameters.clear();
            for sample in 0..samples.len() {
                parameters.extend(view.channels(sample, x));
            }
            block.decide(step, samples.clone(), parameters)?;
        }
        Ok(())
    }

    /// Writes the features that were computed at some pixels, where features are wanted.
    fn show_features(
        &self,
        block: &mut Block<'_>,
        state: &Activations<'_>,
        samples: &Range<usize>,
        pixels: &Pixels,
    ) -> Result<(), Error> {
        let Some(node) = self.features else { return Ok(()) };
        let n_pixels = self.sites.height * self.sites.width;
        let first = pixels.y * self.sites.width + pixels.x.start;
        for group in pixels.groups.clone() {
            let view = self.read(state, node, pixels, group);
            for sample in samples.clone() {
                let Some(out) = block.features(sample) else { return Ok(()) };
                let mut finite = true;
                for x in 0..pixels.x.len() {
                    for (&channel, value) in view.numbers.iter().zip(view.channels(sample - samples.start, x)) {
                        finite &= value.is_finite();
                        out[channel as usize * n_pixels + first + x] = value;
                    }
                }
                if !finite {
                    return Err(block.overflow(sample));
                }
            }
        }
        Ok(())
    }
}
