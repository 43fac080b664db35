"""Memory: what a call takes beside its output does not grow with n, and nothing stays behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.families import MEDIUM

pytestmark = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="memory is read in /proc")

STATUS = """
import gc, os
import ancestral, numpy as np
from support.families import MEDIUM, NADE

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

def make(family, config):
    return family.model(config, family.random_tensors(config, np.random.default_rng(0), 3.0))
"""

SMALL_CALLS = """
model = make(NADE, NADE.config(20, 10))
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
for family, config in MEDIUM.values():
    model = make(family, config)
    x = model.sample(n, rng=0)
    calls = [
        lambda: model.sample(n, rng=0, threads=2),
        lambda: model.sample_and_log_prob(n, rng=0, threads=2),
        lambda: model.log_prob(x, threads=2),
        lambda: model.conditionals(x, threads=2),
        lambda: model.surprise(x, threads=2),
    ]
    if "features" not in family.lacks:
        calls.append(lambda: model.features(x, threads=2))
    for call in calls:
        print(peak(call))
"""

OPERATIONS = """
import pathlib, warnings
from collections import deque
from ancestral import model as models
from ancestral._arguments import data
from ancestral._estimation import completion, ranges
from ancestral.operations import sampling
from support.families import MEDIUM

# Blocks as small as they may be: what grows with n stands out.
data._ROOM = completion._ROOM = ranges._ROOM = 2**18
models._BATCH_VALUES = 2**16
ranges._BLOCK = sampling._AT_ONCE = 2**12
warnings.simplefilter("ignore", ancestral.LowSampleSizeWarning)

def size(result):
    if isinstance(result, tuple):
        return sum(map(size, result))
    return len(result) if isinstance(result, bytes) else getattr(result, "nbytes", 0)

def peak(call):
    gc.collect()
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    before, mapped = status("VmRSS"), status("RssFile")
    result = call()
    # Pages of a memory-mapped file are the system's to take back.
    return status("VmHWM") - before - max(0, status("RssFile") - mapped) - size(result)

n, d = int(os.environ["N"]), 64
folder = pathlib.Path(os.environ["FOLDER"])
model = make(NADE, NADE.config(d, 8))
x = model.sample(n, rng=0)
np.save(folder / "bytes.npy", x)
np.save(folder / "floats.npy", x.astype(np.float32))
mapped = [np.load(folder / name, mmap_mode="r") for name in ("bytes.npy", "floats.npy")]
prefix, odd = np.arange(d) < d - 4, np.arange(d) % 2 == 1
evidence = np.where(prefix, x[0].astype(np.int8), -1)
high = np.maximum(x, np.arange(d) > 4)
allowed = np.ones((n, d, 2), bool)
allowed[:, 3] = [True, False]
blob = model.encode(x)
options = {"rng": 0, "threads": 2}
calls = {
    "complete": lambda: model.complete(x, prefix, **options),
    "complete, weighted": lambda: model.complete(x, odd, n_samples=4, **options),
    "complete, resampled": lambda: model.complete(x, odd, resample=True, n_proposals=8, **options),
    "sample, evidence": lambda: model.sample(n, evidence=evidence, **options),
    "prob_range": lambda: model.prob_range(high=high, n_paths=4, **options),
    "prob_range, adaptive": lambda: model.prob_range(high=high, n_paths=2, relative_error=0.1, max_paths=8, **options),
    "prob_range, sets": lambda: model.prob_range(allowed=allowed, n_paths=2, **options),
    "prob_range, paths": lambda: model.prob_range(high=high[0], n_paths=n, **options),
    "encode": lambda: model.encode(x, threads=2),
    "decode": lambda: model.decode(blob, threads=2),
    "decode, part": lambda: model.decode(blob, start=n // 2, stop=n // 2 + 10, threads=2),
    "features": lambda: model.features(x, threads=2),
    "surprise": lambda: model.surprise(mapped[1], threads=2),
    "entropy": lambda: model.entropy(n, **options),
    "cross_entropy": lambda: model.cross_entropy(x, threads=2),
    "typicality": lambda: model.typicality(x, **options),
    "beam_search": lambda: model.beam_search(n_beams=n // 10, threads=2),
    "sample_batches": lambda: deque(model.sample_batches(n, 1000, **options), 0),
    "sample_to": lambda: model.sample_to(folder / "x.npy", n, **options),
    "sample_to, packed": lambda: model.sample_to(folder / "packed.npy", n, packed=True, **options),
    "log_prob, mapped": lambda: model.log_prob(mapped[0], threads=2),
    "log_prob, mapped floats": lambda: model.log_prob(mapped[1], threads=2),
    "log_prob, batches": lambda: deque(model.log_prob_batches(np.array_split(x, n // 500), threads=2), 0),
}
# Their first calls import parts of NumPy and of Python.
model.sample(1, evidence=evidence)
model.sample_to(folder / "first.npy", 1)
# What the documentation says they take beside.
documented = {
    "encode": len(blob),
    "entropy": 8 * n,
    "cross_entropy": 8 * n,
    "beam_search": (d + 64) * (n // 10),
}
for name, call in calls.items():
    print(peak(call) - documented.get(name, 0), name)
"""


def test_a_hundred_thousand_small_calls_leave_nothing_behind(run_python: Callable[..., str]) -> None:
    assert int(run_python(STATUS + SMALL_CALLS)) < 2**20  # 11 bytes a call


@pytest.mark.parametrize("n", [1_000, 100_000])
def test_beside_its_output_a_call_takes_a_block_a_thread(n: int, run_python: Callable[..., str]) -> None:
    """Whatever n: the bound is the same for a hundred times the samples."""
    # What is freed goes back to the system at once, or it would hide what the next call takes.
    malloc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    beside = [int(line) for line in run_python(STATUS + PEAK, N=str(n), **malloc).splitlines()]
    assert len(beside) == sum(5 + ("features" not in family.lacks) for family, _ in MEDIUM.values())
    assert max(beside) < 2 * 2**20, beside
    assert min(beside) > -(2**20), "freed memory was reused: the peaks mean nothing"


@pytest.mark.parametrize("n", [1_000, 100_000])
def test_no_operation_grows_with_n(n: int, tmp_path: Path, run_python: Callable[..., str]) -> None:
    """But for what the documentation says: less than ten bytes a row beside the output."""
    malloc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    printed = run_python(STATUS + OPERATIONS, N=str(n), FOLDER=str(tmp_path), **malloc)
    beside = {name: int(number) for number, name in (line.split(maxsplit=1) for line in printed.splitlines())}
    assert len(beside) == 23
    assert max(beside.values()) < 2**20, beside
    assert min(beside.values()) > -(2**20), "freed memory was reused: the peaks mean nothing"
