"""Calls that are still at work when a test needs them to be, however fast or busy the machine.

A call that takes more than some hundredths of a second looks up again and again: it hears signals and tells `progress`.
No test may count on how much work that is, or on how soon another thread runs. There are two ways not to:

- `ENDLESS` samples of the fixture `endless`, on one or two threads, take far longer than anything that a test does
  meanwhile. Such a call has to be stopped, by an exception in `progress` (`Enough`) or in a signal handler.
- A call that has to end by itself is made larger and larger (`growing`), until `progress` was told in the midst of it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDLESS = 2**16


class Enough(Exception):
    """The test has seen what it waited for."""


class Signalled(Exception):
    """Raised by the signal handler of `signal_once`."""


def growing(n: int) -> Iterator[int]:
    """n, 2 n, 4 n, ...: the test breaks off when its call lasted long enough. Fails after a thousand times n."""
    for doublings in range(11):
        yield n << doublings
    raise AssertionError(f"a call for {n << 10} samples did not last long enough")


def wait_until(true: Callable[[], bool]) -> None:
    """Returns when it is. For what no event tells; a test that waits in vain runs into its time limit."""
    while not true():
        time.sleep(0.001)


@contextmanager
def no_forced_switches() -> Iterator[None]:
    """A thread keeps the GIL until it gives it back itself: it waits, or a call releases it."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


@contextmanager
def signal_once(true: Callable[[], bool]) -> Iterator[None]:
    """Another thread sends the main thread a signal, whose handler raises `Signalled`, when that is so."""

    def on_signal(number: int, frame: object) -> None:
        raise Signalled

    def send() -> None:
        wait_until(lambda: true() or left.is_set())
        if not left.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    left = threading.Event()
    previous = signal.signal(signal.SIGUSR1, on_signal)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        try:
            left.set()
            sender.join()
        finally:
            signal.signal(signal.SIGUSR1, previous)
