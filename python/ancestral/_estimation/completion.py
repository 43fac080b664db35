"""Completion: the dimensions that were not observed, drawn given those that were."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral import _arguments as arguments
from ancestral._estimation.weights import Weights, systematic
from ancestral._progress import reporting
from ancestral._space import Values
from ancestral._walks.paths import Keywords, Paths
from ancestral.completion import Completion, LowSampleSizeWarning
from ancestral.estimate import Estimate, only

if TYPE_CHECKING:
    from ancestral.model import Model

_ROOM = 2**24
"""Bytes of temporary arrays that a part of a call may take, unless one row needs more."""
_FEW = 10
"""An effective sample size below this is not worth much."""


def complete(
    model: Model, events: tuple[NDArray[Any], NDArray[np.bool_], bool], k: int, n_proposals: int, keywords: Keywords
) -> Completion:
    """`Model.complete`, k times for each row of `arguments.partial_events`; resampled if there are proposals."""
    (values, known, batched), n_dims = events, model.n_dims
    n = len(values)
    exact = np.empty(n, np.bool_)
    for part in arguments.parts(n, 4 * n_dims, _ROOM):
        exact[part] = model._is_prefix(known[part].reshape(-1, n_dims))
    samples = arguments.empty((n, k, *model.event_shape), model.dtype)
    log_weights = arguments.empty((n, k), np.float64)
    size, log, error, n_used = np.empty(n), np.empty(n), np.empty(n), np.empty(n, np.int64)

    highest = np.asarray(model._space.highest, model.dtype).reshape(-1)
    with reporting(keywords.progress, n * k + int((~exact).sum()) * n_proposals, "complete") as report:
        paths = Paths(model, keywords, report)
        # Temporary: the sets of each walk, and the weights of each path.
        row_bytes = (2 * (k + 1 if n_proposals else 1) + 10) * n_dims * model.dtype.itemsize + 32 * max(k, n_proposals)
        for part in arguments.parts(n, row_bytes, _ROOM):
            observed_here = known[part].reshape(-1, n_dims)
            here = np.where(observed_here, values[part].reshape(-1, n_dims), 0).astype(model.dtype)
            sets = here, np.where(observed_here, here, highest)
            draws = _Draws(sets, part.start, samples[part], log_weights[part])
            weights = Weights(len(here))
            if n_proposals:
                _resample(paths, draws, ~exact[part], n_proposals, weights)
            else:
                rows = np.arange(len(here))
                paths.draw(draws.sets, paths.index(draws.first + rows), draws.log_weights, draws.x)
                weights.add(rows, draws.log_weights)
                _refuse_impossible(weights, rows, draws.first)
            size[part] = weights.effective_sample_size()
            log[part], n_used[part] = weights.log_mean(), weights.n
            error[part] = np.where(exact[part], 0.0, weights.relative_error())

    _warn_of_few(size, ~exact, "n_proposals" if n_proposals else "n_samples")
    evidence = Estimate(log, error, n_used)
    if batched:
        return Completion(samples, log_weights, size, evidence)
    return Completion(samples[0], log_weights[0], float(size[0]), only(evidence))


class _Draws(NamedTuple):
    """Some rows of a call: what goes into the core, and where the results go."""

    sets: tuple[Values, Values]
    first: int
    x: Values
    log_weights: NDArray[np.float64]


def _resample(paths: Paths, draws: _Draws, todo: NDArray[np.bool_], n_proposals: int, weights: Weights) -> None:
    """Draws the rows marked in `todo` by weight out of `n_proposals`, the others as they come.

    Of the proposals the weights alone are kept, and need no walk beyond the evidence; those chosen are drawn once more.
    """
    (low, high), rows, k = draws.sets, np.arange(len(draws.x)), draws.x.shape[1]
    index = draws.first + rows
    proposals = np.empty((int(todo.sum()), n_proposals))
    paths.draw((low[todo], high[todo]), paths.index(index[todo]), proposals)
    weights.add(rows[todo], proposals)
    _refuse_impossible(weights, rows[todo], draws.first)
    path = np.tile(np.arange(k), (len(rows), 1))
    for at, proposed in zip(np.flatnonzero(todo), proposals, strict=True):
        path[at] = systematic(proposed, k, paths.seed, paths.start + int(index[at]))
    sets = low.repeat(k, axis=0), high.repeat(k, axis=0)
    paths.draw(sets, paths.index(index[:, None], path).ravel(), draws.log_weights.reshape(-1, 1), draws.x)
    weights.add(rows[~todo], draws.log_weights[~todo])
    draws.log_weights[todo] = weights.log_mean()[rows[todo], None]


def _refuse_impossible(weights: Weights, rows: NDArray[np.int64], first: int) -> None:
    impossible = rows[np.isneginf(weights.largest[rows])]
    if impossible.size:
        raise ValueError(
            f"the evidence in row {first + impossible[0]} has probability 0 in every sample: no weight is above 0"
        )


def _warn_of_few(size: NDArray[np.float64], weighted: NDArray[np.bool_], more: str) -> None:
    low = weighted & (size < _FEW)
    if low.any():
        least = size.min(where=low, initial=np.inf)
        row = np.argmax(low & (size == least))
        message = (
            f"{low.sum()} of {len(size)} rows have an effective sample size below {_FEW}; the least is "
            f"{least:.1f} (row {row}). What is computed from these is not to be trusted: raise {more}, or use "
            "a model whose order has the evidence first"
        )
        warnings.warn(message, LowSampleSizeWarning, stacklevel=4)  # of who called Model.complete
