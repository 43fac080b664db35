"""During a long call: progress is told, an exception or a signal stops it at once, other threads run on."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
import compressed_file
from conftest import Case, script_environment


def encoded(case: Case, n: int) -> bytes:
    """The same 32 rows or fewer again and again."""
    rows = math.gcd(n, 32)
    return compressed_file.repeated(case.model.encode(case.events(rows), block_len=rows), n // rows)


CALLS: dict[str, Callable[[Case, int, dict[str, Any]], Any]] = {
    "log_prob": lambda case, n, keywords: case.model.log_prob(case.events(n), **keywords),
    "conditionals": lambda case, n, keywords: case.model.conditionals(case.events(n), **keywords),
    "surprise": lambda case, n, keywords: case.model.surprise(case.events(n), **keywords),
    "features": lambda case, n, keywords: case.model.features(case.events(n), **keywords),
    "sample": lambda case, n, keywords: case.model.sample(n, rng=0, **keywords),
    "sample_and_log_prob": lambda case, n, keywords: case.model.sample_and_log_prob(n, rng=0, **keywords),
    "encode": lambda case, n, keywords: case.model.encode(case.events(n), block_len=32, **keywords),
    "decode": lambda case, n, keywords: case.model.decode(encoded(case, n), **keywords),
}


def assert_same(got: Any, expected: Any) -> None:
    for a, b in zip(got, expected, strict=True) if isinstance(got, tuple) else [(got, expected)]:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", CALLS)
def test_progress_calls(call: str, threads: int, digits: Case) -> None:
    """Growing counts of finished samples, up to the total, on the calling thread; the result is the same."""
    heard: list[tuple[int, int]] = []
    threads_heard: set[int] = set()

    def progress(done: int, total: int) -> None:
        heard.append((done, total))
        threads_heard.add(threading.get_ident())

    n = 300
    got = CALLS[call](digits, n, {"progress": progress, "threads": threads})
    assert_same(got, CALLS[call](digits, n, {"progress": False}))
    done = [d for d, _ in heard]
    assert {total for _, total in heard} == {n}
    assert done == sorted(done)
    assert done[-1] == n
    assert min(done) >= 0
    assert threads_heard == {threading.get_ident()}
    assert all(type(value) is int for pair in heard for value in pair)


def test_progress_comes_while_the_work_is_done(digits: Case) -> None:
    """Not all at the end: something is heard before the first half is done."""
    heard: list[int] = []
    digits.model.sample(1500, rng=0, progress=lambda done, total: heard.append(done))
    assert len(heard) > 2
    assert any(0 < done < 750 for done in heard)


def test_progress_of_many_tiny_samples() -> None:
    """A model that costs next to nothing is heard of, too."""
    tensors = {"weight": np.zeros((1, 1), np.float32), "bias": np.zeros(1, np.float32)}
    model = ancestral.Model.from_tensors("FVSBN", {"n_dims": 1, "order": None}, tensors)
    heard: list[int] = []
    model.sample(5_000_000, rng=0, progress=lambda done, total: heard.append(done))
    assert len(heard) > 2


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", CALLS)
def test_an_exception_in_progress_stops_the_call(call: str, threads: int, digits: Case) -> None:
    heard: list[int] = []

    def progress(done: int, total: int) -> None:
        heard.append(done)
        raise StopHereError(f"at {done}")

    with pytest.raises(StopHereError, match="at ") as error:
        CALLS[call](digits, 3000, {"progress": progress, "threads": threads})
    assert len(heard) == 1
    assert type(error.value) is StopHereError
    assert heard[0] < 3000
    assert_same(CALLS[call](digits, 3, {}), CALLS[call](digits, 3, {"threads": 1}))  # usable afterwards


def test_progress_may_use_the_model(digits: Case) -> None:
    """A callback that calls the same model, on as many threads, neither deadlocks nor disturbs the call."""
    seen: list[Any] = []

    def progress(done: int, total: int) -> None:
        if len(seen) < 3:
            seen.append(digits.model.sample(5, rng=1, threads=2))

    x = digits.model.sample(100, rng=0, threads=2, progress=progress)
    np.testing.assert_array_equal(x, digits.model.sample(100, rng=0))
    assert seen
    for part in seen:
        np.testing.assert_array_equal(part, digits.model.sample(5, rng=1))


def test_progress_bars(run_python: Callable[..., str], capfd: pytest.CaptureFixture[str], digits: Case) -> None:
    digits.model.sample(50, rng=0, progress=True)
    shown = capfd.readouterr()
    assert "50" in shown.err
    assert shown.out == ""
    for quiet in (False, None):  # stderr is no terminal here
        digits.model.sample(50, rng=0, progress=quiet)
        shown = capfd.readouterr()
        assert (shown.out, shown.err) == ("", "")


def test_progress_of_nothing(digits: Case) -> None:
    heard: list[tuple[int, int]] = []
    assert digits.model.sample(0, progress=lambda *pair: heard.append(pair)).shape[0] == 0
    assert set(heard) <= {(0, 0)}


# --- Ctrl-C ----------------------------------------------------------------------------------------------

LONG_CALL = """
import signal, sys, time
import ancestral, compressed_file, numpy as np, oracle

config = oracle.pixelcnn_config((1, 28, 28), 2, 32, 4, 32)
tensors = oracle.random_tensors("PixelCNN", config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("PixelCNN", config, tensors)
expected = model.sample(3, rng=0)
blob = compressed_file.repeated(model.encode(expected, block_len=3), 70_000)
x = np.zeros((200_000, 1, 28, 28), np.uint8)
call, threads = sys.argv[1], int(sys.argv[2])
# A parent that runs in the background hands down an ignored SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
try:
    if call == "sample":
        model.sample(len(x), rng=0, threads=threads, out=x)
    elif call == "decode":
        model.decode(blob, threads=threads)
    else:
        getattr(model, call)(x, threads=threads)
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
    assert (model.sample(3, rng=0) == expected).all()
    print("usable", flush=True)
else:
    print("finished", flush=True)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", ["sample", "log_prob", "encode", "decode"])
def test_ctrl_c(call: str, threads: int) -> None:
    """KeyboardInterrupt within seconds of a call that would take minutes, and the model goes on working."""
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_CALL, call, str(threads)],
        stdout=subprocess.PIPE,
        text=True,
        env=script_environment(),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        word, *at = process.stdout.readline().split()
        assert word == "interrupted"
        assert float(at[0]) - sent < 3.0
        assert process.stdout.readline() == "usable\n"
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_any_signal_handler_is_heard(digits: Case) -> None:
    """What a handler raises comes out of the call: time limits by SIGALRM work."""

    def on_alarm(number: int, frame: object) -> None:
        raise TimeoutError("enough")

    previous = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    started = time.monotonic()
    try:
        with pytest.raises(TimeoutError, match="enough"):
            digits.model.sample(200_000, rng=0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - started < 3.0
