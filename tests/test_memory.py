"""Memory: what a call takes beside its output does not grow with n, and nothing stays behind."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="memory is read in /proc")

STATUS = """
import gc, os
import ancestral, numpy as np, oracle

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

def make(kind, config):
    tensors = oracle.random_tensors(kind, config, np.random.default_rng(0), 3.0)
    return ancestral.Model.from_tensors(kind, config, tensors)
"""

SMALL_CALLS = """
model = make("NADE", oracle.nade_config(20, 10))
x, out = model.sample_and_log_prob(3, rng=0)
generator = np.random.default_rng(0)
calls = [
    lambda: model.log_prob(x),
    lambda: model.log_prob(x, out=out),
    lambda: model.conditionals(x),
    lambda: model.surprise(x),
    lambda: model.features(x),
    lambda: model.sample(3, rng=generator),
    lambda: model.sample_and_log_prob(3, progress=lambda done, total: None),
    lambda: model.order,
    lambda: model.config,
    lambda: wrong(model),
]

def wrong(model):
    for value in (x + 7, x[0], None):
        try:
            model.log_prob(value)
        except (TypeError, ValueError):
            pass

def rss():
    gc.collect()
    return status("VmRSS")

for call in calls * 500:
    call()
before = rss()
for _ in range(10_000):
    for call in calls:
        call()
print(rss() - before)
"""

PEAK = """
def peak(call):
    gc.collect()
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    before = status("VmRSS")
    result = call()
    size = sum(part.nbytes for part in (result if isinstance(result, tuple) else (result,)))
    return status("VmHWM") - before - size

n = int(os.environ["N"])
for kind, config in [
    ("FVSBN", oracle.fvsbn_config(64)),
    ("NADE", oracle.nade_config(64, 32)),
    ("PixelCNN", oracle.pixelcnn_config((1, 8, 8), 2, 4, 1, 4)),
    ("PixelCNN", oracle.pixelcnn_config((1, 4, 4), 5, 4, 1, 4)),
]:
    model = make(kind, config)
    x = model.sample(n, rng=0)
    calls = [
        lambda: model.sample(n, rng=0, threads=2),
        lambda: model.sample_and_log_prob(n, rng=0, threads=2),
        lambda: model.log_prob(x, threads=2),
        lambda: model.conditionals(x, threads=2),
        lambda: model.surprise(x, threads=2),
    ]
    if kind != "FVSBN":
        calls.append(lambda: model.features(x, threads=2))
    for call in calls:
        print(peak(call))
"""


def test_a_hundred_thousand_small_calls_leave_nothing_behind(run_python: Callable[..., str]) -> None:
    assert int(run_python(STATUS + SMALL_CALLS, timeout=300)) < 2**20  # 11 bytes a call


@pytest.mark.parametrize("n", [1_000, 100_000])
def test_beside_its_output_a_call_takes_a_block_a_thread(n: int, run_python: Callable[..., str]) -> None:
    """Whatever n: the bound is the same for a hundred times the samples."""
    # What is freed goes back to the system at once, or it would hide what the next call takes.
    malloc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    beside = [int(line) for line in run_python(STATUS + PEAK, N=str(n), timeout=300, **malloc).splitlines()]
    assert len(beside) == 23
    assert max(beside) < 2 * 2**20, beside
    assert min(beside) > -(2**20), "freed memory was reused: the peaks mean nothing"
