//! Categorical distributions side by side: p(k) = e^(logit_k) / Σ_j e^(logit_j), of several samples at a step.
//!
//! A sum over classes is one over sections of 256: within a section in a fixed order, then over sections one after the other.
//! So nothing waits for one long chain of additions, and the bits do not depend on how many run side by side.

use std::cell::OnceCell;

use super::cumulative::Cumulative;
use crate::kernels::{Isa, Kernel, LANES, Lanes, Pack, flat, largest_and_finite, math, row_sums};

/// Classes of a section.
pub const SECTION: usize = 256;
const SECTION_PACKS: usize = SECTION / LANES;

/// Distributions, with their memory.
#[derive(Default)]
pub struct Softmax {
    n_classes: usize,
    /// Packs of a distribution: whole sections, or one shorter one.
    packs: usize,
    /// e^(logit − largest logit), filled up with zeros.
    weights: Vec<Pack>,
    largest: Vec<f32>,
    section_sums: Vec<f64>,
    /// For each distribution, the sum of the weights before each section, and of all.
    sums: Vec<f64>,
}

impl Softmax {
    /// How many distributions of so many classes are worked on at a time: as many as stay near the processor.
    pub fn at_once(n_classes: usize) -> usize {
        ((1 << 16) / n_classes).max(1)
    }

    /// Becomes the distributions of these logits, `n_classes` each.
    ///
    /// # Errors
    /// The first distribution with a logit that is not finite.
    pub fn fill(&mut self, isa: Isa, logits: &[f32], n_classes: usize) -> Result<(), usize> {
        self.weigh(isa, logits, n_classes, false)
    }

    /// The same, of logits that may be −∞, which stands for a probability of 0.
    pub fn fill_masked(&mut self, isa: Isa, logits: &[f32], n_classes: usize) {
        self.weigh(isa, logits, n_classes, true).expect("logits that are masked are not refused");
    }

    fn weigh(&mut self, isa: Isa, logits: &[f32], n_classes: usize, masked: bool) -> Result<(), usize> {
        let packs = n_classes.div_ceil(LANES);
        self.n_classes = n_classes;
        self.packs = if packs > SECTION_PACKS { packs.next_multiple_of(SECTION_PACKS) } else { packs };
        let n = logits.len() / n_classes;
        self.weights.resize(n * self.packs, Pack::ZERO);
        self.largest.resize(n, 0.0);
        let Self { packs, weights, largest, .. } = self;
        isa.run(Weigh { logits, n_classes, masked, weights, packs: *packs, largest })
    }

    /// Sums up the weights, for [`Softmax::cumulative`].
    pub fn sum(&mut self, isa: Isa) {
        let section = self.packs.min(SECTION_PACKS);
        self.section_sums.resize(self.weights.len() / section, 0.0);
        row_sums(isa, &self.weights, section, &mut self.section_sums);
        self.sums.clear();
        for sections in self.section_sums.chunks_exact(self.packs / section) {
            self.sums.push(0.0);
            self.sums.extend(sections.iter().scan(0.0, |sum, section| {
                *sum += section;
                Some(*sum)
            }));
        }
    }

    /// Log-probabilities of the `at`-th distribution, of these logits.
    pub fn categorical<'a>(&'a self, isa: Isa, at: usize, logits: &'a [f32]) -> Categorical<'a> {
        let weights = flat(&self.weights[at * self.packs..][..self.packs]);
        Categorical { isa, logits, weights, largest: self.largest[at], log_total: OnceCell::new() }
    }

    /// The sums of the `at`-th distribution.
    ///
    /// # Panics
    /// Before [`Softmax::sum`].
    pub fn cumulative(&self, at: usize) -> Cumulative<'_> {
        let sums = self.packs.div_ceil(SECTION_PACKS) + 1;
        let weights = flat(&self.weights[at * self.packs..][..self.packs]);
        Cumulative { weights: &weights[..self.n_classes], sums: &self.sums[at * sums..][..sums] }
    }
}

/// Log-probabilities of one distribution.
pub struct Categorical<'a> {
    isa: Isa,
    logits: &'a [f32],
    /// Filled up with zeros.
    weights: &'a [f32],
    largest: f32,
    /// Found when first asked for: who draws has no use for it.
    log_total: OnceCell<f64>,
}

impl Categorical<'_> {
    /// log p(k), in nats.
    pub fn log_prob(&self, k: u32) -> f64 {
        f64::from(self.logits[k as usize]) - f64::from(self.largest) - self.log_total()
    }

    /// ln Σ_j e^(logit_j).
    pub fn log_normalizer(&self) -> f64 {
        f64::from(self.largest) + self.log_total()
    }

    /// ln of the sum of the weights. That of the mode is 1; where the mode is nearly certain, the others are what is left of its
    /// −log p, and would be lost beside the 1.
    fn log_total(&self) -> f64 {
        let Self { isa, logits, weights, largest, .. } = *self;
        *self.log_total.get_or_init(|| isa.run(LogTotal { logits, weights, largest }))
    }
}

