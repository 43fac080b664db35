"""Arguments as users write them, checked and turned into what the core takes.

Every error names the argument, what came and what was wanted: TypeError for the kind of thing, ValueError for its
value.
"""

from __future__ import annotations

import json
import math
import operator
import os
import secrets
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancestral import _core

if TYPE_CHECKING:
    import torch

Rng: TypeAlias = "int | np.random.Generator | None"
Scalar = TypeVar("Scalar", bound=np.generic)


def integer(name: str, value: object, low: int, high: int) -> int:
    """An integer within [low, high]; bools are not integers here."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); wanted an integer") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}; wanted an integer from {low} to {high}")
    return number


def real(name: str, value: object, low: float, high: float) -> float:
    """A finite number within [low, high]."""
    try:
        if isinstance(value, (bool, np.bool_, str)):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); wanted a number") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}; wanted a number from {low:g} to {high:g}")
    return number


def text(name: str, value: object) -> str:
    """A string that UTF-8 can hold."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); wanted a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is {value!r}; wanted a string without lone surrogates") from None
    return value


def json_text(name: str, value: Mapping[str, object]) -> str:
    """The JSON text of a mapping."""
    try:
        return json.dumps(dict(value))
    except TypeError as error:
        raise TypeError(f"{name} is not made of what JSON has: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} cannot be written as JSON: {error}") from None


def seed(rng: Rng) -> int:
    """The 64-bit seed of an `rng` argument (as in Scientific Python's SPEC 7).

    An int is the seed itself; a Generator gives its next 64 bits, so it advances; None asks the system.
    """
    if rng is None:
        return secrets.randbits(64)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**64, dtype=np.uint64))
    try:
        return integer("rng", rng, 0, 2**64 - 1)
    except TypeError:
        raise TypeError(
            f"rng is {rng!r} ({type(rng).__name__}); wanted an int, a numpy.random.Generator or None"
        ) from None


def threads(value: int | None) -> int:
    """The number of threads: as asked for, else `ANCESTRAL_NUM_THREADS`, else 0, which is the processors of this
    process: the core counts them where the call is worth more than one thread."""
    if value is not None:
        return integer("threads", value, 1, _core.MAX_THREADS)
    if text := os.environ.get("ANCESTRAL_NUM_THREADS"):
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"ANCESTRAL_NUM_THREADS is {text!r}; wanted an integer") from None
        return integer("ANCESTRAL_NUM_THREADS", number, 1, _core.MAX_THREADS)
    return 0


def as_array(name: str, value: Any) -> NDArray[Any]:
    """A NumPy array of anything array-like; torch tensors too, without a copy where they are on the CPU."""
    torch = sys.modules.get("torch")  # whoever passes a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_tensor(name, value)
    try:
        return np.asarray(value)
    except ValueError:  # a ragged list
        raise ValueError(f"{name} is not an array: its rows have different lengths") from None


def _from_tensor(name: str, tensor: torch.Tensor) -> NDArray[Any]:
    import torch

    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else str(tensor.layout)
        raise TypeError(f"{name} is a {kind} tensor; wanted a dense one with values")
    tensor = tensor.detach().cpu().resolve_neg().resolve_conj()
    if tensor.dtype.is_floating_point and tensor.dtype.itemsize < 4:  # bfloat16 and smaller: NumPy has no such types
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return array


def events(x: Any, event_shape: tuple[int, ...], n_classes: int) -> NDArray[np.uint8]:
    """A C-contiguous uint8 array (n, *event_shape) of anything that holds integers 0 to n_classes − 1.

    Bools, integers and floats with integral values are taken; uint8 arrays that are contiguous are not copied, and
    their values are left to the core to check.
    """
    array = as_array("x", x)
    if array.dtype.kind not in "buif":
        raise TypeError(f"x has dtype {array.dtype}; wanted integers from 0 to {n_classes - 1}")
    if array.shape[1:] != event_shape or array.ndim == 0:
        wanted = ", ".join(["n", *map(str, event_shape)])
        n_dims = math.prod(event_shape)
        fits = array.size and array.size % n_dims == 0 and array.ndim <= len(event_shape) + 1
        shape = ", ".join(map(str, (array.size // n_dims, *event_shape)))
        hint = f"; did you mean x.reshape({shape})?" if fits else ""
        raise ValueError(f"x has shape {array.shape}; wanted ({wanted}){hint}")
    if array.dtype not in (np.uint8, np.bool_):
        _check_support(array, n_classes)
    return np.ascontiguousarray(array, dtype=np.uint8)


def _check_support(array: NDArray[Any], n_classes: int) -> None:
    good = (array >= 0) & (array < n_classes)
    if array.dtype.kind == "f":
        good &= np.floor(array) == array
    if not good.all():
        at = np.unravel_index(np.argmin(good), array.shape)
        index = ", ".join(map(str, at))
        raise ValueError(f"x[{index}] is {array[at]}; wanted integers from 0 to {n_classes - 1}")


def output(
    name: str, out: object, shape: tuple[int, ...], dtype: type[Scalar], avoid: NDArray[Any] | None = None
) -> NDArray[Scalar]:
    """The array to fill: `out` if it is one of this shape and dtype, writable and C-contiguous; a new one for None.

    `avoid` is an array that is read while the output is written: they must not share memory.
    """
    if out is None:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError):  # ValueError: more than an address can count
            raise MemoryError(f"n is {shape[0]}: no room for an array of shape {shape}") from None
    wanted = f"a NumPy array of shape {shape} and dtype {np.dtype(dtype)}"
    if not isinstance(out, np.ndarray):
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
