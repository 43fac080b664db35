"""Range queries: the probability that every dimension lies in its range or set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, reporting
from ancestral.estimate import Estimate, only
from ancestral.operations.handle import Handle
from ancestral.operations.paths import LAST_ROW, Paths
from ancestral.operations.weights import Weights

if TYPE_CHECKING:
    import torch

_BLOCK = 2**14
"""Paths of a query that are summed at once; it is the same for all, so that sums do not depend on the batch."""
_ROOM = 2**24
"""Bytes of temporary arrays that a part of a call may take, unless one query needs more."""


class _Given(NamedTuple):
    """q queries as they came, checked."""

    low: NDArray[Any]
    """(q, *event_shape); or, without `high`, marks (q, *event_shape, n_classes)."""
    high: NDArray[Any] | None
    batched: bool
    """Whether they came with an axis of queries."""


class _Queries(NamedTuple):
    """Some of them: their sets as the core takes them, and what follows from these."""

    first: int
    low: NDArray[np.uint8]
    """(q, n_dims); or, without `high`, marks (q, n_dims, n_classes)."""
    high: NDArray[np.uint8] | None
    counts: NDArray[np.int16]
    """(q, n_dims): how many values are allowed."""

    def sets(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        return self.low[rows], None if self.high is None else self.high[rows]


class Ranges(Handle):
    """Probabilities of sets of events."""

    __slots__ = ()

    def prob_range(
        self,
        low: ArrayLike | torch.Tensor | None = None,
        high: ArrayLike | torch.Tensor | None = None,
        *,
        allowed: ArrayLike | torch.Tensor | None = None,
        n_paths: int = 1000,
        relative_error: float | None = None,
        max_paths: int | None = None,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: Progress = None,
    ) -> Estimate:
        """P(low_i ≤ x_i ≤ high_i for all i), estimated by progressive sampling (Yang et al., VLDB 2019).

        A query is two arrays of integers (event_shape), bounds that are themselves allowed; without one of them that
        side is open, and bounds beyond the classes are as good as none. Or it is `allowed`, booleans (*event_shape,
        n_classes) that mark any sets of values. Many queries (q, ...) give an Estimate of arrays (q,); one gives one
        of plain numbers. A single `low` goes with every `high`, and the other way round.

        Each of `n_paths` paths draws the dimensions in turn from p(x_i | x_<i, x_i in its set), up to the last
        restricted one, and has the weight ∏ p(set_i | x_<i). The mean weight is unbiased, whatever the sets. With
        `relative_error` a query whose standard error is more than that part of its value goes on, with twice the paths
        each time, until it is not or `max_paths` (default 100 `n_paths`) are reached: `n_samples` tells. Whether to
        stop is judged by the paths so far, which costs a little of the unbiasedness: `n_paths` should not be below a
        hundred.

        Exact, with a standard error of 0, where nothing has to be drawn before the last restricted dimension: an empty
        range (0) and no restriction (1) with no path at all, otherwise with one. Elsewhere an error of 0 says that no
        two of the paths differed, and a single path has the error inf.

        Query i is a pure function of (weights, seed, `start` + i, its sets, the numbers of paths), whatever the batch.
        Memory: the results and a fixed block, for any number of queries and paths.

        Raises TypeError and ValueError for arguments that make no sense, OverflowError as `log_prob`.
        """
        log, relative, n, batched = self._ranges(
            low, high, allowed, n_paths, relative_error, max_paths, rng, start, threads, progress
        )
        prob = np.exp(log, out=log)
        estimate = Estimate(prob, np.multiply(relative, prob, out=relative, where=np.isfinite(relative)), n)
        return estimate if batched else only(estimate)

    def log_prob_range(
        self,
        low: ArrayLike | torch.Tensor | None = None,
        high: ArrayLike | torch.Tensor | None = None,
        *,
        allowed: ArrayLike | torch.Tensor | None = None,
        n_paths: int = 1000,
        relative_error: float | None = None,
        max_paths: int | None = None,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: Progress = None,
    ) -> Estimate:
        """The logarithm of `prob_range`, in nats, for probabilities that no float can hold (below 1e-308).

        The standard error is the relative one of the probability (delta method). An empty range has −inf.
        """
        log, relative, n, batched = self._ranges(
            low, high, allowed, n_paths, relative_error, max_paths, rng, start, threads, progress
        )
        estimate = Estimate(log, relative, n)
        return estimate if batched else only(estimate)

    def _ranges(
        self,
        low: Any,
        high: Any,
        allowed: Any,
        n_paths: int,
        relative_error: float | None,
        max_paths: int | None,
        rng: arguments.Rng,
        start: int,
        threads: int | None,
        progress: Progress,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], bool]:
        """log P, its standard error and number of paths for each query, and whether there was an axis of queries."""
        given = self._given(low, high, allowed)
        n_paths = arguments.integer("n_paths", n_paths, 1, LAST_ROW)
        most = n_paths
        if relative_error is not None:
            relative_error = arguments.real("relative_error", relative_error, 1e-9, 1e9)
            most = min(100 * n_paths, LAST_ROW) if max_paths is None else max_paths
            most = arguments.integer("max_paths", most, n_paths, LAST_ROW)
        elif max_paths is not None:
            raise ValueError(
                f"max_paths is {arguments.brief(max_paths)}, but without relative_error there are n_paths paths"
            )
        q = len(given.low)
        start = arguments.integer("start", start, 0, LAST_ROW - q)
        n_threads = arguments.threads(threads)
        log, error, n = np.empty(q), np.empty(q), np.empty(q, np.int64)
        with reporting(progress, q * most, "prob_range") as report:
            paths = Paths(self._inner, arguments.seed(rng), start, n_threads, report)
            row_bytes = (4 if given.high is None else 24) * math.prod(given.low.shape[1:])  # of `_queries`
            for part in arguments.parts(q, row_bytes, _ROOM):
                queries = self._queries(given, part)
                log[part], error[part], n[part] = self._estimated(paths, queries, n_paths, most, relative_error)
        return log, error, n, given.batched

    def _estimated(
        self, paths: Paths, queries: _Queries, n_paths: int, most: int, relative_error: float | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        counts = queries.counts[:, self.order]
        restricted = counts < self.n_classes
        n_steps = np.where(restricted.any(axis=1), self.n_dims - np.argmax(restricted[:, ::-1], axis=1), 0)
        empty = (counts == 0).any(axis=1)
        exact = np.where((counts > 1).any(axis=1), np.argmax(counts > 1, axis=1), self.n_dims) >= n_steps - 1
        weights = Weights(len(counts))
        todo = np.flatnonzero(~empty & (n_steps > 0))
        _walk(paths, queries, weights, todo[exact[todo]], n_steps, 0, 1)
        todo, n = todo[~exact[todo]], 0
        while todo.size and n < most:
            goal = min(2 * n, most) if n else n_paths
            _walk(paths, queries, weights, todo, n_steps, n, goal)
            todo, n = todo[weights.relative_error()[todo] > (relative_error or np.inf)], goal
        walked = weights.n > 0
        log = np.where(walked, weights.log_mean(), np.where(empty, -np.inf, 0.0))
        return log, np.where(walked & ~exact, weights.relative_error(), 0.0), weights.n

    def _given(self, low: Any, high: Any, allowed: Any) -> _Given:
        if allowed is not None:
            if low is not None or high is not None:
                raise ValueError("allowed is given, and low or high too; wanted one or the other")
            marks = arguments.as_array("allowed", allowed)
            if marks.dtype != np.bool_:
                raise TypeError(f"allowed has dtype {marks.dtype}; wanted booleans")
            marks, batched = arguments.stacked("allowed", allowed, marks, (*self.event_shape, self.n_classes))
            return _Given(marks, None, batched)
        if low is None and high is None:
            raise ValueError("low, high and allowed are all None; wanted at least one bound")
        shape = self.event_shape
        lowest, many_low = arguments.bounds("low", np.zeros(shape) if low is None else low, shape)
        highest, many_high = arguments.bounds("high", np.full(shape, 256) if high is None else high, shape)
        if many_low and many_high and len(lowest) != len(highest):
            raise ValueError(f"high has {len(highest)} rows, and low has {len(lowest)}; wanted one, or one a query")
        lowest, highest = np.broadcast_arrays(lowest, highest)
        return _Given(lowest, highest, many_low or many_high)

    def _queries(self, given: _Given, part: slice) -> _Queries:
        if given.high is None:
            marks = np.ascontiguousarray(given.low[part]).reshape(-1, self.n_dims, self.n_classes)
            return _Queries(part.start, marks.view(np.uint8), None, marks.sum(axis=2, dtype=np.int16))
        low, high = (self._clipped(bound[part]) for bound in (given.low, given.high))
        low, high = np.maximum(low, 0), np.minimum(high, self.n_classes - 1)
        counts = np.maximum(high - low + 1, 0)
        # Bounds that do not fit uint8 are those of empty ranges, which are never walked.
        return _Queries(part.start, low.astype(np.uint8), high.astype(np.uint8), counts)

    def _clipped(self, bound: NDArray[Any]) -> NDArray[np.int16]:
        """(q, n_dims): −1 for all below 0 and n_classes for all above."""
        clipped = np.where(bound < 0, -1, np.minimum(bound, np.int64(self.n_classes))).astype(np.int16)
        return clipped.reshape(len(bound), self.n_dims)


def _walk(
    paths: Paths,
    queries: _Queries,
    weights: Weights,
    rows: NDArray[np.int64],
    n_steps: NDArray[np.int64],
    begin: int,
    end: int,
) -> None:
    """Draws the paths `begin` to `end` − 1 of these queries. Those that end at the same step go together."""
    rows = rows[np.argsort(n_steps[rows], kind="stable")]
    for group in np.split(rows, np.flatnonzero(np.diff(n_steps[rows])) + 1):
        for at in range(begin, end, _BLOCK):
            n_paths = min(_BLOCK, end - at)
            for part in arguments.parts(len(group), 8 * n_paths + 2 * queries.low[:1].size, _ROOM):
                some = group[part]
                log_weights = np.empty((len(some), n_paths))
                paths.draw(queries.sets(some), paths.index(queries.first + some, at), log_weights)
                weights.add(some, log_weights)
