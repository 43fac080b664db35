//! Every layer against f64, and every instruction set against the portable one, bit for bit.

use proptest::prelude::*;

use super::{
    combine::{Member, Pair, average_bits, average_classes},
    pointwise::Pointwise,
};
use crate::kernels::{Isa, Kernel, Lanes, Pack, flat, flat_mut, to_packs};

const ALL: [Pointwise; 9] = [
    Pointwise::Negate,
    Pointwise::Relu,
    Pointwise::LeakyRelu(0.01),
    Pointwise::LeakyRelu(1.5),
    Pointwise::Elu,
    Pointwise::Tanh,
    Pointwise::Sigmoid,
    Pointwise::Silu,
    Pointwise::Gelu,
];

/// A layer with its operands, whose output has as many numbers as the first operand.
#[derive(Clone, Copy, Debug)]
enum Layer {
    Pointwise(Pointwise),
    Pair(Pair),
    AverageBits,
    AverageClasses,
}

struct Run<'a>(Layer, &'a [Vec<f32>]);

impl Kernel for Run<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Vec<f32> {
        let packs: Vec<_> = self.1.iter().map(|operand| to_packs(operand)).collect();
        let operands: Vec<_> = packs.iter().map(Vec::as_slice).collect();
        let n = self.1[0].len();
        let mut out = vec![Pack::ZERO; operands[0].len()];
        match self.0 {
            Layer::Pointwise(function) => {
                out.copy_from_slice(operands[0]);
                function.map_packs(l, &mut out);
            }
            Layer::Pair(pair) => {
                for ((out, a), b) in out.iter_mut().zip(operands[0]).zip(operands[1]) {
                    l.store(out, pair.apply(l, l.load(a), l.load(b)));
                }
            }
            Layer::AverageBits => average_bits(l, &operands, &mut out),
            Layer::AverageClasses => {
                let members: Vec<_> = self.1.iter().map(|logits| Member::new(l, logits)).collect();
                average_classes(l, &members, &mut flat_mut(&mut out)[..n]);
            }
        }
        flat(&out)[..n].to_vec()
    }
}

/// The output, which all instruction sets must agree on.
fn run(layer: Layer, operands: &[Vec<f32>]) -> Vec<f32> {
    // Which NaN comes out of two is the processor's choice.
    let one_nan = |y: &f32| if y.is_nan() { f32::NAN.to_bits() } else { y.to_bits() };
    let bits = |out: &[f32]| out.iter().map(one_nan).collect::<Vec<_>>();
    let expected = Isa::all()[0].run(Run(layer, operands));
    for isa in Isa::all() {
        let out = isa.run(Run(layer, operands));
        assert!(bits(&out) == bits(&expected), "{layer:?} on {}", isa.name());
    }
    expected
}

fn truth(function: Pointwise, x: f64) -> f64 {
    match function {
        Pointwise::Negate => -x,
        Pointwise::Relu => x.max(0.0),
        Pointwise::LeakyRelu(slope) => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        Pointwise::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp_m1()
            }
        }
        Pointwise::Tanh => x.tanh(),
        Pointwise::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Pointwise::Silu => x / (1.0 + (-x).exp()),
        Pointwise::Gelu => x / 2.0 * libm::erfc(-x / std::f64::consts::SQRT_2),
    }
}

/// Within so many units in the last place, or within 1e-36.
fn assert_close(y: f32, truth: f64, units: f64, what: &str) {
    let spacing = f64::from((truth.abs() as f32).next_up()) - f64::from(truth.abs() as f32);
    let error = (f64::from(y) - truth).abs();
    assert!(error <= units * spacing + 1e-36, "{what}: {y:e} for {truth:e}");
}

/// From −`most` to `most`, evenly.
fn grid(most: f32, n: usize) -> Vec<f32> {
    (0..=n).map(|k| most * (2.0 * k as f32 / n as f32 - 1.0)).collect()
}

#[test]
fn pointwise_functions_are_accurate() {
    let x: Vec<f32> =
        [1e30, 200.0, 20.0, 1.0, 1e-3, 1e-20, 1e-40].into_iter().flat_map(|most| grid(most, 5000)).collect();
    for function in ALL {
        let y = run(Layer::Pointwise(function), std::slice::from_ref(&x));
        for (&x, &y) in x.iter().zip(&y) {
            let units = if function == Pointwise::Gelu && x < -1.0 { 7.0 } else { 4.0 };
            assert_close(y, truth(function, x.into()), units, &format!("{function:?} of {x:e}"));
        }
    }
}

#[test]
fn pointwise_functions_have_limits_and_pass_nan_on() {
    let x =
        vec![f32::NEG_INFINITY, f32::MIN, f32::MAX, f32::INFINITY, f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)];
    for function in ALL {
        let (below, above) = match function {
            Pointwise::Negate => (f32::INFINITY, f32::NEG_INFINITY),
            Pointwise::Relu | Pointwise::Silu | Pointwise::Gelu => (0.0, f32::INFINITY),
            Pointwise::LeakyRelu(_) => (f32::NEG_INFINITY, f32::INFINITY),
            Pointwise::Elu => (-1.0, f32::INFINITY),
            Pointwise::Tanh => (-1.0, 1.0),
            Pointwise::Sigmoid => (0.0, 1.0),
        };
        let y = run(Layer::Pointwise(function), std::slice::from_ref(&x));
        assert!(y[0] == below || (y[0] - below).abs() < 1e-36, "{function:?}: {y:?}");
        assert_eq!(y[3], above, "{function:?}");
        assert!(!y[1].is_nan() && !y[2].is_nan() && y[4..].iter().all(|y| y.is_nan()), "{function:?}: {y:?}");
    }
}

