//! Layers that make one node of several: functions of two, and the average of distributions.

use super::gate::gate;
use crate::kernels::{LANES, Lanes, Pack, math, to_pack};

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pair {
    /// tanh(a) · σ(b)
    Gate,
    /// a + b
    Add,
    /// a · b
    Multiply,
}

impl Pair {
    /// The function, lane by lane.
    #[inline(always)]
    pub fn apply<L: Lanes>(self, l: L, a: L::F, b: L::F) -> L::F {
        match self {
            Self::Gate => gate(l, a, b),
            Self::Add => l.add(a, b),
            Self::Multiply => l.mul(a, b),
        }
    }
}

/// The logit of the mean of Bernoulli distributions, lane by lane, from the logits of each: as many packs in every
/// member, at least one member. Logits that are all ∞, or all −∞, give no finite number.
///
/// With A = Σ σ(z) and B = Σ σ(−z) over the members' logits z it is ln (A / B). σ(z) = e^min(z, 0) / (1 + e^−|z|); the
/// largest e^min(±z, 0) is taken out of each sum, so that both are from ½ to the number of members however far the
/// logits lie from 0, and members that agree have exactly their own logit as their average.
#[inline(always)]
pub fn average_bits<L: Lanes>(l: L, members: &[&[Pack]], out: &mut [Pack]) {
    debug_assert!(members.iter().all(|member| member.len() == out.len()));
    let (zero, one) = (l.splat(0.0), l.splat(1.0));
    for (p, out) in out.iter_mut().enumerate() {
        let (mut top_a, mut top_b) = (l.splat(f32::NEG_INFINITY), l.splat(f32::NEG_INFINITY));
        for member in members {
            let z = l.load(&member[p]);
            top_a = l.max(top_a, l.min(zero, z));
            top_b = l.max(top_b, l.min(zero, math::neg(l, z)));
        }
        let (mut a, mut b) = (zero, zero);
        for member in members {
            let z = l.load(&member[p]);
            let minus_z = math::neg(l, z);
            let larger = l.div(one, l.add(one, math::exp(l, l.min(z, minus_z))));
            a = l.fma(math::exp(l, l.sub(l.min(zero, z), top_a)), larger, a);
            b = l.fma(math::exp(l, l.sub(l.min(zero, minus_z), top_b)), larger, b);
        }
        l.store(out, l.add(l.sub(top_a, top_b), math::ln_ratio(l, a, b)));
    }
}

/// One of the categorical distributions to be averaged.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    logits: &'a [f32],
    largest: f32,
    /// ln Σ e^(logit − largest)
    log_total: f32,
}

impl<'a> Member<'a> {
    /// From one logit a class; −∞ stands for a probability of 0.
    #[inline(always)]
    pub fn new<L: Lanes>(l: L, logits: &'a [f32]) -> Self {
        let largest = logits.iter().fold(f32::NEG_INFINITY, |most, &logit| if logit > most { logit } else { most });
        let mut totals = l.splat_d(0.0);
        for logits in packs(logits) {
            totals = l.add_d(totals, math::exp(l, l.sub(l.load(&logits), l.splat(largest))));
        }
        let total: f64 = l.lanes_d(totals).iter().sum();
        let mut log_total = Pack::ZERO;
        l.store(&mut log_total, ln_of_sum(l, l.splat(total as f32)));
        Self { logits, largest, log_total: log_total.0[0] }
    }

    /// ln p(k) of the classes in one pack.
    #[inline(always)]
    fn log_probs<L: Lanes>(&self, l: L, pack: usize) -> L::F {
        let logits = l.load(&to_pack(&self.logits[pack * LANES..]));
        l.sub(l.sub(logits, l.splat(self.largest)), l.splat(self.log_total))
    }
}

/// ln of the mean probability of each class, from at least one member of as many classes. A class that has no
/// probability in any member has NaN, and so have all classes where a member has a logit that is NaN or ∞.
///
/// A log-sum-exp of log-probabilities: the largest is taken out of the sum, so that no class is too improbable.
#[inline(always)]
pub fn average_classes<L: Lanes>(l: L, members: &[Member<'_>], out: &mut [f32]) {
    debug_assert!(members.iter().all(|member| member.logits.len() == out.len()));
    let n_members = l.splat(members.len() as f32);
    for (p, out) in out.chunks_mut(LANES).enumerate() {
        let mut top = l.splat(f32::NEG_INFINITY);
        for member in members {
            top = l.max(top, member.log_probs(l, p));
        }
        let mut sum = l.splat(0.0);
        for member in members {
            sum = l.add(sum, math::exp(l, l.sub(member.log_probs(l, p), top)));
        }
        let mut logs = Pack::ZERO;
        l.store(&mut logs, l.add(top, ln_of_sum(l, l.div(sum, n_members))));
        out.copy_from_slice(&logs.0[..out.len()]);
    }
}

/// The floats in packs, the last one filled up with −∞.
fn packs(floats: &[f32]) -> impl Iterator<Item = Pack> {
    floats.chunks(LANES).map(|floats| {
        let mut pack = Pack([f32::NEG_INFINITY; LANES]);
        pack.0[..floats.len()].copy_from_slice(floats);
        pack
    })
}

/// ln of a positive sum, and NaN of NaN.
#[inline(always)]
fn ln_of_sum<L: Lanes>(l: L, sum: L::F) -> L::F {
    l.fma(sum, l.splat(0.0), math::ln(l, sum))
}
