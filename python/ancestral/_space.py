"""The space of events: their shape, the values of each dimension, and the type that holds these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""Values of events, of the space's dtype."""


class Space:
    """Events of shape `event_shape`, whose dimensions have the values 0 to n_classes − 1.

    `n_classes` is one number, or where dimensions differ one for each in the event's flat order.
    """

    __slots__ = ("dtype", "event_shape", "highest", "most_classes", "n_classes", "n_dims")

    def __init__(self, event_shape: Sequence[int], n_classes: int | Sequence[int]) -> None:
        self.event_shape = tuple(event_shape)
        self.n_dims = math.prod(self.event_shape)
        each = {n_classes} if isinstance(n_classes, int) else set(n_classes)
        self.most_classes = max(each)
        self.dtype: np.dtype[np.unsignedinteger[Any]] = np.min_scalar_type(self.most_classes - 1)
        self.n_classes: int | tuple[int, ...]
        self.highest: int | Values
        """The largest value: of all dimensions, or an array in the shape of an event."""
        if len(each) == 1:
            self.n_classes = self.most_classes
            self.highest = self.most_classes - 1
        else:
            assert not isinstance(n_classes, int)
            self.n_classes = tuple(n_classes)
            self.highest = np.array([n - 1 for n in n_classes], self.dtype).reshape(self.event_shape)

    @property
    def is_bits(self) -> bool:
        """Whether all dimensions have two values."""
        return self.n_classes == 2

    @property
    def classes(self) -> NDArray[np.int64]:
        """The number of values of each dimension, (n_dims,)."""
        return np.broadcast_to(np.asarray(self.n_classes, np.int64), self.n_dims)

    @property
    def wanted(self) -> str:
        """What values there are, for an error."""
        if isinstance(self.n_classes, int):
            return f"integers from 0 to {self.n_classes - 1}"
        return f"integers from 0 to n_classes − 1 of their dimension (at most {self.most_classes - 1})"

    def holds(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Which numbers are values, in one event or in rows of them."""
        if rows.dtype == np.float16:  # which has no 65,535
            rows = rows.astype(np.float32)
        good: NDArray[np.bool_] = (rows >= 0) & (rows <= self.highest)
        if rows.dtype.kind == "f":
            good &= np.floor(rows) == rows
        return good

    def check(self, name: str, rows: NDArray[Any], first: int = 0, missing: NDArray[np.bool_] | None = None) -> None:
        """Raises ValueError if some number of one event, or of rows of them from `first` on, is no value and not
        missing."""
        good = self.holds(rows)
        if missing is not None:
            good |= missing
        if not good.all():
            at = tuple(map(int, np.unravel_index(np.argmin(good), rows.shape)))
            unless = "" if missing is None else ", except where not observed"
            raise self.refusal(name, (first + at[0], *at[1:]), rows[at], unless)

    def refusal(self, name: str, index: tuple[int, ...], value: object, unless: str = "") -> ValueError:
        """The error for a value at an index, of which the last numbers are its place in the event."""
        place = ", ".join(map(str, index))
        if isinstance(self.n_classes, int):
            highest = self.n_classes - 1
        else:
            flat = np.ravel_multi_index(index[len(index) - len(self.event_shape) :], self.event_shape)
            highest = self.n_classes[int(flat)] - 1
        return ValueError(f"{name}[{place}] is {value}; wanted integers from 0 to {highest}{unless}")
