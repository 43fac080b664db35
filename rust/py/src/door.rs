//! The one door between Python and the core: every long call goes through [`interruptible`], which releases the GIL, hears
//! Ctrl-C, reports progress and turns errors into exceptions.

use ancestral_core::{
    engine::{self, Batch},
    error::Error,
    model::Model,
};
use pyo3::{
    create_exception,
    exceptions::{PyKeyboardInterrupt, PyMemoryError, PyOverflowError, PyRuntimeError, PyValueError},
    intern,
    prelude::*,
};

create_exception!(
    ancestral,
    FormatError,
    PyValueError,
    "A model file, the parts of one, or compressed samples are not what they should be: damaged, forged, of a newer
release, or (samples) compressed with another model. The message says which."
);

/// The exception of an error.
pub fn raise(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Format(_) | Error::Codec(_) => FormatError::new_err(message),
        Error::Support { .. } | Error::Mixture { .. } | Error::Empty { .. } | Error::Dtype { .. } => {
            PyValueError::new_err(message)
        }
        Error::Overflow { .. } => PyOverflowError::new_err(message),
        Error::Isa { .. } | Error::Threads { .. } => PyRuntimeError::new_err(message),
        Error::Memory { .. } => PyMemoryError::new_err(message),
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
    }
}

/// Walks a batch without the GIL.
pub fn walk(py: Python<'_>, model: &dyn Model, batch: Batch<'_>, progress: Option<Py<PyAny>>) -> PyResult<()> {
    interruptible(py, progress, |go_on| engine::run(model, batch, go_on))
}

/// Whether this is the thread that handles signals.
pub fn hears_signals(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    threading.call_method0(intern!(py, "get_ident"))?.eq(main)
}

/// Works without the GIL. The work calls `go_on` now and then with what is done so far, on the same thread, and ends when
/// that returns false: `progress` or a signal handler has raised.
///
/// A thread that has neither does not come back into Python before the end. A daemon thread must not while the interpreter
/// shuts down, and before CPython 3.14 it cannot know for sure.
pub fn interruptible<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    work: impl Send + FnOnce(&mut dyn FnMut(usize) -> bool) -> Result<T, Error>,
) -> PyResult<T> {
    let attaches = progress.is_some() || hears_signals(py)?;
    let mut raised = None;
    let mut go_on = |done| {
        if attaches {
            // None: the interpreter is shutting down, and this is a daemon thread that it did not wait for.
            let outcome = Python::try_attach(|py| {
                py.check_signals()?;
                progress.as_ref().map_or(Ok(()), |progress| progress.call1(py, (done,)).map(drop))
            });
            raised = outcome.map_or(Some(PyKeyboardInterrupt::new_err(())), Result::err);
        }
        raised.is_none()
    };
    let result = py.detach(|| work(&mut go_on));
    match raised {
        Some(error) => Err(error),
        None => result.map_err(raise),
    }
}
