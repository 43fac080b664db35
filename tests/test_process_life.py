"""A process at work: hostile environments, signals, threads that outlive a model."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral
from support import long_calls
from support.cases import Case, build_case
from support.families import NADE

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
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=500, check=False)
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
import os
import ancestral, numpy as np
from support import long_calls
from support.families import NADE

config = NADE.config(200, 1000)
tensors = NADE.random_tensors(config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)
wanted = int(os.environ.get("WANTED", 0))
seen = heard = 0

def name(task):
    try:
        return open(f"/proc/self/task/{task}/comm").read()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended since it was listed

def count(done, total):
    global seen, heard
    heard += 1
    seen = max(seen, sum(name(task).startswith("ancestral-") for task in os.listdir("/proc/self/task")))
    if heard >= 3 and seen >= wanted:
        raise long_calls.Enough

if os.environ.get("ONE_CPU"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
try:
    model.sample(2_000_000, rng=0, progress=count)
except long_calls.Enough:
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
    assert int(run_python(THREADS, ANCESTRAL_NUM_THREADS="3", WANTED="3", **{variable: value})) == 3


@needs_proc
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinities here")
def test_as_many_threads_as_the_process_has_processors(run_python: Callable[..., str]) -> None:
    assert int(run_python(THREADS, ONE_CPU="1", WANTED="1", ANCESTRAL_NUM_THREADS="")) == 1


HELPERS = """
import os, sys, threading
import ancestral, numpy as np
from support import long_calls
from support.families import NADE

config = NADE.config(200, 200)
tensors = NADE.random_tensors(config, np.random.default_rng(0), 3.0)
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
    long_calls.wait_until(lambda: helpers() == number)

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
    assert run_python(HELPERS, RAYON_NUM_THREADS="7") == "done\n"


# --- signals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", ["log_prob", "conditionals", "surprise", "features", "sample", "sample_and_log_prob"])
def test_what_a_signal_handler_raises_comes_out(call: str, threads: int, endless: Case) -> None:
    """Sent when the first rows are written; the last ones never are."""
    model = endless.model
    # Its features are as large as a hundred samples.
    n = long_calls.ENDLESS // 10 if call == "features" else long_calls.ENDLESS
    outs = {
        "log_prob": [np.empty(n)],
        "conditionals": [np.empty((n, *model.event_shape), np.float32)],
        "surprise": [np.empty((n, *model.event_shape), np.float32)],
        "features": [np.empty((n, 64, 28, 28), np.float32)],
        "sample": [np.empty((n, *model.event_shape), np.uint8)],
        "sample_and_log_prob": [np.empty((n, *model.event_shape), np.uint8), np.empty(n)],
    }[call]
    data = [n] if "sample" in call else [np.zeros((n, *model.event_shape), np.uint8)]
    first, last = (outs[0].reshape(n, -1)[row] for row in (0, -1))
    first[:] = last[:] = 77
    keywords: dict[str, Any] = {"threads": threads, "out": tuple(outs) if len(outs) > 1 else outs[0]}
    with pytest.raises(long_calls.Signalled), long_calls.signal_once(lambda: first[-1] != 77):
        getattr(model, call)(*data, **keywords)
    assert (last == 77).all()


@pytest.mark.parametrize("call", ["log_prob", "sample_and_log_prob"])
def test_a_call_that_is_stopped_leaves_in_the_midst_of_a_block(call: str, endless: Case) -> None:
    """Sums of log-probabilities are 0 as a block begins, and not written before it ends."""
    n, model = long_calls.ENDLESS, endless.model
    x, log_prob = np.zeros((n, *model.event_shape), np.uint8), np.empty(n)

    def progress(done: int, total: int) -> None:
        raise long_calls.Enough

    calls = {
        "log_prob": functools.partial(model.log_prob, x, out=log_prob),
        "sample_and_log_prob": functools.partial(model.sample_and_log_prob, n, rng=0, out=(x, log_prob)),
    }

    def leaves_a_block() -> bool:
        log_prob[:] = np.nan
        with pytest.raises(long_calls.Enough):
            calls[call](threads=1, progress=progress)
        assert np.isnan(log_prob[-1])
        return bool((log_prob == 0).any())

    # It may happen to be between two blocks.
    assert any(leaves_a_block() for _ in range(10))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, RecursionError])
def test_whatever_progress_raises_comes_out(error: type[BaseException], endless: Case) -> None:
    def progress(done: int, total: int) -> None:
        raise error(f"after {done}")

    with pytest.raises(error, match="after ") as raised:
        endless.model.sample(long_calls.ENDLESS, rng=0, threads=1, progress=progress)
    assert str(raised.value) != f"after {long_calls.ENDLESS}"
    assert endless.model.sample(1, rng=0).shape == (1, 1, 28, 28)


def test_calls_of_a_pool_end_with_the_main_thread(endless: Case) -> None:
    """Python gives signals to the main thread alone: `progress` is how the others hear of them."""
    begun = [threading.Event(), threading.Event()]
    stop = threading.Event()

    def call(at: int) -> None:
        def progress(done: int, total: int) -> None:
            begun[at].set()
            if stop.is_set():
                raise InterruptedError

        endless.model.sample(long_calls.ENDLESS, rng=at, threads=1, progress=progress)

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(call, at) for at in (0, 1)]
        try:
            with (
                pytest.raises(long_calls.Signalled),
                long_calls.signal_once(lambda: all(event.is_set() for event in begun)),
            ):
                calls[0].result()
        finally:
            stop.set()
    assert all(isinstance(call.exception(), InterruptedError) for call in calls)


# --- threads ---------------------------------------------------------------------------------------------


def dropped_during_a_call(case: Case, n: int) -> tuple[np.ndarray, int]:
    """What a call gives whose model is dropped meanwhile, and how many samples were done by then."""
    models = [case.family.model(case.config, case.tensors)]
    dropped = weakref.ref(models[0])
    begun, go_on = threading.Event(), threading.Event()
    heard: list[int] = []

    def progress(done: int, total: int) -> None:
        heard.append(done)
        begun.set()
        go_on.wait()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambda: models[0].sample(n, rng=0, threads=2, progress=progress))
        call.add_done_callback(lambda _: begun.set())
        begun.wait()
        models.clear()
        gc.collect()
        go_on.set()
        x = call.result()
    gc.collect()
    assert dropped() is None
    return x, heard[0]


def test_a_model_dropped_during_a_call() -> None:
    """The call keeps what it needs; the model is freed when it ends."""
    case = build_case(NADE, NADE.config(200, 200))
    for n in long_calls.growing(20_000):
        x, done = dropped_during_a_call(case, n)
        if done < n:
            break
    np.testing.assert_array_equal(x, case.model.sample(n, rng=0))


@pytest.mark.filterwarnings("ignore:This DataLoader")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_draw_different_samples(method: str) -> None:
    torch = pytest.importorskip("torch")
    model = build_case(NADE, NADE.config(64, 8)).model
    model.sample(5000, rng=0, threads=2)  # used before the fork
    loader = torch.utils.data.DataLoader(
        Draws(model), batch_size=None, num_workers=2, multiprocessing_context=method, timeout=300
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
