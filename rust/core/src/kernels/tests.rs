//! Every primitive against f64, and every instruction set against the portable one, bit for bit.

use proptest::prelude::*;

use super::{
    Isa, Kernel, LANES, Lanes, Pack, flat, math,
    matmul::{Finish, Product, Relu, Scalars, Start, Term, Vectors, matmul},
};

#[derive(Clone, Copy, Debug)]
enum Function {
    Exp,
    Ln,
    LnOfThirds,
    Sigmoid,
    Expm1,
    Tanh,
    Gelu,
}

struct Apply<'a>(Function, &'a mut [Pack]);

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for pack in self.1 {
            let x = l.load(pack);
            let y = match self.0 {
                Function::Exp => math::exp(l, x),
                Function::Ln => math::ln(l, x),
                Function::LnOfThirds => math::ln_ratio(l, x, l.splat(3.0)),
                Function::Sigmoid => math::sigmoid(l, x),
                Function::Expm1 => math::expm1(l, x),
                Function::Tanh => math::tanh(l, x),
                Function::Gelu => math::gelu(l, x),
            };
            l.store(pack, y);
        }
    }
}

/// The largest error over a range, in units of the spacing of floats at the true value; all instruction sets must
/// agree.
fn worst_error(function: Function, (low, high): (f32, f32), truth: impl Fn(f64) -> f64) -> f64 {
    let points: Vec<f32> = (0..1 << 16).map(|i| low + (high - low) * (i as f32 / 65535.0)).collect();
    let input = super::to_packs(&points);
    let mut reference = input.clone();
    Isa::all()[0].run(Apply(function, &mut reference));
    for isa in Isa::all() {
        let mut output = input.clone();
        isa.run(Apply(function, &mut output));
        assert!(bits(&output) == bits(&reference), "{function:?} on {}", isa.name());
    }
    let error = |(&x, &y): (&f32, &f32)| {
        let truth = truth(f64::from(x));
        let spacing = f64::from((truth.abs() as f32).max(f32::MIN_POSITIVE).next_up()) - truth.abs();
        (f64::from(y) - truth).abs() / spacing.max(truth.abs() * 6e-8)
    };
    points.iter().zip(flat(&reference)).map(error).fold(0.0, f64::max)
}

fn bits(packs: &[Pack]) -> Vec<u32> {
    flat(packs).iter().map(|value| value.to_bits()).collect()
}

#[test]
fn functions_are_accurate_to_a_few_units_in_the_last_place() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let ln_of_thirds = |x: f64| (x / 3.0).ln();
    let gelu = |x: f64| x / 2.0 * libm::erfc(-x / std::f64::consts::SQRT_2);
    for (function, range, truth) in [
        (Function::Exp, (-87.0, 88.0), &f64::exp as &dyn Fn(f64) -> f64),
        (Function::Exp, (-0.5, 0.5), &f64::exp),
        (Function::Ln, (1e-30, 1e30), &f64::ln),
        (Function::Ln, (1e-9, 4.0), &f64::ln),
        (Function::Ln, (0.9, 1.1), &f64::ln),
        (Function::LnOfThirds, (1e-30, 1e30), &ln_of_thirds),
        (Function::LnOfThirds, (1e-9, 8.0), &ln_of_thirds),
        (Function::LnOfThirds, (2.7, 3.3), &ln_of_thirds),
        (Function::Sigmoid, (-80.0, 80.0), &sigmoid),
        (Function::Expm1, (-87.0, 88.0), &f64::exp_m1),
        (Function::Expm1, (-1.0, 1.0), &f64::exp_m1),
        (Function::Expm1, (-1e-6, 1e-6), &f64::exp_m1),
        (Function::Expm1, (-1e-30, 1e-30), &f64::exp_m1),
        (Function::Tanh, (-12.0, 12.0), &f64::tanh),
        (Function::Tanh, (-0.5, 0.5), &f64::tanh),
        (Function::Tanh, (-1e-3, 1e-3), &f64::tanh),
        (Function::Tanh, (-1e-30, 1e-30), &f64::tanh),
        (Function::Tanh, (-1e30, 1e30), &f64::tanh),
        (Function::Gelu, (-1.0, 20.0), &gelu),
        (Function::Gelu, (-1.0, 1.0), &gelu),
        (Function::Gelu, (-1e-3, 1e-3), &gelu),
        (Function::Gelu, (-1e-30, 1e-30), &gelu),
        (Function::Gelu, (10.0, 1e30), &gelu),
    ] {
        let worst = worst_error(function, range, truth);
        assert!(worst < 4.0, "{function:?} over {range:?}: {worst} units");
    }
    let tail = worst_error(Function::Gelu, (-12.9, -1.0), gelu);
    assert!(tail < 7.0, "the tail of GELU: {tail} units");
}

