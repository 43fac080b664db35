"""A step of training: NADE's likelihood, gradient and AdamW, in torch and in the core."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from ancestral import datasets
from ancestral.nn import NADE
from ancestral.nn._nade_core import own_threads

N_HIDDEN = 500
BATCH = 100
ROUNDS = 9
# Steps of a turn in the core, which takes milliseconds.
STEPS = {"torch": 1, "Rust": 10}


def measure(all_threads: int) -> dict[str, Any]:
    """Time steps on digits with both backends, which take turns, on one thread and on all."""
    x = torch.from_numpy(datasets.mnist_5k().train[:BATCH].copy())
    steps = {"torch": _step("torch", x), "Rust": _step("auto", x)}
    cases = [(name, threads) for name in steps for threads in sorted({1, all_threads})]
    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for turn in range(ROUNDS + 1):
        for name, threads in cases:
            torch.set_num_threads(threads)
            started = time.perf_counter()
            with own_threads() if name == "Rust" else nullcontext():  # as `fit` runs it
                for _ in range(STEPS[name]):
                    steps[name]()
            if turn > 0:  # the first one warms up
                seconds[name, threads].append((time.perf_counter() - started) / STEPS[name])
    torch.set_num_threads(all_threads)
    names = ("min", "q1", "median", "q3")
    results = []
    for (name, threads), times in seconds.items():
        quartiles = np.quantile(times, [0, 0.25, 0.5, 0.75])
        figures = {key: float(f"{value:.4g}") for key, value in zip(names, quartiles, strict=True)}
        results.append({"contestant": name, "threads": threads, **figures, "rounds": ROUNDS})
    return {"n_hidden": N_HIDDEN, "batch": BATCH, "results": results}


def _step(backend: str, x: torch.Tensor) -> Any:
    torch.manual_seed(0)
    module = NADE(x.shape[1], N_HIDDEN, backend=backend)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        (-module.log_prob(x).mean()).backward()
        optimizer.step()

    return step
