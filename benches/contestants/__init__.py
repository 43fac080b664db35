"""Who races: each side of the comparison in a file of its own, behind one interface."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral.nn import Autoregressive


class Unsupported(Exception):
    """This contestant does not take part here, and why."""


class Task(NamedTuple):
    """A call ready to be timed: all that is done once, such as compilation, lies behind."""

    call: Callable[[], Any]
    part: float = 1.0  # of the whole work, where the whole would take minutes; its time is divided by this

    def clock(self) -> float:
        """Return a time in seconds, by which this part takes as long as the whole would."""
        return time.perf_counter() / self.part


class Contestant(ABC):
    """A way to draw samples of a module's model and to score them.

    Samples may be of any dtype and random generator, and each call draws new ones. Both operations include all that a
    user's call includes: the random numbers, the conversion of bytes, the sum over dimensions.
    """

    name: ClassVar[str]
    one_thread: ClassVar[bool] = True  # whether the number of threads can be chosen within a process
    draws: ClassVar[bool] = True  # whether `sampler` draws: one forward pass does not

    @abstractmethod
    def __init__(self, module: Autoregressive) -> None: ...

    def set_threads(self, threads: int) -> None:  # noqa: B027, not abstract: where there is no choice, nothing is to be done
        """Use so many threads from now on."""

    @abstractmethod
    def sampler(self, n: int) -> Task:
        """Return a call that draws n samples, (n, *event_shape)."""

    @abstractmethod
    def scorer(self, x: NDArray[np.uint8]) -> Task:
        """Return a call that gives log p of each row of x, in nats."""


CONTESTANTS = {
    "torch_usual": "TorchUsual",
    "torch_forward": "TorchForward",
    "torch_cached": "TorchCached",
    "torch_compiled": "TorchCompiled",
    "jax_scan": "JaxScan",
    "numba_events": "NumbaEvents",
    "rust": "Rust",
}
# What a contestant needs beyond this package and torch.
PACKAGES = {"jax_scan": "jax", "numba_events": "numba"}


def load(file: str) -> type[Contestant]:
    """Import a contestant: only who races is imported, and the report needs none of them."""
    contestant: type[Contestant] = getattr(import_module(f"benches.contestants.{file}"), CONTESTANTS[file])
    return contestant
