//! The units of a node in the order in which they are computed.

use std::ops::Range;

/// The units of a node, sorted by the step before which they are computed: the degree + 1. Units of one step keep the order of
/// their channels.
#[derive(Clone, Debug)]
pub struct Units {
    /// The channel of each unit.
    pub channels: Vec<u32>,
    /// Where each channel's unit stands.
    pub places: Vec<u32>,
    /// Where the units of each step begin, and where the last ones end.
    begins: Vec<u32>,
}

impl Units {
    /// From the degree of each channel.
    pub fn new(degrees: &[i32], n_steps: usize) -> Self {
        let mut channels: Vec<u32> = (0..degrees.len() as u32).collect();
        channels.sort_by_key(|&channel| degrees[channel as usize]);
        let mut places = vec![0; degrees.len()];
        for (place, &channel) in channels.iter().enumerate() {
            places[channel as usize] = place as u32;
        }
        let mut begins = vec![0; n_steps + 2];
        for &degree in degrees {
            begins[(degree + 2) as usize] += 1;
        }
        for step in 0..=n_steps {
            begins[step + 1] += begins[step];
        }
        Self { channels, places, begins }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// The step before which the unit at this place is computed.
    pub fn step(&self, place: usize) -> usize {
        self.begins.partition_point(|&begin| begin as usize <= place) - 1
    }

    /// Units computed before this step's are: where its own begin.
    pub fn begin(&self, step: usize) -> usize {
        self.begins[step.min(self.begins.len() - 1)] as usize
    }

    /// The units of some steps.
    pub fn of(&self, steps: Range<usize>) -> Range<usize> {
        self.begin(steps.start)..self.begin(steps.end)
    }
}
