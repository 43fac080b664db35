"""Scoring: `log_prob` of real digits, by one torch forward pass and by Rust."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models import THREADS, Pair

ROUNDS = {1: 30, 100: 5, 1000: 3}
SIZES = list(ROUNDS)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("torch_threads", sorted({1, THREADS}))
def test_score_torch(benchmark: Any, pair: Pair, n: int, torch_threads: int) -> None:
    x = torch.from_numpy(pair.digits[:n])
    torch.set_num_threads(torch_threads)

    @torch.inference_mode()
    def score() -> torch.Tensor:
        return pair.module.log_prob(x)

    benchmark.extra_info.update(operation="score", kind=pair.model.kind, side="torch", n=n, scale=1.0)
    benchmark.pedantic(score, rounds=ROUNDS[n], warmup_rounds=1)


@pytest.mark.parametrize("n", SIZES)
def test_score_rust(benchmark: Any, pair: Pair, n: int) -> None:
    x = pair.digits[:n]
    benchmark.extra_info.update(operation="score", kind=pair.model.kind, side="rust", n=n, scale=1.0)
    benchmark.pedantic(
        pair.model.log_prob,
        args=(x,),
        kwargs={"threads": THREADS, "progress": False},
        rounds=ROUNDS[n],
        warmup_rounds=1,
    )
