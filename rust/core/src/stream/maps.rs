//! Feature maps at rest: where a node of the graph keeps its activations, for which pixels, in which order.

use crate::kernels::LANES;

/// The channels of a node, split into one group for each channel of the image.
///
/// Group g is what may depend on the image's channels before g (mask A) or up to g (mask B) at the same pixel.
#[derive(Clone, Debug)]
pub struct Channels {
    /// For each group, where it begins within a sample's floats, and how many channels it has.
    pub groups: Vec<Group>,
    /// Floats a sample at one pixel.
    pub stride: usize,
}

/// A group of channels.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its first channel among all.
    pub first: usize,
    /// Channels in it.
    pub len: usize,
    /// Where its floats begin.
    pub at: usize,
}

impl Group {
    /// Packs that hold it.
    pub fn packs(&self) -> usize {
        self.len.div_ceil(LANES)
    }
}

impl Channels {
    /// `n` channels, channel j in group ⌊j · `n_groups` / n⌋. Each group begins on a pack of its own if `aligned`,
    /// so that it can be written by vectors.
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

/// Which pixels of a node are kept: a ring of rows if a later pixel looks back at them, else only the current one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// Rows above the current one that are looked at.
    pub rows: usize,
    /// Whether anything but the current pixel is looked at.
    pub neighbours: bool,
}

impl Reach {
    /// Pixels kept, for an image of this width.
    pub fn pixels(self, width: usize) -> usize {
        if self.neighbours { (self.rows + 1) * width } else { 1 }
    }

    /// Where a pixel is kept.
    pub fn slot(self, width: usize, y: usize, x: usize) -> usize {
        if self.neighbours { y % (self.rows + 1) * width + x } else { 0 }
    }
}
