//! Whole batches through each head, with a model that is a table of logits.

use crate::{
    block::Block,
    codec::{self, container::Container},
    driver::{Allowed, Draw, Driver, Restrict, Score},
    engine::{self, Batch},
    error::Error,
    model::{Model, Scratch},
    outputs::Outputs,
    philox,
    space::{Classes, Space},
    values::{Array, Values, ValuesMut},
};

/// Rows of logits a step: which one holds depends on the value before.
const CONTEXTS: usize = 3;

/// p(x_i | x_<i) = p(x_i | x_{i−1} mod 3), from a table.
struct Table {
    space: Space,
    /// For each step and context.
    logits: Vec<[Vec<f32>; CONTEXTS]>,
}

impl Table {
    fn new(classes: Classes, n_dims: usize, order: Option<Vec<u32>>) -> Self {
        let space = Space::new(vec![n_dims], classes, || order).unwrap();
        let row = |step: usize, context: usize| {
            let logit = |k| 8.0 * philox::uniform(step as u64, context as u64, k) as f32 - 4.0;
            (0..space.n_parameters(step)).map(logit).collect()
        };
        let logits = (0..n_dims).map(|step| std::array::from_fn(|context| row(step, context))).collect();
        Self { space, logits }
    }

    /// log p(k | value before) in f64, of every k.
    fn log_probs(&self, step: usize, before: u32) -> Vec<f64> {
        let logits = &self.logits[step][before as usize % CONTEXTS];
        let logits: Vec<f64> = match logits[..] {
            [logit] => vec![0.0, logit.into()],
            _ => logits.iter().map(|&logit| logit.into()).collect(),
        };
        let normalizer = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        logits.iter().map(|logit| logit - normalizer).collect()
    }
}

impl Model for Table {
    fn space(&self) -> &Space {
        &self.space
    }
    fn n_params(&self) -> usize {
        self.logits.iter().flatten().map(Vec::len).sum()
    }
    fn cost(&self) -> usize {
        1 << 20 // worth threads
    }
    fn block_len(&self) -> usize {
        5
    }
    fn turn(&self, step: usize) -> usize {
        step + 1
    }
    fn revision(&self) -> u32 {
        1
    }
    fn walk(&self, block: &mut Block<'_>, _: &mut Scratch) -> Result<(), Error> {
        for step in 0..block.n_steps {
            let before = |sample| if step == 0 { 0 } else { block.value(sample, step - 1) };
            let rows = (0..block.len).flat_map(|sample| &self.logits[step][before(sample) as usize % CONTEXTS]);
            let parameters: Vec<f32> = rows.copied().collect();
            block.decide(step, 0..block.len, &parameters)?;
        }
        Ok(())
    }
}

/// Bits; few and many classes; other ones for each dimension; and another order.
fn tables() -> Vec<Table> {
    vec![
        Table::new(Classes::Same(2), 21, None),
        Table::new(Classes::Same(2), 4, Some(vec![2, 0, 3, 1])),
        Table::new(Classes::Same(3), 7, Some(vec![6, 0, 5, 1, 4, 2, 3])),
        Table::new(Classes::Same(256), 5, None),
        Table::new(Classes::Same(257), 5, None),
        Table::new(Classes::PerDim(vec![3, 2, 65_536, 300, 256]), 5, Some(vec![4, 2, 0, 1, 3])),
        Table::new(Classes::PerDim(vec![3, 2, 2]), 3, None),
        Table::new(Classes::Same(65_536), 3, None),
    ]
}

fn run(model: &Table, n: usize, driver: Driver<'_>, outputs: Outputs<'_>, threads: usize) -> Result<(), Error> {
    engine::run(model, Batch { n, driver, n_steps: None, block_len: None, outputs, threads }, &mut |_| true)
}

fn draw(model: &Table, n: usize, threads: usize) -> (Array, Vec<f64>) {
    let (mut x, mut log_prob) = (Array::new(&model.space, n), vec![f64::NAN; n]);
    let outputs = Outputs { x: Some(x.write()), log_prob: Some(&mut log_prob), ..Outputs::default() };
    run(model, n, Driver::Decide(&Draw::new(7, 3)), outputs, threads).unwrap();
    (x, log_prob)
}

/// The values of one sample in the model's order.
fn steps(model: &Table, x: &Array, sample: usize) -> Vec<u32> {
    let n_dims = model.space.n_dims();
    (0..n_dims).map(|step| x.read().get(sample * n_dims + model.space.dim(step))).collect()
}

