//! Feature maps at rest: where a node of the graph keeps its activations, for which pixels, in which order.

use crate::kernels::LANES;

/// The channels of a node, split into one group for each channel of the image.
///
/// Group g is what may depend on the image's channels before g (mask A) or up to g (mask B) at the same pixel.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The groups.
    pub groups: Vec<Group>,
    /// Floats a sample at one pixel, where channels stand in the lanes.
    stride: usize,
}

/// A group of channels.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its first channel among all.
    pub first: usize,
    /// Channels in it.
    pub len: usize,
    /// Where it begins within the floats of a sample and pixel, where channels stand in the lanes.
    at: usize,
}

impl Group {
    /// Packs that hold its channels.
    pub fn packs(&self) -> usize {
        self.len.div_ceil(LANES)
    }
}

impl Channels {
    /// `n` channels, channel j in group ⌊j · `n_groups` / n⌋. Each group begins on a pack of its own if `aligned`,
    /// so that it can be written by vectors of channels.
    pub fn new(n: usize, n_groups: usize, aligned: bool) -> Self {
        let mut stride = 0;
        let groups = (0..n_groups).map(|group| {
            let [first, end] = [group, group + 1].map(|group| (group * n).div_ceil(n_groups));
            let (at, len) = (stride, end - first);
            stride += if aligned { len.next_multiple_of(LANES) } else { len };
            Group { first, len, at }
        });
        Self { groups: groups.collect(), stride }
    }

    /// Channels in all.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.len).sum()
    }
}

/// How far later pixels look back at a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// Rows up.
    pub rows: usize,
    /// Columns to either side.
    pub columns: usize,
}

impl Reach {
    /// Whether anything but the pixels being computed is looked at.
    pub fn neighbours(self) -> bool {
        self.rows > 0 || self.columns > 0
    }
}

/// What stands side by side in a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InLanes {
    /// Channels of one site: full for one sample at one pixel, as long as there are enough channels.
    Channels,
    /// Sites, which are pixels of samples: full whatever the number of channels, as long as there are enough sites.
    Sites,
}

/// What is computed at once.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What fills the vectors.
    pub in_lanes: InLanes,
    /// Samples side by side.
    pub samples: usize,
    /// Pixels of a row side by side: one, or as many as vectors of sites are to hold. A multiple of `LANES` if less
    /// than the row.
    pub span: usize,
}

/// Where a node keeps its activations: a ring of rows if a later pixel looks back at them, else the pixels being
/// computed. All steps are in floats.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// What fills the vectors.
    pub in_lanes: InLanes,
    /// Where the node begins.
    pub begin: usize,
    /// Where it ends.
    pub end: usize,
    /// Where its first pixel begins.
    origin: usize,
    /// From one channel to the next, within a group.
    pub channel: usize,
    /// From one sample to the next.
    pub sample: usize,
    /// From one pixel of a row to the next.
    pub pixel: usize,
    row: usize,
    /// How far later pixels look back.
    pub reach: Reach,
    /// Zeros to the left and right of every row, for a span at the border to read, stand in for what is outside.
    pub padded: bool,
}

impl Map {
    /// The map that begins at `begin`, of a node in an image `width` wide.
    pub fn new(channels: &Channels, reach: Reach, width: usize, plan: Plan, begin: usize) -> Self {
        let Plan { in_lanes, samples, span } = plan;
        let pixels = if reach.neighbours() { width } else { span };
        let padded = span > 1 && reach.columns > 0;
        let map =
            Self { in_lanes, begin, end: 0, origin: begin, channel: 1, sample: 1, pixel: 0, row: 0, reach, padded };
        let mut map = match in_lanes {
            InLanes::Channels => {
                let pixel = samples * channels.stride;
                Self { sample: channels.stride, pixel, row: pixels * pixel, ..map }
            }
            InLanes::Sites if span == 1 => {
                let channel = samples.next_multiple_of(LANES);
                let pixel = channels.len() * channel;
                Self { channel, pixel, row: pixels * pixel, ..map }
            }
            InLanes::Sites => {
                let padding = if padded { reach.columns * samples } else { 0 };
                let lead = padding.next_multiple_of(LANES);
                let floats = lead + (pixels * samples).next_multiple_of(LANES) + padding;
                // Channels an odd number of cache lines apart spread over all sets of a cache.
                let channel = (floats.div_ceil(LANES) | 1) * LANES;
                Self { origin: begin + lead, channel, pixel: samples, row: channels.len() * channel, ..map }
            }
        };
        map.end = begin + ((reach.rows + 1) * map.row).next_multiple_of(LANES);
        map
    }

    /// Floats between pixels of a row so many columns apart.
    pub fn columns(&self, n: usize) -> usize {
        if self.reach.neighbours() { n * self.pixel } else { 0 }
    }

    /// Where a group of channels begins for sample 0 at a pixel, which may be in the padding.
    pub fn at(&self, group: &Group, y: usize, x: isize) -> usize {
        let channel = match self.in_lanes {
            InLanes::Channels => group.at,
            InLanes::Sites => group.first * self.channel,
        };
        let at = self.origin + channel;
        if self.reach.neighbours() {
            (at + y % (self.reach.rows + 1) * self.row).wrapping_add_signed(x * self.pixel.cast_signed())
        } else {
            at
        }
    }
}
