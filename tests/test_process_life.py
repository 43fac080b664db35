"""A process from import to exit: hostile environments, signals, threads that outlive a model, exits in the middle."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral
import oracle
from conftest import Case, build_case

# --- import ----------------------------------------------------------------------------------------------


def test_isolated_mode(tmp_path: Path) -> None:
    """No environment variables, no site module, no user folder, no folder of the script: `python -I -S`."""
    folders = [str(Path(module.__file__ or "").parent.parent) for module in (ancestral, np, __import__("tqdm"))]
    script = f"""
    import sys
    sys.path[:0] = {folders!r}
    import ancestral, numpy as np
    model = ancestral.Model.from_tensors(
        "FVSBN", {{"n_dims": 1, "order": None}}, {{"weight": np.zeros((1, 1)), "bias": np.zeros(1)}}
    )
    print(model.sample(1, rng=0).shape)
    """
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("(1, 1)\n", "")


def test_no_standard_streams(run_python: Callable[..., str], tmp_path: Path) -> None:
    """As under pythonw or a daemon: sys.stderr is None, and a long call that would show a bar shows none."""
    run_python(
        """
        import sys
        sys.stdout = sys.stderr = None
        import ancestral, numpy as np
        weights = {"weight": np.zeros((1, 1)), "bias": np.zeros(1)}
        ancestral.Model.from_tensors("FVSBN", {"n_dims": 1, "order": None}, weights).sample(5, rng=0)
        """
    )


# --- the environment -------------------------------------------------------------------------------------

THREADS = """
import os, threading
import ancestral, numpy as np, oracle

config = oracle.nade_config(200, 200)
tensors = oracle.random_tensors("NADE", config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)
seen = 0

def count(done, total):
    global seen
    names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
    seen = max(seen, sum(name.startswith("ancestral-") for name in names))

if os.environ.get("ONE_CPU"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
try:
    model.sample(20_000, rng=0, progress=count)
    print(seen)
except ValueError as error:
    print(error)
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")


@needs_proc
@pytest.mark.parametrize("value", ["0", "-1", "1e3", "two", "99999999999999999999", " ", "1,2", "١x", "1025"])
def test_a_number_of_threads_that_is_none(value: str, run_python: Callable[..., str]) -> None:
    answer = run_python(THREADS, ANCESTRAL_NUM_THREADS=value)
    assert answer.startswith("ANCESTRAL_NUM_THREADS")
    assert "integer" in answer


@needs_proc
@pytest.mark.parametrize(
    "variable", ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKIO_WORKER_THREADS"]
)
@pytest.mark.parametrize("value", ["0", "-1", "100000", "all"])
def test_threads_of_other_libraries(variable: str, value: str, run_python: Callable[..., str]) -> None:
    """Variables that are not ours neither break a call nor change it."""
    assert int(run_python(THREADS, ANCESTRAL_NUM_THREADS="3", **{variable: value})) == 3


@needs_proc
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinities here")
def test_as_many_threads_as_the_process_has_processors(run_python: Callable[..., str]) -> None:
    assert int(run_python(THREADS, ONE_CPU="1", ANCESTRAL_NUM_THREADS="")) == 1


HELPERS = """
import os, sys, threading, time
import ancestral, numpy as np, oracle

config = oracle.nade_config(200, 200)
tensors = oracle.random_tensors("NADE", config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)
draw = lambda threads: model.sample(200, rng=0, threads=threads)

def name(task):
    try:
        return open(f"/proc/self/task/{task}/comm").read()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended since it was listed

def helpers():
    return sum(name(task).startswith("ancestral-") for task in os.listdir("/proc/self/task"))

def come_to(number):
    deadline = time.monotonic() + 20
    while helpers() != number:
        assert time.monotonic() < deadline, (helpers(), number)
        time.sleep(0.01)

def child(work):
    process = os.fork()
    if process == 0:
        work()
        sys.exit(0)  # as a program ends, with all that it cleans up
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0

draw(1)
assert helpers() == 0
draw(3)
come_to(2)
draw(2)
come_to(2)
draw(4)
come_to(3)

thread = threading.Thread(target=draw, args=(3,))
thread.start()
thread.join()
come_to(3)

child(lambda: None)
child(lambda: (draw(3), come_to(2)))
child(lambda: child(lambda: draw(3)))
draw(4)
come_to(3)
print("done")
"""


@needs_proc
def test_a_thread_keeps_its_helpers_and_a_child_has_its_own(run_python: Callable[..., str]) -> None:
    assert run_python(HELPERS, timeout=90, RAYON_NUM_THREADS="7") == "done\n"


# --- signals ---------------------------------------------------------------------------------------------

DIGITS: dict[str, Callable[[Case, np.ndarray], Any]] = {
    "log_prob": lambda case, x: case.model.log_prob(x),
    "conditionals": lambda case, x: case.model.conditionals(x),
    "surprise": lambda case, x: case.model.surprise(x),
    "features": lambda case, x: case.model.features(x[:2000]),
    "sample": lambda case, x: case.model.sample(len(x), rng=0),
    "sample_and_log_prob": lambda case, x: case.model.sample_and_log_prob(len(x), rng=0),
}


@pytest.mark.parametrize("call", DIGITS)
def test_a_signal_is_heard_within_a_tenth_of_a_second(call: str, digits: Case) -> None:
    """From the moment it is sent to the exception in the caller; the best of some, since a machine may be busy."""
    due = 0.0

    def on_alarm(number: int, frame: object) -> None:
        raise TimeoutError("enough")

    previous = signal.signal(signal.SIGALRM, on_alarm)
    x = digits.events(20_000)
    late: list[float] = []
    try:
        for _ in range(8):
            due = time.monotonic() + 0.1
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(TimeoutError, match="enough"):
                DIGITS[call](digits, x)
            late.append(time.monotonic() - due)
            if late[-1] < 0.1:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert min(late) < 0.1, late


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, RecursionError])
def test_whatever_progress_raises_comes_out(error: type[BaseException], digits: Case) -> None:
    def progress(done: int, total: int) -> None:
        raise error("of the callback")

    with pytest.raises(error, match="of the callback"):
        digits.model.sample(20_000, rng=0, progress=progress)
    assert digits.model.sample(1, rng=0).shape == (1, 1, 28, 28)


