"""Ancestral sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, after, reporting
from ancestral.operations.handle import LAST_INDEX, Handle

if TYPE_CHECKING:
    import torch

MAX_TEMPERATURE = 1e6
"""Logits divided by it are as good as equal."""

_AT_ONCE = 2**19
"""Samples given evidence that are drawn at once: each has a weight, which is not asked for."""


class Sampling(Handle):
    """Independent draws."""

    __slots__ = ()

    def sample(
        self,
        n: int,
        *,
        evidence: ArrayLike | torch.Tensor | None = None,
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

        With `evidence`, one event (event_shape) in which −1, NaN or the mask of a masked array marks what was not
        observed, they are draws from p(x | evidence): exact ones, so what was observed must come first in the model's
        order. They have the uniforms of the draws without evidence. `complete` takes any evidence, and many events at
        once.

        Raises TypeError and ValueError for arguments that make no sense, OverflowError as `log_prob`.
        """
        count = arguments.integer("n", n, 0, LAST_INDEX)
        x = arguments.output("out", out, (count, *self.event_shape), np.uint8)
        if evidence is None:
            self._draw(x, None, rng, start, temperature, threads, progress)
        else:
            self._draw_given(evidence, x, rng, start, temperature, threads, progress)
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

    def _draw_given(
        self,
        evidence: ArrayLike | torch.Tensor,
        x: NDArray[np.uint8],
        rng: arguments.Rng,
        start: int,
        temperature: float,
        threads: int | None,
        progress: Progress,
    ) -> None:
        values, observed = arguments.evidence("evidence", evidence, self.event_shape, self.n_classes)
        if not self._is_prefix(observed.reshape(1, -1))[0]:
            steps = observed.ravel()[self.order]
            gap = int(np.argmin(steps))
            later = gap + int(np.argmax(steps[gap:]))
            raise ValueError(
                f"evidence has dimension {self.order[later]}, visited at step {later}, but not dimension "
                f"{self.order[gap]} of step {gap}; for exact draws it has to be the first ones in the model's order. "
                "complete() takes any evidence, and weighs its draws"
            )
        if arguments.real("temperature", temperature, 0.0, MAX_TEMPERATURE) != 1.0:
            raise ValueError(f"temperature is {temperature}; wanted 1 with evidence")
        start = arguments.integer("start", start, 0, LAST_INDEX - len(x))
        n_threads = arguments.threads(threads)
        low = np.where(observed, values, 0).astype(np.uint8, order="C")
        high = np.where(observed, values, self.n_classes - 1).astype(np.uint8, order="C")
        log_weights = np.empty(min(len(x), _AT_ONCE))  # all log p(evidence)
        with reporting(progress, len(x), "sample") as report:
            seed = arguments.seed(rng)
            for part in arguments.parts(len(x), 1, _AT_ONCE):
                rows, weights = x[part], log_weights[: part.stop - part.start]
                first, done = np.array([start + part.start], np.uint64), after(part.start, report)
                self._inner.restrict(low, high, weights, seed, first, len(rows), n_threads, done, x=rows)
