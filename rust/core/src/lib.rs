//! Exact, reproducible sampling and likelihood of autoregressive models.
//!
//! A [`model`] supplies the parameters of p(x_i | x_<i); a [`head`] makes a distribution of them; a [`driver`] decides x_i; the [`engine`] walks blocks of
//! samples through the dimensions on all cores. Same weights, seed and index give the same bits, whatever the
//! batch, the threads or the instruction set.
//!
//! ```
//! use ancestral_core::{checkpoint::{Checkpoint, Tensor}, driver::{Draw, Driver, Score}, engine::{self, Batch}, models, outputs::Outputs, values::{Values, ValuesMut}};
//!
//! // An FVSBN of two dimensions: x_0 is fair, and x_1 mostly equals x_0.
//! let checkpoint = Checkpoint {
//!     kind: "FVSBN".into(),
//!     config: serde_json::json!({"n_dims": 2, "order": null}),
//!     graph: None,
//!     tensors: [
//!         ("weight".into(), Tensor::new("weight", vec![2, 2], vec![0.0, 0.0, 6.0, 0.0])?),
//!         ("bias".into(), Tensor::new("bias", vec![2], vec![0.0, -3.0])?),
//!     ].into(),
//! };
//! let distribution = models::build(&checkpoint)?;
//! let model = distribution.one()?;
//!
//! let mut x = vec![0; 2 * 1000];
//! let outputs = Outputs { x: Some(ValuesMut::U8(&mut x)), ..Outputs::default() };
//! let draw = Draw::new(0, 0);
//! engine::run(model, Batch { n: 1000, driver: Driver::Decide(&draw), n_steps: None, block_len: None, outputs, threads: 2 }, &mut |_| true)?;
//!
//! let mut log_prob = vec![0.0; 1000];
//! let outputs = Outputs { log_prob: Some(&mut log_prob), ..Outputs::default() };
//! let score = Score::new(model.space(), Values::U8(&x))?;
//! engine::run(model, Batch { n: 1000, driver: Driver::Score(&score), n_steps: None, block_len: None, outputs, threads: 2 }, &mut |_| true)?;
//! assert!(log_prob.iter().all(|&nats| nats < 0.0));
//! # Ok::<(), ancestral_core::error::Error>(())
//! ```

pub mod block;
pub mod checkpoint;
pub mod codec;
pub mod distribution;
pub mod driver;
pub mod engine;
pub mod error;
pub mod head;
pub mod kernels;
pub mod layers;
pub mod mixture;
pub mod model;
pub mod models;
pub mod net;
pub mod outputs;
pub mod philox;
pub mod space;
mod threads;
pub mod values;
