"""Vectors of bits visited in a chosen order: what FVSBN and NADE share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from ancestral.nn import _core_step
from ancestral.nn._base import Autoregressive, as_order, as_size
from ancestral.nn._events import as_events
from ancestral.nn._transforms import is_differentiated


class OrderedBits(Autoregressive):
    """A model of x in {0, 1}^n_dims whose parameters are indexed by step: z = x[:, order]."""

    _CORE: ClassVar[_core_step.Core]
    _steps: Tensor | None
    _places: Tensor | None

    def __init__(self, n_dims: int, order: Any, backend: str) -> None:
        super().__init__((as_size(n_dims, "n_dims"),))
        if backend not in ("auto", "torch"):
            raise ValueError(f'backend must be "auto" or "torch", got {backend!r}')
        self.backend = backend
        self.order = as_order(order, self.n_dims)
        steps = None if self.order is None else torch.tensor(self.order)
        self.register_buffer("_steps", steps, persistent=False)
        self.register_buffer("_places", None if steps is None else steps.argsort(), persistent=False)

    @abstractmethod
    def _step_logits(self, z: Tensor) -> Tensor:
        """Logits (n, n_dims) of the steps, given the bits in the order of the steps."""

    @abstractmethod
    def _weights(self) -> tuple[Tensor, ...]:
        """The parameters as the core's functions take them."""

    def _core_weights(self) -> tuple[Tensor, ...] | None:
        """The parameters, if the core can run with them and is to."""
        weights = self._weights()
        return weights if self.backend != "torch" and _core_step.takes(weights) else None

    def _in_core(self) -> bool:
        return self._core_weights() is not None

    def log_prob(self, x: Any) -> Tensor:
        weights = self._core_weights()
        if weights is None:
            return super().log_prob(x)
        # The core looks at every value, in less time than torch takes to begin.
        if not (type(x) is Tensor and x.dtype is torch.uint8 and x.is_cpu and x.shape[1:] == self.event_shape):
            x = as_events(x, self.event_shape, self.n_classes, "x")
            if is_differentiated(x):
                return self._log_prob_in_torch(self._as_weights(x))
            x = x.cpu()
        try:
            return _core_step.log_prob(x if self._steps is None else x[:, self._steps], self._CORE, weights)
        except ValueError as error:
            refused = error
        as_events(x, self.event_shape, self.n_classes, "x")  # says which value it is, and where
        raise refused

    log_prob.__doc__ = Autoregressive.log_prob.__doc__

    def _logits(self, x: Tensor) -> Tensor:
        if self._steps is None or self._places is None:
            return self._step_logits(x)
        return self._step_logits(x[:, self._steps])[:, self._places]