#[test]
fn extremes_stay_finite_and_in_range() {
    let extremes = [f32::NEG_INFINITY, f32::MIN, -1e4, -88.0, 88.0, 1e4, f32::MAX, f32::INFINITY];
    for isa in Isa::all() {
        let mut out = super::to_packs(&extremes);
        isa.run(Apply(Function::Exp, &mut out));
        assert!(flat(&out).iter().all(|y| y.is_normal()));
        let mut out = super::to_packs(&extremes);
        isa.run(Apply(Function::Sigmoid, &mut out));
        assert!(flat(&out)[..8].iter().all(|y| (0.0..=1.0).contains(y)));
        assert_eq!(flat(&out)[7], 1.0);
    }
}

#[test]
fn special_values_give_the_limits() {
    let x = [f32::NEG_INFINITY, f32::MIN, -0.0, 0.0, f32::MAX, f32::INFINITY];
    for isa in Isa::all() {
        let of = |function| {
            let mut packs = super::to_packs(&x);
            isa.run(Apply(function, &mut packs));
            flat(&packs)[..x.len()].to_vec()
        };
        let tanh = [-1.0_f32, -1.0, -0.0, 0.0, 1.0, 1.0].map(f32::to_bits);
        assert_eq!(of(Function::Tanh).iter().map(|y| y.to_bits()).collect::<Vec<_>>(), tanh);
        assert_eq!(of(Function::Expm1)[..4], [-1.0, -1.0, 0.0, 0.0]);
        assert!(of(Function::Expm1)[4..].iter().all(|y| y.is_finite()));
        let gelu = of(Function::Gelu);
        assert!(gelu[..2].iter().all(|&y| (-1e-37..=0.0).contains(&y)));
        assert_eq!(gelu[2..], [0.0, 0.0, f32::MAX, f32::INFINITY]);
    }
}

#[test]
fn functions_pass_every_kind_of_nan_on() {
    // Quiet and signalling, of both signs, with payloads at either end.
    let nans =
        [0x7fc0_0000_u32, 0xffc0_0000, 0x7f80_0001, 0xff80_0001, 0x7fc0_0001, 0x7fff_ffff, 0xffff_ffff, 0x7fc0_00ff];
    for isa in Isa::all() {
        for function in [Function::Exp, Function::Sigmoid, Function::Expm1, Function::Tanh, Function::Gelu] {
            let mut packs = super::to_packs(&nans.map(f32::from_bits));
            isa.run(Apply(function, &mut packs));
            assert!(flat(&packs)[..nans.len()].iter().all(|y| y.is_nan()), "{function:?} on {}", isa.name());
        }
    }
}

struct Sums(Pack);

impl Kernel for Sums {
    type Output = (f32, u16, [f64; LANES]);

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> (f32, u16, [f64; LANES]) {
        let x = l.load(&self.0);
        (l.sum(x), l.gt(x, l.splat(0.25)), l.lanes_d(l.add_d(l.splat_d(0.1), x)))
    }
}

struct EightSums(Vec<Pack>);

impl Kernel for EightSums {
    type Output = (Pack, Pack);

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> (Pack, Pack) {
        let (mut rows, mut one_by_one) = ([l.splat(0.0); 8], Pack::ZERO);
        for ((row, pack), sum) in rows.iter_mut().zip(&self.0).zip(&mut one_by_one.0) {
            *row = l.load(pack);
            *sum = l.sum(*row);
        }
        let mut together = Pack::ZERO;
        l.store(&mut together, l.sum8(rows));
        (together, one_by_one)
    }
}

struct Transposed(Vec<Pack>);

impl Kernel for Transposed {
    type Output = Vec<Pack>;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Vec<Pack> {
        let mut square = std::array::from_fn(|r| l.load(&self.0[r]));
        l.transpose(&mut square);
        let mut out = vec![Pack::ZERO; LANES];
        out.iter_mut().zip(square).for_each(|(out, column)| l.store(out, column));
        out
    }
}

#[test]
fn a_transpose_on_every_instruction_set() {
    let entry = |row: usize, column: usize| (100 * row + column) as f32;
    let rows = (0..LANES).map(|row| Pack(std::array::from_fn(|column| entry(row, column)))).collect::<Vec<_>>();
    for isa in Isa::all() {
        for (column, pack) in isa.run(Transposed(rows.clone())).iter().enumerate() {
            assert_eq!(pack.0, std::array::from_fn(|row| entry(row, column)));
        }
    }
}

struct Multiply<'a>(Product<'a>, &'a mut [Pack], usize);

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        matmul(l, &self.0, self.1, self.2);
    }
}

