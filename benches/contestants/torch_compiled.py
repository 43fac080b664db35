"""torch.compile: the best eager formulation, cut into pieces that Inductor fuses and compiles within seconds.

784 steps in one function would compile for minutes, so the piece is a block of steps. The likelihood is one forward
pass, or for NADE, where the walk is the better formulation, that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from ancestral.nn import Autoregressive
from benches.contestants import Task, Unsupported
from benches.contestants._made import Made, by_steps
from benches.contestants._torch import TorchContestant, forward_of, log_prob, log_prob_of_logits

FVSBN_BLOCK = 14
NADE_BLOCK = 14
MADE_BLOCK = 14


class TorchCompiled(TorchContestant):
    """Compiled for each batch size and number of threads, before the clock starts."""

    name = "torch.compile"

    def __init__(self, module: Autoregressive) -> None:
        super().__init__(module)
        torch._dynamo.config.recompile_limit = 64
        self._walk, self._no_walk = _walk_of(module)
        # A PixelCNN of 128 channels compiles for half a minute: once for all sizes.
        self._log_prob = torch.compile(log_prob, dynamic=self._walk is None)
        self._forward = forward_of(module)

    def sampler(self, n: int) -> Task:
        walk = self._walk
        if walk is None:
            raise Unsupported(self._no_walk)

        @torch.inference_mode()
        def sample() -> Tensor:
            return walk(torch.rand(self._module.n_dims, n).logit_())[0]

        return _compiled(sample)

    def scorer(self, x: Any) -> Task:
        bits = torch.from_numpy(x)

        @torch.inference_mode()
        def score() -> Tensor:
            if isinstance(self._walk, NadeWalk):
                thresholds = torch.where(bits.T == 1, -torch.inf, torch.inf)  # force the data
                return log_prob_of_logits(self._walk(thresholds)[1].T, bits)
            return self._log_prob(self._forward, bits)

        return _compiled(score)


def _walk_of(module: Autoregressive) -> tuple[FvsbnWalk | NadeWalk | MadeWalk | None, str]:
    """The walk for a kind of model, or why there is none."""
    walks = {"FVSBN": FvsbnWalk, "NADE": NadeWalk, "MADE": MadeWalk}
    if module.kind not in walks:
        return None, "a function of one pixel, compiled, is slower than the same uncompiled"
    try:
        return walks[module.kind](module), ""
    except Unsupported as why:
        return None, str(why)


def _compiled(call: Callable[[], Tensor]) -> Task:
    """Compile by a first call. Some machines have no C++ compiler, and some releases of torch fail on some code."""
    try:
        call()
    except TorchDynamoException as why:
        raise Unsupported(f"does not compile: {str(why).splitlines()[0]}") from why
    return Task(call)


class FvsbnWalk:
    """Blocks of steps: within a block, all in registers; beyond it, one matrix product."""

    def __init__(self, module: Autoregressive) -> None:
        self._tensors = module.tensors()
        weight = self._tensors["weight"]
        starts = range(0, len(weight), FVSBN_BLOCK)
        self._within = [weight[k : k + FVSBN_BLOCK, k : k + FVSBN_BLOCK].contiguous() for k in starts]
        self._block = torch.compile(self._steps, dynamic=False)

    @staticmethod
    def _steps(margins: Tensor, weight: Tensor, z: Tensor) -> None:
        rows = list(margins.unbind())
        for i in range(len(rows)):
            one = (rows[i] > 0).float()
            z[i] = one
            for j in range(i + 1, len(rows)):
                rows[j] = rows[j] + weight[j, i] * one

    def __call__(self, thresholds: Tensor) -> tuple[Tensor, None]:
        weight = self._tensors["weight"]
        margins = self._tensors["bias"][:, None] - thresholds
        z = torch.empty_like(margins)
        for k, within in enumerate(self._within):
            start = k * FVSBN_BLOCK
            stop = start + len(within)
            self._block(margins[start:stop], within, z[start:stop])
            if stop < len(z):
                margins[stop:].addmm_(weight[stop:, start:stop], z[start:stop])
        return z.T.contiguous(), None


class NadeWalk:
    """Blocks of steps. A hidden unit is 1 / (1 + e^−a), and a one multiplies e^−a by e^−w, as in JAX."""

    def __init__(self, module: Autoregressive) -> None:
        tensors = module.tensors()
        self._odds = (-tensors["c"]).exp()
        self._b = tensors["b"][:, None]
        factors, v = (-tensors["W"]).exp(), tensors["V"]
        self._blocks = list(zip(factors.split(NADE_BLOCK), v.split(NADE_BLOCK), strict=True))
        self._block = torch.compile(self._steps, dynamic=False)

    @staticmethod
    def _steps(odds: Tensor, factors: Tensor, v: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ones, dots = [], []
        for i in range(len(v)):
            dots.append((1 / (1 + odds)) @ v[i])
            ones.append(dots[i] > thresholds[i])
            odds = torch.where(ones[i][:, None], odds * factors[i], odds)
        return odds, torch.stack(ones), torch.stack(dots)

    def __call__(self, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        odds = self._odds.repeat(thresholds.shape[1], 1)
        ones, dots = [], []
        blocks = zip(self._blocks, (thresholds - self._b).split(NADE_BLOCK), strict=True)
        for (factors, v), block_thresholds in blocks:
            odds, block_ones, block_dots = self._block(odds, factors, v, block_thresholds)
            ones.append(block_ones)
            dots.append(block_dots)
        return torch.cat(ones).T.contiguous(), torch.cat(dots).add_(self._b)


class MadeWalk:
    """Blocks of steps: what earlier blocks add to one's hidden units and logits is two matrix products."""

    def __init__(self, module: Autoregressive) -> None:
        weights = by_steps(Made(module))
        if weights.b.shape[1] > 1:
            raise Unsupported(
                "a block with several hidden units a step compiles for a minute, and is slower than eager"
            )
        self._w, self._b, self._v, self._c = weights.w[:, 0], weights.b, weights.v[:, :, 0], weights.c[:, None]
        self._block = torch.compile(self._steps, dynamic=False)

    @staticmethod
    def _steps(margins: Tensor, a: Tensor, w: Tensor, v: Tensor, z: Tensor, h: Tensor) -> None:
        """From margins and hidden units before the block's part, (steps, n), and its weights, the block's z and h."""
        for i in range(len(margins)):
            z[i] = (margins[i] + (v[i, :i, None] * h[:i]).sum(0) > 0).float()
            h[i] = (a[i] + (w[i, : i + 1, None] * z[: i + 1]).sum(0)).relu()

    def __call__(self, thresholds: Tensor) -> tuple[Tensor, None]:
        margins = self._c - thresholds
        z, h = torch.zeros_like(margins), torch.zeros_like(margins)
        for start in range(0, len(z), MADE_BLOCK):
            steps = slice(start, min(start + MADE_BLOCK, len(z)))
            a = torch.addmm(self._b[steps], self._w[steps, :start], z[:start])
            block = torch.addmm(margins[steps], self._v[steps, :start], h[:start])
            self._block(block, a, self._w[steps, steps], self._v[steps, steps], z[steps], h[steps])
        return z.T.contiguous(), None
