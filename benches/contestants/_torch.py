"""What the contestants in torch share."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.nn import Autoregressive
from benches.contestants import Contestant
from benches.contestants._made import Made
from benches.contestants._torch_gated import Gated

Forward = Callable[[Tensor], Tensor]


class TorchContestant(Contestant):
    """Holds the module; its threads are those of the process."""

    def __init__(self, module: Autoregressive) -> None:
        self._module = module

    def set_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)


def forward_of(module: Autoregressive) -> Forward:
    """One forward pass: the logits of float values (n, *event_shape), without the module's looks at x and the weights.

    Of MADE and Gated PixelCNN with the masks in the weights, and the halves of each gate as one convolution.
    """
    if module.kind == "MADE":
        return Made(module).forward
    if module.kind == "GatedPixelCNN":
        return Gated(module).forward
    return module._logits


def log_prob(forward: Forward, x: Tensor) -> Tensor:
    """log p of values (n, *event_shape): (n,)."""
    logits = forward(x.float())
    if logits.ndim == x.ndim:
        return log_prob_of_logits(logits.flatten(1), x.flatten(1))
    return -F.cross_entropy(logits.flatten(0, -2), x.flatten().long(), reduction="none").view(len(x), -1).sum(1)


def log_prob_of_logits(logits: Tensor, bits: Tensor) -> Tensor:
    return F.logsigmoid(torch.where(bits == 1, logits, -logits)).sum(1)
