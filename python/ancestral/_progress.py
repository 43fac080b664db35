"""Progress of long calls: a bar, a callable, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

Progress: TypeAlias = "bool | Callable[[int, int], object] | None"
Report: TypeAlias = "Callable[[int], object] | None"
"""What the core is to call with the number of samples done."""

_DELAY = 2.0
"""Seconds that a call may take before a bar appears unasked."""


class _Bar:
    """A tqdm bar on stderr that is made when first needed: most calls end before that."""

    def __init__(self, total: int, description: str, unit: str, delay: float) -> None:
        self._total, self._description, self._unit = total, description, unit
        self._due = time.monotonic() + delay
        self._bar: Any = None

    def __call__(self, done: int) -> None:
        if self._bar is None and time.monotonic() >= self._due:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self._total, desc=self._description, unit=f" {self._unit}", unit_scale=True)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def check(progress: object) -> None:
    """Raises TypeError if it is no `progress` argument."""
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress is a {type(progress).__name__}; wanted a bool, a callable or None")


def after(done: int, report: Report) -> Report:
    """The report of a part of a call: so many samples were done before it."""
    return None if report is None else lambda more: report(done + more)


class reporting:
    """What the core is to call with the number of samples (or another `unit`) done, or None.

    `progress` is None (a bar on stderr, if that is a terminal and the call takes long), True (a bar in any case),
    False, or a callable given (done, total), called a last time when all are done.

    Raises TypeError if it is anything else.
    """

    # A class, and not a generator: this is much of the time of a call for one sample.
    def __init__(self, progress: Progress, total: int, description: str, *, unit: str = "samples") -> None:
        check(progress)
        self._total = total
        self._bar: _Bar | None = None
        self._report: Report = None
        if progress is True or (progress is None and sys.stderr is not None and sys.stderr.isatty()):
            self._bar = self._report = _Bar(total, description, unit, delay=0.0 if progress else _DELAY)
        elif callable(progress):
            call = progress
            self._report = lambda done: call(done, total)

    def __enter__(self) -> Report:
        return self._report

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._report is not None and kind is None:
                self._report(self._total)
        finally:
            if self._bar is not None:
                self._bar.close()
