//! Mixtures of small networks, against their members.

use serde_json::{Value, json};

use super::*;
use crate::{
    checkpoint::{Checkpoint, Tensor},
    distribution::Distribution,
    models,
};

const N: usize = 300;
const ORDERS: [[usize; 4]; 3] = [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]];

/// A network of one dense layer over four values, in this order.
fn member(order: [usize; 4], n_classes: usize) -> Value {
    let width = if n_classes == 2 { 1 } else { n_classes };
    let step = |dim: usize| order.iter().position(|&visited| visited == dim).expect("an order") as i32;
    let degrees: Vec<i32> = (0..4 * width).map(|channel| step(channel / width) - 1).collect();
    let input = if n_classes == 2 { "values" } else { "one_hot" };
    json!({
        "space": {"event_shape": [4], "n_classes": n_classes, "order": order},
        "nodes": [
            {"name": "x", "op": input},
            {"name": "y", "op": "dense", "from": "x", "weight": "W", "bias": "b", "degrees": degrees},
        ],
        "output": "y",
    })
}

fn checkpoint(members: &[Value], n_classes: usize, scale: f32) -> Checkpoint {
    let n = 4 * if n_classes == 2 { 1 } else { n_classes };
    let value = |at: usize| scale * (philox::uniform(1, 2, at) as f32 - 0.5);
    let tensor = |name: &str, shape: Vec<usize>| {
        let data = (0..shape.iter().product()).map(value).collect();
        (name.to_owned(), Tensor::new(name, shape, data).expect("finite"))
    };
    let tensors = [tensor("W", vec![n, n]), tensor("b", vec![n])].into();
    Checkpoint { kind: "Any".into(), config: json!({}), graph: Some(json!({"members": members})), tensors }
}

fn build(members: &[Value], n_classes: usize, scale: f32) -> Result<Distribution, Error> {
    models::build(&checkpoint(members, n_classes, scale))
}

fn mixture(n_classes: usize, scale: f32) -> Mixture {
    match build(&ORDERS.map(|order| member(order, n_classes)), n_classes, scale) {
        Ok(Distribution::Mixture(mixture)) => mixture,
        other => panic!("no mixture: {:?}", other.err()),
    }
}

fn call(go_on: &mut dyn FnMut(usize) -> bool) -> Call<'_> {
    Call { threads: 2, go_on }
}

