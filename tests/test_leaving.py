"""A process that ends while daemon threads are in the middle of calls: it neither crashes nor hangs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support import long_calls

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")

LEAVING = """
import atexit, ctypes, os, sys, threading, time
import ancestral, numpy as np
from support import long_calls
from support.families import NADE

config = NADE.config(200, 1000)
tensors = NADE.random_tensors(config, np.random.default_rng(0), 3.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)
returned = []
progress = (lambda done, total: None) if os.environ["PROGRESS"] else None

def call(x):
    model.sample(len(x), rng=0, threads=2, out=x, progress=progress)
    returned.append(x)

outs = [np.empty((int(os.environ["N"]), 200), np.uint8) for _ in range(8)]
for x in outs:
    x[0] = 2
    threading.Thread(target=call, args=(x,), daemon=True).start()
for x in outs:
    long_calls.wait_until(lambda: x[0, 0] != 2)  # its first rows are written
if os.environ["HOLD"]:
    hold = ctypes.PyDLL(None).usleep  # with the GIL, while threads wait for it, and it never gives it back
    atexit.register(hold, 300_000)

# In the last stage there may be no globals.
def at_work(listdir=os.listdir, open=os.open, read=os.read, close=os.close, gone=OSError):
    for task in listdir("/proc/self/task"):
        try:
            file = open(f"/proc/self/task/{task}/comm", 0)
            try:
                if read(file, 10) == b"ancestral-":
                    return True
            finally:
                close(file)
        except gone:  # it has ended since it was listed
            pass
    return False

class Last:  # keeps the interpreter in its last stage, where no thread may come back into Python
    wait = os.environ["TO_THE_END"]

    def __del__(self, returned=returned, at_work=at_work, write=os.write, sleep=time.sleep):
        write(1, b"too early" if returned else b"in time")
        while self.wait and at_work():
            sleep(0.001)
        sleep(0.1)  # for a thread to do harm, if it does
        write(1, b", and to the end")

sys.last = Last()  # what stays of __main__ as long as a thread runs in it is never deleted
"""


@pytest.mark.parametrize("progress", ["", "1"])
@pytest.mark.parametrize("hold", ["", "1"])
def test_leaving_while_daemon_threads_are_at_work(hold: str, progress: str, run_python: Callable[..., str]) -> None:
    answer = run_python(LEAVING, N="500_000", HOLD=hold, PROGRESS=progress, TO_THE_END="")
    assert answer == "in time, and to the end"


@pytest.mark.parametrize("hold", ["", "1"])
def test_calls_that_end_when_the_interpreter_is_leaving(hold: str, run_python: Callable[..., str]) -> None:
    """They do not come back into Python."""
    for n in long_calls.growing(5_000):
        if run_python(LEAVING, N=str(n), HOLD=hold, PROGRESS="", TO_THE_END="1") == "in time, and to the end":
            break
