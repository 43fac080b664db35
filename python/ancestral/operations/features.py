"""Hidden units as features of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress
from ancestral.operations._teaching import teach
from ancestral.operations.handle import Handle

if TYPE_CHECKING:
    import torch


class Features(Handle):
    """What the model makes of an event, for other models to learn from."""

    __slots__ = ()

    def features(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        step: int | None = None,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """The model's hidden units for each row of x, float32.

        - NADE: h = σ(c + x W) after the last dimension, (n, n_hidden); with `step`, after the first `step` dimensions
          in the model's order: what p(x_step | x_<step) is computed from.
        - PixelCNN: the last layer before the logits, after its ReLU: (n, n_head, height, width). Channel j of N at a
          pixel knows the pixels before it, and the channels before ⌊j C / N⌋ of its own C.

        `x` and errors as for `log_prob`. Raises ValueError for a model without hidden units (FVSBN), or a `step` where
        there is no such choice.
        """
        shape = self._inner.feature_shape
        if shape is None:
            raise ValueError(f"{self.kind} has no hidden units, and so no features")
        n_steps = None
        if step is not None:
            if len(shape) > 1:
                raise ValueError(
                    f"step is {arguments.brief(step)}; {self.kind} has features of every pixel: leave it out"
                )
            n_steps = arguments.integer("step", step, 0, self.n_dims)
        return teach(self, "features", x, tuple(shape), np.float32, out, threads, progress, n_steps)
