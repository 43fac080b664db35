"""Information: entropy, cross-entropy, bits per dimension and the Kullback-Leibler divergence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, reporting
from ancestral.estimate import Estimate
from ancestral.operations import draws
from ancestral.operations.scoring import Scoring

if TYPE_CHECKING:
    import torch

    from ancestral.model import Model


class Information(Scoring):
    """What log p(x) is on average."""

    __slots__ = ()

    def entropy(
        self,
        n_samples: int = 10_000,
        *,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: Progress = None,
    ) -> Estimate:
        """The entropy H(p) = −E_p log p(x) in nats, estimated without bias: the mean of −log p over n_samples samples.

        The standard error is the samples' own standard deviation / √n_samples. Memory: 8 bytes a sample.

        Raises TypeError and ValueError for arguments that make no sense (n_samples is at least 2), OverflowError as
        `log_prob`.
        """
        n_samples, start = draws.counts(n_samples, start)
        n_threads = arguments.threads(threads)
        with reporting(progress, n_samples, "entropy") as report:
            (log_prob,) = draws.log_probs([self], n_samples, rng, start, n_threads, report)
        return _mean(np.subtract(0.0, log_prob, out=log_prob))

    def cross_entropy(
        self, x: ArrayLike | torch.Tensor, *, threads: int | None = None, progress: Progress = None
    ) -> Estimate:
        """The mean of −log p over the rows of `x` in nats: the test NLL of papers, with its standard error.

        It estimates the cross-entropy H(r, p) = −E_r log p(x) of whatever distribution r the rows are independent draws
        from: `q.cross_entropy(p.sample(1000))` is that of two models. `x` and errors as for `log_prob`; ValueError for
        fewer than two rows.
        """
        log_prob = self.log_prob(x, threads=threads, progress=progress)
        if len(log_prob) < 2:
            raise ValueError(f"x has {len(log_prob)} rows; wanted at least 2, for a standard error")
        return _mean(np.subtract(0.0, log_prob, out=log_prob))

    def bits_per_dim(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """−log₂ p(x) / n_dims in bits, float64 (n,). `x` and errors as for `log_prob`."""
        result = self.log_prob(x, threads=threads, progress=progress, out=out)
        np.subtract(0.0, result, out=result)
        result /= self.n_dims * math.log(2.0)
        return result


def kl_divergence(
    p: Model,
    q: Model,
    n_samples: int = 10_000,
    *,
    rng: arguments.Rng = None,
    start: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> Estimate:
    """The Kullback-Leibler divergence KL(p‖q) = E_p log p(x)/q(x) in nats, of two models of the same events.

    The mean of log p − log q over n_samples samples of p: without bias, but it can come out below 0 where p and q are
    close. Keywords are as for `Model`. Memory: 16 bytes a sample.

    The standard error is the samples' own. It misses what they miss: where q is far smaller than p on events so rare
    that none is drawn, value and standard error are both too small.

    Raises TypeError if p or q is no Model, ValueError if their event_shape or n_classes differ, else as
    `Model.entropy`.
    """
    p, q = arguments.model("p", p), arguments.model("q", q)
    for name in ("event_shape", "n_classes"):
        if getattr(p, name) != getattr(q, name):
            raise ValueError(f"q has {name} {getattr(q, name)}; wanted that of p, {getattr(p, name)}")
    n_samples, start = draws.counts(n_samples, start)
    n_threads = arguments.threads(threads)
    with reporting(progress, n_samples, "kl_divergence") as report:
        log_p, log_q = draws.log_probs([p, q], n_samples, rng, start, n_threads, report)
    return _mean(np.subtract(log_p, log_q, out=log_p))


def _mean(values: NDArray[np.float64]) -> Estimate:
    """The mean of two values or more, which are lost. It is finite, and so is its error: logits are finite float32
    numbers, whose sums and squares stay far inside the range of float64."""
    n, mean = len(values), values.mean()
    values -= mean
    error = math.sqrt(np.square(values, out=values).sum() / (n - 1) / n)
    return Estimate(float(mean), error, n)