#[test]
fn draws_are_quantiles_and_scores_are_those_of_f64() {
    const N: usize = 23;
    for model in tables() {
        let (space, n_dims) = (&model.space, model.space.n_dims());
        let (x, drawn) = draw(&model, N, 1);
        assert_eq!((x.clone(), drawn.clone()), draw(&model, N, 3));
        let most = space.most_classes();
        let (mut scored, mut surprise) = (vec![f64::NAN; N], vec![f32::NAN; N * n_dims]);
        let mut conditionals = vec![f32::NAN; N * n_dims * space.n_conditionals()];
        let mut last = vec![f64::NAN; N * most];
        let outputs = Outputs {
            log_prob: Some(&mut scored),
            surprise: Some(&mut surprise),
            conditionals: Some(&mut conditionals),
            log_conditional: Some(&mut last),
            ..Outputs::default()
        };
        let score = Score::new(space, x.read()).unwrap();
        run(&model, N, Driver::Score(&score), outputs, 2).unwrap();
        assert_eq!(drawn, scored);
        for sample in 0..N {
            let (mut before, mut expected) = (0, 0.0);
            for (step, value) in steps(&model, &x, sample).into_iter().enumerate() {
                let log_p = model.log_probs(step, before);
                let u = philox::uniform(7, 3 + sample as u64, step);
                // A class is drawn where the uniform is between the sums before and with its own; a one where it is below p(1).
                let (below, p) = match most {
                    2 if value == 1 => (0.0, log_p[1].exp()),
                    2 => (log_p[1].exp(), log_p[0].exp()),
                    _ => (log_p[..value as usize].iter().map(|log_p| log_p.exp()).sum(), log_p[value as usize].exp()),
                };
                assert!(below - 1e-6 < u && u < below + p + 1e-6, "{below} {p} {u}");
                expected += log_p[value as usize];

                let place = sample * n_dims + space.dim(step);
                assert!((f64::from(surprise[place]) + log_p[value as usize]).abs() < 2e-6);
                let row = &conditionals[place * space.n_conditionals()..][..space.n_conditionals()];
                let p: Vec<f64> = log_p.iter().map(|log_p| log_p.exp()).collect();
                let p = if most == 2 { &p[1..] } else { &p[..] };
                assert!(row.iter().zip(p).all(|(&got, p)| (f64::from(got) - p).abs() < 1e-6));
                assert!(row[p.len()..].iter().all(|&beyond| beyond == 0.0));
                if step + 1 == n_dims {
                    let row = &last[sample * most..][..most];
                    assert!(row.iter().zip(&log_p).all(|(got, log_p)| (got - log_p).abs() < 2e-6));
                    assert!(row[log_p.len()..].iter().all(|&beyond| beyond == f64::NEG_INFINITY));
                }
                before = value;
            }
            assert!((scored[sample] - expected).abs() < 2e-6 * n_dims as f64, "{} {expected}", scored[sample]);
        }
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    const N: usize = 19;
    for model in tables() {
        let (x, log_prob) = draw(&model, N, 1);
        let score = Score::new(&model.space, x.read()).unwrap();
        for block_len in [1, 4, 64] {
            let blob = codec::encode(&model, [5; 32], &score, (N, block_len), 2, &mut |_| true).unwrap();
            let container = Container::from_bytes(&blob).unwrap();
            assert_eq!(container.check_model(&model, &[5; 32]), Ok(()));
            assert_eq!(container.header().n_classes as usize, model.space.most_classes());
            let mut decoded = Array::new(&model.space, N);
            let blocks = 0..container.n_blocks();
            codec::decode(&model, &container, blocks, decoded.write(), 2, &mut |_| true).unwrap();
            assert_eq!(decoded, x);
            let bits: f64 = log_prob.iter().map(|nats| -nats / std::f64::consts::LN_2).sum();
            let payload: usize = (0..container.n_blocks()).map(|block| container.block(block).unwrap().len()).sum();
            assert!((payload as f64) < bits / 8.0 * 1.01 + 8.0 * container.n_blocks() as f64, "{payload} {bits}");
        }
    }
}

#[test]
fn draws_within_sets_stay_within_them_and_weigh_what_the_sets_do() {
    const PATHS: usize = 9;
    for model in tables() {
        let (space, n_dims, most) = (&model.space, model.space.n_dims(), model.space.most_classes());
        // A third of each dimension's classes, from the second one on where there are so many; the last dimension is free.
        let range = |dim: usize| match space.n_classes(dim) as u32 {
            n if dim + 1 == n_dims => 0..=n - 1,
            2 => 1..=1,
            n => 1..=n / 3,
        };
        let (mut low, mut high, mut marks) = (Array::new(space, 1), Array::new(space, 1), vec![0_u8; n_dims * most]);
        for dim in 0..n_dims {
            low.set(dim, *range(dim).start());
            high.set(dim, *range(dim).end());
            let row = &mut marks[dim * most..][..most];
            row[*range(dim).start() as usize..=*range(dim).end() as usize].fill(1);
            row[space.n_classes(dim)..].fill(9); // beyond the classes: not looked at
        }
        let mut found = Vec::new();
        for allowed in [Allowed::Range { low: low.read(), high: high.read() }, Allowed::Sets(&marks)] {
            let restrict = Restrict::new(space, allowed, 1, &[100], PATHS).unwrap();
            let free = (0..n_dims).find(|&step| space.dim(step) + 1 == n_dims);
            assert_eq!(restrict.n_steps(), if free == Some(n_dims - 1) { n_dims - 1 } else { n_dims });
            let (mut x, mut log_weight) = (Array::new(space, PATHS), vec![f64::NAN; PATHS]);
            let outputs = Outputs { x: Some(x.write()), log_weight: Some(&mut log_weight), ..Outputs::default() };
            run(&model, PATHS, Driver::Decide(&restrict), outputs, 1).unwrap();
            for (sample, &log_weight) in log_weight.iter().enumerate() {
                let (mut before, mut expected) = (0, 0.0);
                for (step, value) in steps(&model, &x, sample).into_iter().enumerate() {
                    let range = range(space.dim(step));
                    assert!(range.contains(&value));
                    let log_p = model.log_probs(step, before);
                    expected += range.map(|k| log_p[k as usize].exp()).sum::<f64>().ln();
                    before = value;
                }
                assert!((log_weight - expected).abs() < 3e-6 * n_dims as f64, "{log_weight} {expected}");
            }
            found.push((x, log_weight));
        }
        assert_eq!(found[0], found[1]);
    }
}

#[test]
fn temperatures_draw_from_powers_and_zero_takes_the_mode() {
    for model in tables() {
        let mut x = Array::new(&model.space, 4);
        let cold = Draw { temperature: 0.0, ..Draw::new(1, 2) };
        run(&model, 4, Driver::Decide(&cold), Outputs { x: Some(x.write()), ..Outputs::default() }, 1).unwrap();
        let mut before = 0;
        for (step, value) in steps(&model, &x, 3).into_iter().enumerate() {
            let log_p = model.log_probs(step, before);
            assert!(log_p.iter().all(|other| *other <= log_p[value as usize]));
            before = value;
        }
    }
}

#[test]
fn values_of_another_dtype_are_refused() {
    let (bytes, words) = (Table::new(Classes::Same(256), 2, None), Table::new(Classes::Same(257), 2, None));
    let is_dtype = |error: Error, what: &str| {
        assert!(error.to_string().starts_with(&format!("{what} has dtype uint")), "{error}");
        assert!(matches!(error, Error::Dtype { .. }));
    };
    is_dtype(Score::new(&bytes.space, Values::U16(&[0; 2])).err().unwrap(), "x");
    is_dtype(Score::new(&words.space, Values::U8(&[0; 2])).err().unwrap(), "x");
    let range = Allowed::Range { low: Values::U16(&[0; 2]), high: Values::U8(&[1; 2]) };
    is_dtype(Restrict::new(&words.space, range, 0, &[0], 1).err().unwrap(), "high");
    is_dtype(Restrict::new(&bytes.space, range, 0, &[0], 1).err().unwrap(), "low");
    let outputs = Outputs { x: Some(ValuesMut::U8(&mut [0; 2])), ..Outputs::default() };
    is_dtype(run(&words, 1, Driver::Decide(&Draw::new(0, 0)), outputs, 1).unwrap_err(), "x");
}

#[test]
fn values_beyond_the_classes_of_their_dimension_are_refused() {
    let model = Table::new(Classes::PerDim(vec![3, 300]), 2, None);
    assert!(Score::new(&model.space, Values::U16(&[2, 299, 0, 0])).is_ok());
    let outside = |value, row, dim, n_classes| Some(Error::Support { value, row, dim, n_classes });
    assert_eq!(Score::new(&model.space, Values::U16(&[2, 299, 3, 0])).err(), outside(3, 1, 0, 3));
    assert_eq!(Score::new(&model.space, Values::U16(&[2, 300, 0, 0])).err(), outside(300, 0, 1, 300));
    let range = Allowed::Range { low: Values::U16(&[0, 300]), high: Values::U16(&[9, 65_535]) };
    assert_eq!(Restrict::new(&model.space, range, 0, &[0], 1).err(), Some(Error::Empty { row: 0, dim: 1 }));
}

#[test]
fn logits_that_are_not_finite_name_their_sample() {
    for classes in [2, 3, 7000] {
        let mut model = Table::new(Classes::Same(classes), 3, None);
        let (x, _) = draw(&model, 50, 1);
        let at = (0..50).find(|&sample| steps(&model, &x, sample)[0] % 3 == 1).unwrap();
        *model.logits[1][1].last_mut().unwrap() = f32::NAN;
        let outputs = Outputs { log_prob: Some(&mut [0.0; 50]), ..Outputs::default() };
        let score = Score::new(&model.space, x.read()).unwrap();
        assert_eq!(run(&model, 50, Driver::Score(&score), outputs, 1), Err(Error::Overflow { sample: at }));
    }
}
