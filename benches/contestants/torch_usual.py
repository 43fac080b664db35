"""torch as most public code uses it: sampling by a whole forward pass for each dimension, the likelihood by one."""

from __future__ import annotations

import time
from typing import Any

import torch

from ancestral.demo.torch_samplers import usual_loop
from benches.contestants import Task, Unsupported
from benches.contestants._torch import TorchContestant, log_prob

PART_SECONDS = 0.5
LONGEST_STEP = 2.0


class TorchUsual(TorchContestant):
    name = "torch"

    def sampler(self, n: int) -> Task:
        """All steps cost the same: where 784 take long, some of them stand for all."""
        small = min(n, 100)
        step = self._seconds_a_step(small) * n / small
        if step > LONGEST_STEP:
            raise Unsupported(f"one of {self._module.n_dims} forward passes takes about {step:.0f} s")
        n_dims = self._module.n_dims
        n_steps = int(min(max(PART_SECONDS / step, 1), n_dims))
        return Task(lambda: usual_loop(self._module, n, n_steps=n_steps), n_steps / n_dims)

    def _seconds_a_step(self, n: int) -> float:
        usual_loop(self._module, n, n_steps=1)
        started = time.perf_counter()
        usual_loop(self._module, n, n_steps=2)
        return (time.perf_counter() - started) / 2

    def scorer(self, x: Any) -> Task:
        bits = torch.from_numpy(x)

        @torch.inference_mode()
        def score() -> torch.Tensor:
            return log_prob(self._module, bits)

        return Task(score)
