//! Units that are functions of single units of other nodes, and the mean of distributions.

use crate::{
    kernels::{LANES, Lanes, Pack, flat, flat_mut, math},
    layers::pointwise::Pointwise,
};

/// A function of one or two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// x
    Copy,
    /// f(x)
    Pointwise(Pointwise),
    /// tanh(a) · σ(b)
    Gate,
    /// a + b
    Add,
    /// a · b
    Multiply,
}

impl Function {
    /// Whether it can leave the range of floats.
    pub fn can_overflow(self) -> bool {
        matches!(self, Function::Add | Function::Multiply)
    }

    /// The function, lane by lane. Those of one number do not look at b.
    #[inline(always)]
    pub fn apply<L: Lanes>(self, l: L, a: L::F, b: L::F) -> L::F {
        match self {
            Function::Copy => a,
            Function::Pointwise(function) => function.apply(l, a),
            Function::Gate => l.mul(math::sigmoid(l, a), math::sigmoid(l, b)),
            Function::Add => l.add(a, b),
            Function::Multiply => l.mul(a, b),
        }
    }
}

/// A node of such functions.
pub struct Elementwise {
    /// The function.
    pub function: Function,
    /// For each unit, the units that it reads, among those of all nodes: one or two.
    pub sources: [Vec<u32>; 2],
}

/// A node of logits of means.
pub struct Average {
    /// For each of the distributions, for each unit, the logit that it reads, among the units of all nodes.
    pub sources: Vec<Vec<u32>>,
    /// For each unit, how many units in a row describe its distribution: 1 for Bernoulli, else the classes.
    pub sizes: Vec<u32>,
}

/// The logit of the mean of Bernoulli distributions, lane by lane: ln Σ σ(a) − ln Σ σ(−a), where the largest terms are taken
/// out of the sums, so that neither is 0.
#[inline(always)]
pub fn bernoulli_mean<L: Lanes>(l: L, n: usize, logit: impl Fn(usize) -> L::F) -> L::F {
    let (mut largest, mut least) = (logit(0), logit(0));
    for i in 1..n {
        largest = l.max(logit(i), largest);
        least = l.min(logit(i), least);
    }
    let [most_one, most_zero] = [log_sigmoid(l, largest), log_sigmoid(l, math::neg(l, least))];
    let (mut one, mut zero) = (l.splat(0.0), l.splat(0.0));
    for i in 0..n {
        one = l.add(one, math::exp(l, l.sub(log_sigmoid(l, logit(i)), most_one)));
        zero = l.add(zero, math::exp(l, l.sub(log_sigmoid(l, math::neg(l, logit(i))), most_zero)));
    }
    l.sub(l.add(most_one, math::ln(l, one)), l.add(most_zero, math::ln(l, zero)))
}

/// ln σ(x) = min(x, 0) − ln(1 + e^−|x|)
#[inline(always)]
fn log_sigmoid<L: Lanes>(l: L, x: L::F) -> L::F {
    let odds = math::exp(l, math::neg(l, math::abs(l, x)));
    l.sub(l.min(x, l.splat(0.0)), math::ln(l, l.add(l.splat(1.0), odds)))
}

/// The logits of the mean of `n` categorical distributions, which are one after the other in `logits`, each on packs of its own
/// that are filled up with −∞: they take the place of the first one's.
#[inline(always)]
pub fn categorical_mean<L: Lanes>(l: L, n: usize, logits: &mut [Pack]) {
    let packs = logits.len() / n;
    for logits in logits.chunks_exact_mut(packs) {
        let largest = flat(logits).iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let largest = l.splat(largest);
        let mut sum = l.splat(0.0);
        for pack in &*logits {
            sum = l.add(sum, math::exp(l, l.sub(l.load(pack), largest)));
        }
        let log_total = l.add(largest, math::ln(l, l.splat(l.sum(sum))));
        for pack in logits {
            l.store(pack, l.sub(l.load(pack), log_total));
        }
    }
    for p in 0..packs {
        let mut largest = l.load(&logits[p]);
        for i in 1..n {
            largest = l.max(l.load(&logits[i * packs + p]), largest);
        }
        let mut sum = l.splat(0.0);
        for i in 0..n {
            sum = l.add(sum, math::exp(l, l.sub(l.load(&logits[i * packs + p]), largest)));
        }
        l.store(&mut logits[p], l.add(largest, math::ln(l, sum)));
    }
}

/// Packs that hold the logits of a distribution.
pub fn packs(n_classes: usize) -> usize {
    n_classes.div_ceil(LANES)
}

/// Floats to write logits to, one distribution's at a time.
pub fn floats(logits: &mut [Pack], which: usize, n_classes: usize) -> &mut [f32] {
    &mut flat_mut(logits)[which * packs(n_classes) * LANES..][..packs(n_classes) * LANES]
}
