"""A model among threads and processes: the GIL, copies and pickles, forking, leaving, memory."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import pickle
import re
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import ancestral
import oracle
from conftest import Case

# --- threads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["sample", "log_prob", "encode", "decode"])
def test_other_threads_run_meanwhile(call: str, digits: Case) -> None:
    """The GIL is released: a second Python thread keeps ticking during a call."""
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.005):
            ticks.append(time.monotonic())

    x = digits.events(1000)
    calls: dict[str, Callable[[], object]] = {
        "sample": lambda: digits.model.sample(len(x), rng=0, threads=1),
        "log_prob": lambda: digits.model.log_prob(x, threads=1),
        "encode": lambda: digits.model.encode(x, threads=1),
        "decode": lambda: digits.model.decode(blob, threads=1),
    }
    blob = digits.model.encode(x) if call == "decode" else b""
    ticker = threading.Thread(target=tick)
    ticker.start()
    started = time.monotonic()
    try:
        calls[call]()
        ended = time.monotonic()
    finally:
        stop.set()
        ticker.join()
    assert ended - started > 0.1, "the call is too short for this test to mean anything"
    during = [t for t in ticks if started + 0.02 < t < ended - 0.02]
    assert len(during) > 20 * (ended - started)


@pytest.mark.parametrize("threads", [1, 2, None])
def test_many_threads_call_one_model(threads: int | None, large: Case) -> None:
    model = large.model
    x = large.events(200)
    expected = model.log_prob(x)
    draws = model.sample(200, rng=0)

    def work(worker: int) -> bool:
        for i in range(10):
            start = (worker * 10 + i) % 150
            rows = slice(start, start + 50)
            same = (model.log_prob(x[rows], threads=threads) == expected[rows]).all()
            if not (same and (model.sample(50, rng=0, start=start, threads=threads) == draws[rows]).all()):
                return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        assert all(executor.map(work, range(16)))


def test_a_short_call_does_not_wait_for_a_long_one(digits: Case) -> None:
    """Two Python threads share the processors: the one with little to do is not queued behind the other."""
    long_call = threading.Thread(target=digits.model.sample, args=(4000,), kwargs={"rng": 0, "threads": 2})
    long_call.start()
    time.sleep(0.1)
    digits.model.sample(20, rng=0, threads=2)
    ended = time.monotonic()
    long_call.join()
    assert time.monotonic() - ended > 0.2


def test_calls_from_a_thread_hear_no_signals_but_work(digits: Case) -> None:
    """Only the main thread may look at signals; a call from another must not fail for asking."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        x = executor.submit(digits.model.sample, 50, rng=0, progress=lambda done, total: None).result(timeout=60)
    np.testing.assert_array_equal(x, digits.model.sample(50, rng=0))


# --- copies ----------------------------------------------------------------------------------------------


