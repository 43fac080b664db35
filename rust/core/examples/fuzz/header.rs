//! Damage to a safetensors header, which is JSON, and to the config and the graph inside it, which are JSON in strings.

use std::iter;

use fastrand::Rng;
use serde_json::{Value, json};

/// Numbers at the borders of what a reader may hold them in, as JSON text.
#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    "0", "1", "2", "3", "16", "17", "256", "257", "65536", "16777216", "16777217", "2147483648", "4294967295",
    "4294967296", "4611686018427387904", "9223372036854775807", "9223372036854775808", "18446744073709551615", "-1",
    "-9223372036854775808", "0.5", "-0.0", "5.0", "1e3", "1e38", "3.5e38", "1e308", "1e-320", "1e39", "-1e300",
];
#[rustfmt::skip]
const STRINGS: &[&str] = &[
    "", "F32", "F16", "BF16", "F64", "I32", "U8", "BOOL", "F4", "FVSBN", "NADE", "PixelCNN", "ancestral", "1", "2",
    "W", "c", "V", "b", "weight", "bias", "input.weight", "head_out.bias", "blocks.0.conv.weight", "\u{0}",
    "\u{1b}[31m", "é", "null", "{}", "x", "n0", "n1", "n2", "n5", "t0", "t1", "t2", "values", "one_hot", "taps", "dense", "relu",
    "leaky_relu", "elu", "concat_elu", "tanh", "sigmoid", "silu", "gelu", "gate", "add", "multiply", "concat", "average",
    "members", "nodes", "order",
];

/// Damages the header in one way, and returns its text.
pub fn damage(rng: &mut Rng, header: &mut Value) -> String {
    if rng.u8(..3) == 0 {
        // Within the config or the graph.
        let within = if header["__metadata__"]["graph"].is_string() && rng.u8(..8) > 0 { "graph" } else { "config" };
        let text = header["__metadata__"][within].as_str().unwrap_or("").to_owned();
        if let Ok(mut json) = serde_json::from_str::<Value>(&text)
            && let Some(metadata) = header["__metadata__"].as_object_mut()
        {
            metadata.insert(within.into(), Value::String(damage_json(rng, &mut json)));
        }
        return header.to_string();
    }
    match rng.u8(..4) {
        0 => swap_entries(rng, header),
        1 => shift_offsets(rng, header),
        2 => reshape(rng, header),
        _ => return damage_json(rng, header),
    }
    header.to_string()
}

/// Names of the tensors that are still described by an object.
fn names(header: &Value) -> Vec<String> {
    let all = header.as_object().into_iter().flatten();
    all.filter(|(name, entry)| *name != "__metadata__" && entry.is_object()).map(|(name, _)| name.clone()).collect()
}

/// Two tensors change places, wholly or in part.
fn swap_entries(rng: &mut Rng, header: &mut Value) {
    let names = names(header);
    let (Some(one), Some(other)) = (rng.choice(&names), rng.choice(&names)) else { return };
    let mut swap = |pointer: &str| {
        let (a, b) = (header[one.as_str()].pointer(pointer).cloned(), header[other.as_str()].pointer(pointer).cloned());
        if let (Some(a), Some(b)) = (a, b) {
            *header[one.as_str()].pointer_mut(pointer).expect("there") = b;
            *header[other.as_str()].pointer_mut(pointer).expect("there") = a;
        }
    };
    swap(rng.choice(["", "", "/dtype", "/shape", "/data_offsets"]).expect("some"));
}

/// Offsets move by some bytes: overlaps, gaps, ends before beginnings, wrapped sums.
fn shift_offsets(rng: &mut Rng, header: &mut Value) {
    let names = names(header);
    let Some(name) = rng.choice(&names) else { return };
    let by = *rng.choice(&[1, 4, 8, 60, u64::MAX, u64::MAX - 3, 1 << 63]).expect("some");
    let both = rng.bool();
    if let Some(offsets) = header[name.as_str()].pointer_mut("/data_offsets").and_then(Value::as_array_mut) {
        for offset in offsets.iter_mut().rev().take(if both { 2 } else { 1 }) {
            *offset = json!(offset.as_u64().unwrap_or(0).wrapping_add(by));
        }
    }
}

