"""Paths: draws of a model within sets, several for each row of sets, with their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, Report, after
from ancestral._space import Values

if TYPE_CHECKING:
    from ancestral.model import Model


class Keywords(NamedTuple):
    """What the calls that draw paths share: checked, but for `rng` and `progress`, which are looked at last."""

    rng: arguments.Rng
    start: int
    threads: int
    progress: Progress


class Paths:
    """The paths of one call: path j of row i has the uniforms of sample (start + i) · 2³² + j of the seed, whatever
    other paths and rows are drawn with it."""

    def __init__(self, model: Model, keywords: Keywords, report: Report) -> None:
        self._model, self._report, self._done = model._inner, report, 0
        self.seed, self.start, self._threads = arguments.seed(keywords.rng), keywords.start, keywords.threads

    def index(self, rows: NDArray[np.int64], path: int | NDArray[np.int64] = 0) -> NDArray[np.uint64]:
        """The sample whose uniforms this path of each row has."""
        index: NDArray[np.uint64] = (rows + self.start).astype(np.uint64) << np.uint64(32)
        return index + np.asarray(path, np.uint64)

    def draw(
        self,
        sets: tuple[Values, Values | None],
        first: NDArray[np.uint64],
        log_weights: NDArray[np.float64],
        x: Values | None = None,
    ) -> None:
        """Fills `log_weights` (n, n_paths), and `x` if it is given, for n rows of sets, with the n_paths samples from
        `first` (n,) on. The sets are what `_core.Model.restrict` calls `low` and `high`."""
        low, high = np.ascontiguousarray(sets[0]), None if sets[1] is None else np.ascontiguousarray(sets[1])
        report = after(self._done, self._report)
        n_paths = log_weights.shape[1]
        self._model.restrict(low, high, log_weights, self.seed, first, n_paths, self._threads, report, x=x)
        self._done += log_weights.size
