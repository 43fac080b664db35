"""torch at its best without a compiler: what a new value changes is updated in place, and nothing is computed twice."""

from __future__ import annotations

from typing import Any

import torch

from ancestral.demo.torch_samplers import cached
from ancestral.nn import Autoregressive
from benches.contestants import Contestant, Task, Unsupported


class TorchCached(Contestant):
    name = "torch, cached"

    def __init__(self, module: Autoregressive) -> None:
        self._module = module

    def set_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def sampler(self, n: int) -> Task:
        return Task(lambda: cached(self._module, n))

    def scorer(self, x: Any) -> Task:
        raise Unsupported("the likelihood is one forward pass, as for torch")