/// Another shape of the same size, or of one that only wraps to it.
fn reshape(rng: &mut Rng, header: &mut Value) {
    let names = names(header);
    let Some(name) = rng.choice(&names) else { return };
    if let Some(shape) = header[name.as_str()].pointer_mut("/shape").and_then(Value::as_array_mut) {
        match rng.u8(..5) {
            0 => shape.reverse(),
            1 => shape.push(json!(1)),
            2 => shape.extend(iter::repeat_n(json!(1_u64 << 32), 2)),
            3 => *shape = vec![json!(shape.iter().filter_map(Value::as_u64).fold(1, u64::wrapping_mul))],
            _ => shape.extend([json!(0), json!(u64::MAX)]),
        }
    }
}

/// Damages JSON in one way, and returns its text.
fn damage_json(rng: &mut Rng, json: &mut Value) -> String {
    let way = rng.u8(..7);
    let mark = format!("@{}@", rng.u32(..));
    let mut text = None;
    let node = node(rng, json);
    match way {
        0 => text = Some((*rng.choice(NUMBERS).expect("some")).to_owned()),
        1 => *node = Value::String((*rng.choice(STRINGS).expect("some")).to_owned()),
        2 => {
            *node =
                rng.choice([Value::Null, json!(true), json!([]), json!({}), json!([[]]), json!({"": 0})]).expect("some")
        }
        3 => text = Some(nested(rng)),
        4 => {
            // A key twice, with the same value or another.
            if let Some(map) = node.as_object()
                && let Some((key, value)) = rng.choice(map)
            {
                let (key, value) = (Value::String(key.clone()), if rng.bool() { value.clone() } else { json!(0) });
                let inner = node.to_string();
                text = Some(format!("{{{key}:{value},{}", &inner[1..]));
            }
        }
        5 => match node {
            Value::Object(map) => {
                if let Some(key) = rng.choice(map.keys().cloned().collect::<Vec<_>>()) {
                    let value = map.shift_remove(&key).expect("its key");
                    if rng.bool() {
                        map.insert((*rng.choice(STRINGS).expect("some")).to_owned(), value);
                    }
                }
            }
            Value::Array(items) if !items.is_empty() => {
                let at = rng.usize(..items.len());
                if rng.bool() { drop(items.remove(at)) } else { items.swap(0, at) }
            }
            _ => *node = Value::Null,
        },
        _ => {
            if let Value::Array(items) = node {
                let item = items.first().cloned().unwrap_or(json!(0));
                items.extend(iter::repeat_n(item, rng.usize(..2000)));
            }
        }
    }
    match text {
        None => json.to_string(),
        Some(text) => {
            *node = Value::String(mark.clone());
            json.to_string().replace(&format!("{mark:?}"), &text)
        }
    }
}

fn nested(rng: &mut Rng) -> String {
    let depth = rng.usize(1..3000);
    if rng.bool() {
        "[".repeat(depth) + &"]".repeat(if rng.bool() { depth } else { 0 })
    } else {
        "{\"a\":".repeat(depth) + "0" + &"}".repeat(depth)
    }
}

/// A value somewhere within.
fn node<'v>(rng: &mut Rng, json: &'v mut Value) -> &'v mut Value {
    let n = match json {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    if n == 0 || rng.u8(..4) == 0 {
        return json;
    }
    let at = rng.usize(..n);
    match json {
        Value::Array(items) => node(rng, &mut items[at]),
        Value::Object(map) => node(rng, map.values_mut().nth(at).expect("so many")),
        other => other,
    }
}
