//! What is refused, and why.

use serde_json::{Value, json};

use super::*;

/// The tensors W (n, n) and b (n), and others of these shapes.
fn tensors(n: usize, others: &[(&str, &[usize])]) -> Tensors {
    let own = [("W", vec![n, n]), ("b", vec![n])];
    let others = others.iter().map(|&(name, shape)| (name, shape.to_vec()));
    let tensor = |(name, shape): (&str, Vec<usize>)| {
        let data = vec![0.5; shape.iter().product()];
        (name.to_owned(), Tensor::new(name, shape, data).expect("finite"))
    };
    own.into_iter().chain(others).map(tensor).collect()
}

fn message(graph: &Value, tensors: &Tensors) -> Result<(), String> {
    let spec = Spec::from_json(graph).map_err(|error| error.to_string())?;
    let sites = spec
        .fields
        .space
        .without_raster_order()
        .and_then(|space| Sites::of(&space))
        .map_err(|error| error.to_string())?;
    let mut supply = Supply::new(tensors);
    let compiled = compile(&spec, &sites, &mut supply).and_then(|_| supply.check_all_read());
    compiled.map_err(|error| error.to_string())
}

/// Three bits, and the nodes after the input.
fn vectors(nodes: &[Value], output: &str) -> Value {
    let nodes: Vec<_> = [json!({"name": "x", "op": "values"})].iter().chain(nodes).cloned().collect();
    json!({"space": {"event_shape": [3], "n_classes": 2}, "nodes": nodes, "output": output})
}

fn dense(name: &str, from: &str, degrees: [i32; 3]) -> Value {
    json!({"name": name, "op": "dense", "from": from, "weight": "W", "bias": "b", "degrees": degrees})
}

#[test]
fn a_causal_graph_compiles() {
    let nodes =
        [dense("h", "x", [0, 1, 0]), json!({"name": "r", "op": "relu", "from": "h"}), dense("y", "r", [-1, 0, 1])];
    assert_eq!(message(&vectors(&nodes, "y"), &tensors(3, &[])), Ok(()));
}

#[test]
fn every_fault_is_named() {
    let y = || dense("y", "x", [-1, 0, 1]);
    let relu = |name: &str, from: &str| json!({"name": name, "op": "relu", "from": from});
    let pair = |op: &str, from: [&str; 2]| json!({"name": "p", "op": op, "from": from});
    let cases = [
        (vec![relu("r", "r"), y()], "node \"r\": it reads \"r\", which is no node before it"),
        (vec![relu("r", "y"), y()], "node \"r\": it reads \"y\", which is no node before it"),
        (vec![y(), y()], "node \"y\": another node has the same name"),
        (vec![json!({"name": "z", "op": "one_hot"}), y()], "node \"z\": the first node, and no other, is the input"),
        (vec![dense("y", "x", [-1, 0, 3])], "node \"y\": a degree is 3; wanted −1 to 2"),
        (vec![dense("y", "x", [-2, 0, 1])], "node \"y\": a degree is -2; wanted −1 to 2"),
        (vec![dense("y", "x", [-1, 0, 2])], "the output, node \"y\", has degree 2 at channel 2; wanted 1"),
        (vec![dense("h", "x", [0, 1, 2]), pair("add", ["h", "x"]), y()], ""),
        (
            vec![dense("h", "x", [0, 1, 1]), pair("add", ["h", "x"]), y()],
            "node \"p\": channel 2 has degree 1 in \"h\", and 2 in \"x\"",
        ),
        (vec![json!({"name": "p", "op": "concat", "from": []}), y()], "node \"p\": from is empty"),
        (vec![json!({"name": "p", "op": "average", "from": []}), y()], "node \"p\": from is empty"),
        (
            vec![json!({"name": "p", "op": "concat", "from": ["x", "x"]}), pair("gate", ["p", "x"]), y()],
            "node \"p\": \"p\" has 6 channels, and \"x\" has 3",
        ),
        (
            vec![json!({"name": "p", "op": "average", "from": ["x", "x"]}), y()],
            "node \"p\": \"x\" does not hold the parameters of a site's distributions",
        ),
        (vec![json!({"name": "e", "op": "leaky_relu", "from": "x", "slope": 1e300}), y()], "node \"e\": slope is inf"),
        (
            vec![json!({"name": "y", "op": "dense", "from": "x", "weight": "b", "bias": "b", "degrees": [-1, 0, 1]})],
            "node \"y\": tensor \"b\" has shape [3]; wanted [3, 3]",
        ),
        (
            vec![json!({"name": "y", "op": "dense", "from": "x", "weight": "V", "bias": "b", "degrees": [-1, 0, 1]})],
            "node \"y\": tensor \"V\" is missing",
        ),
        (
            vec![json!({"name": "y", "op": "dense", "from": "x", "weight": "W", "bias": "b", "degrees": [-1, 0]})],
            "node \"y\": it has 2 degrees; wanted 3",
        ),
        (
            vec![
                json!({"name": "y", "op": "taps", "from": "x", "weight": "W", "bias": "b", "offsets": [[0, 0], [0, 0]]}),
            ],
            "node \"y\": the offset [0, 0] stands twice",
        ),
    ];
    for (nodes, reason) in cases {
        let outcome = message(&vectors(&nodes, "y"), &tensors(3, &[]));
        if reason.is_empty() {
            assert_eq!(outcome, Ok(()));
        } else {
            let found = outcome.expect_err(reason);
            assert!(found.contains(reason), "{found}, wanted {reason}");
        }
    }
}

