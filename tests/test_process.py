"""A model among threads and processes: the GIL, copies and pickles, forking, leaving, memory."""

from __future__ import annotations

import concurrent.futures
import copy
import functools
import multiprocessing
import pickle
import re
import threading
from collections.abc import Callable

import numpy as np
import pytest

import ancestral
from support import compressed_file, long_calls
from support.cases import Case
from support.families import FVSBN, NADE, PixelCNN

# --- threads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["sample", "log_prob", "encode", "decode"])
def test_other_threads_run_meanwhile(call: str, endless: Case) -> None:
    """The GIL is released: from one report of progress to the next, while the core is at work, others run Python."""
    n, model = long_calls.ENDLESS, endless.model
    x = np.zeros((n, *model.event_shape), np.uint8)
    blob = compressed_file.repeated(model.encode(x[:32], block_len=32), n // 32)
    calls: dict[str, Callable[..., object]] = {
        "sample": functools.partial(model.sample, n, rng=0),
        "log_prob": functools.partial(model.log_prob, x),
        "encode": functools.partial(model.encode, x),
        "decode": functools.partial(model.decode, blob),
    }
    turns, turns_before, meanwhile = 0, -1, 0
    stop = threading.Event()

    def other() -> None:
        nonlocal turns
        while not stop.wait(0.001):
            turns += 1

    def progress(done: int, total: int) -> None:
        nonlocal turns_before, meanwhile
        meanwhile += 0 <= turns_before < turns
        if meanwhile == 3:
            raise long_calls.Enough
        turns_before = turns

    thread = threading.Thread(target=other)
    with long_calls.no_forced_switches():
        thread.start()
        try:
            with pytest.raises(long_calls.Enough):
                calls[call](threads=1, progress=progress)
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("threads", [1, 2, None])
def test_many_threads_call_one_model(threads: int | None, every_large: Case) -> None:
    model = every_large.model
    x = every_large.events(200)
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


@pytest.mark.parametrize("n", [20, 300])
def test_a_short_call_does_not_wait_for_a_long_one(n: int, endless: Case, digits: Case) -> None:
    """Two Python threads share the processors: the one with little to do is not queued behind the other."""
    begun, over = threading.Event(), threading.Event()

    def progress(done: int, total: int) -> None:
        begun.set()
        if over.is_set():
            raise long_calls.Enough

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        long_call = executor.submit(endless.model.sample, long_calls.ENDLESS, rng=0, threads=2, progress=progress)
        long_call.add_done_callback(lambda _: begun.set())
        begun.wait()
        try:
            digits.model.sample(n, rng=0, threads=2)
        finally:
            over.set()
        assert isinstance(long_call.exception(), long_calls.Enough)


def test_calls_from_a_thread_hear_no_signals_but_work(digits: Case) -> None:
    """Only the main thread may look at signals; a call from another must not fail for asking."""
    heard: list[bool] = []
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        for n in long_calls.growing(500):
            call = executor.submit(
                digits.model.sample, n, rng=0, progress=lambda done, total: heard.append(done < total)
            )
            x = call.result()
            if any(heard):
                break
    np.testing.assert_array_equal(x, digits.model.sample(n, rng=0))


# --- copies ----------------------------------------------------------------------------------------------


def copies_of(model: ancestral.Model) -> dict[str, ancestral.Model]:
    pickled = {
        f"pickle {protocol}": pickle.loads(pickle.dumps(model, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    }
    return {**pickled, "copy": copy.copy(model), "deepcopy": copy.deepcopy(model)}


def test_copies(every_small: Case) -> None:
    x = every_small.events(20)
    expected = every_small.model.log_prob(x)
    draws = every_small.model.sample(20, rng=0)
    for name, model in copies_of(every_small.model).items():
        assert type(model) is ancestral.Model, name
        assert (model.kind, model.config) == (every_small.family.kind, every_small.config), name
        assert repr(model) == repr(every_small.model), name
        np.testing.assert_array_equal(model.log_prob(x), expected)
        np.testing.assert_array_equal(model.sample(20, rng=0), draws)


def test_a_damaged_pickle_is_refused(every_small: Case) -> None:
    """A pickle carries a model through the same checks as a file does: never a crash."""
    content = pickle.dumps(every_small.model)
    for position in range(0, len(content), max(1, len(content) // 200)):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        # Unpickling damaged bytes may itself raise anything; only a crash of the process would be wrong.
        try:
            model = pickle.loads(bytes(damaged))
            model.log_prob(every_small.events(2))
        except Exception:
            continue


def test_repr(build: Callable[..., Case]) -> None:
    nade = build(NADE, NADE.config(5, 3))
    assert repr(nade.model) == "NADE(n_dims=5, n_hidden=3)"
    ordered = build(FVSBN, FVSBN.config(3, [2, 0, 1]))
    assert repr(ordered.model).startswith("FVSBN(n_dims=3, order=")
    pixelcnn = repr(build(PixelCNN, PixelCNN.config((3, 4, 5), 7)).model)
    assert re.match(
        r"PixelCNN\(event_shape=[\[(]3, 4, 5[\])], n_classes=7, n_channels=8, n_blocks=2, n_head=6", pixelcnn
    )
    wide = build(FVSBN, FVSBN.config(2000, list(range(1999, -1, -1))))
    assert len(repr(wide.model)) < 200  # an order of thousands is not spelt out


# --- processes -------------------------------------------------------------------------------------------

FORK = """
import multiprocessing, os, threading
import ancestral, numpy as np
from support import long_calls
from support.families import NADE

config = NADE.config(200, 200)  # large enough for a call to be spread over threads
tensors = NADE.random_tensors(config, np.random.default_rng(0), 3.0)
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
        parts = pool.map_async(work, range(0, 500, 50)).get(timeout=300)
    assert (np.concatenate(parts) == expected).all()
    assert (model.sample(500, rng=0, threads=2) == expected).all()  # the parent's pool survived

    assert nested(100) == 0

    # Fork while another thread is in the middle of a call: a long one, then short ones.
    begun, stop = threading.Event(), threading.Event()

    def told(done, total):
        begun.set()
        if stop.is_set():
            raise long_calls.Enough

    def busy():
        try:
            while True:
                model.sample(1_000_000, rng=0, threads=2, progress=told)
        except long_calls.Enough:
            pass

    def busy_with_short_calls():
        begun.set()
        while not stop.is_set():
            model.sample(2000, rng=0, threads=2)

    results = []
    for work_of_thread in (busy, busy_with_short_calls):
        begun.clear()
        stop.clear()
        thread = threading.Thread(target=work_of_thread)
        thread.start()
        begun.wait()
        try:
            results += [nested(start) for start in range(0, 150, 50)]
        finally:
            stop.set()
            thread.join()
    assert results == [0] * 6, results
    print("done")
"""


def test_fork(run_python: Callable[..., str]) -> None:
    assert run_python(FORK) == "done\n"


FORK_MEANWHILE = """
import os, signal, threading
import ancestral, numpy as np
from support.families import NADE

config = NADE.config(200, 100)
tensors = NADE.random_tensors(config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)
rounds, stop = threading.Semaphore(0), threading.Event()


def start_many_threads():  # in each round: a thread's first call gets it helpers of its own
    while not stop.is_set():
        thread = threading.Thread(target=model.sample, args=(500,), kwargs={"rng": 0, "threads": 100})
        rounds.release()
        thread.start()
        thread.join()


thread = threading.Thread(target=start_many_threads)
thread.start()
children = []
for _ in range(30):
    rounds.acquire()
    child = os.fork()
    if child == 0:
        signal.alarm(400)  # one that hangs ends
        model.sample(500, rng=0, threads=2)
        os._exit(0)
    children.append(child)
stop.set()
thread.join()
statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert not any(statuses), statuses
"""


def test_fork_while_threads_are_being_started(run_python: Callable[..., str]) -> None:
    """No lock that a thread holds at the moment of the fork is waited for in the child, where it never opens."""
    run_python(FORK_MEANWHILE)


def sample_in_a_child(model: ancestral.Model, start: int) -> np.ndarray:
    return model.sample(5, rng=0, start=start)


def test_spawned_workers_get_the_model_by_pickle(build: Callable[..., Case]) -> None:
    model = build(NADE, NADE.config(8, 4)).model
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        parts = executor.map(sample_in_a_child, [model, model], [0, 5], timeout=300)
        np.testing.assert_array_equal(np.concatenate(list(parts)), model.sample(10, rng=0))


def test_memory_does_not_grow(run_python: Callable[..., str]) -> None:
    """Thousands of models made, used, copied and failed leave the process no larger."""
    script = """
    import pickle, resource
    import ancestral, numpy as np
    from support.families import NADE

    config = NADE.config(64, 256)
    tensors = NADE.random_tensors(config, np.random.default_rng(0), 3.0)
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
    run_python(script)
