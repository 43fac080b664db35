"""Likelihood: log p(x), and the conditionals that make it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, reporting
from ancestral.operations.handle import Handle

if TYPE_CHECKING:
    import torch


class Scoring(Handle):
    """Operations on given data (teacher forcing)."""

    __slots__ = ()

    def log_prob(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """log p(x) in nats, float64 (n,).

        `x` is (n, *event_shape): integers 0 to n_classes − 1 of any dtype, as an array or a torch tensor. A contiguous
        uint8 array is not copied.

        Raises TypeError and ValueError for what is no such array, OverflowError if the model's activations leave the
        range of float32.
        """
        values = arguments.events(x, self.event_shape, self.n_classes)
        result = arguments.output("out", out, (len(values),), np.float64, avoid=values)
        n_threads = arguments.threads(threads)
        with reporting(progress, len(values), "log_prob") as report:
            self._inner.score(values, n_threads, report, log_prob=result)
        return result

    def conditionals(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """The conditional distribution of every dimension given those before it in the model's order, float32.

        Two classes: P(x_i = 1 | x_<i), shaped as `x`. More: (*x.shape, n_classes). `x` and errors as for `log_prob`.
        """
        values = arguments.events(x, self.event_shape, self.n_classes)
        shape = values.shape if self.n_classes == 2 else (*values.shape, self.n_classes)
        result = arguments.output("out", out, shape, np.float32, avoid=values)
        n_threads = arguments.threads(threads)
        with reporting(progress, len(values), "conditionals") as report:
            self._inner.score(values, n_threads, report, conditionals=result)
        return result

    def surprise(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """−log p(x_i | x_<i) of every dimension, in nats: float32, shaped as `x`.

        They sum to −log p(x). Seen as a picture, it shows where an event is not what the model expects. `x` and errors
        as for `log_prob`.
        """
        values = arguments.events(x, self.event_shape, self.n_classes)
        result = arguments.output("out", out, values.shape, np.float32, avoid=values)
        n_threads = arguments.threads(threads)
        with reporting(progress, len(values), "surprise") as report:
            self._inner.score(values, n_threads, report, surprise=result)
        return result
