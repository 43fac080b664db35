"""Events, evidence, bounds and log-probabilities as users write them: anything array-like, checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral._arguments.arrays import as_array, as_masked
from ancestral._arguments.outputs import empty, parts
from ancestral._arguments.shapes import wrong_shape

_ROOM = 2**22
"""Bytes of temporary arrays that a check or a conversion may take, unless one row needs more."""


def values(name: str, value: object, n_classes: int) -> NDArray[Any]:
    """An array of bools, integers or floats, of any shape."""
    array = as_array(name, value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {array.dtype}; wanted integers from 0 to {n_classes - 1}")
    return array


def events(x: Any, event_shape: tuple[int, ...], n_classes: int) -> NDArray[Any]:
    """An array (n, *event_shape) of bools, integers or floats; their values are for `as_uint8` or the core to check."""
    array = values("x", x, n_classes)
    if array.shape[1:] != event_shape or array.ndim == 0:
        wanted = ", ".join(["n", *map(str, event_shape)])
        raise wrong_shape("x", x, array.shape, event_shape, f"({wanted})", one=False, many=True)
    return array


def as_uint8(rows: NDArray[Any], n_classes: int, first: int) -> NDArray[np.uint8]:
    """Some rows of `events`, from x[first] on, as contiguous uint8.

    Raises ValueError if they are not all integers 0 to n_classes − 1.
    """
    if rows.dtype != np.bool_:
        check_support("x", rows, n_classes, first)
    return np.ascontiguousarray(rows, dtype=np.uint8)


def all_uint8(x: NDArray[Any], n_classes: int) -> NDArray[np.uint8]:
    """All rows of `events` as contiguous uint8, checked: the array itself if it is that, else a copy."""
    result = x if x.dtype == np.uint8 and x.flags.c_contiguous else empty(x.shape, np.uint8)
    for part in parts(len(x), 4 * math.prod(x.shape[1:]), _ROOM):
        rows = as_uint8(x[part], n_classes, part.start)
        if result is not x:
            result[part] = rows
    return result


def check_support(
    name: str, rows: NDArray[Any], n_classes: int, first: int = 0, missing: NDArray[np.bool_] | None = None
) -> None:
    """Raises ValueError if some value is none of 0 to n_classes − 1: rows are counted from `first`."""
    good = (rows >= 0) & (rows < n_classes)
    if rows.dtype.kind == "f":
        good &= np.floor(rows) == rows
    if missing is not None:
        good |= missing
    if not good.all():
        at = np.unravel_index(np.argmin(good), rows.shape)
        index = ", ".join(map(str, (first + at[0], *at[1:])))
        unless = "" if missing is None else ", except where not observed"
        raise ValueError(f"{name}[{index}] is {rows[at]}; wanted integers from 0 to {n_classes - 1}{unless}")


def evidence(
    name: str, value: Any, event_shape: tuple[int, ...], n_classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The values of one partly observed event, and which of them were observed; others are 0.

    What was not observed is marked by −1, by NaN, or by the mask of a masked array.
    """
    array, masked = as_masked(name, value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {array.dtype}; wanted integers from 0 to {n_classes - 1}, or −1")
    if array.shape != event_shape:
        raise wrong_shape(name, value, array.shape, event_shape, f"one event, {event_shape}", one=True, many=False)
    missing = np.isnan(array) | (array == -1) if array.dtype.kind in "if" else np.zeros(event_shape, np.bool_)
    if masked is not None:
        missing |= masked
    if array.dtype.kind == "u" and (most := array.max(initial=0, where=~missing)) >= n_classes:
        wanted = f"integers from 0 to {n_classes - 1}, or −1, which takes a signed dtype"
        raise ValueError(f"{name} has a value {most} of dtype {array.dtype}; wanted {wanted}")
    check_support(name, array, n_classes, missing=missing)
    return np.where(missing, 0, array).astype(np.uint8), ~missing


def stacked(name: str, value: object, array: NDArray[Any], shape: tuple[int, ...]) -> tuple[NDArray[Any], bool]:
    """An array of one item (shape) or of n (n, *shape) as one of n, and whether it came so. `value` is what it was
    made of."""
    if array.shape == shape:
        return array[None], False
    if array.shape[1:] == shape and array.ndim:
        return array, True
    wanted = ", ".join(map(str, shape))
    raise wrong_shape(name, value, array.shape, shape, f"({wanted}) or (n, {wanted})", one=True, many=True)


def partial_events(
    x: Any, observed: Any, event_shape: tuple[int, ...], n_classes: int
) -> tuple[NDArray[Any], NDArray[np.bool_], bool]:
    """Values and mask, both (n, *event_shape), and whether either came with an axis of rows. Values that were observed
    are integers 0 to n_classes − 1. Nothing is copied."""
    (array, masked), mask = as_masked("x", x), as_array("observed", observed)
    if array.dtype.kind not in "buif":
        raise TypeError(f"x has dtype {array.dtype}; wanted integers from 0 to {n_classes - 1}")
    if mask.dtype != np.bool_:
        raise TypeError(f"observed has dtype {mask.dtype}; wanted a boolean mask")
    array, many = stacked("x", x, array, event_shape)
    mask, many_masks = stacked("observed", observed, mask, event_shape)
    if many and many_masks and len(array) != len(mask):
        raise ValueError(f"observed has {len(mask)} rows, and x has {len(array)}; wanted one mask, or one a row")
    shape = (len(array) if many else len(mask), *event_shape)
    array, mask = np.broadcast_to(array, shape), np.broadcast_to(mask, shape)
    if masked is not None and (unknown := masked & mask).any():
        at = ", ".join(map(str, np.unravel_index(np.argmax(unknown), shape)))
        raise ValueError(f"x[{at}] is masked, and observed; wanted one or the other")
    for part in parts(len(array), 4 * math.prod(event_shape), _ROOM):
        check_support("x", array[part], n_classes, part.start, missing=~mask[part])
    return array, mask, many or many_masks


def bounds(name: str, value: Any, event_shape: tuple[int, ...]) -> tuple[NDArray[Any], bool]:
    """Bounds of one query or many as (q, *event_shape), integers of any dtype or infinite, and whether they came with
    an axis of queries. Nothing is copied."""
    array = as_array(name, value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {array.dtype}; wanted integers")
    array, many = stacked(name, value, array, event_shape)
    if array.dtype.kind == "f":
        for part in parts(len(array), 16 * math.prod(event_shape), _ROOM):
            if not (whole := np.floor(array[part]) == array[part]).all():
                raise ValueError(f"{name} has a value {array[part][~whole][0]}; wanted integers")
    return array, many


def log_probs(name: str, value: object) -> NDArray[np.float64]:
    """An array of log-probabilities, as float64."""
    array = as_array(name, value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} has dtype {array.dtype}; wanted log-probabilities, floats")
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"{name} has shape {array.shape}; wanted at least 2 log-probabilities, (n,)")
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        at = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"{name}[{at}] is {values[at]}; wanted finite log-probabilities")
    if values.mean() > 0.01:  # a probability is at most 1, but for rounding
        raise ValueError(f"{name} has mean {values.mean():.6g}; wanted log-probabilities, which are negative")
    return values
