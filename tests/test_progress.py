"""During a long call: progress is told, an exception or a signal stops it at once, other threads run on."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
from support import compressed_file, long_calls
from support.cases import Case
from support.scripts import environment


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


def test_progress_comes_while_the_work_is_done(endless: Case) -> None:
    """Not all at the end: growing counts are heard before the first half is done."""
    heard: set[int] = set()

    def progress(done: int, total: int) -> None:
        heard.add(done)
        if sum(0 < done < total / 2 for done in heard) == 3:
            raise long_calls.Enough

    with pytest.raises(long_calls.Enough):
        endless.model.sample(long_calls.ENDLESS, rng=0, threads=1, progress=progress)


def test_progress_of_many_tiny_samples() -> None:
    """A model that costs next to nothing is heard of, too."""
    tensors = {"weight": np.zeros((1, 1), np.float32), "bias": np.zeros(1, np.float32)}
    model = ancestral.Model.from_tensors("FVSBN", {"n_dims": 1, "order": None}, tensors)
    heard: list[bool] = []
    for n in long_calls.growing(5_000_000):
        model.sample(n, rng=0, threads=1, progress=lambda done, total: heard.append(0 < done < total))
        if any(heard):
            break


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", CALLS)
def test_an_exception_in_progress_stops_the_call(call: str, threads: int, endless: Case) -> None:
    heard: list[int] = []

    def progress(done: int, total: int) -> None:
        heard.append(done)
        raise long_calls.Enough(f"at {done}")

    # Its features are as large as a hundred samples.
    n = long_calls.ENDLESS // 16 if call == "features" else long_calls.ENDLESS
    with pytest.raises(long_calls.Enough, match="at ") as error:
        CALLS[call](endless, n, {"progress": progress, "threads": threads})
    assert len(heard) == 1
    assert type(error.value) is long_calls.Enough
    assert heard[0] < n
    assert_same(CALLS[call](endless, 3, {}), CALLS[call](endless, 3, {"threads": 1}))  # usable afterwards


def test_progress_may_use_the_model(digits: Case) -> None:
    """A callback that calls the same model, on as many threads, neither deadlocks nor disturbs the call."""
    seen: list[Any] = []

    def progress(done: int, total: int) -> None:
        if done < total:
            seen.append(digits.model.sample(5, rng=1, threads=2))

    for n in long_calls.growing(500):
        x = digits.model.sample(n, rng=0, threads=2, progress=progress)
        if seen:
            break
    np.testing.assert_array_equal(x, digits.model.sample(n, rng=0))
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
import signal, sys
import numpy as np
from support import compressed_file, long_calls
from support.cases import endless_case

n, model = long_calls.ENDLESS, endless_case().model
expected = model.sample(4, rng=0)
blob = compressed_file.repeated(model.encode(expected, block_len=4), n // 4)
x = np.zeros((n, 1, 28, 28), np.uint8)
call, threads = sys.argv[1], int(sys.argv[2])
heard = []

def progress(done, total):
    heard.append(done)
    if len(heard) == 1:
        print("at work", flush=True)

# A parent that runs in the background hands down an ignored SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
keywords = {"threads": threads, "progress": progress}
try:
    if call == "sample":
        model.sample(n, rng=0, out=x, **keywords)
    elif call == "decode":
        model.decode(blob, **keywords)
    else:
        getattr(model, call)(x, **keywords)
except KeyboardInterrupt:
    print("interrupted", heard[-1] < n, flush=True)
    assert (model.sample(4, rng=0) == expected).all()
    print("usable", flush=True)
else:
    print("finished", flush=True)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", ["sample", "log_prob", "encode", "decode"])
def test_ctrl_c(call: str, threads: int) -> None:
    """KeyboardInterrupt long before a call has finished, and the model goes on working."""
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_CALL, call, str(threads)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted True\nusable\n"
        assert process.wait() == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_is_heard_the_next_time_a_call_looks_up(threads: int, endless: Case) -> None:
    heard: list[int] = []
    heard_when_sent: list[int] = []

    def at_work() -> bool:
        if heard:
            heard_when_sent.append(len(heard))
        return bool(heard)

    # From the look at what was heard to the signal no other thread runs; only its delivery may be a little late.
    n, keywords = long_calls.ENDLESS, {"threads": threads, "progress": lambda done, total: heard.append(done)}
    with long_calls.no_forced_switches(), pytest.raises(long_calls.Signalled), long_calls.signal_once(at_work):
        endless.model.sample(n, rng=0, **keywords)
    assert len(heard) - heard_when_sent[0] <= 1
