//! The walk through a block: tiles in the outer loop, samples in the inner one, so that the weights of a tile stay in
//! the cache.
//!
//! One pass over the hidden units of a sample serves all rows of V up to its next active bit. Given values say where
//! that is ([`super::given`]). Where values are drawn it is guessed: rows whose logits, computed before the last active
//! bit, exceed their thresholds are taken to be active, and after one more update few decisions differ. The logits of
//! rows beyond an active bit are computed again, so a wrong guess costs time and changes no bit.

use super::{
    Layout, Nade,
    dots::{dots, dots_of_two},
    features::Features,
    given::Given,
    hidden::Units,
    prefix::Prefix,
    tiles::{TILE, Tile, Tiles},
};
use crate::{
    block::Block,
    error::Error,
    head::Bits,
    kernels::{Kernel, LANES, Lanes, Pack, flat_mut},
    model::Scratch,
    models::any,
};

/// Samples that walk a tile together: enough to hide a comparison and a branch, and few enough for the first-level
/// cache.
const GROUP: usize = 4;
/// Samples for which V is read once if neither needs an update.
const PAIR: usize = 2;

/// What is known of a sample from tile to tile.
#[derive(Clone, Default)]
pub struct Sample {
    /// The step after its prefix.
    pub start: usize,
    /// [`Units::bound`]
    pub bound: f64,
}

/// Walks a block through all steps.
pub fn walk(model: &Nade<'_>, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    let n_dims = model.space.n_dims();
    let block = &mut block.bits();
    scratch.packs.resize(2 * model.hidden.packs() * block.len, Pack::ZERO);
    let mut samples = vec![Sample::default(); block.len];
    block.isa.run(Prefix { model, block, hidden: &mut scratch.packs, samples: &mut samples });
    let active = match &model.layout {
        // The updates of all steps are laid out.
        Layout::Kept { .. } => Vec::new(),
        Layout::Raw(_) => any(block.x, n_dims),
    };
    let mut room = Tiles::default();
    for first in (0..block.n_steps).step_by(TILE) {
        block.check()?;
        let end = n_dims.min(first + TILE);
        if samples.iter().all(|sample| sample.start >= end) {
            continue;
        }
        let tile = model.tile(block.isa, first / TILE, &active, &mut room);
        let isa = block.isa;
        let walk = Walk { model, tile, block, hidden: &mut scratch.packs, samples: &mut samples, first, end };
        if walk.block.given() { isa.run(Given(walk)) } else { isa.run(walk) }
    }
    for (at, sample) in samples.iter_mut().enumerate() {
        let Some(state) = block.tape(at) else { break };
        Units::of(at, &mut scratch.packs, model.hidden.packs(), &mut sample.bound).odds(state);
    }
    if let Layout::Kept { tiles, .. } = &model.layout {
        let isa = block.isa;
        for at in 0..block.len {
            let Some((x, out)) = block.features(at) else { break };
            isa.run(Features { hidden: &model.hidden, tiles, x, segments: &mut scratch.packs, out });
        }
    }
    Ok(())
}

/// The steps `first` to `end` − 1, for all samples.
pub struct Walk<'a, 'b> {
    pub model: &'a Nade<'a>,
    pub tile: Tile<'a>,
    pub block: &'a mut Bits<'b>,
    /// For each sample, the state of its hidden units, and the units.
    pub hidden: &'a mut [Pack],
    pub samples: &'a mut [Sample],
    pub first: usize,
    pub end: usize,
}

/// Where a sample stands in a tile. Row 0 is the tile's first step.
struct Cursor {
    /// The next row to decide.
    row: usize,
    /// Rows from there on whose logits are computed.
    computed: usize,
    /// Bit r: row r is active, by the logits seen so far.
    active: u32,
    /// Long enough to read or write 16 floats from any row on.
    thresholds: [f32; TILE + LANES],
    logits: [f32; TILE + LANES],
}

impl Cursor {
    /// At the end of its tile.
    const DONE: Self =
        Self { row: TILE, computed: 0, active: 0, thresholds: [0.0; TILE + LANES], logits: [0.0; TILE + LANES] };

    /// Rows up to the next active one, it included, or up to `end`.
    fn rows_ahead(&self, end: usize) -> usize {
        ((self.active >> self.row).trailing_zeros() as usize + 1).min(end - self.row)
    }
}

impl Kernel for Walk<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        // While one sample waits for a comparison, the others go on. A decoder takes one after the other.
        let decoded = self.block.decoded();
        let end = self.end - self.first;
        for sample in (0..self.block.len).step_by(GROUP) {
            let members = GROUP.min(self.block.len - sample);
            let mut cursors = [Cursor::DONE; GROUP];
            for (m, cursor) in cursors[..members].iter_mut().enumerate() {
                self.begin(sample + m, cursor);
            }
            for (pair, cursors) in cursors.chunks_exact_mut(PAIR).enumerate() {
                let first = sample + pair * PAIR;
                let unchanged = |m: usize| cursors[m].row == 0 && self.is_unchanged(first + m, &cursors[m]);
                if L::DOTS == TILE && (0..PAIR).all(unchanged) {
                    self.compute_pair(l, first, cursors);
                }
            }
            let mut m = 0;
            while cursors.iter().any(|cursor| cursor.row < end) {
                if cursors[m].row < end {
                    self.advance(l, sample + m, &mut cursors[m]);
                }
                if !decoded || cursors[m].row >= end {
                    m = (m + 1) % GROUP;
                }
            }
            for (m, cursor) in cursors[..members].iter().enumerate() {
                self.tile_of_field(sample + m).copy_from_slice(&cursor.logits[..TILE]);
            }
        }
    }
}

