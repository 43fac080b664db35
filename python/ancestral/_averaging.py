"""Averaged weights: the exponential moving average over the steps of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Average:
    """After step t the mean of the weights after steps 1 ... t, where those after step k count decay^(t − k).

    That is Adam's average with its correction for the start (Kingma and Ba, ICLR 2015): the weights that training began
    with are no part of it, and those after the first step count no more than their share.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self._steps = 0
        self._means = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights."""
        self._steps += 1
        share = (1 - self._decay) / (1 - self._decay**self._steps)  # 1 at first
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean.lerp_(parameter, share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the parameters have the averaged values."""
        raw = [parameter.detach().clone() for parameter in self._parameters]
        try:
            self._assign(self._means)
            yield
        finally:
            self._assign(raw)

    @torch.no_grad()
    def _assign(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "means": self._means}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps = state["steps"]
        for mean, value in zip(self._means, state["means"], strict=True):
            mean.copy_(value)
