"""Ancestral sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, reporting
from ancestral.operations.handle import LAST_INDEX, Handle

MAX_TEMPERATURE = 1e6
"""Logits divided by it are as good as equal."""


class Sampling(Handle):
    """Independent draws."""

    __slots__ = ()

    def sample(
        self,
        n: int,
        *,
        rng: arguments.Rng = None,
        start: int = 0,
        temperature: float = 1.0,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """n independent samples, uint8 (n, *event_shape), by ancestral sampling.

        With a `temperature` each value is drawn with p(x_i | x_<i)^(1 / temperature), up to a factor: 1 is the model;
        below it samples vary less, and at 0 (greedy) each value is the most probable one; above it they vary more.

        Raises TypeError and ValueError for arguments that make no sense, OverflowError as `log_prob`.
        """
        count = arguments.integer("n", n, 0, LAST_INDEX)
        x = arguments.output("out", out, (count, *self.event_shape), np.uint8)
        self._draw(x, None, rng, start, temperature, threads, progress)
        return x

    def sample_and_log_prob(
        self,
        n: int,
        *,
        rng: arguments.Rng = None,
        start: int = 0,
        temperature: float = 1.0,
        threads: int | None = None,
        progress: Progress = None,
        out: tuple[NDArray[np.uint8], NDArray[np.float64]] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """n independent samples and their log-probabilities in nats, the same bits as `sample` and `log_prob` give.

        With a `temperature` they are still the log-probabilities under the model. `out` is a pair of arrays. Errors are
        as for `sample`.
        """
        if out is not None and not (isinstance(out, (tuple, list)) and len(out) == 2):
            raise TypeError(f"out is {type(out).__name__}; wanted a pair of arrays (x, log_prob)")
        x_out, log_prob_out = out or (None, None)
        count = arguments.integer("n", n, 0, LAST_INDEX)
        x = arguments.output("out[0]", x_out, (count, *self.event_shape), np.uint8)
        log_prob = arguments.output("out[1]", log_prob_out, (count,), np.float64, avoid=x)
        self._draw(x, log_prob, rng, start, temperature, threads, progress)
        return x, log_prob

    def _draw(
        self,
        x: NDArray[np.uint8],
        log_prob: NDArray[np.float64] | None,
        rng: arguments.Rng,
        start: int,
        temperature: float,
        threads: int | None,
        progress: Progress,
    ) -> None:
        temperature = arguments.real("temperature", temperature, 0.0, MAX_TEMPERATURE)
        start = arguments.integer("start", start, 0, LAST_INDEX - len(x))
        n_threads = arguments.threads(threads)
        with reporting(progress, len(x), "sample") as report:
            # Last, so that a Generator does not advance in a call that fails its checks.
            seed = arguments.seed(rng)
            self._inner.draw(x, seed, start, n_threads, report, log_prob=log_prob, temperature=temperature)
