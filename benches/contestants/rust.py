"""This package."""

from __future__ import annotations

from itertools import count
from typing import Any

from ancestral import from_torch
from ancestral.nn import Autoregressive
from benches.contestants import Contestant, Task
from benches.tables import OURS


class Rust(Contestant):
    name = OURS

    def __init__(self, module: Autoregressive) -> None:
        self._model = from_torch(module)
        self._threads = 1
        self._seeds = count()

    def set_threads(self, threads: int) -> None:
        self._threads = threads

    def sampler(self, n: int) -> Task:
        threads = self._threads
        return Task(lambda: self._model.sample(n, rng=next(self._seeds), threads=threads, progress=False))

    def scorer(self, x: Any) -> Task:
        threads = self._threads
        return Task(lambda: self._model.log_prob(x, threads=threads, progress=False))
