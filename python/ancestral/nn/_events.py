"""x as users write it: a tensor (n, *event_shape) of values in the support, or an error that names it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ancestral.nn._transforms import values_of

_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_WIDE = (torch.uint16, torch.uint32, torch.uint64)  # torch cannot compare them


def as_events(x: Any, event_shape: tuple[int, ...], n_classes: int, name: str) -> Tensor:
    """A tensor of (n, *event_shape) values in {0, ..., n_classes - 1}, or an error that names it."""
    tensor = _as_real_tensor(x, name)
    if tensor.ndim != 1 + len(event_shape) or tuple(tensor.shape[1:]) != event_shape:
        dims, shape = ", ".join(map(str, event_shape)), tuple(tensor.shape)
        hint = _shape_hint(shape, event_shape, "permute" if isinstance(x, Tensor) else "transpose")
        hint = f"; try {name}{hint}" if hint else ""
        raise ValueError(f"{name} must have shape (n, {dims}), got {shape}{hint}")
    _check_support(tensor, n_classes, name)
    return tensor


def _shape_hint(shape: tuple[int, ...], event_shape: tuple[int, ...], permute: str) -> str:
    """What turns the shape into (n, *event_shape) and mixes no values, "" if that is not known."""
    dims = ", ".join(map(str, event_shape))
    if _reads_as(shape, event_shape):
        return f".reshape(1, {dims})"
    if _reads_as(shape[1:], event_shape):
        return f".reshape(-1, {dims})"
    if sorted(shape) == sorted(event_shape):
        return f".{permute}({', '.join(map(str, _axes(shape, event_shape)))})[None]"
    if sorted(shape[1:]) == sorted(event_shape):
        return f".{permute}(0, {', '.join(str(1 + axis) for axis in _axes(shape[1:], event_shape))})"
    return ""


def _reads_as(shape: tuple[int, ...], event_shape: tuple[int, ...]) -> bool:
    """Whether the shape holds one event in its order: flat, or with other axes of length 1."""
    if len(shape) == 1 or len(event_shape) == 1:
        return math.prod(shape) == math.prod(event_shape) and len(shape) > 0
    return [size for size in shape if size != 1] == [size for size in event_shape if size != 1]


def _axes(shape: tuple[int, ...], event_shape: tuple[int, ...]) -> list[int]:
    """The axis of the shape for each of the event's; axes of one length stay in their order."""
    left = list(enumerate(shape))
    axes = []
    for size in event_shape:
        axis = next(pair for pair in left if pair[1] == size)
        left.remove(axis)
        axes.append(axis[0])
    return axes


def _as_real_tensor(x: Any, name: str) -> Tensor:
    """X as a dense tensor of a bool, integer or floating dtype, or an error that names it."""
    if isinstance(x, (list, tuple)) and x and all(isinstance(row, Tensor) for row in x):
        try:
            x = torch.stack(tuple(x))
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"{name} is a {type(x).__name__} of tensors that cannot be stacked: {error}") from error
    tensor = x if isinstance(x, Tensor) else _from_array(x, name)
    _refuse_what_has_no_plain_values(tensor, name)
    if tensor.dtype in _WIDE:
        return tensor.long()
    if tensor.is_floating_point():
        return tensor.float() if tensor.dtype.itemsize == 1 else tensor.resolve_neg()  # torch cannot compare float8
    if tensor.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be of a bool, integer or floating dtype, got {tensor.dtype}")
    return tensor.resolve_neg()


def _from_array(x: Any, name: str) -> Tensor:
    try:
        array = np.asarray(x)
    except Exception as error:  # what a foreign object's __array__ happens to raise
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name} must be a tensor or array: {error}") from error
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} must be of a bool, integer or floating dtype, got {array.dtype}")
    if np.ma.is_masked(x):
        raise ValueError(f"{name} has masked values; wanted all observed")
    dtype = np.dtype(np.float64) if array.dtype == np.longdouble else array.dtype.newbyteorder("=")
    # A copy in the native byte order: torch takes no other, nor negative strides or read-only memory.
    return torch.from_numpy(np.array(array, dtype=dtype, order="C"))


def _refuse_what_has_no_plain_values(x: Tensor, name: str) -> None:
    if isinstance(x, torch.masked.MaskedTensor):
        raise TypeError(f"{name} is a MaskedTensor; wanted a plain tensor, as of {name}.get_data()")
    if x.is_nested:
        raise TypeError(f"{name} is a nested tensor; wanted a plain one, as of torch.stack({name}.unbind())")
    if x.is_quantized:
        raise TypeError(f"{name} is a quantized tensor; wanted a plain one, as of {name}.dequantize()")
    if x.layout is not torch.strided:
        raise TypeError(f"{name} is a {x.layout} tensor; wanted a dense one, as of {name}.to_dense()")
    if x.is_meta:
        raise TypeError(f"{name} is a meta tensor, which has no values; wanted one on a device that has")


def _check_support(x: Tensor, n_classes: int, name: str) -> None:
    """A ValueError that names x, its first value outside {0, ..., n_classes - 1} and where it is."""
    if x.dtype == torch.bool or x.numel() == 0:
        return
    x = values_of(x.detach())
    if not x.is_floating_point():
        least, most = map(int, x.aminmax())
        if least >= 0 and most < n_classes:
            return
    if n_classes == 2:
        valid = (x == 0) | (x == 1)
    else:
        valid = (x >= 0) & (x <= n_classes - 1)
        if x.is_floating_point():
            valid &= x == x.floor()
    if not valid.all():
        where = tuple(int(i) for i in torch.nonzero(~valid)[0])
        place = "[" + ", ".join(map(str, where)) + "]"
        raise ValueError(
            f"{name} must hold only the values 0 ... {n_classes - 1}, got {x[where].item()} at {name}{place}"
        )
