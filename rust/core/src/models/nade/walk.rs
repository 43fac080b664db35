//! NADE's walk: strips of dimensions outside, samples inside, so that a strip's weights stay in the first-level cache.
//!
//! A sample's logits are computed for all rows up to the next one, which is known if the values are given ([`super::given`]), and
//! else guessed. The guess is what the logits before a one say, for one row more of W changes few decisions; what lies beyond
//! a one is computed again.

use super::{
    Layout, Nade,
    dots::{dots, dots_of_two},
    features::Features,
    given::Given,
    hidden::Units,
    start::Start,
    strips::{Strip, Strips, TILE},
};
use crate::{
    block::Block,
    error::Error,
    head::Bits,
    kernels::{Kernel, LANES, Lanes, Pack, flat_mut},
    model::Scratch,
    models::any,
};

/// Samples that walk a strip together: enough to hide a comparison and a branch, and few enough for the nearest cache.
const GROUP: usize = 4;
/// Samples that read a tile of V together where none of them has a one.
const PAIR: usize = 2;

/// What a walk knows of a sample from strip to strip.
#[derive(Clone, Default)]
pub struct Sample {
    /// The step after its first one.
    pub start: usize,
    /// [`Units::bound`]
    pub bound: f64,
}

/// Walks a block through all dimensions.
pub fn walk(model: &Nade<'_>, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    let n_dims = model.space.n_dims();
    let block = &mut block.bits();
    scratch.packs.resize(2 * model.hidden.packs() * block.len, Pack::ZERO);
    let mut samples = vec![Sample::default(); block.len];
    block.isa.run(Start { model, block, hidden: &mut scratch.packs, samples: &mut samples });
    let ones = match &model.layout {
        // The factors of all steps are there.
        Layout::Kept { .. } => Vec::new(),
        Layout::Raw(_) => any(block.x, n_dims),
    };
    let mut room = Strips::default();
    for first in (0..block.n_steps).step_by(TILE) {
        block.check()?;
        let end = n_dims.min(first + TILE);
        if samples.iter().all(|sample| sample.start >= end) {
            continue;
        }
        let strip = model.strip(block.isa, first / TILE, &ones, &mut room);
        let isa = block.isa;
        let walk = Walk { model, strip, block, hidden: &mut scratch.packs, samples: &mut samples, first, end };
        if walk.block.given() { isa.run(Given(walk)) } else { isa.run(walk) }
    }
    for (at, sample) in samples.iter_mut().enumerate() {
        let isa = block.isa;
        let Some((x, out)) = block.features(at) else { break };
        let packs = &mut scratch.packs;
        match &model.layout {
            Layout::Kept { strips, .. } => isa.run(Features { hidden: &model.hidden, strips, x, segments: packs, out }),
            Layout::Raw(_) => Units::of(at, packs, model.hidden.packs(), &mut sample.bound).odds(out),
        }
    }
    Ok(())
}

/// The steps `first` to `end` − 1, for all samples.
pub struct Walk<'a, 'b> {
    pub model: &'a Nade<'a>,
    pub strip: Strip<'a>,
    pub block: &'a mut Bits<'b>,
    /// For each sample, what its hidden units are computed from, and the units.
    pub hidden: &'a mut [Pack],
    pub samples: &'a mut [Sample],
    pub first: usize,
    pub end: usize,
}

/// Where a sample stands in a strip. Row 0 is the strip's first step.
struct Turn {
    /// The row to walk next.
    row: usize,
    /// Rows from there on whose logits are computed, but not decided.
    computed: usize,
    /// The ones among the rows, as bits: guesses.
    ones: u32,
    /// Sixteen can be read or written from any row on.
    thresholds: [f32; TILE + LANES],
    logits: [f32; TILE + LANES],
}

impl Turn {
    /// Of a sample with nothing to do.
    const DONE: Self =
        Self { row: TILE, computed: 0, ones: 0, thresholds: [0.0; TILE + LANES], logits: [0.0; TILE + LANES] };

    /// Rows up to and with the next one, or up to `end`.
    fn rows_ahead(&self, end: usize) -> usize {
        ((self.ones >> self.row).trailing_zeros() as usize + 1).min(end - self.row)
    }
}

impl Kernel for Walk<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        // What is drawn waits for a comparison, and meanwhile the other samples go on. What is decoded has its turn.
        let in_turn = self.block.decoded();
        let end = self.end - self.first;
        for sample in (0..self.block.len).step_by(GROUP) {
            let members = GROUP.min(self.block.len - sample);
            let mut turns = [Turn::DONE; GROUP];
            for (m, turn) in turns[..members].iter_mut().enumerate() {
                self.begin(sample + m, turn);
            }
            for (pair, turns) in turns.chunks_exact_mut(PAIR).enumerate() {
                let first = sample + pair * PAIR;
                if L::DOTS == TILE && (0..PAIR).all(|m| turns[m].row == 0 && self.is_quiet(first + m, &turns[m])) {
                    self.compute_pair(l, first, turns);
                }
            }
            let mut m = 0;
            while turns.iter().any(|turn| turn.row < end) {
                if turns[m].row < end {
                    self.turn(l, sample + m, &mut turns[m]);
                }
                if !in_turn || turns[m].row >= end {
                    m = (m + 1) % GROUP;
                }
            }
            for (m, turn) in turns[..members].iter().enumerate() {
                self.tile_of_field(sample + m).copy_from_slice(&turn.logits[..TILE]);
            }
        }
    }
}

