"""Arrays of another shape than wanted: the error, and what the user may have meant."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np

from ancestral._arguments.arrays import is_tensor


def wrong_shape(
    name: str,
    value: object,
    shape: tuple[int, ...],
    event_shape: tuple[int, ...],
    wanted: str,
    *,
    one: bool,
    many: bool,
) -> ValueError:
    """The error for an array of this `shape`. `value` is the argument as it came; `one` and `many` are whether an event
    is wanted, and n of them, (n, *event_shape)."""
    array = name if isinstance(value, np.ndarray) or is_tensor(value) else f"np.asarray({name})"
    transpose = "permute" if is_tensor(value) else "transpose"
    hint = _reshape(array, shape, event_shape, one, many) or _transpose(
        f"{array}.{transpose}", shape, event_shape, one, many
    )
    return ValueError(f"{name} has shape {shape}; wanted {wanted}{hint}")


def _reshape(array: str, shape: tuple[int, ...], event_shape: tuple[int, ...], one: bool, many: bool) -> str:
    """Advice to reshape, where nothing but flat events and axes of size 1 stand between the shapes: no value of an
    event then changes its place among the others."""
    sizes = [size for size in shape if size != 1]
    if _is_event(sizes, event_shape):
        target = event_shape if one else (1, *event_shape)
    elif many and sizes and _is_event(sizes[1:], event_shape):
        target = (sizes[0], *event_shape)
    else:
        return ""
    return f"; did you mean {array}.reshape({_listed(target)})?"


def _is_event(sizes: list[int], event_shape: tuple[int, ...]) -> bool:
    """Whether axes of these sizes, without those of size 1, are an event's, or a flat event's."""
    n_dims = math.prod(event_shape)
    flat = math.prod(sizes) == n_dims if len(event_shape) == 1 else sizes == [n_dims]
    return flat or sizes == [size for size in event_shape if size != 1]


def _transpose(call: str, shape: tuple[int, ...], event_shape: tuple[int, ...], one: bool, many: bool) -> str:
    """Advice to transpose, where the axes are those wanted in another order: by name if only one order fits."""
    n_axes, batched = len(shape), many and len(shape) == len(event_shape) + 1
    if not (batched or n_axes == len(event_shape)):
        return ""
    orders = {}
    for order in permutations(range(n_axes)):
        sizes = tuple(shape[axis] for axis in order)
        if sizes[batched:] == event_shape:
            orders[tuple(axis for axis in order if shape[axis] != 1)] = order  # those of size 1 may stand anywhere
    if not orders:
        return ""
    if len(orders) > 1:
        return "; its axes are those wanted in another order"
    (order,) = orders.values()
    batch = "" if batched or one else "[None]"
    return f"; did you mean {call}({_listed(order)}){batch}?"


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