#[test]
fn it_scores_the_mean_of_its_members() {
    for n_classes in [2, 300] {
        let mixture = mixture(n_classes, 20.0);
        let mut x = Array::new(mixture.space(), N);
        (0..4 * N).for_each(|at| x.set(at, (philox::uniform(0, 0, at) * n_classes as f64) as u32));
        let mut got = vec![f64::NAN; N];
        mixture.log_prob(x.read(), &mut got, call(&mut |_| true)).expect("finite");
        let of = |member: &dyn Model| {
            let mut log_prob = vec![0.0; N];
            let score = Score::new(member.space(), x.read()).expect("classes");
            let outputs = Outputs { log_prob: Some(&mut log_prob), ..Outputs::default() };
            let driver = Driver::Score(&score);
            let batch = Batch { n: N, driver, n_steps: None, block_len: None, outputs, threads: 1 };
            engine::run(member, batch, &mut |_| true).expect("finite");
            log_prob
        };
        let each: Vec<_> = mixture.members().iter().map(|member| of(&**member)).collect();
        assert_ne!(each[0], each[1]);
        for (row, got) in got.iter().enumerate() {
            let mean = each.iter().map(|log_prob| (log_prob[row] - each[0][row]).exp()).sum::<f64>() / 3.0;
            let expected = each[0][row] + mean.ln();
            assert!((got - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{got} {expected}");
        }
    }
}

#[test]
fn each_sample_is_one_of_the_member_that_is_picked() {
    for n_classes in [2, 300] {
        let mixture = mixture(n_classes, 20.0);
        let draw = Draw::new(5, 1 << 40);
        let (mut x, mut log_prob) = (Array::new(mixture.space(), N), vec![0.0; N]);
        mixture.draw(&draw, x.write(), Some(&mut log_prob), call(&mut |_| true)).expect("finite");
        let mut scored = vec![0.0; N];
        mixture.log_prob(x.read(), &mut scored, call(&mut |_| true)).expect("finite");
        assert_eq!(log_prob, scored);
        let alone: Vec<_> = mixture
            .members()
            .iter()
            .map(|member| {
                let mut x = Array::new(mixture.space(), N);
                let outputs = Outputs { x: Some(x.write()), ..Outputs::default() };
                let driver = Driver::Decide(&draw);
                let batch = Batch { n: N, driver, n_steps: None, block_len: None, outputs, threads: 1 };
                engine::run(&**member, batch, &mut |_| true).expect("finite");
                x
            })
            .collect();
        for row in 0..N {
            let member = &alone[philox::member(5, (1 << 40) + row as u64, 3)];
            for at in 4 * row..4 * row + 4 {
                assert_eq!(x.read().get(at), member.read().get(at));
            }
        }
    }
}

#[test]
fn a_sum_of_exponentials_never_exceeds_its_terms() {
    for terms in [vec![0.0; 3], vec![-1e9, 0.0, -1e-300], vec![f64::NEG_INFINITY, -5.0], vec![f64::NEG_INFINITY; 2]] {
        let (largest, sum) = terms[1..].iter().fold((terms[0], 1.0), |sum, &term| add(sum, term));
        assert_eq!(largest, terms.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        assert!((1.0..=terms.len() as f64).contains(&sum), "{sum}");
    }
}

#[test]
fn conditionals_are_refused() {
    let distribution = Distribution::Mixture(mixture(2, 1.0));
    let refused = Err(Error::Mixture { n_members: 3 });
    let x = [0, 1, 1, 0];
    let mut surprise = [0.0; 4];
    let outputs = Outputs { surprise: Some(&mut surprise), ..Outputs::default() };
    assert_eq!(distribution.score(Values::U8(&x), None, outputs, call(&mut |_| true)), refused);
    let mut log_prob = [0.0];
    let outputs = Outputs { log_prob: Some(&mut log_prob), ..Outputs::default() };
    assert_eq!(distribution.score(Values::U8(&x), Some(2), outputs, call(&mut |_| true)), refused);
    assert_eq!(distribution.one().map(drop), refused);
    assert_eq!(distribution.feature_shape(), None);
}

#[test]
fn an_overflow_names_the_row_of_the_batch() {
    // Weights of 0 in all members, but for what a one of dimension 3 does to the logit of dimension 2.
    let mut checkpoint = checkpoint(&ORDERS.map(|order| member(order, 2)), 2, 0.0);
    let mut weight = vec![0.0; 16];
    weight[2 * 4 + 3] = f32::MAX;
    checkpoint.tensors.insert("W".into(), Tensor::new("W", vec![4, 4], weight).expect("finite"));
    checkpoint.tensors.insert("b".into(), Tensor::new("b", vec![4], vec![0.0, 0.0, f32::MAX, 0.0]).expect("finite"));
    let distribution = models::build(&checkpoint).expect("finite weights");
    let mut x = vec![0; 4 * N];
    x[4 * 123 + 3] = 1;
    let mut log_prob = vec![0.0; N];
    let outputs = Outputs { log_prob: Some(&mut log_prob), ..Outputs::default() };
    let scored = distribution.score(Values::U8(&x), None, outputs, call(&mut |_| true));
    assert_eq!(scored, Err(Error::Overflow { sample: 123 }));
    // Of the draws only those of the second member overflow, whose order has dimension 3 before 2, where it is a one.
    let outputs = |x| Outputs { x: Some(ValuesMut::U8(x)), ..Outputs::default() };
    let drawn = distribution.draw(&Draw::new(0, 0), N, outputs(&mut x), call(&mut |_| true));
    let Err(Error::Overflow { sample }) = drawn else { panic!("no overflow: {drawn:?}") };
    assert_eq!(philox::member(0, sample as u64, 3), 1);
}

#[test]
fn the_caller_can_stop_it_and_hears_of_progress() {
    let mixture = mixture(2, 1.0);
    let mut asked = Vec::new();
    let mut go_on = |done| {
        asked.push(done);
        false
    };
    let (mut x, mut log_prob) = (Array::new(mixture.space(), 1 << 22), vec![0.0; 1 << 22]);
    let drawn = mixture.draw(&Draw::new(0, 0), x.write(), Some(&mut log_prob), call(&mut go_on));
    assert_eq!(drawn, Err(Error::Interrupted));
    // 16 million walks of a sample take longer than the engine waits before it asks.
    assert!(matches!(asked[..], [done] if done < 1 << 22), "{asked:?}");
}

#[test]
fn members_share_the_events_and_a_budget() {
    let of = |members: &[Value]| build(members, 2, 1.0).err().map(|error| error.to_string());
    let mut leaks = member(ORDERS[1], 2);
    leaks["nodes"][1]["degrees"] = json!([0, 0, 0, 0]);
    let mut other = member(ORDERS[1], 2);
    other["space"]["order"] = json!([0, 1, 2, 2]);
    let mut classes = member(ORDERS[1], 2);
    classes["space"]["n_classes"] = json!([2, 2, 2, 2]);
    assert_eq!(of(&[member(ORDERS[0], 2), classes]), None);
    for (second, reason) in [
        (leaks, "member 1: the output, node \"y\", has degree 0"),
        (other, "member 1: \"order\" is not a permutation of 0 to 3"),
        (json!({}), "member 1: the graph is wrong: missing field"),
        (json!(5), "member 1: the graph is wrong"),
        (json!({"members": []}), "member 1: the graph is wrong: unknown field `members`"),
    ] {
        let message = of(&[member(ORDERS[0], 2), second]).expect(reason);
        assert!(message.starts_with(reason), "{message}, wanted {reason}");
    }
    assert_eq!(of(&vec![member(ORDERS[0], 2); 64]), None);

    let mut nodes = vec![json!({"name": "x", "op": "values"})];
    nodes.extend((0..80).map(|at| json!({"name": format!("r{at}"), "op": "relu", "from": "x"})));
    nodes.push(member(ORDERS[0], 2)["nodes"][1].clone());
    let mut long = member(ORDERS[0], 2);
    long["nodes"] = json!(nodes);
    let message = of(&vec![long; 64]).expect("too many nodes");
    assert_eq!(message, "the 64 members have 5248 nodes; wanted at most 4096");
    let twice = json!([{"name": "x", "op": "values"}, {"name": "z", "op": "dense", "from": "x", "weight": "W"},
        member(ORDERS[0], 2)["nodes"][1]]);
    let mut both = member(ORDERS[0], 2);
    both["nodes"] = twice;
    let message = of(&vec![both; 64]).expect("too many weights");
    assert!(message.starts_with("member 37: node \"z\": the nodes read the file's tensors more than 64"), "{message}");
}

#[test]
fn members_of_other_events_are_refused() {
    let network = |shape: usize, n_classes: usize| -> Box<dyn Model> {
        let config = json!({"n_dims": shape, "order": null});
        let tensor = |name: &str, shape: Vec<usize>| {
            let data = vec![0.0; shape.iter().product()];
            (name.to_owned(), Tensor::new(name, shape, data).expect("finite"))
        };
        if n_classes == 2 {
            let tensors = [tensor("weight", vec![shape, shape]), tensor("bias", vec![shape])].into();
            let checkpoint = Checkpoint { kind: "FVSBN".into(), config, graph: None, tensors };
            return models::build(&checkpoint).and_then(Distribution::into_one).expect("a model");
        }
        let one = Checkpoint { graph: Some(member(ORDERS[0], n_classes)), ..checkpoint(&[], n_classes, 1.0) };
        models::build(&one).and_then(Distribution::into_one).expect("a model")
    };
    let refusal = |members: Vec<Box<dyn Model>>| Mixture::new(members, 0).err().map(|error| error.to_string());
    assert_eq!(refusal(vec![network(4, 2), network(4, 2)]), None);
    assert_eq!(refusal(vec![]), Some("a mixture has no members".into()));
    let message = refusal(vec![network(4, 2), network(3, 2)]);
    assert_eq!(message, Some("member 1: its event shape is [3]; wanted that of member 0, [4]".into()));
    let message = refusal(vec![network(4, 2), network(4, 2), network(4, 3)]);
    assert_eq!(message, Some("member 2: it has other numbers of classes than member 0".into()));
}
