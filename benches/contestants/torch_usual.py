"""torch as most public code uses it: sampling by a whole forward pass for each dimension, the likelihood by one."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from ancestral.nn import Autoregressive
from benches.contestants import Task, Unsupported
from benches.contestants._torch import TorchContestant, forward_of, log_prob

PART_SECONDS = 0.5
LONGEST_STEP = 2.0


class TorchUsual(TorchContestant):
    name = "torch"

    def __init__(self, module: Autoregressive) -> None:
        super().__init__(module)
        self._forward = forward_of(module)

    def sampler(self, n: int) -> Task:
        """All steps cost the same: where 784 take long, some of them stand for all."""
        small = min(n, 100)
        step = self._seconds_a_step(small) * n / small
        if step > LONGEST_STEP:
            raise Unsupported(f"one of {self._module.n_dims} forward passes takes about {step:.0f} s")
        n_dims = self._module.n_dims
        n_steps = int(min(max(PART_SECONDS / step, 1), n_dims))
        return Task(lambda: self._loop(n, n_steps), n_steps / n_dims)

    def _seconds_a_step(self, n: int) -> float:
        self._loop(n, 1)
        started = time.perf_counter()
        self._loop(n, 2)
        return (time.perf_counter() - started) / 2

    @torch.inference_mode()
    def _loop(self, n: int, n_steps: int) -> Tensor:
        """Draw the first dimensions; those of the benchmark's modules are visited in their natural order."""
        x = torch.zeros(n, *self._module.event_shape)
        flat = x.view(n, -1)
        for i in range(n_steps):
            logits = self._forward(x).reshape(n, flat.shape[1], -1)[:, i]
            if logits.shape[1] == 1:
                flat[:, i] = logits[:, 0].sigmoid().bernoulli()
            else:
                flat[:, i] = torch.multinomial(logits.softmax(1), 1)[:, 0]
        return x

    def scorer(self, x: Any) -> Task:
        values = torch.from_numpy(x)

        @torch.inference_mode()
        def score() -> Tensor:
            return log_prob(self._forward, values)

        return Task(score)
