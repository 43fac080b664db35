"""What the contestants in torch share."""

from __future__ import annotations

import torch

from ancestral.nn import Autoregressive
from benches.contestants import Contestant


class TorchContestant(Contestant):
    """Holds the module; its threads are those of the process."""

    def __init__(self, module: Autoregressive) -> None:
        self._module = module

    def set_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)