struct Weigh<'a> {
    logits: &'a [f32],
    n_classes: usize,
    masked: bool,
    weights: &'a mut [Pack],
    packs: usize,
    largest: &'a mut [f32],
}

impl Kernel for Weigh<'_> {
    type Output = Result<(), usize>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Result<(), usize> {
        let rows = self.logits.chunks_exact(self.n_classes).zip(self.weights.chunks_exact_mut(self.packs));
        for (at, ((logits, weights), largest)) in rows.zip(self.largest).enumerate() {
            let (top, finite) = largest_and_finite(l, logits);
            if !(finite || self.masked) {
                return Err(at);
            }
            *largest = top;
            let top = l.splat(top);
            let (chunks, rest) = logits.as_chunks::<LANES>();
            let (whole, last) = weights.split_at_mut(chunks.len());
            for (pack, chunk) in whole.iter_mut().zip(chunks) {
                let x = l.sub(l.read(chunk), top);
                l.store(pack, if self.masked { masked_exp(l, x) } else { math::exp(l, x) });
            }
            last.fill(Pack::ZERO);
            if let [last, ..] = last {
                let mut logits = [0.0; LANES];
                logits[..rest.len()].copy_from_slice(rest);
                l.store(last, masked_exp(l, l.sub(l.read(&logits), top)));
                last.0[rest.len()..].fill(0.0);
            }
        }
        Ok(())
    }
}

/// eˣ for x ≤ 0, and 0 for −∞, which [`math::exp`] never is.
#[inline(always)]
fn masked_exp<L: Lanes>(l: L, x: L::F) -> L::F {
    let bits = l.bits(math::neg(l, math::abs(l, x)));
    // All negative floats but −∞ come before it.
    let finite = l.sar_u::<31>(l.sub_u(bits, l.splat_u(f32::NEG_INFINITY.to_bits())));
    l.float(l.and_u(l.bits(math::exp(l, x)), finite))
}

struct LogTotal<'a> {
    logits: &'a [f32],
    weights: &'a [f32],
    largest: f32,
}

impl Kernel for LogTotal<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f64 {
        let mode = mode(l, self.logits, self.largest);
        let mut others = 0.0;
        for (first, four) in (0..).step_by(4 * SECTION).zip(self.weights.chunks(4 * SECTION)) {
            let (sections, rest) = four.as_chunks::<SECTION>();
            let mut sums = [0.0; 4];
            if let [a, b, c, d] = sections {
                sums = sums_of([a, b, c, d]);
            } else {
                for (sum, section) in sums.iter_mut().zip(sections) {
                    [*sum] = sums_of([section]);
                }
                [sums[sections.len()]] = sums_of([rest]);
            }
            // The section of the mode once more, without it.
            let within = mode.wrapping_sub(first);
            if within < four.len() {
                let section = &four[within / SECTION * SECTION..];
                let (before, after) = section[..section.len().min(SECTION)].split_at(within % SECTION);
                let [[before], [after]] = [sums_of([before]), sums_of([&after[1..]])];
                sums[within / SECTION] = before + after;
            }
            for sum in sums {
                others += sum;
            }
        }
        // ln (1 + others), from that of the nearest float: the package's own logarithm, since those of system libraries differ in
        // their last bits.
        let near = (1.0 + others) as f32;
        let mut ln = Pack::ZERO;
        l.store(&mut ln, math::ln(l, l.splat(near)));
        f64::from(ln.0[0]) + (others - (f64::from(near) - 1.0)) / f64::from(near)
    }
}

/// Where the largest logit stands first.
#[inline(always)]
fn mode<L: Lanes>(l: L, logits: &[f32], largest: f32) -> usize {
    let (chunks, _) = logits.as_chunks::<LANES>();
    let top = l.splat(largest);
    let mut first = 0;
    while first < chunks.len() && l.gt(top, l.read(&chunks[first])) == u16::MAX {
        first += 1;
    }
    first *= LANES;
    first + logits[first..].iter().position(|&logit| logit == largest).unwrap_or(0)
}

/// The sums of some slices of the same length, each in eight parts, which do not wait for each other.
#[inline(always)]
fn sums_of<const N: usize>(slices: [&[f32]; N]) -> [f64; N] {
    let mut parts = [[0.0; 8]; N];
    let len = slices[0].len();
    for at in (0..len).step_by(8) {
        for (parts, slice) in parts.iter_mut().zip(slices) {
            let slice = &slice[..len];
            for (part, &value) in parts.iter_mut().zip(&slice[at..len.min(at + 8)]) {
                *part += f64::from(value);
            }
        }
    }
    let mut sums = [0.0; N];
    for (sum, parts) in sums.iter_mut().zip(parts) {
        *sum = parts.iter().sum();
    }
    sums
}
