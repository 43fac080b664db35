"""Numbers and flags as users write them."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ancestral import _core
from ancestral._arguments.arrays import as_array
from ancestral._arguments.strings import brief

LAST_INDEX = 2**63
"""One past the largest index that a sample can have."""
LAST_ROW = 2**32
"""One past the largest index of a row of evidence or of queries, and of a path in its row."""


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """An integer within [low, high], or from `low` up; bools are not integers here."""
    try:
        number = operator.index(_number(value))
    except Exception:  # whatever an object's own methods raise
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted an integer") from None
    if number < low or (high is not None and number > high):
        wanted = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
        raise ValueError(f"{name} is {brief(number)}; wanted {wanted}")
    return number


def integers(name: str, value: object, low: int, each: str) -> tuple[int, ...]:
    """Integers from `low` up, at least one; `each` is what each of them is for, for an error."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f"{name} is {brief(value)}; wanted a sequence of integers, one a {each}")
    if not value:
        raise ValueError(f"{name} is empty; wanted at least one {each}")
    return tuple(integer(f"{name}[{i}]", number, low) for i, number in enumerate(value))


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf, *, strictly: bool = False) -> float:
    """A finite number within [low, high], or strictly between them."""
    try:
        number = float(_number(value))
    except OverflowError:  # an int beyond all floats
        number = math.inf
    except Exception:  # whatever an object's own methods raise
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted a number") from None
    inside = low < number < high if strictly else low <= number <= high
    if not (inside and math.isfinite(number)):
        raise ValueError(f"{name} is {number}; wanted {_interval(low, high, strictly)}")
    return number


def _interval(low: float, high: float, strictly: bool) -> str:
    if high == math.inf:
        least = "" if low == -math.inf else f" {'above' if strictly else 'of at least'} {low:g}"
        return f"a finite number{least}"
    return f"a number between {low:g} and {high:g}" if strictly else f"a number from {low:g} to {high:g}"


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
