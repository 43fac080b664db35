"""Completion: the dimensions that were not observed, drawn given those that were."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, reporting
from ancestral.estimate import Estimate, only
from ancestral.operations.handle import Handle
from ancestral.operations.paths import LAST_ROW, Paths
from ancestral.operations.weights import Weights, systematic

if TYPE_CHECKING:
    import torch

_ROOM = 2**24
"""Bytes of temporary arrays that a part of a call may take, unless one row needs more."""
_FEW = 10
"""An effective sample size below this is not worth much."""


class LowSampleSizeWarning(UserWarning):
    """Nearly all the weight is on a few samples: what is computed from them is not to be trusted."""


class Completion(NamedTuple):
    """Completions of n partly observed events, k of each. For a single event given as such, the axis n is missing."""

    x: NDArray[np.uint8]
    """(n, k, *event_shape): the observed values as they were, the others drawn."""
    log_weights: NDArray[np.float64]
    """(n, k), in nats, not normalised: a mean over the k samples is to be taken with weights in proportion to their
    exponentials. Equal within a row where the draws are exact or resampled."""
    effective_sample_size: NDArray[np.float64] | float
    """(n,): about how many draws from p(x | evidence) the weighted ones are worth, (Σ w)² / Σ w²."""
    log_prob_evidence: Estimate
    """log p(evidence) in nats, (n,), and how many samples it rests on."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weights normalised to sum to 1 over the k samples, (n, k)."""
        weights = np.exp(self.log_weights - self.log_weights.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


class Completing(Handle):
    """Draws given evidence."""

    __slots__ = ()

    def complete(
        self,
        x: ArrayLike | torch.Tensor,
        observed: ArrayLike | torch.Tensor,
        *,
        n_samples: int = 1,
        resample: bool = False,
        n_proposals: int | None = None,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: Progress = None,
    ) -> Completion:
        """Completes events of which only the dimensions marked in `observed` are known, `n_samples` (k) times each.

        `x` and the boolean `observed` are each one event (event_shape) or one a row (n, *event_shape); one event goes
        with every row of the other, and if both are one event the results have no axis of rows. What `x` holds where
        nothing was observed is ignored, whatever it is.

        **Exact** where the evidence is a prefix of the model's order (`order`; each row is judged on its own; no
        evidence is one too): the samples are independent draws from p(x | evidence). Their weights are equal, and
        `log_prob_evidence` is exact with a standard error of 0.

        **Weighted** elsewhere (likelihood weighting: Fung, Chang, 1989; Shachter, Peot, 1989): the unobserved
        dimensions are drawn in turn given those before them, and so in ignorance of the evidence to come; the weight ∏
        p(x_i | x_<i) over the observed i makes up for it. **These samples are not draws from p(x | evidence)**: only
        averages that take the weights into account tend to those under p(x | evidence) as k grows. A single one, or a
        picture of a few, is no conditional sample. The mean weight is an unbiased estimate of p(evidence);
        `log_prob_evidence` is its logarithm, with a standard error by the delta method (inf for k = 1).

        **Resampled**, with `resample=True`: for a row that is not exact `n_proposals` weighted samples are made
        (default: 10 k, at least 100), and k of them drawn by weight, systematically: sampling-importance-resampling
        (Rubin 1988). These k count equally, are near draws from p(x | evidence) where the effective sample size of the
        proposals is well above k, and repeat where it is not. `log_weights` then holds the logarithm of the proposals'
        mean weight; `effective_sample_size` and `log_prob_evidence` are the proposals'.

        If the effective sample size of a row that is not exact is below 10 (as it is for k < 10 without resampling), a
        `LowSampleSizeWarning` says so: more samples help, or a model whose order has the evidence first.

        Row i is a pure function of (weights, seed, `start` + i, its evidence, the numbers of samples), whatever the
        batch: `complete(x[4:], ..., start=4)` equals the rows from 4 on of `complete(x, ...)`. Without resampling, its
        first samples do not depend on how many are asked for.

        Memory: the results and a fixed block, or, if that is more, what one row takes: about 16 bytes a sample; if
        resampled 24 a proposal, and 2 n_dims + 24 a sample.

        Raises TypeError and ValueError for arguments that make no sense, among them evidence of probability 0;
        OverflowError as `log_prob`.
        """
        values, known, batched = arguments.partial_events(x, observed, self.event_shape, self.n_classes)
        n, n_dims = len(values), self.n_dims
        k = arguments.integer("n_samples", n_samples, 1, LAST_ROW)
        resample = arguments.flag("resample", resample)
        if n_proposals is not None and not resample:
            raise ValueError(
                f"n_proposals is {arguments.brief(n_proposals)}, but resample is False: proposals are what is resampled"
            )
        n_drawn = max(100, 10 * k) if n_proposals is None else n_proposals
        n_drawn = arguments.integer("n_proposals", n_drawn, 1, LAST_ROW) if resample else 0
        start = arguments.integer("start", start, 0, LAST_ROW - n)
        n_threads = arguments.threads(threads)
        exact = np.empty(n, np.bool_)
        for part in arguments.parts(n, 4 * n_dims, _ROOM):
            exact[part] = self._is_prefix(known[part].reshape(-1, n_dims))
        samples = arguments.empty((n, k, *self.event_shape), np.uint8)
        log_weights = arguments.empty((n, k), np.float64)
        size, log, error, n_used = np.empty(n), np.empty(n), np.empty(n), np.empty(n, np.int64)

        with reporting(progress, n * k + int((~exact).sum()) * n_drawn, "complete") as report:
            paths = Paths(self._inner, arguments.seed(rng), start, n_threads, report)
            # Temporary: the sets of each walk, and the weights of each path.
            row_bytes = 2 * n_dims * (k + 1 if resample else 1) + 10 * n_dims + 32 * max(k, n_drawn)
            for part in arguments.parts(n, row_bytes, _ROOM):
                observed_here = known[part].reshape(-1, n_dims)
                here = np.where(observed_here, values[part].reshape(-1, n_dims), 0).astype(np.uint8)
                sets = here, np.where(observed_here, here, np.uint8(self.n_classes - 1))
                draws = _Draws(sets, part.start, samples[part], log_weights[part])
                weights = Weights(len(here))
                if resample:
                    _resample(paths, draws, ~exact[part], n_drawn, weights)
                else:
                    rows = np.arange(len(here))
                    paths.draw(draws.sets, paths.index(draws.first + rows), draws.log_weights, draws.x)
                    weights.add(rows, draws.log_weights)
                    _refuse_impossible(weights, rows, draws.first)
                size[part] = weights.effective_sample_size()
                log[part], n_used[part] = weights.log_mean(), weights.n
                error[part] = np.where(exact[part], 0.0, weights.relative_error())

        _warn_of_few(size, ~exact, "n_proposals" if resample else "n_samples")
        evidence = Estimate(log, error, n_used)
        if batched:
            return Completion(samples, log_weights, size, evidence)
        return Completion(samples[0], log_weights[0], float(size[0]), only(evidence))


class _Draws(NamedTuple):
    """Some rows of a call: what goes into the core, and where the results go."""

    sets: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    first: int
    x: NDArray[np.uint8]
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
        warnings.warn(message, LowSampleSizeWarning, stacklevel=3)
