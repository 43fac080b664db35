//! A network as a file says it: the JSON of `graph`, not yet checked.
//!
//! ```json
//! {"space": {"event_shape": [784], "n_classes": 2, "order": null},
//!  "nodes": [{"name": "x", "op": "values"},
//!            {"name": "a", "op": "dense", "from": "x", "weight": "hidden.weight", "bias": "hidden.bias", "degrees": [0, 1, 2]},
//!            {"name": "h", "op": "relu", "from": "a"},
//!            {"name": "y", "op": "dense", "from": "h", "weight": "out.weight", "bias": "out.bias", "degrees": [-1, 0, 1]}],
//!  "output": "y", "features": "h"}
//! ```
//!
//! A mixture has several graphs instead, which may read the same tensors: `{"members": [graph, graph]}`.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::{
    error::Error,
    space::{Classes, Space},
};

/// The most nodes of a graph, and of all members of a mixture together.
pub const MAX_NODES: usize = 4096;
/// The most members of a mixture.
pub const MAX_MEMBERS: usize = 64;

/// The graph of a file.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// Its layers, each a [`NodeSpec`] in JSON: read one by one, so that an error can name the node.
    nodes: &'a [Value],
    /// All else.
    pub fields: Fields,
}

/// What a graph says beside its nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// What the network is a distribution over.
    pub space: SpaceSpec,
    #[expect(dead_code, reason = "read elsewhere, and known here so that no other field is taken")]
    nodes: IgnoredAny,
    /// The node that holds the head's parameters.
    pub output: String,
    /// The node that `features` shows.
    #[serde(default)]
    pub features: Option<String>,
}

/// The graphs of the members of a mixture; none where the graph of a file is that of one network.
///
/// # Errors
/// [`Error::Format`] if there is but one, or too many, or something else beside them.
pub fn members(graph: &Value) -> Result<Option<&[Value]>, Error> {
    let Some(members) = graph.get("members") else { return Ok(None) };
    if let Some(other) = graph.as_object().and_then(|fields| fields.keys().find(|key| *key != "members")) {
        return Err(Error::format(format!("the graph has members, and {other:?} beside them")));
    }
    match members.as_array() {
        Some(members) if (2..=MAX_MEMBERS).contains(&members.len()) => Ok(Some(members)),
        Some(members) => {
            let n = members.len();
            Err(Error::format(format!("the graph has {n} members; wanted 2 to {MAX_MEMBERS}")))
        }
        None => Err(Error::format("the members of the graph are no list")),
    }
}

/// The space of a file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceSpec {
    /// (dimensions) or (channels, height, width).
    pub event_shape: Vec<usize>,
    /// How many values the dimensions can take: one number, or one a flat dimension.
    pub n_classes: ClassesSpec,
    /// The flat dimension visited at each step; none for an image, which is visited in raster order, the channels of a pixel in theirs.
    #[serde(default)]
    pub order: Option<Vec<u32>>,
}

/// Numbers of classes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ClassesSpec {
    /// The same for every dimension.
    Same(u32),
    /// One a flat dimension.
    PerDim(Vec<u32>),
}

impl SpaceSpec {
    /// The space, but for the order of an image: a small file can describe a large one, and most of what can be wrong is found without.
    ///
    /// # Errors
    /// [`Error::Format`] if it is of no dimensions or too many, has no or too many classes, or its order is none.
    pub fn without_raster_order(&self) -> Result<Space, Error> {
        let classes = match &self.n_classes {
            ClassesSpec::Same(n) => Classes::Same(*n),
            ClassesSpec::PerDim(each) => Classes::PerDim(each.clone()),
        };
        match *self.event_shape {
            [_, _, _] if self.order.is_some() => {
                Err(Error::format("the graph has an order, but an image is visited in raster order"))
            }
            _ => Space::new(self.event_shape.clone(), classes, || self.order.clone()),
        }
    }
}

/// A node of a file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct NodeSpec {
    /// Its name, which is like no other node's.
    pub name: String,
    /// What it computes.
    #[serde(flatten)]
    pub layer: LayerSpec,
}

/// What a node computes, and from which nodes and tensors.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it, and super::graph says what they mean")]
pub enum LayerSpec {
    Values {
        #[serde(default = "one")]
        scale: f32,
        #[serde(default)]
        shift: f32,
    },
    OneHot {},
    Taps {
        from: String,
        offsets: Vec<[i32; 2]>,
        weight: String,
        bias: Option<String>,
        degrees: Option<Vec<i32>>,
    },
    Dense {
        from: String,
        weight: String,
        bias: Option<String>,
        degrees: Option<Vec<i32>>,
    },
    Relu {
        from: String,
    },
    LeakyRelu {
        from: String,
        slope: f32,
    },
    Elu {
        from: String,
    },
    ConcatElu {
        from: String,
    },
    Tanh {
        from: String,
    },
    Sigmoid {
        from: String,
    },
    Silu {
        from: String,
    },
    Gelu {
        from: String,
    },
    Gate {
        from: [String; 2],
    },
    Add {
        from: [String; 2],
    },
    Multiply {
        from: [String; 2],
    },
    Concat {
        from: Vec<String>,
    },
    Average {
        from: Vec<String>,
    },
}

