//! Random numbers with an address: the uniform of (seed, sample, step) is a pure function of the three.
//!
//! Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy as 1, 2,
//! 3*, SC 2011). Key = seed; counter = (sample low, sample high, group of steps, purpose). No state is kept, so any
//! sample can be drawn anywhere, in any order. For one key the generator is a permutation of the counters: no two of them share
//! their numbers.
//!
//! Step t takes word (t mod 64) / 16 of counter 16 (t / 64) + t mod 16: one vector call gives the words of 64 steps
//! in their natural order.

use crate::kernels::{Isa, Kernel, LANES, Lanes, Pack, math};

const ROUNDS: u32 = 10;
const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Steps that one vector call serves.
const GROUP: usize = 4 * LANES;
/// What a number is for is the counter's last word: the uses of one seed are independent of each other.
const PURPOSE_DRAW: u32 = 0;
const PURPOSE_RESAMPLE: u32 = 1;
const PURPOSE_MEMBER: u32 = 2;

/// Philox4x32-10 of one counter.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let product = |i: usize| u64::from(counter[2 * i]) * u64::from(MULTIPLIER[i]);
        let (p0, p1) = (product(0), product(1));
        counter =
            [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Philox4x32-10 of eight counters, in the even lanes; the odd ones hold what the products leave there.
#[inline(always)]
fn philox_lanes<L: Lanes>(l: L, mut counter: [L::U; 4], mut key: [u32; 2]) -> [L::U; 4] {
    for _ in 0..ROUNDS {
        let product0 = l.mul_even_u(counter[0], l.splat_u(MULTIPLIER[0]));
        let product1 = l.mul_even_u(counter[2], l.splat_u(MULTIPLIER[1]));
        counter = [
            l.xor_u(l.xor_u(l.odd_to_even_u(product1), counter[1]), l.splat_u(key[0])),
            product1,
            l.xor_u(l.xor_u(l.odd_to_even_u(product0), counter[3]), l.splat_u(key[1])),
            product0,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// The 32 random bits of a step.
fn word(seed: u64, sample: u64, step: usize, purpose: u32) -> u32 {
    let [low, high] = halves(sample);
    let counter = LANES * (step / GROUP) + step % LANES;
    philox([low, high, counter as u32, purpose], halves(seed))[step % GROUP / LANES]
}

/// (word + ½) / 2³², never 0 or 1.
fn uniform_of(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

/// The uniform with which a sample's step is drawn, between 0 and 1.
pub fn uniform(seed: u64, sample: u64, step: usize) -> f64 {
    uniform_of(word(seed, sample, step, PURPOSE_DRAW))
}

/// The `at`-th uniform for choosing among weighted samples of this row, between 0 and 1.
pub fn resampling_uniform(seed: u64, row: u64, at: usize) -> f64 {
    uniform_of(word(seed, row, at, PURPOSE_RESAMPLE))
}

/// The member of a mixture of `n` that this sample is drawn from: each with probability 1/n, to 2⁻³².
pub fn member(seed: u64, sample: u64, n: usize) -> usize {
    ((u64::from(word(seed, sample, 0, PURPOSE_MEMBER)) * n as u64) >> 32) as usize
}

/// Writes logit(u) = ln(u / (1 − u)) for the uniforms of one sample's steps 0, 1, 2, …: a logit above it means a one,
/// with probability σ(logit). Resolved to 2⁻³² at both ends.
pub fn logits_of_uniforms(isa: Isa, seed: u64, sample: u64, out: &mut [Pack]) {
    isa.run(LogitsOfUniforms { seed, sample, out });
}

struct LogitsOfUniforms<'a> {
    seed: u64,
    sample: u64,
    out: &'a mut [Pack],
}

impl Kernel for LogitsOfUniforms<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let lane = l.load_u(&std::array::from_fn(|i| i as u32));
        let [low, high] = halves(self.sample).map(|half| l.splat_u(half));
        for (group, packs) in self.out.chunks_mut(GROUP / LANES).enumerate() {
            let even = l.add_u(lane, l.splat_u((group * LANES) as u32));
            let purpose = l.splat_u(PURPOSE_DRAW);
            let evens = philox_lanes(l, [low, high, even, purpose], halves(self.seed));
            let odds = philox_lanes(l, [low, high, l.odd_to_even_u(even), purpose], halves(self.seed));
            for (word, pack) in packs.iter_mut().enumerate() {
                l.store(pack, logit_of_word(l, l.interleave_even_u(evens[word], odds[word])));
            }
        }
    }
}

/// ln(u / (1 − u)) for u = (w + ½) / 2³². The smaller of u and 1 − u keeps its digits as a float, and the larger one is what
/// it lacks to 1; words of the upper half are mirrored: !w stands for 1 − u.
#[inline(always)]
fn logit_of_word<L: Lanes>(l: L, word: L::U) -> L::F {
    const STEP: f32 = 1.0 / 4_294_967_296.0;
    let upper = l.sar_u::<31>(word);
    let smaller = l.fma(l.int_to_float(l.xor_u(word, upper)), l.splat(STEP), l.splat(STEP / 2.0));
    let logit = math::ln_ratio(l, smaller, l.sub(l.splat(1.0), smaller));
    l.float(l.xor_u(l.bits(logit), l.shl_u::<31>(upper)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::flat;

    /// Known answers of the authors' Random123 library (kat_vectors).
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn lanes_agree_with_the_scalar_generator_on_every_instruction_set() {
        for isa in Isa::all() {
            for (seed, sample) in [(0, 0), (1, 5), (u64::MAX, u64::MAX), (0x1234_5678_9abc_def0, 1 << 40)] {
                let mut out = vec![Pack::ZERO; 13];
                logits_of_uniforms(isa, seed, sample, &mut out);
                for (step, &logit) in flat(&out).iter().enumerate() {
                    let u = uniform(seed, sample, step);
                    let expected = (u / (1.0 - u)).ln();
                    assert!((f64::from(logit) - expected).abs() < 1e-6 * expected.abs().max(1.0), "{}", isa.name());
                }
            }
        }
    }

    #[test]
    fn purposes_have_numbers_of_their_own() {
        let expected = philox([7, 1, 16 + 3, 1], [5, 0])[2];
        assert_eq!(word(5, (1 << 32) + 7, 64 + 2 * 16 + 3, PURPOSE_RESAMPLE), expected);
        assert!((0..1000).all(|at| resampling_uniform(5, 7, at) != uniform(5, 7, at)));
        let words = |purpose| (0..1000).map(move |at| word(5, 7, at, purpose));
        assert!((0..2).all(|purpose| words(purpose).all(|other| other != word(5, 7, 0, PURPOSE_MEMBER))));
    }

    #[test]
    fn every_member_has_its_share() {
        for n in [1, 2, 3, 64] {
            let mut counts = vec![0_u32; n];
            (0..64_000).for_each(|sample| counts[member(1, sample << 20, n)] += 1);
            let expected = 64_000.0 / n as f64;
            assert!(counts.iter().all(|&count| (f64::from(count) - expected).abs() <= 5.0 * expected.sqrt()));
        }
    }

    #[test]
    fn the_ends_are_finite() {
        for isa in Isa::all() {
            struct Ends;
            impl Kernel for Ends {
                type Output = [f32; 2];
                #[inline(always)]
                fn run<L: Lanes>(self, l: L) -> [f32; 2] {
                    [0, u32::MAX].map(|word| {
                        let mut pack = Pack::ZERO;
                        l.store(&mut pack, logit_of_word(l, l.splat_u(word)));
                        pack.0[7]
                    })
                }
            }
            let [low, high] = isa.run(Ends);
            assert!((low + 22.873_857).abs() < 1e-5 && low == -high, "{low} {high}");
        }
    }
}
