"""Scoring: `log_prob` of real digits, by one torch forward pass and by Rust."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models import THREADS, Pair


@pytest.mark.parametrize("n", [1, 100, 1000])
@pytest.mark.parametrize("side", ["torch", "rust"])
def test_score(benchmark: Any, pair: Pair, side: str, n: int) -> None:
    x = pair.digits[:n]
    tensor = torch.from_numpy(x)
    torch.set_num_threads(THREADS)

    def in_torch() -> object:
        with torch.inference_mode():
            return pair.module.log_prob(tensor)

    def in_rust() -> object:
        return pair.model.log_prob(x, threads=THREADS, progress=False)

    benchmark.extra_info.update(operation="score", kind=pair.model.kind, side=side, n=n, scale=1.0)
    rounds = {1: 30, 100: 5, 1000: 3}[n]
    benchmark.pedantic(in_torch if side == "torch" else in_rust, rounds=rounds, warmup_rounds=1)
