"""Arrays that a call fills, and how much memory it may take at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def empty(shape: tuple[int, ...], dtype: type[Scalar] | np.dtype[Scalar], count: str = "n") -> NDArray[Scalar]:
    """A new array; if there is no room, an error that names `count`, the argument that set its length."""
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):  # ValueError: more than an address can count
        raise MemoryError(f"{count} is {shape[0]}: no room for an array of shape {shape}") from None


def output(
    name: str,
    out: object,
    shape: tuple[int, ...],
    dtype: type[Scalar] | np.dtype[Scalar],
    avoid: NDArray[Any] | None = None,
) -> NDArray[Scalar]:
    """The array to fill: `out` if it is one of this shape and dtype, writable and C-contiguous; a new one for None.

    `avoid` is an array that is read while the output is written: they must not share memory.
    """
    if out is None:
        return empty(shape, dtype)
    wanted = f"a NumPy array of shape {shape} and dtype {np.dtype(dtype)}"
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} is a {type(out).__name__}; wanted {wanted}")
    if out.dtype != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}; wanted {wanted}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}; wanted {wanted}")
    if not out.flags.c_contiguous or not out.flags.aligned:
        raise ValueError(f"{name} is not C-contiguous; wanted {wanted}, C-contiguous")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only; wanted a writable array")
    if avoid is not None and np.may_share_memory(out, avoid):
        raise ValueError(f"{name} shares memory with x; wanted an array of its own")
    return out


def parts(n: int, row_bytes: int, room: int) -> Iterator[slice]:
    """n rows in parts whose temporary arrays fit the room, or of one row."""
    size = max(1, room // row_bytes)
    return (slice(first, min(first + size, n)) for first in range(0, n, size))
