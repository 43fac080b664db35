//! A model at rest: its kind, its config and its named tensors, in a safetensors file.
//!
//! The file's `__metadata__` holds `format` (`ancestral`), `version`, `kind` and `config` (JSON): version 1. A network's has
//! `graph` (JSON, [`crate::net::spec`]) as well: version 2. Everything is little-endian f32 and finite. Reading checks the
//! whole before a model is built from it, and allocates no more than a small multiple of what was given.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use safetensors::{Dtype, SafeTensors};
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{error::Error, kernels::in_default_mode};

const FORMAT: &str = "ancestral";
/// Version of a file without a graph, and with one.
const VERSIONS: [&str; 2] = ["1", "2"];
/// Levels of a header (tensors, what is said of one, its shape), and more than any config has.
const LEVELS: usize = 3;
/// Levels of a graph: its members, a member, its nodes, a node, its offsets, one of them.
const GRAPH_LEVELS: usize = 7;
/// Values that the config of any model may have, however small.
const SETTINGS: usize = 32;
/// Values that the graph of any network may have, however small.
const GRAPH_SETTINGS: usize = 4096;

/// A tensor of finite floats in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// A tensor of this shape, whose data must be as long as the shape says, and finite.
    pub fn new(name: &str, shape: Vec<usize>, data: Vec<f32>) -> Result<Self, Error> {
        let size = shape.iter().try_fold(1_usize, |size, &n| size.checked_mul(n));
        if size != Some(data.len()) {
            return Err(Error::format(format!("tensor {name:?} has {} values for shape {shape:?}", data.len())));
        }
        match data.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::format(format!(
                "tensor {name:?} holds {} at flat index {at}; wanted finite values",
                data[at]
            ))),
            None => Ok(Self { shape, data }),
        }
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its values.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

/// A model's kind, config and tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The family, such as `NADE`.
    pub kind: String,
    /// The family's settings.
    pub config: Value,
    /// The graph of a network.
    pub graph: Option<Value>,
    /// The weights by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads the bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let invalid = |error| Error::format(format!("not a valid safetensors file: {error}"));
        if let Some(header) = header(bytes) {
            Strict { levels: LEVELS }
                .count(header)
                .map_err(|error| Error::format(format!("not a valid safetensors file: header: {error}")))?;
        }
        let (header_len, header) = SafeTensors::read_metadata(bytes).map_err(invalid)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let field = |name: &str| {
            metadata.get(name).ok_or_else(|| {
                Error::format(format!("the file's metadata has no {name:?}: not a model of this package"))
            })
        };
        if field("format")? != FORMAT {
            return Err(Error::format(format!("the file's format is {:?}; wanted {FORMAT:?}", field("format")?)));
        }
        let version = field("version")?;
        let Some(has_graph) = VERSIONS.iter().position(|known| known == version).map(|at| at == 1) else {
            let [old, new] = VERSIONS;
            return Err(Error::format(format!(
                "the file's format version is {version:?}; this release reads versions {old:?} and {new:?}"
            )));
        };
        let kind = field("kind")?.clone();
        let floats = (bytes.len() - 8 - header_len) / size_of::<f32>();
        let config = parse(field("config")?, floats)?;
        let graph = if has_graph { Some(parse_graph(field("graph")?, floats)?) } else { None };
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(invalid)?.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(Error::format(format!("tensor {name:?} is {:?}; wanted F32", view.dtype())));
            }
            let (floats, _) = view.data().as_chunks::<4>();
            let data = floats.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            tensors.insert(name.to_owned(), Tensor::new(name, view.shape().to_vec(), data)?);
        }
        Ok(Self { kind, config, graph, tensors })
    }

    /// SHA-256 of the bytes of its file: what tells models apart.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.to_bytes()).into()
    }

    /// The bytes of a file: equal checkpoints give equal bytes.
    ///
    /// The header is put together here because the library would write the metadata in the order of a hash map.
    pub fn to_bytes(&self) -> Vec<u8> {
        let version = VERSIONS[usize::from(self.graph.is_some())];
        let mut metadata =
            json!({"format": FORMAT, "version": version, "kind": self.kind, "config": self.config.to_string()});
        if let Some(graph) = &self.graph {
            metadata["graph"] = graph.to_string().into();
        }
        let mut header = serde_json::Map::from_iter([("__metadata__".to_owned(), metadata)]);
        let mut end = 0;
        for (name, tensor) in &self.tensors {
            let begin = end;
            end += tensor.data.len() * size_of::<f32>();
            header.insert(name.clone(), json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, end]}));
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = Vec::with_capacity(8 + header.len() + end);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for value in self.tensors.values().flat_map(|tensor| &tensor.data) {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// The config as the family's own type.
    pub fn config<C: DeserializeOwned>(&self) -> Result<C, Error> {
        C::deserialize(&self.config)
            .map_err(|error| Error::format(format!("the config of this {} is wrong: {error}", self.kind)))
    }

    /// The tensors, which must have exactly these names and shapes, in the order asked for.
    pub fn expect(&self, wanted: &[(String, Vec<usize>)]) -> Result<Vec<&Tensor>, Error> {
        if let Some(name) = self.tensors.keys().find(|name| wanted.iter().all(|(known, _)| known != *name)) {
            return Err(Error::format(format!("unexpected tensor {name:?} in a {}", self.kind)));
        }
        wanted
            .iter()
            .map(|(name, shape)| match self.tensors.get(name) {
                None => Err(Error::format(format!("tensor {name:?} is missing from a {}", self.kind))),
                Some(tensor) if tensor.shape != *shape => {
                    Err(Error::format(format!("tensor {name:?} has shape {:?}; wanted {shape:?}", tensor.shape)))
                }
                Some(tensor) => Ok(tensor),
            })
            .collect()
    }
}