impl Walk<'_, '_> {
    /// The tile's part of a sample's row of the field.
    pub fn tile_of_field(&mut self, sample: usize) -> &mut [f32] {
        let stride = self.model.space.n_dims().next_multiple_of(LANES);
        &mut flat_mut(self.block.field)[sample * stride + self.first..][..TILE]
    }

    /// A sample's values up to the end of the tile.
    fn x(&mut self, sample: usize) -> &mut [u8] {
        &mut self.block.x[sample * self.model.space.n_dims()..][..self.end]
    }

    #[inline(always)]
    fn begin(&mut self, sample: usize, cursor: &mut Cursor) {
        let first = self.first;
        cursor.row = self.samples[sample].start.clamp(first, self.end) - first;
        let field = self.tile_of_field(sample);
        cursor.logits[..TILE].copy_from_slice(field);
        cursor.thresholds[..TILE].copy_from_slice(field);
    }

    /// Whether the hidden units of a sample at row 0 need no update, neither there nor, by its guesses, at a later row.
    fn is_unchanged(&mut self, sample: usize, cursor: &Cursor) -> bool {
        let first = self.first;
        self.x(sample)[first - 1] == 0 && cursor.rows_ahead(self.end - first) == self.end - first
    }

    /// Computes the logits of all rows for two samples.
    #[inline(always)]
    fn compute_pair<L: Lanes>(&mut self, l: L, sample: usize, cursors: &mut [Cursor]) {
        for (cursor, dots) in cursors.iter_mut().zip(self.dots_of_two(l, [sample, sample + 1])) {
            cursor.computed = self.end - self.first;
            l.write(sixteen_mut(&mut cursor.logits, 0), self.model.logits(l, self.first, dots));
        }
    }

    /// V_i · h for all rows, of two samples whose hidden units need no update.
    #[inline(always)]
    pub fn dots_of_two<L: Lanes>(&self, l: L, samples: [usize; 2]) -> [L::F; 2] {
        let packs = self.model.hidden.packs();
        let [a, b] = samples.map(|sample| &self.hidden[sample * 2 * packs..][packs..2 * packs]);
        dots_of_two(l, self.tile.v, a, b)
    }

    /// Decides the rows that are computed, and computes more.
    #[inline(always)]
    fn advance<L: Lanes>(&mut self, l: L, sample: usize, cursor: &mut Cursor) {
        if cursor.computed > 0 {
            self.decide(l, sample, cursor);
        }
        if self.first + cursor.row < self.end {
            self.compute(l, sample, cursor);
        }
    }

    /// Decides the computed rows up to the first active one.
    #[inline(always)]
    fn decide<L: Lanes>(&mut self, l: L, sample: usize, cursor: &mut Cursor) {
        let Cursor { row, computed, .. } = *cursor;
        cursor.computed = 0;
        cursor.row += computed;
        if self.block.decoded() {
            let decided = self.block.decode_to_one(sample, self.first + row, &cursor.logits[row..][..computed]);
            cursor.row = row + decided;
            return;
        }
        let window = (1 << computed) - 1;
        let (logits, thresholds) = (l.read(sixteen(&cursor.logits, row)), l.read(sixteen(&cursor.thresholds, row)));
        let above = u32::from(l.gt(logits, thresholds)) & window;
        if above != 0 {
            cursor.row = row + above.trailing_zeros() as usize + 1;
            cursor.active = cursor.active & !(window << row) | above << row;
            let step = self.first + cursor.row - 1;
            self.x(sample)[step] = 1;
        }
    }

    /// Updates the hidden units if the last value is an active bit, and computes the logits of rows up to the next
    /// guessed one.
    #[inline(always)]
    fn compute<L: Lanes>(&mut self, l: L, sample: usize, cursor: &mut Cursor) {
        let Self { model, tile, block, hidden, samples, first, end } = self;
        let (packs, n_dims) = (model.hidden.packs(), model.space.n_dims());
        let step = *first + cursor.row;
        let x = &block.x[sample * n_dims..][..step];
        let mut units = Units::of(sample, hidden, packs, &mut samples[sample].bound);
        let factors = if x[step - 1] == 1 {
            model.hidden.update(block.isa, tile.update_before(cursor.row), x, &mut units)
        } else {
            None
        };
        cursor.computed = cursor.rows_ahead(*end - *first).min(L::DOTS);
        let dots = dots(l, tile.v, (cursor.row, cursor.computed), &mut units, factors);
        l.write(sixteen_mut(&mut cursor.logits, cursor.row), model.logits(l, step, dots));
    }
}

impl Nade<'_> {
    /// b + V h for 16 steps from this one on.
    #[inline(always)]
    pub fn logits<L: Lanes>(&self, l: L, step: usize, dots: L::F) -> L::F {
        l.add(l.read(sixteen(&self.b, step)), dots)
    }
}

/// The 16 floats from `at` on.
fn sixteen(floats: &[f32], at: usize) -> &[f32; LANES] {
    floats[at..][..LANES].try_into().expect("as long")
}

/// The 16 floats from `at` on, to write to.
fn sixteen_mut(floats: &mut [f32], at: usize) -> &mut [f32; LANES] {
    (&mut floats[at..][..LANES]).try_into().expect("as long")
}
