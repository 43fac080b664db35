"""A step of training: likelihood, gradient and AdamW, in torch and in the core."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from ancestral.nn import GatedPixelCNN, PixelCNN
from ancestral.nn._core_step import own_threads
from benches.contestants import Unsupported
from benches.models import SPECS, Spec, digits
from benches.tables import OURS

BATCH = 100
SIZES = (16, BATCH, 1000)  # what pytest-benchmark measures
ROUNDS = 45  # half a minute: longer than what else a machine does
# Steps of a turn: most take milliseconds.
STEPS = {("FVSBN", "torch"): 10, ("FVSBN", OURS): 20, ("NADE", "torch"): 1, ("NADE", OURS): 20}
BACKENDS = {"torch": "torch", OURS: "auto"}


def measure(all_threads: int) -> dict[str, Any]:
    """Time steps on digits with both backends, which take turns, on one thread and on all."""
    specs = {spec.kind.__name__: spec for spec in reversed(SPECS)}
    x = digits().train[:BATCH]
    steps = {(kind, name): stepper(specs[kind], name, x) for kind, name in STEPS}
    cases = [(*case, threads) for case in steps for threads in sorted({1, all_threads})]
    seconds: dict[tuple[str, str, int], list[float]] = {case: [] for case in cases}
    for turn in range(ROUNDS + 1):
        for kind, name, threads in cases:
            torch.set_num_threads(threads)
            step, repeats = steps[kind, name], STEPS[kind, name]
            started = time.perf_counter()
            with surroundings(name):
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
    return {"n_hidden": specs["NADE"].arguments[1], "batch": BATCH, "results": results}


def stepper(spec: Spec, name: str, x: Any) -> Callable[[], None]:
    """Return a call that takes a step on the digits x (n, 784), from where the one before it came to."""
    if not spec.in_core and name == OURS:
        raise Unsupported(f"{spec.kind.kind} is trained in torch: the core has no gradient of it")
    images = spec.kind in (PixelCNN, GatedPixelCNN)
    if images and len(x) > BATCH:
        raise Unsupported("the activations of so many images take gigabytes")
    torch.manual_seed(0)
    module = spec.make(BACKENDS[name])
    bits = torch.tensor(x).reshape(-1, *module.event_shape)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        (-module.log_prob(bits).mean()).backward()
        optimizer.step()

    return step


def surroundings(name: str) -> AbstractContextManager[None]:
    """Within these, steps run as `fit` runs them."""
    return own_threads() if name == OURS else nullcontext()
