"""The race: all contestants take turns, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benches.contestants import Contestant, Task, Unsupported
from benches.models import Entrant, Spec

OPERATIONS = ("sample", "log_prob")
# Threads of the contestant before may go on spinning for a moment.
PAUSE_SECONDS = 0.003
# A turn of short calls is as many as take so long.
TURN_SECONDS = 0.01
# A call as long as this is no other for being the first: it counts.
LONG_SECONDS = 1.0
MOST_ROUNDS = 50
# From so many samples on, the time grows with their number and can be foretold.
MANY = 100
TOO_LONG = "a call takes too long"


@dataclass(frozen=True)
class Pace:
    """How much time to spend."""

    sizes: tuple[int, ...]
    fewest_rounds: int
    seconds: float  # on a contestant and case, at least
    enough: float  # after so many seconds, no further rounds
    longest: float  # a call that would take so many is not made


FULL = Pace((1, 16, 100, 1000, 10_000), fewest_rounds=3, seconds=0.15, enough=1.5, longest=5.0)
QUICK = Pace((1, 1000), fewest_rounds=2, seconds=0.05, enough=0.5, longest=1.5)


@dataclass
class Runner:
    """A contestant on a number of threads (None: all, and no choice), and what it has run so far."""

    contestant: Contestant
    threads: int | None
    task: Task | None = None
    calls: int = 1
    seconds: list[float] = field(default_factory=list)
    last: tuple[int, float] | None = None  # the size before, and the seconds of a call
    reason: str = ""

    def prepare(self, operation: str, entrant: Entrant, n: int, pace: Pace) -> None:
        """Compile, warm up, and find out how many calls make a turn; or say why there is none."""
        self.task, self.calls, self.seconds, self.reason = None, 1, [], ""
        if self.last and self.last[0] >= MANY:
            expected = self.last[1] * n / self.last[0]
            if expected > pace.longest:
                self.reason = f"{TOO_LONG}: about {expected:.0f} s"
                return
        self._set_threads()
        try:
            contestant = self.contestant
            self.task = contestant.sampler(n) if operation == "sample" else contestant.scorer(entrant.batch(n))
        except Unsupported as why:
            self.reason = str(why)
            return
        first = self._time(1)
        if self.task.part == 1:
            self.last = (n, first)
        if first > LONG_SECONDS:
            self.seconds.append(first)
        elif first < TURN_SECONDS:
            self.calls = math.ceil(TURN_SECONDS / self._time(1))

    def finished(self, pace: Pace) -> bool:
        """Whether it needs no further turn."""
        rounds, spent = len(self.seconds), sum(self.seconds) * self.calls
        return rounds == MOST_ROUNDS or spent > pace.enough or (rounds >= pace.fewest_rounds and spent > pace.seconds)

    def turn(self) -> None:
        """Time one turn."""
        self._set_threads()
        time.sleep(PAUSE_SECONDS)
        if self.calls > 1:
            self._time(1)  # brings code and weights back into the caches
        self.seconds.append(self._time(self.calls))

    def _set_threads(self) -> None:
        if self.threads is not None:
            self.contestant.set_threads(self.threads)

    def _time(self, calls: int) -> float:
        assert self.task is not None
        call = self.task.call
        started = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - started) / calls

    def record(self, n: int) -> dict[str, Any]:
        """Return what is written down: seconds for all n samples, or why there are none."""
        about = {"contestant": self.contestant.name, "threads": self.threads}
        if self.task is None:
            return {**about, "reason": self.reason}
        quartiles = np.quantile(self.seconds, [0, 0.25, 0.5, 0.75]) / self.task.part
        names = ("min", "q1", "median", "q3")
        figures = {name: float(f"{value:.4g}") for name, value in zip(names, quartiles, strict=True)}
        if self.task.part == 1:
            self.last = (n, float(np.median(self.seconds)))
        return {**about, **figures, "rounds": len(self.seconds), "part": self.task.part}


def sizes(spec: Spec, pace: Pace) -> tuple[int, ...]:
    """How many samples at once: those of the pace, or the model's own, of which a quick run takes the ends."""
    if spec.sizes is None:
        return pace.sizes
    return spec.sizes if len(spec.sizes) <= len(pace.sizes) else (spec.sizes[0], spec.sizes[-1])


def race(runners: Sequence[Runner], operation: str, entrant: Entrant, n: int, pace: Pace) -> list[dict[str, Any]]:
    """Let all runners take turns on one model, operation and batch size."""
    for runner in runners:
        runner.prepare(operation, entrant, n, pace)
    running = [runner for runner in runners if runner.task is not None]
    gc.collect()
    gc.disable()
    while running := [runner for runner in running if not runner.finished(pace)]:
        for runner in running:
            runner.turn()
    gc.enable()
    return [runner.record(n) for runner in runners]


def runners(contestants: Iterable[Contestant], all_threads: int) -> list[Runner]:
    """Each contestant on one thread and on all, as far as it lets one choose."""
    choices = sorted({1, all_threads})
    return [
        Runner(contestant, threads)
        for contestant in contestants
        for threads in (choices if contestant.one_thread else [None])
    ]
