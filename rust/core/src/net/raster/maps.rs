//! Feature maps at rest: where a node of the graph keeps its activations, for which pixels, in which order.

use crate::kernels::LANES;

/// The channels of a node, in groups of equal degree.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The channels in the order in which they are kept: by degree, and then by number.
    pub order: Vec<u32>,
    /// One for each degree from the least on.
    pub groups: Vec<Group>,
    /// The degree of the first group.
    least: i32,
    /// Floats a site, where channels stand in the lanes.
    stride: usize,
}

/// Channels of the same degree: what is computed at once.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Place of its first channel in the order.
    pub first: usize,
    /// Channels in it.
    pub len: usize,
    /// Channels of the site before it, where sites stand in the lanes.
    place: usize,
    /// Where it begins within the floats of a site, where channels stand in the lanes.
    at: usize,
}

impl Group {
    /// Packs that hold its channels.
    pub fn packs(&self) -> usize {
        self.len.div_ceil(LANES)
    }

    /// Moves it behind the first channels of another group, whose channels it is some of.
    pub fn move_into(&mut self, other: &Self, first: usize) {
        (self.place, self.at) = (other.place + first, other.at + first);
    }
}

impl Channels {
    /// Channels of these degrees, of which `least` is the first that any may have. Each group begins on a pack of its own if
    /// `aligned`, so that it can be written by vectors of channels.
    pub fn new(degrees: &[i32], least: i32, n_groups: usize, aligned: bool) -> Self {
        let mut order: Vec<_> = (0..degrees.len() as u32).collect();
        order.sort_by_key(|&channel| degrees[channel as usize]);
        let (mut stride, mut first) = (0, 0);
        let groups = (0..n_groups).map(|group| {
            let degree = least + group as i32;
            let len = order[first..].iter().take_while(|&&channel| degrees[channel as usize] == degree).count();
            let group = Group { first, len, place: first, at: stride };
            first += len;
            stride += if aligned { len.next_multiple_of(LANES) } else { len };
            group
        });
        let groups = groups.collect();
        Self { order, groups, least, stride }
    }

    /// Channels in all.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// The channels of a group.
    pub fn of(&self, group: &Group) -> &[u32] {
        &self.order[group.first..][..group.len]
    }

    /// The degree of the channels of a group.
    pub fn degree(&self, group: usize) -> i32 {
        self.least + group as i32
    }

    /// The group of the channels of a degree; none if there are none of such a degree.
    pub fn of_degree(&self, degree: i32) -> Option<&Group> {
        self.groups.get(usize::try_from(degree - self.least).ok()?)
    }
}

/// How far later pixels look back at a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// Rows up.
    pub rows: usize,
    /// Columns to either side.
    pub columns: usize,
    /// Whether a node looks back that is not computed pixel by pixel with this one.
    pub whole_rows: bool,
}

impl Reach {
    /// The larger of both, each way.
    pub fn with(self, other: Self) -> Self {
        Self {
            rows: self.rows.max(other.rows),
            columns: self.columns.max(other.columns),
            whole_rows: self.whole_rows || other.whole_rows,
        }
    }

    /// Whether anything but the pixels being computed is looked at.
    pub fn neighbours(self) -> bool {
        self.rows > 0 || self.columns > 0 || self.whole_rows
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
    /// The same for nodes that are computed, or read, a row at a time.
    pub row_span: usize,
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
    /// Where the row being computed begins.
    present: usize,
    /// How far later pixels look back.
    pub reach: Reach,
    /// Zeros to the left and right of every row, for a span at the border to read, stand in for what is outside.
    pub padded: bool,
}

impl Map {
    /// The map that begins at `begin`, of a node in an image `width` wide, of which `span` pixels are computed or read at once.
    pub fn new(channels: &Channels, reach: Reach, width: usize, plan: &Plan, span: usize, begin: usize) -> Self {
        let Plan { in_lanes, samples, .. } = *plan;
        let pixels = if reach.neighbours() { width } else { span };
        let padded = span > 1 && reach.columns > 0;
        let map = Self {
            in_lanes,
            begin,
            end: 0,
            origin: begin,
            channel: 1,
            sample: 1,
            pixel: 0,
            row: 0,
            present: begin,
            reach,
            padded,
        };
        let mut map = match in_lanes {
            InLanes::Channels => {
                let pixel = samples * channels.stride;
                let padding = if padded { reach.columns * pixel } else { 0 };
                let row = pixels * pixel + 2 * padding;
                Self { origin: begin + padding, sample: channels.stride, pixel, row, ..map }
            }
            InLanes::Sites if span == 1 => {
                let channel = samples.next_multiple_of(LANES);
                let pixel = channels.count() * channel;
                Self { channel, pixel, row: pixels * pixel, ..map }
            }
            InLanes::Sites => {
                let padding = if padded { reach.columns * samples } else { 0 };
                let lead = padding.next_multiple_of(LANES);
                let floats = lead + (pixels * samples).next_multiple_of(LANES) + padding;
                // Channels an odd number of cache lines apart spread over all sets of a cache.
                let channel = (floats.div_ceil(LANES) | 1) * LANES;
                Self { origin: begin + lead, channel, pixel: samples, row: channels.count() * channel, ..map }
            }
        };
        // A vector that is read at the last pixel may reach beyond it.
        map.end = begin + ((reach.rows + 1) * map.row).next_multiple_of(LANES) + LANES;
        map
    }

    /// Floats from one row of packs to the next: rows of channels for each site, or of sites for each channel.
    pub fn row_step(&self) -> usize {
        match self.in_lanes {
            InLanes::Channels => self.sample,
            InLanes::Sites => self.channel,
        }
    }

    /// Floats between pixels of a row so many columns apart.
    pub fn columns(&self, n: usize) -> usize {
        if self.reach.neighbours() { n * self.pixel } else { 0 }
    }

    /// What is computed from now on lies in this row.
    pub fn begin_row(&mut self, y: usize) {
        self.present = self.origin + self.ring(y);
    }

    /// Where a group of channels begins for sample 0 at a pixel of the row that has begun.
    pub fn here(&self, group: &Group, x: usize) -> usize {
        self.present + self.channel_of(group) + self.columns(x)
    }

    /// The same at a pixel of any row that is kept, which may be in the padding.
    pub fn at(&self, group: &Group, y: usize, x: isize) -> usize {
        let at = self.origin + self.channel_of(group);
        if self.reach.neighbours() { (at + self.ring(y)).wrapping_add_signed(x * self.pixel.cast_signed()) } else { at }
    }

    /// Floats from the first row of the ring to this row.
    fn ring(&self, y: usize) -> usize {
        if self.reach.neighbours() { y % (self.reach.rows + 1) * self.row } else { 0 }
    }

    fn channel_of(&self, group: &Group) -> usize {
        match self.in_lanes {
            InLanes::Channels => group.at,
            InLanes::Sites => group.place * self.channel,
        }
    }
}