def copies_of(model: ancestral.Model) -> dict[str, ancestral.Model]:
    pickled = {
        f"pickle {protocol}": pickle.loads(pickle.dumps(model, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    }
    return {**pickled, "copy": copy.copy(model), "deepcopy": copy.deepcopy(model)}


def test_copies(small: Case) -> None:
    x = small.events(20)
    expected = small.model.log_prob(x)
    draws = small.model.sample(20, rng=0)
    for name, model in copies_of(small.model).items():
        assert type(model) is ancestral.Model, name
        assert (model.kind, model.config, repr(model)) == (small.kind, small.config, repr(small.model)), name
        np.testing.assert_array_equal(model.log_prob(x), expected)
        np.testing.assert_array_equal(model.sample(20, rng=0), draws)


def test_a_damaged_pickle_is_refused(small: Case) -> None:
    """A pickle carries a model through the same checks as a file does: never a crash."""
    content = pickle.dumps(small.model)
    for position in range(0, len(content), max(1, len(content) // 200)):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        # Unpickling damaged bytes may itself raise anything; only a crash of the process would be wrong.
        try:
            model = pickle.loads(bytes(damaged))
            model.log_prob(small.events(2))
        except Exception:
            continue


def test_repr(build: Callable[..., Case]) -> None:
    nade = build("NADE", oracle.nade_config(5, 3))
    assert repr(nade.model) == "NADE(n_dims=5, n_hidden=3)"
    ordered = build("FVSBN", oracle.fvsbn_config(3, [2, 0, 1]))
    assert repr(ordered.model).startswith("FVSBN(n_dims=3, order=")
    pixelcnn = repr(build("PixelCNN", oracle.pixelcnn_config((3, 4, 5), 7)).model)
    assert re.match(
        r"PixelCNN\(event_shape=[\[(]3, 4, 5[\])], n_classes=7, n_channels=8, n_blocks=2, n_head=6", pixelcnn
    )
    wide = build("FVSBN", oracle.fvsbn_config(2000, list(range(1999, -1, -1))))
    assert len(repr(wide.model)) < 200  # an order of thousands is not spelt out


# --- processes -------------------------------------------------------------------------------------------

FORK = """
import multiprocessing, os, threading
import ancestral, numpy as np, oracle

config = oracle.nade_config(200, 200)  # large enough for a call to be spread over threads
tensors = oracle.random_tensors("NADE", config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)
expected = model.sample(500, rng=0, threads=2)  # the parent's pool of threads is running when it forks


def work(start):
    rows = model.sample(50, rng=0, start=start, threads=2)
    assert (rows == model.sample(50, rng=0, start=start)).all()
    return rows


def nested(start):
    child = os.fork()
    if child == 0:
        os._exit(0 if (work(start) == expected[start : start + 50]).all() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        parts = pool.map_async(work, range(0, 500, 50)).get(timeout=30)
    assert (np.concatenate(parts) == expected).all()
    assert (model.sample(500, rng=0, threads=2) == expected).all()  # the parent's pool survived

    assert nested(100) == 0

    # Fork while another thread is in the middle of a call.
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            model.sample(2000, rng=0, threads=2)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        results = [nested(start) for start in range(0, 300, 50)]
    finally:
        stop.set()
        thread.join()
    assert results == [0] * 6, results
    print("done")
"""


def test_fork(run_python: Callable[..., str]) -> None:
    assert run_python(FORK, timeout=90) == "done\n"


FORK_MEANWHILE = """
import os, signal, threading, time
import ancestral, numpy as np, oracle

config = oracle.nade_config(200, 100)
tensors = oracle.random_tensors("NADE", config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)


def start_many_threads():
    for threads in range(100, 125):
        model.sample(500, rng=0, threads=threads)


thread = threading.Thread(target=start_many_threads)
thread.start()
children = []
while thread.is_alive() and len(children) < 30:
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        signal.alarm(15)
        model.sample(500, rng=0, threads=2)
        os._exit(0)
    children.append(child)
statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert not any(statuses), statuses
"""


def test_fork_while_threads_are_being_started(run_python: Callable[..., str]) -> None:
    """No lock that a thread holds at the moment of the fork is waited for in the child, where it never opens."""
    run_python(FORK_MEANWHILE, timeout=200)


def sample_in_a_child(model: ancestral.Model, start: int) -> np.ndarray:
    return model.sample(5, rng=0, start=start)


def test_spawned_workers_get_the_model_by_pickle(build: Callable[..., Case]) -> None:
    model = build("NADE", oracle.nade_config(8, 4)).model
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        parts = executor.map(sample_in_a_child, [model, model], [0, 5], timeout=60)
        np.testing.assert_array_equal(np.concatenate(list(parts)), model.sample(10, rng=0))


def test_the_interpreter_ends_while_threads_are_at_work(run_python: Callable[..., str]) -> None:
    """A daemon thread in the middle of a call must not crash or hang the exit."""
    script = """
    import threading, time
    import ancestral, numpy as np, oracle

    config = oracle.nade_config(200, 100)
    tensors = oracle.random_tensors("NADE", config, np.random.default_rng(0), 3.0)
    model = ancestral.Model.from_tensors("NADE", config, tensors)
    threading.Thread(target=lambda: model.sample(500_000, rng=0), daemon=True).start()
    time.sleep(0.3)

    class Slow:  # keeps the interpreter in its last stage, where no thread may come back into Python
        def __del__(self, sleep=time.sleep):
            sleep(0.3)

    slow = Slow()
    print("leaving")
    """
    assert run_python(script, timeout=30) == "leaving\n"


def test_memory_does_not_grow(run_python: Callable[..., str]) -> None:
    """Thousands of models made, used, copied and failed leave the process no larger."""
    script = """
    import pickle, resource
    import ancestral, numpy as np, oracle

    config = oracle.nade_config(64, 256)
    tensors = oracle.random_tensors("NADE", config, np.random.default_rng(0), 3.0)
    x = np.zeros((64, 64), np.uint8)

    def once():
        model = pickle.loads(pickle.dumps(ancestral.Model.from_tensors("NADE", config, tensors)))
        model.sample_and_log_prob(64, rng=0)
        model.conditionals(x)
        try:
            model.log_prob(x + 2)
        except ValueError:
            pass

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(100):
        once()
    before = peak()
    for _ in range(500):
        once()
    grown = peak() - before
    assert grown < 30_000, f"{grown} KiB"  # a leaked model alone would be 130 KiB each time
    """
    run_python(script, timeout=120)
