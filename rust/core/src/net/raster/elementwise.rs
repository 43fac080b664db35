//! Layers that compute each of their channels from the same place of other nodes.

use super::{
    Layer, Raster,
    maps::{Channels, InLanes, Map},
};
use crate::kernels::{Kernel, LANES, Lanes, Pack, flat_mut};

/// Where a layer writes: a group of its channels at some pixels.
pub struct Rows<'a> {
    /// Rows of packs: one for each site, or for each channel of the group.
    pub n: usize,
    /// Packs of each that are written.
    pub packs: usize,
    /// The first column.
    pub x: usize,
    /// The group.
    pub group: usize,
    /// Memory from the first row on.
    pub own: &'a mut [Pack],
    /// Packs from one row to the next.
    pub own_step: usize,
}

impl Rows<'_> {
    fn row(&mut self, at: usize) -> &mut [Pack] {
        &mut self.own[at * self.own_step..][..self.packs]
    }
}

/// The same place in another node.
struct Source<'a> {
    floats: &'a [f32],
    /// Floats from one row to the next.
    step: usize,
}

impl<'a> Source<'a> {
    fn row(&self, at: usize, packs: usize) -> &'a [[f32; LANES]] {
        self.floats[at * self.step..][..packs * LANES].as_chunks().0
    }
}

/// Computes a layer other than taps. It is a kernel of its own, so that the loop over taps stays small.
pub(super) struct Combine<'a> {
    /// The network.
    pub(super) raster: &'a Raster,
    /// The layer.
    pub(super) layer: &'a Layer,
    /// Where all nodes are.
    pub(super) maps: &'a [Map],
    /// What the nodes before it hold.
    pub(super) before: &'a [f32],
    /// Where it writes.
    pub(super) rows: Rows<'a>,
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { raster, layer, maps, before, mut rows } = self;
        match layer {
            Layer::Input(_) | Layer::Taps { .. } => unreachable!("they are computed elsewhere"),
            Layer::Pointwise { from, function } => {
                let source = raster.source(*from, maps, before, &rows);
                for at in 0..rows.n {
                    let out = rows.row(at);
                    copy(out, source.row(at, out.len()));
                    function.map_packs(l, out);
                }
            }
            Layer::Pair { from, function } => {
                let [a, b] = from.map(|from| raster.source(from, maps, before, &rows));
                for at in 0..rows.n {
                    let out = rows.row(at);
                    let inputs = a.row(at, out.len()).iter().zip(b.row(at, out.len()));
                    for (out, (a, b)) in out.iter_mut().zip(inputs) {
                        l.store(out, function.apply(l, l.read(a), l.read(b)));
                    }
                }
            }
            Layer::Concat { from } => {
                let mut first = 0;
                for &from in from {
                    first += raster.append(from, maps, before, &mut rows, first);
                }
            }
        }
    }
}

impl Raster {
    /// The channels of a node that have the degree of the rows' group, at the same pixels.
    fn source<'a>(&self, from: usize, maps: &[Map], before: &'a [f32], rows: &Rows<'_>) -> Source<'a> {
        let (map, channels) = (&maps[from], &self.nodes[from].channels);
        let group = channels.of_degree(computed_degree(rows.group)).expect("a node that is read has the same degrees");
        Source { floats: &before[map.here(group, rows.x)..], step: map.row_step() }
    }

    /// Copies a node's channels of the rows' degree behind the `first` ones of the group; how many there are.
    fn append(&self, from: usize, maps: &[Map], before: &[f32], rows: &mut Rows<'_>, first: usize) -> usize {
        let (map, channels): (&Map, &Channels) = (&maps[from], &self.nodes[from].channels);
        let Some(group) = channels.of_degree(computed_degree(rows.group)) else { return 0 };
        if group.len == 0 {
            return 0;
        }
        let source = &before[map.here(group, rows.x)..];
        let (step, own) = (rows.own_step * LANES, flat_mut(rows.own));
        let mut copy = |to: usize, from: usize, n: usize| {
            own[to..][..n].copy_from_slice(&source[from..][..n]);
        };
        match map.in_lanes {
            InLanes::Channels => (0..rows.n).for_each(|at| copy(at * step + first, at * map.sample, group.len)),
            InLanes::Sites => {
                (0..group.len).for_each(|at| copy((first + at) * step, at * map.channel, rows.packs * LANES));
            }
        }
        group.len
    }
}

/// The degree of a group of channels that are computed.
fn computed_degree(group: usize) -> i32 {
    group as i32 - 1
}

#[inline(always)]
fn copy(out: &mut [Pack], from: &[[f32; LANES]]) {
    out.iter_mut().zip(from).for_each(|(out, from)| out.0 = *from);
}