/// The JSON at the beginning of a file, as far as its length is believable.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)
}

/// Reads JSON without keeping any of it: how many values it has. So many levels of lists and objects are allowed, and in no
/// object the same key twice: readers that kept the first and the last of them would differ.
#[derive(Clone, Copy)]
struct Strict {
    levels: usize,
}

impl Strict {
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { levels })
    }

    fn count(self, json: &[u8]) -> serde_json::Result<usize> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let values = self.deserialize(&mut reader)?;
        reader.end()?;
        Ok(values)
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }
    fn visit_str<E>(self, _: &str) -> Result<usize, E> {
        Ok(1)
    }
    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(1)
    }
    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(1)
    }
    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(1)
    }
    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(1)
    }
    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(1)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<usize, A::Error> {
        let (inside, mut values) = (self.inside()?, 1);
        while let Some(item) = items.next_element_seed(inside)? {
            values += item;
        }
        Ok(values)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<usize, A::Error> {
        let (inside, mut values, mut seen) = (self.inside()?, 1, HashSet::new());
        while let Some(key) = entries.next_key::<String>()? {
            if let Some(twice) = seen.replace(key) {
                return Err(A::Error::custom(format!("the key {twice:?} stands twice")));
            }
            values += entries.next_value_seed(inside)?;
        }
        Ok(values)
    }
}

/// A config from its JSON text, for a model of at most so many floats.
pub fn parse(config: &str, floats: usize) -> Result<Value, Error> {
    // The longest config is that of an order, which lists as many dimensions as there are biases.
    parse_json("config", config, LEVELS, floats.saturating_add(SETTINGS))
}

/// A graph from its JSON text, for a network of at most so many floats.
pub fn parse_graph(graph: &str, floats: usize) -> Result<Value, Error> {
    // A network of few weights has many nodes, and many nodes of one network may share its weights.
    parse_json("graph", graph, GRAPH_LEVELS, floats.saturating_mul(4).saturating_add(GRAPH_SETTINGS))
}

/// JSON of so many levels and values at most. A list in memory takes many times its text.
fn parse_json(what: &str, text: &str, levels: usize, most: usize) -> Result<Value, Error> {
    let invalid = |error| Error::format(format!("the {what} is not JSON: {error}"));
    let values = Strict { levels }.count(text.as_bytes()).map_err(invalid)?;
    if values > most {
        return Err(Error::format(format!(
            "the {what} has {values} values, more than {most}, for which the file has floats"
        )));
    }
    in_default_mode(|| serde_json::from_str(text).map_err(invalid))
}
