"""One forward pass of torch: no way to draw, but what draws are measured against."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benches.contestants import Task, Unsupported
from benches.contestants._torch import TorchContestant, forward_of
from benches.tables import FORWARD


class TorchForward(TorchContestant):
    name = FORWARD
    draws = False

    def sampler(self, n: int) -> Task:
        """The logits of n given samples."""
        forward, x = forward_of(self._module), torch.rand(n, *self._module.event_shape).round_()

        @torch.inference_mode()
        def logits() -> Tensor:
            return forward(x)

        return Task(logits)

    def scorer(self, x: Any) -> Task:
        raise Unsupported("the likelihood of torch is one forward pass")
