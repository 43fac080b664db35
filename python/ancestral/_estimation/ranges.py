"""Range queries: the probability that every dimension lies in its range or set, by progressive sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral import _arguments as arguments
from ancestral._estimation.weights import Weights
from ancestral._progress import reporting
from ancestral._space import Space, Values
from ancestral._walks.paths import Keywords, Paths

if TYPE_CHECKING:
    from ancestral.model import Model

_BLOCK = 2**14
"""Paths of a query that are summed at once; it is the same for all, so that sums do not depend on the batch."""
_ROOM = 2**24
"""Bytes of temporary arrays that a part of a call may take, unless one query needs more."""


class Given(NamedTuple):
    """q queries as they came, checked."""

    low: NDArray[Any]
    """(q, *event_shape); or, without `high`, marks (q, *event_shape, n_classes)."""
    high: NDArray[Any] | None
    batched: bool
    """Whether they came with an axis of queries."""


class Budget(NamedTuple):
    """How many paths a query may take: `least` if that does for the relative error, else at most `most`."""

    least: int
    most: int
    relative_error: float | None


class _Queries(NamedTuple):
    """Some of them: their sets as the core takes them, and what follows from these."""

    first: int
    low: Values
    """(q, n_dims); or, without `high`, marks (q, n_dims, n_classes)."""
    high: Values | None
    empty: NDArray[np.bool_]
    """(q,): whether a set is empty."""
    n_steps: NDArray[np.int64]
    """(q,): steps up to the last restricted one."""
    n_free: NDArray[np.int64]
    """(q,): the first step with more than one value, or n_dims."""

    def sets(self, rows: NDArray[np.int64]) -> tuple[Values, Values | None]:
        return self.low[rows], None if self.high is None else self.high[rows]


def given(model: Model, low: Any, high: Any, allowed: Any) -> Given:
    """The arguments of these names, checked."""
    if allowed is not None:
        if low is not None or high is not None:
            raise ValueError("allowed is given, and low or high too; wanted one or the other")
        marks = arguments.as_array("allowed", allowed)
        if marks.dtype != np.bool_:
            raise TypeError(f"allowed has dtype {marks.dtype}; wanted booleans")
        marks, batched = arguments.stacked("allowed", allowed, marks, (*model.event_shape, model._space.most_classes))
        return Given(marks, None, batched)
    if low is None and high is None:
        raise ValueError("low, high and allowed are all None; wanted at least one bound")
    shape = model.event_shape
    low = np.zeros(shape) if low is None else low
    high = np.broadcast_to(model._space.highest, shape) if high is None else high
    lowest, many_low = arguments.bounds("low", low, shape)
    highest, many_high = arguments.bounds("high", high, shape)
    if many_low and many_high and len(lowest) != len(highest):
        raise ValueError(f"high has {len(highest)} rows, and low has {len(lowest)}; wanted one, or one a query")
    lowest, highest = np.broadcast_arrays(lowest, highest)
    return Given(lowest, highest, many_low or many_high)


def budget(n_paths: object, relative_error: object, max_paths: object) -> Budget:
    """The arguments of these names, checked."""
    least = arguments.integer("n_paths", n_paths, 1, arguments.LAST_ROW)
    if relative_error is None:
        if max_paths is not None:
            raise ValueError(
                f"max_paths is {arguments.brief(max_paths)}, but without relative_error there are n_paths paths"
            )
        return Budget(least, least, None)
    error = arguments.real("relative_error", relative_error, 1e-9, 1e9)
    most = min(100 * least, arguments.LAST_ROW) if max_paths is None else max_paths
    return Budget(least, arguments.integer("max_paths", most, least, arguments.LAST_ROW), error)


def estimated(
    model: Model, given: Given, budget: Budget, keywords: Keywords
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """log P, its standard error and number of paths for each query."""
    q = len(given.low)
    log, error, n = np.empty(q), np.empty(q), np.empty(q, np.int64)
    with reporting(keywords.progress, q * budget.most, "prob_range") as report:
        paths = Paths(model, keywords, report)
        row_bytes = (4 if given.high is None else 32) * math.prod(given.low.shape[1:])  # of `_queries`
        for part in arguments.parts(q, row_bytes, _ROOM):
            log[part], error[part], n[part] = _estimated(paths, _queries(model, given, part), budget)
    return log, error, n


def _estimated(
    paths: Paths, queries: _Queries, budget: Budget
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    exact = queries.n_free >= queries.n_steps - 1
    weights = Weights(len(exact))
    todo = np.flatnonzero(~queries.empty & (queries.n_steps > 0))
    _walk(paths, queries, weights, todo[exact[todo]], range(1))
    todo, n = todo[~exact[todo]], 0
    while todo.size and n < budget.most:
        goal = min(2 * n, budget.most) if n else budget.least
        _walk(paths, queries, weights, todo, range(n, goal))
        todo, n = todo[weights.relative_error()[todo] > (budget.relative_error or np.inf)], goal
    walked = weights.n > 0
    log = np.where(walked, weights.log_mean(), np.where(queries.empty, -np.inf, 0.0))
    return log, np.where(walked & ~exact, weights.relative_error(), 0.0), weights.n


def _queries(model: Model, given: Given, part: slice) -> _Queries:
    space = model._space
    if given.high is None:
        marks = np.ascontiguousarray(given.low[part]).reshape(-1, space.n_dims, space.most_classes)
        if not isinstance(space.n_classes, int):
            marks = marks & (np.arange(space.most_classes) < space.classes[:, None])  # no values, so not allowed
        return _described(model, part.start, (marks.view(np.uint8), None), marks.sum(axis=2, dtype=np.int32))
    low, high = (_clipped(space, bound[part]) for bound in (given.low, given.high))
    low, high = np.maximum(low, 0), np.minimum(high, space.classes.astype(np.int32) - 1)
    counts = np.maximum(high - low + 1, 0)
    # Bounds that do not fit the dtype are those of empty ranges, which are never walked.
    return _described(model, part.start, (low.astype(space.dtype), high.astype(space.dtype)), counts)


def _described(model: Model, first: int, sets: tuple[Values, Values | None], counts: NDArray[np.int32]) -> _Queries:
    """The queries of these sets, which have so many values, (q, n_dims)."""
    order = model.order
    counts = counts[:, order]
    restricted, free = counts < model._space.classes[order], counts > 1
    n_steps = np.where(restricted.any(axis=1), model.n_dims - np.argmax(restricted[:, ::-1], axis=1), 0)
    n_free = np.where(free.any(axis=1), np.argmax(free, axis=1), model.n_dims)
    return _Queries(first, *sets, (counts == 0).any(axis=1), n_steps, n_free)


def _clipped(space: Space, bound: NDArray[Any]) -> NDArray[np.int32]:
    """(q, n_dims): −1 for all below 0 and n_classes for all above."""
    beyond = np.int64(1) + space.highest
    clipped = np.where(bound < 0, -1, np.minimum(bound, beyond)).astype(np.int32)
    return clipped.reshape(len(bound), space.n_dims)


def _walk(paths: Paths, queries: _Queries, weights: Weights, rows: NDArray[np.int64], numbers: range) -> None:
    """Draws the paths of these numbers of some queries. Those that end at the same step go together."""
    n_steps = queries.n_steps
    rows = rows[np.argsort(n_steps[rows], kind="stable")]
    for group in np.split(rows, np.flatnonzero(np.diff(n_steps[rows])) + 1):
        for at in numbers[::_BLOCK]:
            n_paths = min(_BLOCK, numbers.stop - at)
            for part in arguments.parts(len(group), 8 * n_paths + 2 * queries.low[:1].size, _ROOM):
                some = group[part]
                log_weights = np.empty((len(some), n_paths))
                paths.draw(queries.sets(some), paths.index(queries.first + some, at), log_weights)
                weights.add(some, log_weights)