def test_calls_of_a_pool_end_with_the_main_thread(digits: Case) -> None:
    """Python gives signals to the main thread alone: `progress` is how the others hear of them."""
    stop = threading.Event()

    def progress(done: int, total: int) -> None:
        if stop.is_set():
            raise InterruptedError

    def on_alarm(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def wait_for_a_pool() -> float:
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(digits.model.sample, 10**5, rng=seed, progress=progress) for seed in (0, 1)]
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                with pytest.raises(KeyboardInterrupt):
                    calls[0].result()
            finally:
                stop.set()
                began = time.monotonic()
        assert all(isinstance(call.exception(), InterruptedError) for call in calls)
        return time.monotonic() - began

    previous = signal.signal(signal.SIGALRM, on_alarm)
    try:
        assert wait_for_a_pool() < 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


# --- threads ---------------------------------------------------------------------------------------------


def test_a_model_dropped_during_a_call() -> None:
    """The call keeps what it needs; the model is freed when it ends."""
    case = build_case("NADE", oracle.nade_config(200, 200))
    expected = case.model.sample(3000, rng=0)
    kind, config, tensors, _ = case
    models = [ancestral.Model.from_tensors(kind, config, tensors)]
    dropped = weakref.ref(models[0])
    results: list[np.ndarray] = []
    started = threading.Event()

    def call() -> None:
        results.append(models[0].sample(3000, rng=0, threads=2, progress=lambda done, total: started.set()))

    thread = threading.Thread(target=call)
    thread.start()
    started.wait(timeout=60)
    models.clear()
    gc.collect()
    thread.join()
    np.testing.assert_array_equal(results[0], expected)
    results.clear()
    gc.collect()
    assert dropped() is None


@pytest.mark.filterwarnings("ignore:This DataLoader")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_draw_different_samples(method: str) -> None:
    torch = pytest.importorskip("torch")
    model = build_case("NADE", oracle.nade_config(64, 8)).model
    model.sample(5000, rng=0, threads=2)  # used before the fork
    loader = torch.utils.data.DataLoader(
        Draws(model), batch_size=None, num_workers=2, multiprocessing_context=method, timeout=60
    )
    drawn = [bytes(x.numpy()) for x in loader]
    assert len(drawn) == 16
    assert len(set(drawn)) == 16


class Draws:
    """A data set whose items are drawn where they are asked for, with fresh randomness."""

    def __init__(self, model: ancestral.Model) -> None:
        self.model = model

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> np.ndarray:
        return self.model.sample(4)


# --- exit ------------------------------------------------------------------------------------------------

LEAVING = """
import atexit, os, threading, time
import ancestral, numpy as np, oracle

config = oracle.nade_config(200, 100)
tensors = oracle.random_tensors("NADE", config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)
progress = (lambda done, total: None) if os.environ["PROGRESS"] else None
if os.environ["HOLD"]:
    atexit.register(sum, range(10**7))  # holds the GIL while threads wait for it, and never gives it back
for _ in range(8):
    call = lambda: model.sample(5_000_000, rng=0, threads=2, progress=progress)
    threading.Thread(target=call, daemon=True).start()
time.sleep(0.2)

class Slow:  # keeps the interpreter in its last stage, where no thread may come back into Python
    def __del__(self, sleep=time.sleep):
        sleep(0.2)

slow = Slow()
print("leaving")
"""


@pytest.mark.parametrize("progress", ["", "1"])
@pytest.mark.parametrize("hold", ["", "1"])
def test_leaving_while_daemon_threads_are_at_work(hold: str, progress: str, run_python: Callable[..., str]) -> None:
    assert run_python(LEAVING, HOLD=hold, PROGRESS=progress, timeout=60) == "leaving\n"