#[test]
fn gates_are_accurate() {
    let b = [&grid(100.0, 200)[..], &grid(3.0, 100), &[f32::MIN, f32::NEG_INFINITY, f32::INFINITY]].concat();
    let a = [15.0, 1.0, 1e-3, 1e-30].into_iter().flat_map(|most| grid(most, 100));
    for a in a.chain([f32::NEG_INFINITY, f32::INFINITY, f32::MAX]) {
        let out = run(Layer::Pair(Pair::Gate), &[vec![a; b.len()], b.clone()]);
        for (&b, &y) in b.iter().zip(&out) {
            let truth = f64::from(a).tanh() * truth(Pointwise::Sigmoid, b.into());
            assert_close(y, truth, 4.0, &format!("tanh({a:e}) sigmoid({b:e})"));
        }
    }
    let nan = run(Layer::Pair(Pair::Gate), &[vec![f32::NAN, 1.0], vec![1.0, f32::NAN]]);
    assert!(nan.iter().all(|y| y.is_nan()));
}

/// ln Σ eˣ
fn log_sum_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = x.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + x.map(|x| (x - largest).exp()).sum::<f64>().ln()
}

/// ln σ(x)
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// Members' logits, near 0 or far from it.
fn members(n: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<Vec<f32>>> {
    let scale = prop::sample::select(vec![0.1_f32, 3.0, 30.0, 200.0, 1e4]);
    (n, 1_usize..6, scale).prop_flat_map(|(n, n_members, scale)| {
        prop::collection::vec(prop::collection::vec(-scale..scale, n), n_members)
    })
}

proptest! {
    #[test]
    fn sums_and_products_are_those_of_floats(a in prop::collection::vec(-1e3_f32..1e3, 1..40), shift in 0_usize..40) {
        let b: Vec<f32> = (0..a.len()).map(|k| a[(k + shift) % a.len()] * 0.7).collect();
        let of = |layer, f: fn(f32, f32) -> f32| {
            let expected: Vec<f32> = a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect();
            (run(layer, &[a.clone(), b.clone()]), expected)
        };
        let (sum, expected) = of(Layer::Pair(Pair::Add), |a, b| a + b);
        prop_assert_eq!(sum, expected);
        let (product, expected) = of(Layer::Pair(Pair::Multiply), |a, b| a * b);
        prop_assert_eq!(product, expected);
    }

    #[test]
    fn averages_of_bits(members in members(1_usize..40)) {
        let out = run(Layer::AverageBits, &members);
        for (k, &y) in out.iter().enumerate() {
            let logits = members.iter().map(|member| f64::from(member[k]));
            let truth = log_sum_exp(logits.clone().map(log_sigmoid)) - log_sum_exp(logits.map(|z| log_sigmoid(-z)));
            prop_assert!((f64::from(y) - truth).abs() <= 3e-7 * (1.0 + truth.abs()), "{y} for {truth}: {members:?}");
        }
    }

    #[test]
    fn averages_of_classes(members in members(1_usize..40)) {
        let out = run(Layer::AverageClasses, &members);
        for (k, &y) in out.iter().enumerate() {
            let log_probs = members.iter().map(|member| {
                f64::from(member[k]) - log_sum_exp(member.iter().map(|&z| f64::from(z)))
            });
            let truth = log_sum_exp(log_probs) - (members.len() as f64).ln();
            prop_assert!((f64::from(y) - truth).abs() <= 3e-7 * (1.0 + truth.abs()), "{y} for {truth}: {members:?}");
        }
    }

    #[test]
    fn members_that_agree_have_their_own_average(member in members(1_usize..40), n_members in 1_usize..20) {
        let many = vec![member[0].clone(); n_members];
        prop_assert_eq!(run(Layer::AverageBits, &many), member[0].clone());
        prop_assert_eq!(run(Layer::AverageClasses, &many), run(Layer::AverageClasses, &member[..1]));
    }
}

#[test]
fn averages_show_what_is_not_finite() {
    for bad in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)] {
        for operands in [[vec![0.5, 0.5], vec![bad, 0.5]], [vec![bad, 0.5], vec![0.5, 0.5]]] {
            let out = run(Layer::AverageBits, &operands);
            assert!(out[0].is_nan() && out[1] == 0.5);
            assert!(run(Layer::AverageClasses, &operands).iter().all(|y| y.is_nan()));
        }
    }
    let (low, high) = (vec![f32::NEG_INFINITY; 2], vec![f32::INFINITY; 2]);
    for operands in [[low.clone(), low.clone()], [high.clone(), high.clone()]] {
        assert!(run(Layer::AverageBits, &operands).iter().all(|y| !y.is_finite()));
        assert!(run(Layer::AverageClasses, &operands).iter().all(|y| y.is_nan()));
    }
    // Certain members beside one that is not: p = (1 + ½) / 2 and (0 + ½) / 2.
    let half = vec![0.0; 2];
    for (certain, logit) in [(high, 3.0_f32.ln()), (low, -3.0_f32.ln())] {
        assert!(run(Layer::AverageBits, &[certain, half.clone()]).iter().all(|y| (y - logit).abs() < 1e-6));
    }
    let of_one = run(Layer::AverageClasses, &[vec![0.0, f32::NEG_INFINITY], half]);
    assert!((of_one[0].exp() - 0.75).abs() < 1e-6 && (of_one[1].exp() - 0.25).abs() < 1e-6);
}
