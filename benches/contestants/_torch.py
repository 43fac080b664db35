"""What the contestants in torch share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.nn import Autoregressive
from benches.contestants import Contestant


class TorchContestant(Contestant):
    """Holds the module; its threads are those of the process."""

    def __init__(self, module: Autoregressive) -> None:
        self._module = module

    def set_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)


def log_prob(module: Autoregressive, bits: Tensor) -> Tensor:
    """That of `module`, without its looks at x and at the weights."""
    return log_prob_of_logits(module._logits(bits.float()).flatten(1), bits.flatten(1))


def log_prob_of_logits(logits: Tensor, bits: Tensor) -> Tensor:
    return F.logsigmoid(torch.where(bits == 1, logits, -logits)).sum(1)
