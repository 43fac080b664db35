"""Operations on given data (teacher forcing)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress
from ancestral._walks.given import Output, teach
from ancestral.estimate import Estimate, mean

if TYPE_CHECKING:
    import torch

    from ancestral.model import Model


def log_prob(
    self: Model,
    x: ArrayLike | torch.Tensor,
    *,
    threads: int | None = None,
    progress: Progress = None,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """log p(x) in nats, float64 (n,).

    `x` is (n, *event_shape): integers 0 to n_classes − 1 of any dtype, as an array or a torch tensor. A contiguous
    array of the model's `dtype` is not copied; any other is converted some megabytes at a time. So a memory-mapped
    file of any size will do.

    Raises TypeError and ValueError for what is no such array, OverflowError if the model's activations leave the
    range of float32.
    """
    return teach(self, Output("log_prob", (), np.float64), x, out, threads, progress)


def log_prob_batches(
    self: Model, batches: Iterable[ArrayLike | torch.Tensor], *, threads: int | None = None
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
    return _log_prob_each(self, iterator, threads)


def _log_prob_each(
    model: Model, batches: Iterator[ArrayLike | torch.Tensor], threads: int | None
) -> Iterator[NDArray[np.float64]]:
    for i, x in enumerate(batches):
        try:
            log_prob = model.log_prob(x, threads=threads, progress=False)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"batches, number {i}: {error}") from None
        yield log_prob


def bits_per_dim(
    self: Model,
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


def cross_entropy(
    self: Model, x: ArrayLike | torch.Tensor, *, threads: int | None = None, progress: Progress = None
) -> Estimate:
    """The mean of −log p over the rows of `x` in nats: the test NLL of papers, with its standard error.

    It estimates the cross-entropy H(r, p) = −E_r log p(x) of whatever distribution r the rows are independent draws
    from: `q.cross_entropy(p.sample(1000))` is that of two models. `x` and errors as for `log_prob`; ValueError for
    fewer than two rows.
    """
    log_prob = self.log_prob(x, threads=threads, progress=progress)
    if len(log_prob) < 2:
        raise ValueError(f"x has {len(log_prob)} rows; wanted at least 2, for a standard error")
    return mean(np.subtract(0.0, log_prob, out=log_prob))


def conditionals(
    self: Model,
    x: ArrayLike | torch.Tensor,
    *,
    threads: int | None = None,
    progress: Progress = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The conditional distribution of every dimension given those before it in the model's order, float32.

    Two classes: P(x_i = 1 | x_<i), shaped as `x`. More: (*x.shape, n_classes); where dimensions have different numbers
    of classes, the largest of them, with zeros beyond a dimension's own. `x` and errors as for `log_prob`.
    """
    self._need_order("conditionals")
    shape = self.event_shape if self._space.is_bits else (*self.event_shape, self._space.most_classes)
    return teach(self, Output("conditionals", shape, np.float32), x, out, threads, progress)


def surprise(
    self: Model,
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
    self._need_order("surprise")
    return teach(self, Output("surprise", self.event_shape, np.float32), x, out, threads, progress)


def features(
    self: Model,
    x: ArrayLike | torch.Tensor,
    *,
    step: int | None = None,
    threads: int | None = None,
    progress: Progress = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The model's hidden units for each row of x, float32: features for other models to learn from.

    - NADE: h = σ(c + x W) after the last dimension, (n, n_hidden); with `step`, after the first `step` dimensions
      in the model's order: what p(x_step | x_<step) is computed from.
    - MADE: the last hidden layer, (n, units); of several masks one layer after the other. With `step`, as NADE; units
      that would see a later dimension are 0.
    - PixelCNN and Gated PixelCNN: the last layer before the logits: (n, n_head, height, width). Channel j of N at a
      pixel knows the pixels before it, and the channels before ⌊j C / N⌋ of its own C.
    - A network of your own: what its graph names as `features`.

    `x` and errors as for `log_prob`. Raises ValueError for a model without hidden units (FVSBN), or a `step` where
    there is no such choice.
    """
    self._need_order("features")
    shape = self._inner.feature_shape
    if shape is None:
        raise ValueError(f"{self.kind} has no hidden units, and so no features")
    n_steps = None
    if step is not None:
        if len(shape) > 1:
            raise ValueError(f"step is {arguments.brief(step)}; {self.kind} has features of every pixel: leave it out")
        n_steps = arguments.integer("step", step, 0, self.n_dims)
    return teach(self, Output("features", tuple(shape), np.float32), x, out, threads, progress, n_steps=n_steps)
