"""Anomaly: how far from what is usual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, after, reporting
from ancestral.operations import draws
from ancestral.operations._teaching import fill
from ancestral.operations.handle import Handle

if TYPE_CHECKING:
    import torch


class Anomaly(Handle):
    """Scores of single events, high where they are unlike the others."""

    __slots__ = ()

    def typicality(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        reference: ArrayLike | torch.Tensor | None = None,
        n_samples: int = 1000,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: Progress = None,
    ) -> NDArray[np.float64]:
        """|−log p(x) − H| / s, float64 (n,): by how many standard deviations −log p(x) is unusual. High is anomalous.

        An event far *more* probable than is usual is as atypical as one far less probable; `log_prob` alone misses it.
        This is the test of Nalisnick, Matsukawa, Teh, Lakshminarayanan (2019), "Detecting out-of-distribution inputs to
        deep generative models using typicality", for single events; dividing by s gives it a unit.

        H and s are the mean and standard deviation of −log p over `reference`: log-probabilities in nats, (m,), such as
        `model.log_prob(valid)`. Without one they are those of `n_samples` samples of the model, drawn with `rng` and
        `start`; with one these three are not used.

        s is at least the resolution of float32, 2⁻²³ max(1, |H|) nats. So scores are finite even for a model that gives
        one log-probability to all that it draws: about 0 for these, large for the rest.

        `x` and errors are as for `log_prob`; TypeError and ValueError also for a reference that is not two
        log-probabilities or more, or an n_samples below 2.
        """
        values = arguments.events(x, self.event_shape, self.n_classes)
        score = np.empty(len(values))
        n_threads = arguments.threads(threads)
        if reference is not None:
            usual, n_samples = _log_probs("reference", reference), 0
        else:
            n_samples, start = draws.counts(n_samples, start)
        with reporting(progress, n_samples + len(values), "typicality") as report:
            # First, so that a Generator does not advance where x has a wrong value.
            fill(self, "log_prob", values, score, n_threads, report)
            if reference is None:
                (usual,) = draws.log_probs([self], n_samples, rng, start, n_threads, after(len(values), report))
        mean = usual.mean()
        score -= mean
        np.abs(score, out=score)
        score /= max(usual.std(ddof=1), np.finfo(np.float32).eps * max(1.0, abs(mean)))
        return score


def _log_probs(name: str, value: object) -> NDArray[np.float64]:
    """An array of log-probabilities, as float64."""
    array = arguments.as_array(name, value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} has dtype {array.dtype}; wanted log-probabilities, floats")
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"{name} has shape {array.shape}; wanted at least 2 log-probabilities, (n,)")
    log_probs = array.astype(np.float64)
    if not np.isfinite(log_probs).all():
        at = int(np.argmin(np.isfinite(log_probs)))
        raise ValueError(f"{name}[{at}] is {log_probs[at]}; wanted finite log-probabilities")
    if log_probs.mean() > 0.01:  # a probability is at most 1, but for rounding
        raise ValueError(f"{name} has mean {log_probs.mean():.6g}; wanted log-probabilities, which are negative")
    return log_probs
