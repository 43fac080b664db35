"""How the time grows: with threads, dimensions, hidden units, the density of ones, and the number of samples."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ancestral import Model
from ancestral.demo.torch_samplers import cached
from ancestral.nn import FVSBN, NADE
from benches import machine
from benches.models import Entrant, fvsbn, nade

ONES = 0.13  # as in MNIST
DENSITIES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
ROUNDS = 5


def microseconds(call: Callable[[], Any], n: int) -> float:
    """Return the median time of a few calls, a sample."""
    call()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return float(f"{statistics.median(seconds) / n * 1e6:.4g}")


def _sample(model: Model, n: int, threads: int) -> float:
    return microseconds(lambda: model.sample(n, rng=0, threads=threads, progress=False), n)


def by_threads(entrant: Entrant, n: int, all_threads: int) -> dict[str, Any]:
    counts = sorted({1, *(k for k in (2, 4, 8, 16, 32, 64, 128) if k < all_threads), all_threads})
    points = [{"threads": threads, "us": _sample(entrant.model, n, threads)} for threads in counts]
    return {"model": entrant.name, "n": n, "points": points}


def by_dimensions(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """FVSBN on one thread. A dimension costs more the more ones there are before it and the farther its weights are."""
    found = []
    for n_dims in sizes:
        model, n = fvsbn(n_dims, ONES), max(4, min(2000, 2_000_000 // n_dims))
        found.append({"n_dims": n_dims, "us": _sample(model, n, 1), "additions": ONES * n_dims * (n_dims - 1) / 2})
    return found


def by_hidden_units(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """NADE on one thread."""
    found = []
    for n_hidden in sizes:
        model, n = nade(784, n_hidden, ONES), max(16, min(1000, 200_000 // n_hidden))
        found.append({"n_hidden": n_hidden, "us": _sample(model, n, 1), "additions": 784 * n_hidden * (1 + ONES)})
    return found


def by_density(n: int) -> list[dict[str, Any]]:
    """One thread, beside torch's best formulation, which is dense for FVSBN, and the additions of a dense walk."""
    torch.set_num_threads(1)
    found = []
    for ones in DENSITIES:
        modules = FVSBN(784, backend="torch"), NADE(784, 500, backend="torch")
        for module, model in zip(modules, (fvsbn(784, ones), nade(784, 500, ones)), strict=True):
            _constant(module, ones)
            times = {"rust": _sample(model, n, 1), "torch": microseconds(lambda module=module: cached(module, n), n)}
            dense = 784 * 783 / 2 if model.kind == "FVSBN" else 2 * 784 * 500
            found.append({"model": model.kind, "ones": ones, "n": n, "dense_additions": dense, **times})
    return found


def _constant(module: FVSBN | NADE, ones: float) -> None:
    """The torch side of `models.constant`."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        (module.bias if isinstance(module, FVSBN) else module.b).fill_(torch.tensor(ones).logit())


def by_samples(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """FVSBN of 64 dimensions, all threads, each n in a process of its own: time, and memory beyond the output."""
    found = []
    for n in sizes:
        command = [sys.executable, "-m", "benches.memory", str(n)]
        found.append(json.loads(subprocess.run(command, cwd=machine.ROOT, check=True, stdout=subprocess.PIPE).stdout))
    return found
