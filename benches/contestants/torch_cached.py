"""torch at its best without a compiler: what a new value changes is updated in place, and nothing is computed twice."""

from __future__ import annotations

from typing import Any

from ancestral.demo.torch_samplers import cached
from benches.contestants import Task, Unsupported
from benches.contestants._torch import TorchContestant


class TorchCached(TorchContestant):
    name = "torch, cached"

    def sampler(self, n: int) -> Task:
        return Task(lambda: cached(self._module, n))

    def scorer(self, x: Any) -> Task:
        raise Unsupported("the likelihood is one forward pass, as for torch")
