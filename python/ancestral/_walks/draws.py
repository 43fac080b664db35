"""A model's own samples, drawn some at a time, and their log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Report, after
from ancestral._space import Values

if TYPE_CHECKING:
    from ancestral.model import Model


class Samples(NamedTuple):
    """The samples `start` to `start` + `n` − 1 of a seed."""

    n: int
    seed: int
    start: int


def batches(model: Model, samples: Samples, size: int, threads: int, report: Report, done: int = 0) -> Iterator[Values]:
    """Those samples that are left when so many are done, `size` at a time."""
    while done < samples.n:
        x = np.empty((min(size, samples.n - done), *model.event_shape), model.dtype)
        model._inner.draw(x, samples.seed, samples.start + done, threads, after(done, report))
        done += len(x)
        if report is not None:
            report(done)
        yield x


def counts(n_samples: int, start: int) -> tuple[int, int]:
    """The arguments `n_samples` and `start`, checked: a standard error needs two samples."""
    n_samples = arguments.integer("n_samples", n_samples, 2, arguments.LAST_INDEX)
    return n_samples, arguments.integer("start", start, 0, arguments.LAST_INDEX - n_samples)


def log_probs(
    models: Sequence[Model],
    n_samples: int,
    rng: arguments.Rng,
    start: int,
    threads: int,
    report: Report,
) -> list[NDArray[np.float64]]:
    """log p(x) in nats under each of the models, for n_samples samples of the first of them, which are not kept."""
    p, *others = models
    values = [arguments.empty((n_samples,), np.float64, "n_samples") for _ in models]
    size = min(n_samples, p._batch_size)
    x = np.empty((size, *p.event_shape), p.dtype)
    seed = arguments.seed(rng)  # last, so that a Generator does not advance in a call that fails before
    for first in range(0, n_samples, size):
        batch = x[: n_samples - first]
        now = slice(first, first + len(batch))
        # What is reported are samples through with all models, on average.
        each = [_share(after(first, report), i * len(batch), len(models)) for i in range(len(models))]
        p._inner.draw(batch, seed, start + first, threads, each[0], log_prob=values[0][now])
        for q, log_prob, progress in zip(others, values[1:], each[1:], strict=True):
            q._inner.score(batch, threads, progress, log_prob=log_prob[now])
        if report:  # the core says nothing in a call that is soon over
            report(first + len(batch))
    return values


def _share(report: Report, done_before: int, calls: int) -> Report:
    """The report of one of so many calls for the same samples."""
    return None if report is None else lambda done: report((done_before + done) // calls)
