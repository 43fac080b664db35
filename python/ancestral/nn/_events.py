"""x as users write it: a tensor (n, *event_shape) of values in the support, or an error that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ancestral._arguments.arrays import as_array, unreadable
from ancestral._arguments.shapes import wrong_shape
from ancestral._space import Space
from ancestral.nn._transforms import values_of

_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_WIDE = (torch.uint16, torch.uint32, torch.uint64)  # torch cannot compare them


def as_events(x: Any, event_shape: tuple[int, ...], n_classes: int | tuple[int, ...], name: str) -> Tensor:
    """A tensor of (n, *event_shape) values 0 to n_classes − 1, one number or one for each dimension in the event's flat
    order, or an error that names it."""
    tensor = _as_real_tensor(x, name)
    shape = tuple(tensor.shape)
    if tensor.ndim != 1 + len(event_shape) or shape[1:] != event_shape:
        wanted = ", ".join(["n", *map(str, event_shape)])
        raise wrong_shape(name, x, shape, event_shape, f"({wanted})", one=False, many=True)
    _check_support(tensor, event_shape, n_classes, name)
    return tensor


def _as_real_tensor(x: Any, name: str) -> Tensor:
    """X as a dense tensor of a bool, integer or floating dtype, or an error that names it."""
    if isinstance(x, (list, tuple)) and x and all(isinstance(row, Tensor) for row in x):
        try:
            x = torch.stack(tuple(x))
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"{name} is a {type(x).__name__} of tensors that cannot be stacked: {error}") from error
    tensor = x if isinstance(x, Tensor) else _from_array(x, name)
    if (reason := unreadable(name, tensor)) is not None:
        raise TypeError(reason)
    if tensor.dtype in _WIDE:
        return tensor.long()
    if tensor.is_floating_point():
        return tensor.float() if tensor.dtype.itemsize == 1 else tensor.resolve_neg()  # torch cannot compare float8
    if tensor.dtype not in _INTEGERS:
        raise TypeError(f"{name} has dtype {tensor.dtype}; wanted bools, integers or floats")
    return tensor.resolve_neg()


def _from_array(x: Any, name: str) -> Tensor:
    array = as_array(name, x)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {array.dtype}; wanted bools, integers or floats")
    dtype = np.dtype(np.float64) if array.dtype == np.longdouble else array.dtype.newbyteorder("=")
    # A copy in the native byte order: torch takes no other, nor negative strides or read-only memory.
    return torch.from_numpy(np.array(array, dtype=dtype, order="C"))


def _check_support(x: Tensor, event_shape: tuple[int, ...], n_classes: int | tuple[int, ...], name: str) -> None:
    """A ValueError that names x and its first value outside the support, if there is one."""
    if x.numel() == 0 or (x.dtype == torch.bool and isinstance(n_classes, int)):
        return
    x = values_of(x.detach())
    highest: int | Tensor
    if isinstance(n_classes, int):
        highest = n_classes - 1
        if not x.is_floating_point():
            least, most = map(int, x.aminmax())
            if least >= 0 and most <= highest:
                return
    else:
        highest = torch.tensor(n_classes, device=x.device).reshape(event_shape) - 1
    if n_classes == 2:
        valid = (x == 0) | (x == 1)
    else:
        valid = (x >= 0) & (x <= highest)
        if x.is_floating_point():
            valid &= x == x.floor()
    if not valid.all():
        where = tuple(int(i) for i in torch.nonzero(~valid)[0])
        raise Space(event_shape, n_classes).refusal(name, where, x[where].item())
