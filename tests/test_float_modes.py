"""The same bits whatever the floating-point mode of the calling thread: flush to zero, and directed rounding."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SCRIPT = """
import ctypes, ctypes.util, os
import ancestral, numpy as np, oracle, torch
import bits, references
from conftest import Case

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


def wide(kind, config, scale):
    # Hidden units whose odds are subnormal, likelihoods near 1, and weights that are subnormal themselves.
    rng = np.random.default_rng(0)
    tensors = {}
    for name, like in oracle.random_tensors(kind, config, rng, 1.0).items():
        values = rng.normal(0, scale, like.shape) * np.where(rng.random(like.shape) < 0.1, 1e-38, 1.0)
        tensors[name] = np.where(like != 0, values, 0).astype(np.float32)
    return kind, config, tensors


MADE_OF = {
    "nade": wide("NADE", oracle.nade_config(300, 64), 3.0),
    "nade, far": wide("NADE", oracle.nade_config(40, 20), 60.0),
    "fvsbn": wide("FVSBN", oracle.fvsbn_config(100), 3.0),
    "pixelcnn": wide("PixelCNN", oracle.pixelcnn_config((1, 5, 6)), 1.0),
    "categorical": wide("PixelCNN", oracle.pixelcnn_config((3, 2, 2), 5, n_channels=12), 1.0),
}
OPERATIONS = bits.SCORES | bits.DRAWS | bits.WHOLE
x = {}


def results(name):
    # The model is built in the mode as well: its file and its layout must not depend on it.
    kind, config, tensors = MADE_OF[name]
    case = Case(kind, config, tensors, ancestral.Model.from_tensors(kind, config, tensors))
    out = {"file": (np.frombuffer(case.model._inner.to_bytes(), np.uint8),)}
    for key, operation in OPERATIONS.items():
        for threads in (1, 3):
            out[key, threads] = bits.run(operation, case, x[name], 5, threads)
    return out


normal = arithmetic()
for name, (kind, config, tensors) in MADE_OF.items():
    shape = (45, *oracle.event_shape(kind, config))
    x[name] = np.random.default_rng(1).integers(0, oracle.n_classes(kind, config), shape, dtype=np.uint8)
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
