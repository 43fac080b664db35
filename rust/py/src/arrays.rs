//! NumPy arrays as slices of the lengths they must have.

use numpy::{Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*};

/// Borrows an array to write to, unless it is read-only or already borrowed.
pub fn writable<'py, T: Element>(
    name: &str,
    array: &Bound<'py, PyArrayDyn<T>>,
) -> PyResult<PyReadwriteArrayDyn<'py, T>> {
    array.try_readwrite().map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}

/// The values of a contiguous array, which must be this many.
pub fn slice_mut<'a, T: Element>(
    name: &str,
    array: &'a mut PyReadwriteArrayDyn<'_, T>,
    len: usize,
) -> PyResult<&'a mut [T]> {
    let found = array.len();
    if !array.is_c_contiguous() {
        return Err(not_contiguous(name));
    }
    let slice = array.as_slice_mut().map_err(|_| not_contiguous(name))?;
    if found == len {
        Ok(slice)
    } else {
        Err(PyValueError::new_err(format!("{name} has {found} values; wanted {len}")))
    }
}

/// The values of a contiguous array, which must be this many.
pub fn slice<'a, T: Element>(name: &str, array: &'a PyReadonlyArrayDyn<'_, T>, len: usize) -> PyResult<&'a [T]> {
    // `as_slice` would take Fortran's order as well.
    let slice = array.as_slice().ok().filter(|_| array.is_c_contiguous()).ok_or_else(|| not_contiguous(name))?;
    if slice.len() == len {
        Ok(slice)
    } else {
        Err(PyValueError::new_err(format!("{name} has {} values; wanted {len}", slice.len())))
    }
}

fn not_contiguous(name: &str) -> PyErr {
    PyValueError::new_err(format!("{name} is not an aligned array in C order"))
}