#[test]
fn outputs_features_and_tensors_must_be_there() {
    let graph = vectors(&[dense("y", "x", [-1, 0, 1])], "y");
    assert!(message(&graph, &tensors(3, &[("V", &[2])])).unwrap_err().contains("unexpected tensor \"V\""));
    let mut other = graph.clone();
    other["output"] = "z".into();
    assert!(message(&other, &tensors(3, &[])).unwrap_err().starts_with("output: it reads \"z\""));
    other = graph.clone();
    other["features"] = "z".into();
    assert!(message(&other, &tensors(3, &[])).unwrap_err().starts_with("features: it reads \"z\""));
    other = graph;
    other["space"]["n_classes"] = 3.into();
    assert!(message(&other, &tensors(3, &[])).unwrap_err().contains("has 3 channels; wanted 9"));
}

/// An image of 4 × 5 pixels of one bit, and taps at these offsets from the input to `h`, and from `h` to the output `y`.
fn image(channels: usize, first: &[[i32; 2]], second: &[[i32; 2]]) -> Result<(), String> {
    let all: Vec<i32> = (0..channels as i32).collect();
    let before: Vec<i32> = all.iter().map(|channel| channel - 1).collect();
    let taps = |name: &str, from: &str, offsets: &[[i32; 2]], degrees: &[i32]| {
        let weight = format!("W{}", offsets.len());
        json!({"name": name, "op": "taps", "from": from, "weight": weight, "bias": "b", "offsets": offsets, "degrees": degrees})
    };
    let nodes = [json!({"name": "x", "op": "values"}), taps("h", "x", first, &before), taps("y", "h", second, &before)];
    let graph = json!({"space": {"event_shape": [channels, 4, 5], "n_classes": 2}, "nodes": nodes, "output": "y"});
    let names = [first, second].map(|offsets| format!("W{}", offsets.len()));
    let shapes = [first, second].map(|offsets| [channels, channels, offsets.len()]);
    let mut tensors = tensors(channels, &[(&names[0], &shapes[0]), (&names[1], &shapes[1])]);
    tensors.remove("W");
    message(&graph, &tensors)
}

#[test]
fn leaks_are_found_and_shown() {
    let path = "leaks: the distribution of dimension 0 of a site depends on what comes with it or after it, on the path \
                \"x\" (0) → \"h\" (0) → \"y\" (0)";
    let own = [0, 0];
    for (first, second, leaks) in [
        (&[own][..], &[own][..], false),
        (&[[0, 1]], &[own], true),
        // `h` sees nothing of its own site, and so nothing at all.
        (&[own], &[[0, 1]], false),
        (&[[1, -4]], &[own], true),
        (&[[0, -1]], &[[0, 1]], true),
        (&[[0, -2]], &[[0, 1]], false),
        (&[[-1, 4]], &[own], false),
        (&[[-1, 4]], &[[0, 4]], false),
        (&[[-1, 4]], &[[1, -4]], true),
        (&[[-1, 4], [0, -1]], &[[0, 1], own], true),
        // Beyond the image in any case.
        (&[[0, 5], [4, 0]], &[own], false),
    ] {
        match image(1, first, second) {
            Ok(()) => assert!(!leaks, "{first:?} {second:?}"),
            Err(message) => assert!(leaks && message.contains(path), "{first:?} {second:?} {message}"),
        }
    }
}

#[test]
fn channels_of_a_pixel_see_those_before() {
    assert_eq!(image(3, &[[0, 0], [0, -1]], &[[0, 0]]), Ok(()));
    let message = image(3, &[[0, 0]], &[[0, 0], [0, 1]]).unwrap_err();
    assert!(message.contains("dimension 0") && message.contains("\"h\" (2) → \"y\" (0)"), "{message}");
}

#[test]
fn small_files_make_no_large_networks() {
    let widen = |at: usize| {
        let from = if at == 0 { "x".to_owned() } else { format!("e{}", at - 1) };
        json!({"name": format!("e{at}"), "op": "concat_elu", "from": from})
    };
    let mut nodes: Vec<_> = (0..40).map(widen).collect();
    nodes.push(dense("y", "x", [-1, 0, 1]));
    let message_of = message(&vectors(&nodes, "y"), &tensors(3, &[])).unwrap_err();
    assert!(message_of.contains("too many for a file of 12 floats"), "{message_of}");

    let mut nodes: Vec<_> = (0..200).map(|at| dense(&format!("h{at}"), "x", [0, 0, 0])).collect();
    nodes.push(dense("y", "x", [-1, 0, 1]));
    let message_of = message(&vectors(&nodes, "y"), &tensors(3, &[])).unwrap_err();
    assert!(message_of.contains("more than 64 times over"), "{message_of}");
}
