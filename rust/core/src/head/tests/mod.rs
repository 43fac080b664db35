//! Distributions against f64: extreme logits, classes without probability, every number of classes, every instruction set.

mod bernoulli;
mod categorical;
mod walks;
