//! NumPy arrays of a model's values: of the dtype that its classes need, and no other.

use ancestral_core::values::{Dtype, Values, ValuesMut};
use numpy::{
    Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
};

use crate::arrays::{slice, slice_mut, writable};

/// An array to read.
pub enum ReadValues<'py> {
    U8(PyReadonlyArrayDyn<'py, u8>),
    U16(PyReadonlyArrayDyn<'py, u16>),
}

impl<'py> ReadValues<'py> {
    /// Borrows an array of this dtype.
    pub fn new(name: &str, array: &Bound<'py, PyAny>, dtype: Dtype) -> PyResult<Self> {
        fn read<'py, T: Element>(
            name: &str,
            array: &Bound<'py, PyAny>,
            dtype: Dtype,
        ) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
            typed(name, array, dtype)?.try_readonly().map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
        }
        Ok(match dtype {
            Dtype::U8 => Self::U8(read(name, array, dtype)?),
            Dtype::U16 => Self::U16(read(name, array, dtype)?),
        })
    }

    /// All values of a contiguous array.
    pub fn all(&self, name: &str) -> PyResult<Values<'_>> {
        Ok(match self {
            Self::U8(array) => Values::U8(slice(name, array, array.len())?),
            Self::U16(array) => Values::U16(slice(name, array, array.len())?),
        })
    }

    /// The values of a contiguous array, which must be this many.
    pub fn slice(&self, name: &str, len: usize) -> PyResult<Values<'_>> {
        Ok(match self {
            Self::U8(array) => Values::U8(slice(name, array, len)?),
            Self::U16(array) => Values::U16(slice(name, array, len)?),
        })
    }
}

/// An array to write to.
pub enum WriteValues<'py> {
    U8(PyReadwriteArrayDyn<'py, u8>),
    U16(PyReadwriteArrayDyn<'py, u16>),
}

impl<'py> WriteValues<'py> {
    /// Borrows an array of this dtype, unless it is read-only or already borrowed.
    pub fn new(name: &str, array: &Bound<'py, PyAny>, dtype: Dtype) -> PyResult<Self> {
        Ok(match dtype {
            Dtype::U8 => Self::U8(writable(name, typed(name, array, dtype)?)?),
            Dtype::U16 => Self::U16(writable(name, typed(name, array, dtype)?)?),
        })
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(array) => array.len(),
            Self::U16(array) => array.len(),
        }
    }

    /// The values of a contiguous array, which must be this many.
    pub fn slice(&mut self, name: &str, len: usize) -> PyResult<ValuesMut<'_>> {
        Ok(match self {
            Self::U8(array) => ValuesMut::U8(slice_mut(name, array, len)?),
            Self::U16(array) => ValuesMut::U16(slice_mut(name, array, len)?),
        })
    }
}

/// An array of the dtype that is wanted.
fn typed<'a, 'py, T: Element>(
    name: &str,
    array: &'a Bound<'py, PyAny>,
    dtype: Dtype,
) -> PyResult<&'a Bound<'py, PyArrayDyn<T>>> {
    array.cast::<PyArrayDyn<T>>().map_err(|_| {
        let found = match array.cast::<PyUntypedArray>() {
            Ok(array) => format!("has dtype {}", array.dtype()),
            Err(_) => format!("is a {}", array.get_type()),
        };
        PyTypeError::new_err(format!("{name} {found}; wanted an array of {}", dtype.name()))
    })
}
