"""Events, evidence, bounds and log-probabilities as users write them: anything array-like, checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral._arguments.arrays import as_array, as_masked
from ancestral._arguments.outputs import empty, parts
from ancestral._arguments.shapes import wrong_shape
from ancestral._space import Space, Values

_ROOM = 2**22
"""Bytes of temporary arrays that a check or a conversion may take, unless one row needs more."""


def values(name: str, value: object, space: Space) -> NDArray[Any]:
    """An array of bools, integers or floats, of any shape."""
    array = as_array(name, value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {array.dtype}; wanted {space.wanted}")
    return array


def events(x: Any, space: Space) -> NDArray[Any]:
    """An array (n, *event_shape) of bools, integers or floats; `as_values` or the core checks their values."""
    array = values("x", x, space)
    if array.shape[1:] != space.event_shape or array.ndim == 0:
        wanted = ", ".join(["n", *map(str, space.event_shape)])
        raise wrong_shape("x", x, array.shape, space.event_shape, f"({wanted})", one=False, many=True)
    return array


def as_values(rows: NDArray[Any], space: Space, first: int) -> Values:
    """Some rows of `events`, from x[first] on, contiguous and of the space's dtype.

    Raises ValueError if they are not all values of the space.
    """
    if rows.dtype != np.bool_ or np.min(space.highest) == 0:
        space.check("x", rows, first)
    return np.ascontiguousarray(rows, dtype=space.dtype)


def all_values(x: NDArray[Any], space: Space) -> Values:
    """All rows of `events` as contiguous values, checked: the array itself if it is that, else a copy."""
    result = x if x.dtype == space.dtype and x.flags.c_contiguous else empty(x.shape, space.dtype)
    for part in parts(len(x), 4 * space.n_dims, _ROOM):
        rows = as_values(x[part], space, part.start)
        if result is not x:
            result[part] = rows
    return result


def evidence(name: str, value: Any, space: Space) -> tuple[Values, NDArray[np.bool_]]:
    """The values of one partly observed event, and which of them were observed; others are 0.

    What was not observed is marked by −1, by NaN, or by the mask of a masked array.
    """
    array, masked = as_masked(name, value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {array.dtype}; wanted {space.wanted}, or −1")
    event_shape = space.event_shape
    if array.shape != event_shape:
        raise wrong_shape(name, value, array.shape, event_shape, f"one event, {event_shape}", one=True, many=False)
    missing = np.isnan(array) | (array == -1) if array.dtype.kind in "if" else np.zeros(event_shape, np.bool_)
    if masked is not None:
        missing |= masked
    if array.dtype.kind == "u" and (most := array.max(initial=0, where=~missing)) >= space.most_classes:
        wanted = f"{space.wanted}, or −1, which takes a signed dtype"
        raise ValueError(f"{name} has a value {most} of dtype {array.dtype}; wanted {wanted}")
    space.check(name, array, missing=missing)
    return np.where(missing, 0, array).astype(space.dtype), ~missing


def stacked(name: str, value: object, array: NDArray[Any], shape: tuple[int, ...]) -> tuple[NDArray[Any], bool]:
    """An array of one item (shape) or of n (n, *shape) as one of n, and whether it came so. `value` is what it was
    made of."""
    if array.shape == shape:
        return array[None], False
    if array.shape[1:] == shape and array.ndim:
        return array, True
    wanted = ", ".join(map(str, shape))
    raise wrong_shape(name, value, array.shape, shape, f"({wanted}) or (n, {wanted})", one=True, many=True)


def partial_events(x: Any, observed: Any, space: Space) -> tuple[NDArray[Any], NDArray[np.bool_], bool]:
    """Values and mask, both (n, *event_shape), and whether either came with an axis of rows. Values that were observed
    are of the space. Nothing is copied."""
    event_shape = space.event_shape
    (array, masked), mask = as_masked("x", x), as_array("observed", observed)
    if array.dtype.kind not in "buif":
        raise TypeError(f"x has dtype {array.dtype}; wanted {space.wanted}")
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
    for part in parts(len(array), 4 * space.n_dims, _ROOM):
        space.check("x", array[part], part.start, missing=~mask[part])
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