proptest! {
    #[test]
    fn sums_and_masks_are_the_same_on_every_instruction_set(values in prop::array::uniform16(-1e3_f32..1e3)) {
        let expected = Isa::all()[0].run(Sums(Pack(values)));
        for isa in Isa::all() {
            let (sum, mask, doubles) = isa.run(Sums(Pack(values)));
            prop_assert_eq!((sum.to_bits(), mask), (expected.0.to_bits(), expected.1));
            prop_assert_eq!(doubles, values.map(|value| 0.1 + f64::from(value)));
        }
    }

    #[test]
    fn eight_sums_are_those_of_each(values in prop::collection::vec(-1e3_f32..1e3, 8 * LANES)) {
        for isa in Isa::all() {
            let (together, one_by_one) = isa.run(EightSums(super::to_packs(&values)));
            prop_assert_eq!(together.0.map(f32::to_bits), one_by_one.0.map(f32::to_bits));
        }
    }

    #[test]
    fn matmul_is_one_chain_of_multiply_adds_for_each_output(
        rows in 0_usize..20, packs in 0_usize..9, depths in prop::collection::vec(0_usize..9, 0..4),
        rows_inside in any::<bool>(), shift in 0_usize..LANES, seed in any::<u64>(),
    ) {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 1e7 - 0.8
        };
        let depth: usize = depths.iter().sum();
        // A row's scalars stand together, or the scalars of one k; vectors begin anywhere.
        let (row_step, scalar_step) = if rows_inside { (1, rows + 1) } else { (depth + 1, 1) };
        let vector_step = packs * LANES + 3;
        let scalars: Vec<_> = (0..(rows + 1) * (depth + 1)).map(|_| next()).collect();
        let vectors: Vec<_> = (0..shift + depth * vector_step + LANES).map(|_| next()).collect();
        let starts: Vec<_> = (0..packs).map(|_| Pack(std::array::from_fn(|_| next()))).collect();
        let row_starts: Vec<_> = (0..rows).map(|_| next()).collect();
        let other_step = packs + 2;
        let other: Vec<_> = (0..rows * other_step).map(|_| Pack(std::array::from_fn(|_| next()))).collect();
        let mut terms = Vec::new();
        for &depth in &depths {
            let at = terms.iter().map(|term: &Term| term.depth).sum::<usize>();
            terms.push(Term { scalar: at * scalar_step, vector: shift + at * vector_step, depth });
        }
        let held: Vec<_> = (0..rows * (packs + 1)).map(|_| Pack(std::array::from_fn(|_| next()))).collect();
        let starting = [Start::Rows(&row_starts), Start::Packs(&starts), Start::Out];
        let finishing = [Finish::Keep, Finish::Relu, Finish::Add(flat(&other).get(3..).unwrap_or_default(), other_step * LANES - 1)];
        let relus = [Relu::None, Relu::Scalars, Relu::Vectors];
        for (isa, start, (finish, relu)) in Isa::all().into_iter().flat_map(|isa| {
            let finishes = finishing.into_iter().flat_map(move |finish| relus.map(|relu| (finish, relu)));
            starting.into_iter().flat_map(move |start| finishes.clone().map(move |finish| (isa, start, finish)))
        }) {
            let out_step = packs + 1;
            let mut out = held.clone();
            let product = Product {
                terms: &terms,
                scalars: Scalars { floats: &scalars, row_step, k_step: scalar_step },
                vectors: Vectors { floats: &vectors, k_step: vector_step },
                relu, start, finish, rows, packs,
            };
            isa.run(Multiply(product, &mut out, out_step));
            for (row, p, lane) in (0..rows).flat_map(|r| (0..packs).flat_map(move |p| (0..LANES).map(move |l| (r, p, l)))) {
                let first = match start {
                    Start::Rows(rows) => rows[row],
                    Start::Packs(packs) => packs[p].0[lane],
                    Start::Out => held[row * out_step + p].0[lane],
                };
                let chain = |sum: f32, k: usize| {
                    let positive_if = |holds: bool, x: f32| if holds { x.max(0.0) } else { x };
                    let scalar = positive_if(relu == Relu::Scalars, scalars[row * row_step + k * scalar_step]);
                    let vector = vectors[shift + k * vector_step + p * LANES + lane];
                    scalar.mul_add(positive_if(relu == Relu::Vectors, vector), sum)
                };
                let sum = (0..depth).fold(first, chain);
                let expected = match finish {
                    Finish::Keep => sum,
                    Finish::Relu => sum.max(0.0),
                    Finish::Add(other, step) => sum + other[row * step + p * LANES + lane],
                };
                prop_assert_eq!(out[row * out_step + p].0[lane].to_bits(), expected.to_bits());
            }
            let beyond = |packs_of: &[Pack]| packs_of.iter().skip(packs).step_by(out_step).copied().collect::<Vec<_>>();
            prop_assert_eq!(beyond(&out), beyond(&held));
        }
    }
}