impl Walk<'_, '_> {
    /// The strip's part of a sample's row of the field.
    pub fn tile_of_field(&mut self, sample: usize) -> &mut [f32] {
        let stride = self.model.space.n_dims().next_multiple_of(LANES);
        &mut flat_mut(self.block.field)[sample * stride + self.first..][..TILE]
    }

    /// A sample's values up to the end of the strip.
    fn x(&mut self, sample: usize) -> &mut [u8] {
        &mut self.block.x[sample * self.model.space.n_dims()..][..self.end]
    }

    #[inline(always)]
    fn begin(&mut self, sample: usize, turn: &mut Turn) {
        let first = self.first;
        turn.row = self.samples[sample].start.clamp(first, self.end) - first;
        let field = self.tile_of_field(sample);
        turn.logits[..TILE].copy_from_slice(field);
        turn.thresholds[..TILE].copy_from_slice(field);
    }

    /// Whether the units of a sample at row 0 are those before the strip, and stay so for all rows.
    fn is_quiet(&mut self, sample: usize, turn: &Turn) -> bool {
        let first = self.first;
        self.x(sample)[first - 1] == 0 && turn.rows_ahead(self.end - first) == self.end - first
    }

    /// Computes all rows' logits for two samples.
    #[inline(always)]
    fn compute_pair<L: Lanes>(&mut self, l: L, sample: usize, turns: &mut [Turn]) {
        for (turn, dots) in turns.iter_mut().zip(self.dots_of_two(l, [sample, sample + 1])) {
            turn.computed = self.end - self.first;
            l.write(sixteen_mut(&mut turn.logits, 0), self.model.logits(l, self.first, dots));
        }
    }

    /// V_i · h for all rows, of two samples whose units stay as they are.
    #[inline(always)]
    pub fn dots_of_two<L: Lanes>(&self, l: L, samples: [usize; 2]) -> [L::F; 2] {
        let packs = self.model.hidden.packs();
        let [a, b] = samples.map(|sample| &self.hidden[sample * 2 * packs..][packs..2 * packs]);
        dots_of_two(l, self.strip.v, a, b)
    }

    /// Decides the rows that are computed, and computes more.
    #[inline(always)]
    fn turn<L: Lanes>(&mut self, l: L, sample: usize, turn: &mut Turn) {
        if turn.computed > 0 {
            self.decide(l, sample, turn);
        }
        if self.first + turn.row < self.end {
            self.compute(l, sample, turn);
        }
    }

    #[inline(always)]
    fn decide<L: Lanes>(&mut self, l: L, sample: usize, turn: &mut Turn) {
        let Turn { row, computed, .. } = *turn;
        turn.computed = 0;
        turn.row += computed;
        if self.block.decoded() {
            turn.row = row + self.block.decode_to_one(sample, self.first + row, &turn.logits[row..][..computed]);
            return;
        }
        let window = (1 << computed) - 1;
        let (logits, thresholds) = (l.read(sixteen(&turn.logits, row)), l.read(sixteen(&turn.thresholds, row)));
        let above = u32::from(l.gt(logits, thresholds)) & window;
        if above != 0 {
            turn.row = row + above.trailing_zeros() as usize + 1;
            turn.ones = turn.ones & !(window << row) | above << row;
            let step = self.first + turn.row - 1;
            self.x(sample)[step] = 1;
        }
    }

    #[inline(always)]
    fn compute<L: Lanes>(&mut self, l: L, sample: usize, turn: &mut Turn) {
        let Self { model, strip, block, hidden, samples, first, end } = self;
        let (packs, n_dims) = (model.hidden.packs(), model.space.n_dims());
        let step = *first + turn.row;
        let x = &block.x[sample * n_dims..][..step];
        let mut units = Units::of(sample, hidden, packs, &mut samples[sample].bound);
        let factors = if x[step - 1] == 1 {
            model.hidden.advance(block.isa, strip.one_before(turn.row), x, &mut units)
        } else {
            None
        };
        turn.computed = turn.rows_ahead(*end - *first).min(L::DOTS);
        let dots = dots(l, strip.v, (turn.row, turn.computed), &mut units, factors);
        l.write(sixteen_mut(&mut turn.logits, turn.row), model.logits(l, step, dots));
    }
}

impl Nade<'_> {
    /// b + V h for sixteen steps from this one on.
    #[inline(always)]
    pub fn logits<L: Lanes>(&self, l: L, step: usize, dots: L::F) -> L::F {
        l.add(l.read(sixteen(&self.b, step)), dots)
    }
}

/// The sixteen floats from `at` on.
fn sixteen(floats: &[f32], at: usize) -> &[f32; LANES] {
    floats[at..][..LANES].try_into().expect("as long")
}

/// The sixteen floats from `at` on, to write to.
fn sixteen_mut(floats: &mut [f32], at: usize) -> &mut [f32; LANES] {
    (&mut floats[at..][..LANES]).try_into().expect("as long")
}
