"""Ancestral sampling: independent draws, as arrays or in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, after, check, reporting
from ancestral._space import Values
from ancestral._walks.draws import Samples, batches

if TYPE_CHECKING:
    import torch

    from ancestral.model import Model

MAX_TEMPERATURE = 1e6
"""Logits divided by it are as good as equal."""

_AT_ONCE = 2**19
"""Samples given evidence that are drawn at once: each has a weight, which is not asked for."""


def sample(
    self: Model,
    n: int,
    *,
    evidence: ArrayLike | torch.Tensor | None = None,
    rng: arguments.Rng = None,
    start: int = 0,
    temperature: float = 1.0,
    threads: int | None = None,
    progress: Progress = None,
    out: Values | None = None,
) -> Values:
    """n independent samples, (n, *event_shape) of the model's `dtype`, by ancestral sampling.

    With a `temperature` each value is drawn with p(x_i | x_<i)^(1 / temperature), up to a factor: 1 is the model;
    below it samples vary less, and at 0 (greedy) each value is the most probable one; above it they vary more. (A
    sample of a mixture of orders is one of the order that was picked for it.)

    With `evidence`, one event (event_shape) in which −1, NaN or the mask of a masked array marks what was not
    observed, they are draws from p(x | evidence): exact ones, so what was observed must come first in the model's
    order. They have the uniforms of the draws without evidence. `complete` takes any evidence, and many events at
    once.

    Raises TypeError and ValueError for arguments that make no sense, OverflowError as `log_prob`.
    """
    if evidence is not None:
        self._need_order("evidence")
    count = arguments.integer("n", n, 0, arguments.LAST_INDEX)
    x = arguments.output("out", out, (count, *self.event_shape), self.dtype)
    keywords = _Keywords(rng, start, temperature, threads, progress)
    if evidence is None:
        _draw(self, x, None, keywords)
    else:
        _draw_given(self, evidence, x, keywords)
    return x


def sample_and_log_prob(
    self: Model,
    n: int,
    *,
    rng: arguments.Rng = None,
    start: int = 0,
    temperature: float = 1.0,
    threads: int | None = None,
    progress: Progress = None,
    out: tuple[Values, NDArray[np.float64]] | None = None,
) -> tuple[Values, NDArray[np.float64]]:
    """n independent samples and their log-probabilities in nats, the same bits as `sample` and `log_prob` give.

    With a `temperature` they are still the log-probabilities under the model. `out` is a pair of arrays. Errors are
    as for `sample`.
    """
    if out is not None and not (isinstance(out, (tuple, list)) and len(out) == 2):
        raise TypeError(f"out is {type(out).__name__}; wanted a pair of arrays (x, log_prob)")
    x_out, log_prob_out = out or (None, None)
    count = arguments.integer("n", n, 0, arguments.LAST_INDEX)
    x = arguments.output("out[0]", x_out, (count, *self.event_shape), self.dtype)
    log_prob = arguments.output("out[1]", log_prob_out, (count,), np.float64, avoid=x)
    _draw(self, x, log_prob, _Keywords(rng, start, temperature, threads, progress))
    return x, log_prob


def sample_batches(
    self: Model,
    n: int | None,
    batch_size: int | None = None,
    *,
    rng: arguments.Rng = None,
    start: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> Iterator[Values]:
    """The samples of `sample(n, ...)` in batches (batch_size, *event_shape), drawn as they are asked for.

    Put together they are what `sample` gives, bit for bit, whatever `batch_size` is; the last may be shorter.
    `batch_size` is by default what fills four megabytes, and at most 65,536. n None is a stream without end, of
    which there is no progress to report. A Generator is asked for its seed by this call, and not again.

    Raises TypeError and ValueError for arguments that make no sense, at once; OverflowError as `log_prob`.
    """
    check(progress)
    if n is None:
        if not (progress is None or progress is False):
            raise ValueError(f"progress is {arguments.brief(progress)}; wanted None or False where n is None")
        progress = False
        start = arguments.integer("start", start, 0, arguments.LAST_INDEX)
        count = arguments.LAST_INDEX - start
    else:
        count = arguments.integer("n", n, 0, arguments.LAST_INDEX)
        start = arguments.integer("start", start, 0, arguments.LAST_INDEX - count)
    size = self._batch_size if batch_size is None else arguments.batch_size(batch_size, self.n_dims)
    n_threads = arguments.threads(threads)
    return _reported(self, Samples(count, arguments.seed(rng), start), size, n_threads, progress)


def _reported(model: Model, samples: Samples, size: int, threads: int, progress: Progress) -> Iterator[Values]:
    with reporting(progress, samples.n, "sample") as report:
        yield from batches(model, samples, size, threads, report)


class _Keywords(NamedTuple):
    """What the draws share, as it came."""

    rng: arguments.Rng
    start: int
    temperature: float
    threads: int | None
    progress: Progress


def _draw(model: Model, x: Values, log_prob: NDArray[np.float64] | None, keywords: _Keywords) -> None:
    temperature = arguments.real("temperature", keywords.temperature, 0.0, MAX_TEMPERATURE)
    start = arguments.integer("start", keywords.start, 0, arguments.LAST_INDEX - len(x))
    threads = arguments.threads(keywords.threads)
    with reporting(keywords.progress, len(x), "sample") as report:
        # Last, so that a Generator does not advance in a call that fails its checks.
        seed = arguments.seed(keywords.rng)
        model._inner.draw(x, seed, start, threads, report, log_prob=log_prob, temperature=temperature)


def _draw_given(model: Model, evidence: ArrayLike | torch.Tensor, x: Values, keywords: _Keywords) -> None:
    values, observed = arguments.evidence("evidence", evidence, model._space)
    if not model._is_prefix(observed.reshape(1, -1))[0]:
        order = model.order
        steps = observed.ravel()[order]
        gap = int(np.argmin(steps))
        later = gap + int(np.argmax(steps[gap:]))
        raise ValueError(
            f"evidence has dimension {order[later]}, visited at step {later}, but not dimension "
            f"{order[gap]} of step {gap}; for exact draws it has to be the first ones in the model's order. "
            "complete() takes any evidence, and weighs its draws"
        )
    if arguments.real("temperature", keywords.temperature, 0.0, MAX_TEMPERATURE) != 1.0:
        raise ValueError(f"temperature is {keywords.temperature}; wanted 1 with evidence")
    start = arguments.integer("start", keywords.start, 0, arguments.LAST_INDEX - len(x))
    threads = arguments.threads(keywords.threads)
    low = np.where(observed, values, 0).astype(model.dtype, order="C")
    high = np.where(observed, values, model._space.highest).astype(model.dtype, order="C")
    log_weights = np.empty(min(len(x), _AT_ONCE))  # all log p(evidence)
    with reporting(keywords.progress, len(x), "sample") as report:
        seed = arguments.seed(keywords.rng)
        for part in arguments.parts(len(x), 1, _AT_ONCE):
            rows, weights = x[part], log_weights[: part.stop - part.start]
            first, done = np.array([start + part.start], np.uint64), after(part.start, report)
            model._inner.restrict(low, high, weights, seed, first, len(rows), threads, done, x=rows)
