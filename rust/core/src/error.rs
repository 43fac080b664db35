//! Everything that can go wrong, in words that a user of any front end can act on.

use crate::values::Dtype;

/// An error of the core.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A model file or its parts are not what they should be.
    #[error("{0}")]
    Format(String),
    /// A compressed file or its parts are not what they should be.
    #[error("{0}")]
    Codec(String),
    /// A value outside the model's support.
    #[error("x has the value {value} at row {row}, dimension {dim}; wanted integers from 0 to {}", n_classes - 1)]
    Support {
        /// The value found.
        value: u32,
        /// Its row in the batch.
        row: usize,
        /// Its flat dimension.
        dim: usize,
        /// Classes of the dimension.
        n_classes: usize,
    },
    /// Values of a type that is not the model's.
    #[error("{what} has dtype {}; wanted {}", found.name(), wanted.name())]
    Dtype {
        /// The argument.
        what: &'static str,
        /// Its type.
        found: Dtype,
        /// That of the model's values.
        wanted: Dtype,
    },
    /// A mixture was asked for what takes the conditionals of one model.
    #[error("a mixture of {n_members} orders has no conditionals in one order")]
    Mixture {
        /// Its members.
        n_members: usize,
    },
    /// A set of allowed values with no value in it.
    #[error("no value is allowed at row {row}, dimension {dim}")]
    Empty {
        /// Its row in the batch.
        row: usize,
        /// Its flat dimension.
        dim: usize,
    },
    /// The weights take the activations out of the range of f32.
    #[error("the activations overflow float32 at sample {sample}: the model's weights are too large")]
    Overflow {
        /// Index of the sample in the batch.
        sample: usize,
    },
    /// `ANCESTRAL_ISA` names something that is not to be had here.
    #[error("ANCESTRAL_ISA is {wanted:?}; this processor has: {available}")]
    Isa {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// No threads could be started.
    #[error("could not start a thread: {reason}")]
    Threads {
        /// What the system said.
        reason: String,
    },
    /// The system gave no memory for the samples being walked.
    #[error("no memory for {bytes} bytes of activations")]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Makes a vector this long, new elements being `value`; what it held before stays.
///
/// # Errors
/// [`Error::Memory`]: a small file can describe a large image, and what it takes is known only here.
pub(crate) fn resize<T: Clone>(memory: &mut Vec<T>, len: usize, value: T) -> Result<(), Error> {
    let further = len.saturating_sub(memory.len());
    memory.try_reserve_exact(further).map_err(|_| Error::Memory { bytes: len.saturating_mul(size_of::<T>()) })?;
    memory.resize(len, value);
    Ok(())
}

/// The most characters of a message at its beginning, and at its end.
const HEAD: usize = 600;
const TAIL: usize = 300;

impl Error {
    /// A [`Error::Format`].
    ///
    /// A message quotes a file that may be hostile: control characters are written out, so that a terminal does not obey
    /// them, and the middle of a long text is left out.
    pub fn format(message: impl Into<String>) -> Self {
        let message: String = message.into();
        let mut text = String::new();
        let n = message.chars().count();
        for (at, c) in message.chars().enumerate() {
            match c {
                _ if at >= HEAD && at + TAIL < n => {
                    if at == HEAD {
                        text.push('…');
                    }
                }
                _ if c.is_control() => text.extend(c.escape_default()),
                _ => text.push(c),
            }
        }
        Error::Format(text)
    }

    /// A [`Error::Codec`].
    pub fn codec(message: impl Into<String>) -> Self {
        Error::Codec(message.into())
    }
}
