//! Callers' arrays of values, of the smallest unsigned type that holds a space's classes.

use std::ops::Range;

use crate::{error::Error, space::Space};

/// A type that values are stored in.
pub trait Value: Copy + Ord + Into<u32> {
    /// The value as this type, which holds it.
    fn of(value: u32) -> Self;
}

impl Value for u8 {
    #[inline(always)]
    fn of(value: u32) -> Self {
        value as u8
    }
}

impl Value for u16 {
    #[inline(always)]
    fn of(value: u32) -> Self {
        value as u16
    }
}

impl Value for u32 {
    #[inline(always)]
    fn of(value: u32) -> Self {
        value
    }
}

/// The type of a caller's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// Up to 256 classes.
    U8,
    /// Up to 65,536 classes.
    U16,
}

impl Dtype {
    /// That of a space's values.
    pub fn of(space: &Space) -> Self {
        if space.most_classes() <= 256 { Dtype::U8 } else { Dtype::U16 }
    }

    /// The name that NumPy knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::U8 => "uint8",
            Dtype::U16 => "uint16",
        }
    }

    /// An error unless it is that of a space's values.
    pub(crate) fn check(self, what: &'static str, space: &Space) -> Result<(), Error> {
        let wanted = Self::of(space);
        if self == wanted { Ok(()) } else { Err(Error::Dtype { what, found: self, wanted }) }
    }
}

/// Values to read.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Of up to 256 classes.
    U8(&'a [u8]),
    /// Of up to 65,536 classes.
    U16(&'a [u16]),
}

impl<'a> Values<'a> {
    /// Their type.
    pub fn dtype(&self) -> Dtype {
        match self {
            Values::U8(_) => Dtype::U8,
            Values::U16(_) => Dtype::U16,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Values::U8(x) => x.len(),
            Values::U16(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of them.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn slice(&self, range: Range<usize>) -> Values<'a> {
        match self {
            Values::U8(x) => Values::U8(&x[range]),
            Values::U16(x) => Values::U16(&x[range]),
        }
    }

    /// The value at a place.
    #[inline]
    pub fn get(&self, at: usize) -> u32 {
        match self {
            Values::U8(x) => x[at].into(),
            Values::U16(x) => x[at].into(),
        }
    }
}

/// Values to write.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// Of up to 256 classes.
    U8(&'a mut [u8]),
    /// Of up to 65,536 classes.
    U16(&'a mut [u16]),
}

impl<'a> ValuesMut<'a> {
    /// Their type.
    pub fn dtype(&self) -> Dtype {
        match self {
            ValuesMut::U8(_) => Dtype::U8,
            ValuesMut::U16(_) => Dtype::U16,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            ValuesMut::U8(x) => x.len(),
            ValuesMut::U16(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// To read.
    pub fn read(&self) -> Values<'_> {
        match self {
            ValuesMut::U8(x) => Values::U8(x),
            ValuesMut::U16(x) => Values::U16(x),
        }
    }

    /// Writes the first rows of `from`, of `n_dims` values each, to the rows of these numbers. Both are of the same type.
    pub(crate) fn scatter(&mut self, n_dims: usize, from: Values<'_>, rows: &[usize]) {
        fn each<T: Copy>(n_dims: usize, from: &[T], rows: &[usize], out: &mut [T]) {
            for (&row, from) in rows.iter().zip(from.chunks_exact(n_dims)) {
                out[row * n_dims..][..n_dims].copy_from_slice(from);
            }
        }
        match (self, from) {
            (ValuesMut::U8(out), Values::U8(from)) => each(n_dims, from, rows, out),
            (ValuesMut::U16(out), Values::U16(from)) => each(n_dims, from, rows, out),
            _ => unreachable!("values of one type"),
        }
    }

    /// Splits off the first `len`.
    ///
    /// # Panics
    /// If there are fewer.
    pub(crate) fn split_off(&mut self, len: usize) -> ValuesMut<'a> {
        const FEWER: &str = "as many values as the batch has samples";
        match self {
            ValuesMut::U8(x) => ValuesMut::U8(x.split_off_mut(..len).expect(FEWER)),
            ValuesMut::U16(x) => ValuesMut::U16(x.split_off_mut(..len).expect(FEWER)),
        }
    }

    /// Writes rows of values in the model's order, which are moved to the event's.
    pub(crate) fn write<T: Value>(&mut self, space: &Space, rows: &[T]) {
        fn each<T: Value, U: Value>(space: &Space, rows: &[T], out: &mut [U]) {
            let n_dims = space.n_dims();
            for (row, out) in rows.chunks_exact(n_dims).zip(out.chunks_exact_mut(n_dims)) {
                space.to_event_order(row, out, |value| U::of(value.into()));
            }
        }
        match self {
            ValuesMut::U8(out) => each(space, rows, out),
            ValuesMut::U16(out) => each(space, rows, out),
        }
    }
}

/// An array of its own, of the type of a space's values.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Of up to 256 classes.
    U8(Vec<u8>),
    /// Of up to 65,536 classes.
    U16(Vec<u16>),
}

impl Array {
    /// Zeros for `n` samples.
    pub fn new(space: &Space, n: usize) -> Self {
        let len = n * space.n_dims();
        match Dtype::of(space) {
            Dtype::U8 => Array::U8(vec![0; len]),
            Dtype::U16 => Array::U16(vec![0; len]),
        }
    }

    /// To read.
    pub fn read(&self) -> Values<'_> {
        match self {
            Array::U8(x) => Values::U8(x),
            Array::U16(x) => Values::U16(x),
        }
    }

    /// To write.
    pub fn write(&mut self) -> ValuesMut<'_> {
        match self {
            Array::U8(x) => ValuesMut::U8(x),
            Array::U16(x) => ValuesMut::U16(x),
        }
    }

    /// Writes a value, which its type holds, at a place.
    pub fn set(&mut self, at: usize, value: u32) {
        match self {
            Array::U8(x) => x[at] = Value::of(value),
            Array::U16(x) => x[at] = Value::of(value),
        }
    }
}
