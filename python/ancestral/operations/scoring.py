"""Likelihood: log p(x), and the conditionals that make it up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress
from ancestral.operations._teaching import teach
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
        uint8 array is not copied; any other is converted some megabytes at a time. So a memory-mapped file of any
        size will do.

        Raises TypeError and ValueError for what is no such array, OverflowError if the model's activations leave the
        range of float32.
        """
        return teach(self, "log_prob", x, (), np.float64, out, threads, progress)

    def log_prob_batches(
        self, batches: Iterable[ArrayLike | torch.Tensor], *, threads: int | None = None
    ) -> Iterator[NDArray[np.float64]]:
        """The `log_prob` of each batch of an iterable, one after the other, as they are asked for.

        The batches are arrays as `log_prob` takes, of any lengths; none is kept.
        `np.concatenate(list(...))` of the result is the `log_prob` of all.

        Raises TypeError and ValueError for `batches` and `threads` at once, and for a batch, which is named by its
        number, when it is reached.
        """
        try:
            iterator = iter(batches)
        except TypeError:
            raise TypeError(f"batches is a {type(batches).__name__}; wanted an iterable of arrays") from None
        arguments.threads(threads)
        return self._log_prob_each(iterator, threads)

    def _log_prob_each(
        self, batches: Iterator[ArrayLike | torch.Tensor], threads: int | None
    ) -> Iterator[NDArray[np.float64]]:
        for i, x in enumerate(batches):
            try:
                log_prob = self.log_prob(x, threads=threads, progress=False)
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"batches, number {i}: {error}") from None
            yield log_prob

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
        shape = self.event_shape if self.n_classes == 2 else (*self.event_shape, self.n_classes)
        return teach(self, "conditionals", x, shape, np.float32, out, threads, progress)

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
        return teach(self, "surprise", x, self.event_shape, np.float32, out, threads, progress)
