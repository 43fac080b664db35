"""A step of training: likelihood, gradient and AdamW, in torch and in the core."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from ancestral import datasets
from ancestral.nn import FVSBN, NADE
from ancestral.nn._core_step import own_threads

N_HIDDEN = 500
BATCH = 100
ROUNDS = 45  # half a minute: longer than what else a machine does
# Steps of a turn: most take milliseconds.
STEPS = {("FVSBN", "torch"): 10, ("FVSBN", "Rust"): 20, ("NADE", "torch"): 1, ("NADE", "Rust"): 20}
BACKENDS = {"torch": "torch", "Rust": "auto"}


def measure(all_threads: int) -> dict[str, Any]:
    """Time steps on digits with both backends, which take turns, on one thread and on all."""
    x = torch.from_numpy(datasets.mnist_5k().train[:BATCH].copy())
    steps = {case: _step(*case, x) for case in STEPS}
    cases = [(*case, threads) for case in steps for threads in sorted({1, all_threads})]
    seconds: dict[tuple[str, str, int], list[float]] = {case: [] for case in cases}
    for turn in range(ROUNDS + 1):
        for kind, name, threads in cases:
            torch.set_num_threads(threads)
            step, repeats = steps[kind, name], STEPS[kind, name]
            started = time.perf_counter()
            with own_threads() if name == "Rust" else nullcontext():  # as `fit` runs it
                for _ in range(repeats):
                    step()
            if turn > 0:  # the first one warms up
                seconds[kind, name, threads].append((time.perf_counter() - started) / repeats)
    torch.set_num_threads(all_threads)
    names = ("min", "q1", "median", "q3")
    results = []
    for (kind, name, threads), times in seconds.items():
        quartiles = np.quantile(times, [0, 0.25, 0.5, 0.75])
        figures = {key: float(f"{value:.4g}") for key, value in zip(names, quartiles, strict=True)}
        results.append({"model": kind, "contestant": name, "threads": threads, **figures, "rounds": ROUNDS})
    return {"n_hidden": N_HIDDEN, "batch": BATCH, "results": results}


def _step(kind: str, name: str, x: torch.Tensor) -> Any:
    torch.manual_seed(0)
    backend = BACKENDS[name]
    n_dims = x.shape[1]
    module = FVSBN(n_dims, backend=backend) if kind == "FVSBN" else NADE(n_dims, N_HIDDEN, backend=backend)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        (-module.log_prob(x).mean()).backward()
        optimizer.step()

    return step
