"""Sampling: the usual torch loop, the best torch formulation, and Rust."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from ancestral.demo.torch_samplers import cached, usual_loop
from models import THREADS, Pair, check

SIZES = [1, 100, 1000]
CAP_SECONDS = 5.0


@pytest.mark.parametrize("n", SIZES)
def test_sample_usual_loop(benchmark: Any, pair: Pair, n: int) -> None:
    """One forward pass a dimension. All cost the same: where 784 take too long, some stand for all."""
    n_dims = pair.model.n_dims
    steps = {torch_threads: _seconds_a_step(pair, n, torch_threads) for torch_threads in (1, THREADS)}
    torch_threads = min(steps, key=lambda t: steps[t])
    n_steps = int(min(max(CAP_SECONDS / steps[torch_threads], 2), n_dims))
    torch.set_num_threads(torch_threads)
    benchmark.extra_info.update(operation="sample", kind=pair.model.kind, side="usual", n=n, scale=n_dims / n_steps)
    benchmark.pedantic(usual_loop, args=(pair.module, n), kwargs={"n_steps": n_steps}, rounds=1)


def _seconds_a_step(pair: Pair, n: int, torch_threads: int) -> float:
    torch.set_num_threads(torch_threads)
    usual_loop(pair.module, n, n_steps=1)
    started = time.perf_counter()
    usual_loop(pair.module, n, n_steps=2)
    return (time.perf_counter() - started) / 2


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("torch_threads", sorted({1, THREADS}))
def test_sample_cached(benchmark: Any, pair: Pair, n: int, torch_threads: int) -> None:
    """The best torch formulation. Small steps are often faster on one thread: the table takes the best."""
    torch.set_num_threads(torch_threads)
    check(pair, cached(pair.module, min(n, 100)))
    benchmark.extra_info.update(operation="sample", kind=pair.model.kind, side="cached", n=n, scale=1.0)
    benchmark.pedantic(cached, args=(pair.module, n), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("n", SIZES)
def test_sample_rust(benchmark: Any, pair: Pair, n: int) -> None:
    def draw() -> Any:
        return pair.model.sample(n, rng=0, threads=THREADS, progress=False)

    check(pair, draw()[:100])
    benchmark.extra_info.update(operation="sample", kind=pair.model.kind, side="rust", n=n, scale=1.0)
    benchmark.pedantic(draw, rounds=10 if n < 1000 else 3, warmup_rounds=1)
