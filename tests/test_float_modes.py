"""The same bits whatever the floating-point mode of the calling thread: flush to zero, and directed rounding."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SCRIPT = """
import ctypes, ctypes.util, os
import numpy as np, torch
import references
from support import bits
from support.cases import case_of
from support.families import EVERY_LARGE, EVERY_MEDIUM

libm = ctypes.CDLL(ctypes.util.find_library("m"))
subnormal, third = np.float32(1e-44), np.float32(1) / np.float32(3)


def arithmetic():
    return [(np.array([subnormal]) * np.float32(0.5)).tobytes(), (np.float32([1, -1]) / np.float32(3)).tobytes()]


def flush(on):
    if not torch.set_flush_denormal(on):
        print("no such mode")
        raise SystemExit


def rounding(mode):
    assert libm.fesetround(mode) == 0


SET = {
    "flush to zero": (lambda: flush(True), lambda: flush(False)),
    **{f"round {hex(mode)}": (lambda mode=mode: rounding(mode), lambda: rounding(0)) for mode in (0x400, 0x800, 0xC00)},
}


def wide(family, config, scale):
    # Hidden units whose odds are subnormal, likelihoods near 1, and weights that are subnormal themselves.
    rng = np.random.default_rng(0)
    tensors = {}
    for name, like in family.random_tensors(config, rng, 1.0).items():
        values = rng.normal(0, scale, like.shape) * np.where(rng.random(like.shape) < 0.1, 1e-38, 1.0)
        tensors[name] = np.where(like != 0, values, 0).astype(np.float32)
    return family, config, tensors


MADE_OF = {
    **{name: wide(*model, 3.0) for name, model in EVERY_LARGE.items()},
    **{f"{name}, far": wide(*model, 60.0) for name, model in EVERY_MEDIUM.items()},
}
OPERATIONS = bits.SCORES | bits.DRAWS | bits.WHOLE
x = {}


def results(name):
    # The model is built in the mode as well: its file and its layout must not depend on it.
    case = case_of(*MADE_OF[name])
    out = {"file": (np.frombuffer(case.model._inner.to_bytes(), np.uint8),)}
    for key, operation in OPERATIONS.items():
        for threads in (1, 3):
            out[key, threads] = bits.run(operation, case, x[name], 5, threads)
    return out


normal = arithmetic()
for name, (family, config, _) in MADE_OF.items():
    x[name] = family.random_events(config, 45, np.random.default_rng(1))
expected = {name: results(name) for name in MADE_OF}
for mode, (enter, leave) in SET.items():
    enter()
    changed = arithmetic()
    try:
        got = {name: results(name) for name in MADE_OF}
        after = arithmetic()
    finally:
        leave()
    assert changed != normal, f"{mode} makes no difference"
    assert after == changed, f"{mode} is the thread's own, and must come back"
    for name in MADE_OF:
        for key in expected[name]:
            bits.assert_same_bits(got[name][key], expected[name][key], f"{name}: {key} with {mode}")
print("the same bits")
"""


def test_no_mode_of_the_calling_thread_changes_a_bit(run_python: Callable[..., str]) -> None:
    printed = run_python(SCRIPT, timeout=600)
    if printed == "no such mode\n":
        pytest.skip("this processor has no flush-to-zero mode")
    assert printed == "the same bits\n"