fn one() -> f32 {
    1.0
}

impl<'a> Spec<'a> {
    /// From the JSON of a file.
    ///
    /// # Errors
    /// [`Error::Format`] if it has other fields than a graph has, or too many nodes.
    pub fn from_json(graph: &'a Value) -> Result<Self, Error> {
        let fields =
            Fields::deserialize(graph).map_err(|error| Error::format(format!("the graph is wrong: {error}")))?;
        let nodes = graph["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            return Err(Error::format(format!("the graph has {} nodes; wanted 1 to {MAX_NODES}", nodes.len())));
        }
        Ok(Self { nodes, fields })
    }

    /// The number of nodes.
    pub fn n_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes in their order.
    pub fn nodes(&self) -> impl Iterator<Item = Result<NodeSpec, Error>> {
        self.nodes.iter().enumerate().map(|(at, node)| {
            NodeSpec::deserialize(node).map_err(|error| {
                let name = node.get("name").and_then(Value::as_str).unwrap_or("without a name");
                Error::format(format!("node {at} of the graph ({name}): {error}"))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(node: &Value) -> Result<NodeSpec, String> {
        let graph = json!({"space": {"event_shape": [3], "n_classes": 2}, "nodes": [node], "output": "y"});
        let spec = Spec::from_json(&graph).expect("the fields of a graph");
        spec.nodes().next().expect("one node").map_err(|error| error.to_string())
    }

    #[test]
    fn members_are_two_at_least_and_nothing_beside_them() {
        let of = |n: usize| json!({"members": vec![json!({}); n]});
        assert_eq!(members(&json!({"nodes": []})), Ok(None));
        assert_eq!(members(&json!([])), Ok(None));
        for n in [2, MAX_MEMBERS] {
            assert_eq!(members(&of(n)).map(|members| members.map(<[Value]>::len)), Ok(Some(n)));
        }
        let mut beside = of(2);
        beside["output"] = "y".into();
        for (graph, reason) in [
            (of(0), "the graph has 0 members; wanted 2 to 64"),
            (of(1), "the graph has 1 members; wanted 2 to 64"),
            (of(65), "the graph has 65 members; wanted 2 to 64"),
            (beside, "the graph has members, and \"output\" beside them"),
            (json!({"members": {}}), "the members of the graph are no list"),
        ] {
            assert_eq!(members(&graph), Err(Error::format(reason)));
        }
    }

    #[test]
    fn nodes_are_read() {
        let from = || "x".to_owned();
        let cases = [
            (json!({"name": "a", "op": "values"}), LayerSpec::Values { scale: 1.0, shift: 0.0 }),
            (json!({"name": "a", "op": "one_hot"}), LayerSpec::OneHot {}),
            (
                json!({"name": "a", "op": "leaky_relu", "from": "x", "slope": 0.5}),
                LayerSpec::LeakyRelu { from: from(), slope: 0.5 },
            ),
            (json!({"name": "a", "op": "gate", "from": ["x", "x"]}), LayerSpec::Gate { from: [from(), from()] }),
            (
                json!({"name": "a", "op": "dense", "from": "x", "weight": "w", "bias": "b"}),
                LayerSpec::Dense { from: from(), weight: "w".into(), bias: Some("b".into()), degrees: None },
            ),
        ];
        for (node, layer) in cases {
            assert_eq!(read(&node), Ok(NodeSpec { name: "a".into(), layer }), "{node}");
        }
    }

    #[test]
    fn an_error_names_the_node() {
        let cases = [
            (json!({"name": "a", "op": "softmax", "from": "x"}), "unknown variant `softmax`"),
            (json!({"name": "a", "op": "relu", "from": "x", "slope": 1.0}), "unknown field `slope`"),
            (json!({"name": "a", "op": "relu"}), "missing field `from`"),
            (json!({"name": "a", "op": "one_hot", "from": "x"}), "unknown field `from`"),
            (json!({"name": "a"}), "missing field `op`"),
            (
                json!({"name": "a", "op": "taps", "from": "x", "offsets": [[1]], "weight": "w", "bias": "b"}),
                "invalid length 1",
            ),
        ];
        for (node, reason) in cases {
            let message = read(&node).expect_err("wrong");
            assert!(message.starts_with("node 0 of the graph (a): ") && message.contains(reason), "{message}");
        }
        assert!(read(&json!({"op": "values"})).expect_err("wrong").contains("(without a name): missing field `name`"));
    }
}
