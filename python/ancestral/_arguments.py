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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancestral import _core
from ancestral._arrays import as_array as as_array
from ancestral._arrays import as_masked, of_module
from ancestral._shapes import wrong_shape

if TYPE_CHECKING:
    import torch

Rng: TypeAlias = "int | np.random.Generator | torch.Generator | None"
Scalar = TypeVar("Scalar", bound=np.generic)

LAST_INDEX = 2**63
"""One past the largest index that a sample can have."""
LAST_ROW = 2**32
"""One past the largest index of a row of evidence or of queries, and of a path in its row."""

_ROOM = 2**22
"""Bytes of temporary arrays that a check or a conversion may take, unless one row needs more."""


def integer(name: str, value: object, low: int, high: int) -> int:
    """An integer within [low, high]; bools are not integers here."""
    try:
        number = operator.index(_number(value))
    except Exception:  # whatever an object's own methods raise
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted an integer") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {brief(number)}; wanted an integer from {low} to {high}")
    return number


def real(name: str, value: object, low: float, high: float) -> float:
    """A finite number within [low, high]."""
    try:
        number = float(_number(value))
    except OverflowError:  # an int beyond all floats
        number = math.inf
    except Exception:  # whatever an object's own methods raise
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted a number") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}; wanted a number from {low:g} to {high:g}")
    return number


def _number(value: Any) -> Any:
    """What may be a number: out of the array or tensor without axes that it came in.

    Raises TypeError for what `operator.index` or `float` would take for a number, and is none.
    """
    if isinstance(value, (bool, str, bytes, bytearray)):
        raise TypeError
    if not hasattr(value, "dtype"):
        return value
    array = as_array("value", value)
    if array.ndim or array.dtype.kind not in "iuf":
        raise TypeError
    return array.item()


def brief(value: object) -> str:
    """A value in at most 100 characters of one line, for an error."""
    try:
        line = " ".join(repr(value).split())
    except Exception:  # of an int with more digits than Python prints, or an object's own
        return f"<{type(value).__name__}>"
    return line if len(line) <= 100 else line[:99] + "…"


def text(name: str, value: object) -> str:
    """A string that UTF-8 can hold."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is {brief(value)}; wanted a string without lone surrogates") from None
    return value


def path(name: str, value: Any) -> Path:
    """A path that the system can be asked for."""
    try:
        result = Path(value)
    except Exception:  # whatever an object's own methods raise
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted a str or a path") from None
    try:
        encoded = os.fsencode(result)
    except UnicodeEncodeError:
        raise ValueError(f"{name} is {brief(str(result))}; wanted a path without lone surrogates") from None
    if b"\0" in encoded:
        raise ValueError(f"{name} is {brief(str(result))}; wanted a path without null characters")
    return result


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

    An int is the seed itself; a Generator of NumPy or torch gives its next 64 bits, so it advances; None asks the
    system.
    """
    if rng is None:
        return secrets.randbits(64)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**64, dtype=np.uint64))
    if isinstance(rng, of_module("torch", "Generator")):
        return _torch_bits(rng)
    try:
        return integer("rng", rng, 0, 2**64 - 1)
    except TypeError:
        wanted = "an int, a numpy.random.Generator, a torch.Generator or None"
        raise TypeError(f"rng is {brief(rng)} ({type(rng).__name__}); wanted {wanted}") from None


def _torch_bits(generator: torch.Generator) -> int:
    """The next 64 bits of a generator of any device."""
    import torch

    bits = torch.empty((), dtype=torch.int64, device=generator.device)
    return int(bits.random_(-(2**63), None, generator=generator)) % 2**64


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


def batch_size(value: object, n_dims: int) -> int:
    """The argument of this name: so many samples that NumPy can still count the bytes of a batch."""
    return integer("batch_size", value, 1, (LAST_INDEX - 1) // n_dims)


def flag(name: str, value: object) -> bool:
    """True or False; nothing else counts as one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted True or False")
    return bool(value)


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


def parts(n: int, row_bytes: int, room: int) -> Iterator[slice]:
    """n rows in parts whose temporary arrays fit the room, or of one row."""
    size = max(1, room // row_bytes)
    return (slice(first, min(first + size, n)) for first in range(0, n, size))


def empty(shape: tuple[int, ...], dtype: type[Scalar], count: str = "n") -> NDArray[Scalar]:
    """A new array; if there is no room, an error that names `count`, the argument that set its length."""
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):  # ValueError: more than an address can count
        raise MemoryError(f"{count} is {shape[0]}: no room for an array of shape {shape}") from None


def output(
    name: str, out: object, shape: tuple[int, ...], dtype: type[Scalar], avoid: NDArray[Any] | None = None
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
