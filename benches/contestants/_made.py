"""MADE in torch: masks in the weights, hidden units sorted by degree, each computed once while sampling."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.nn import Autoregressive
from benches.contestants import Unsupported

BLOCK = 28


class Made:
    """One hidden layer. The units whose last input is step t are `ends[t - 1]` to `ends[t]`, and logits t read those
    before `ends[t - 1]`."""

    def __init__(self, module: Autoregressive) -> None:
        config = module.config()
        if len(config["hidden"]) > 1 or config["n_classes"] > 2 or config["n_masks"] > 1 or config["direct"]:
            raise Unsupported("written for bits, one hidden layer, one mask, and no direct connections")
        if config["order"] is not None:
            raise Unsupported("written for the natural order")
        nodes = {node["name"]: node for node in module.graph()["nodes"]}  # type: ignore[index]
        degrees, by_degree = torch.tensor(nodes["hidden.0"]["degrees"]).sort(stable=True)
        tensors = {name: tensor.detach() for name, tensor in module.tensors().items()}
        self.w, self.b = tensors["hidden.0.weight"][by_degree], tensors["hidden.0.bias"][by_degree]
        self.v, self.c = tensors["out.weight"][:, by_degree].contiguous(), tensors["out.bias"]
        self.ends: list[int] = torch.searchsorted(degrees, torch.arange(module.n_dims), right=True).tolist()
        starts = range(0, module.n_dims, BLOCK)
        self._blocks = [self._block(start, min(start + BLOCK, module.n_dims)) for start in starts]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.w, self.b).relu_(), self.v, self.c)

    @torch.inference_mode()
    def sample(self, n: int) -> Tensor:
        """A block of steps at a time: what earlier blocks add to its hidden units and logits is two matrix products.

        Within the block, each step adds the block's own part by two small ones, over all its values and hidden units:
        those that are not yet known are zero. Samples stand last in memory.
        """
        margins = self.c[:, None] - torch.rand(len(self.c), n).logit_()
        x, h, logit = torch.zeros(len(self.c), n), torch.zeros(len(self.b), n), torch.empty(1, n)
        for block in self._blocks:
            steps, units = block.steps, block.units
            a = torch.addmm(self.b[units, None], self.w[units, : steps.start], x[: steps.start])
            known = torch.addmm(margins[steps], self.v[steps, : units.start], h[: units.start])
            x_block, h_block = x[steps], h[units]
            rows = zip(
                x_block.unbind(), known.split(1), a.split(block.counts), h_block.split(block.counts), strict=True
            )
            for (x_t, logit_t, a_t, h_t), w_t, v_t in zip(rows, block.w, block.v, strict=True):
                torch.gt(torch.addmm(logit_t, v_t, h_block, out=logit)[0], 0, out=x_t)
                if len(h_t):
                    torch.addmm(a_t, w_t, x_block, out=h_t).relu_()
        return x.T.contiguous()

    def _block(self, start: int, stop: int) -> Block:
        ends = [0, *self.ends]
        steps, units = slice(start, stop), slice(ends[start], ends[stop])
        counts = [ends[t + 1] - ends[t] for t in range(start, stop)]
        return Block(steps, units, counts, self.w[units, steps].split(counts), self.v[steps, units].split(1))


class Block(NamedTuple):
    """Steps, their hidden units, how many of them each step has, and their weights within the block, step by step."""

    steps: slice
    units: slice
    counts: list[int]
    w: tuple[Tensor, ...]
    v: tuple[Tensor, ...]


class BySteps(NamedTuple):
    """Weights with as many hidden units a step as the step with most units has; those that are added have weights of
    zero. So all steps have the same shapes, as compilers want them."""

    w: Any  # (steps, units, n_dims)
    b: Any  # (steps, units)
    v: Any  # (n_dims, steps, units)
    c: Any  # (n_dims,)


def by_steps(made: Made) -> BySteps:
    starts = [0, *made.ends[:-1]]
    counts = [end - start for start, end in zip(starts, made.ends, strict=True)]
    n_dims, most = len(counts), max(counts)
    # Of each place the unit that stands there, or one past the last, whose weights are zero.
    units = torch.tensor(
        [
            [start + k if k < count else len(made.b) for k in range(most)]
            for start, count in zip(starts, counts, strict=True)
        ]
    )
    w, b, v = F.pad(made.w, (0, 0, 0, 1)), F.pad(made.b, (0, 1)), F.pad(made.v, (0, 1))
    return BySteps(w[units], b[units], v[:, units.flatten()].view(n_dims, n_dims, most), made.c)
