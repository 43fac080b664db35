"""torch at its best without a compiler: what a new value changes is updated in place, and nothing is computed twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ancestral.demo.torch_samplers import cached
from ancestral.nn import Autoregressive
from benches.contestants import Task, Unsupported
from benches.contestants._made import Made
from benches.contestants._torch import TorchContestant
from benches.contestants._torch_gated import Gated


class TorchCached(TorchContestant):
    name = "torch, cached"

    def __init__(self, module: Autoregressive) -> None:
        super().__init__(module)
        nets: dict[str, Any] = {"MADE": Made, "GatedPixelCNN": Gated}
        net = nets.get(module.kind)
        self._draw: Callable[[int], Tensor] = partial(cached, module) if net is None else net(module).sample

    def sampler(self, n: int) -> Task:
        return Task(lambda: self._draw(n))

    def scorer(self, x: Any) -> Task:
        raise Unsupported("the likelihood is one forward pass, as for torch")
