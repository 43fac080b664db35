"""Wrong values for the arguments of every public function, and the errors that they must bring."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ancestral
import oracle
from conftest import build_case

N_DIMS = 6
N_HIDDEN = 4

Error = type[Exception] | tuple[type[Exception], ...]

N: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (-(2**70), ValueError),
    (2.5, TypeError),
    (True, TypeError),
    ("3", TypeError),
    (None, TypeError),
    (float("nan"), TypeError),
    (np.array([3]), TypeError),
    (2**60, MemoryError),
    (2**62, MemoryError),
    (10**30, ValueError),
]
RNG: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (2**64, ValueError),
    (1.5, TypeError),
    (True, TypeError),
    ("0", TypeError),
    ([0], TypeError),
    (np.random.RandomState(0), TypeError),
]
START: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (2**63, ValueError),
    (10**30, ValueError),
    (1.0, TypeError),
    (None, TypeError),
]
THREADS: list[tuple[Any, Error]] = [
    (0, ValueError),
    (-1, ValueError),
    (10**6, ValueError),
    (2**64, ValueError),
    (1.0, TypeError),
    (True, TypeError),
    ("2", TypeError),
]
PROGRESS: list[tuple[Any, Error]] = [("yes", TypeError), (3, TypeError), ([], TypeError)]
TEMPERATURE: list[tuple[Any, Error]] = [
    (-0.1, ValueError),
    (np.nan, ValueError),
    (np.inf, ValueError),
    (1e7, ValueError),
    ("1", TypeError),
    (None, TypeError),
    (True, TypeError),
    (1j, TypeError),
    ([1.0], TypeError),
]
STEP: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (N_DIMS + 1, ValueError),
    (1.0, TypeError),
    ("1", TypeError),
    (True, TypeError),
]
X: list[tuple[Any, Error]] = [
    (None, TypeError),
    ("011010", TypeError),
    (np.ones((2, N_DIMS), complex), TypeError),
    (np.ones((2, N_DIMS), object), TypeError),
    (np.ones((2, N_DIMS), "M8[s]"), TypeError),
    (np.ones(N_DIMS), ValueError),
    (np.ones((2, N_DIMS + 1)), ValueError),
    (np.ones((2, 0)), ValueError),
    (np.array(1), ValueError),
    (np.ones((2, N_DIMS, 1)), ValueError),
    ([[0, 1], [0]], ValueError),
    (np.full((2, N_DIMS), 2), ValueError),
    (np.full((2, N_DIMS), 2, np.uint8), ValueError),
    (np.full((2, N_DIMS), -1), ValueError),
    (np.full((2, N_DIMS), 0.5), ValueError),
    (np.full((2, N_DIMS), np.nan), ValueError),
    (np.full((2, N_DIMS), 256), ValueError),
]


def outs(*shape: int, dtype: Any) -> list[tuple[Any, Error]]:
    right = np.zeros(shape, dtype)
    read_only = right.copy()
    read_only.flags.writeable = False
    return [
        (np.zeros((shape[0] + 1, *shape[1:]), dtype), ValueError),
        (np.zeros((*shape, 1), dtype), ValueError),
        (np.zeros((2 * shape[0], *shape[1:]), dtype)[::2], ValueError),
        (np.zeros(shape, np.int16), TypeError),
        (np.zeros(shape, object), TypeError),
        (read_only, ValueError),
        (right.tolist(), TypeError),
        (3, TypeError),
        (memoryview(bytes(right.nbytes)), TypeError),
    ]


COUNT: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (0, ValueError),
    (10**30, (ValueError, MemoryError)),
    (2.5, TypeError),
    (True, TypeError),
    ("3", TypeError),
    ([3], TypeError),
]
FLAG: list[tuple[Any, Error]] = [(1, TypeError), ("yes", TypeError), (None, TypeError)]
PARTIAL: list[tuple[Any, Error]] = [
    ("011010", TypeError),
    (np.ones(N_DIMS, complex), TypeError),
    (np.ones(N_DIMS + 1), ValueError),
    (np.ones((2, 2, N_DIMS)), ValueError),
    (np.full(N_DIMS, 0.5), ValueError),
    ([[0, 1], [0]], ValueError),
]
"""Of a part of an event, or bounds of one."""
MODEL: list[tuple[Any, Error]] = [(None, TypeError), ("nade.safetensors", TypeError), (3, TypeError)]


class Function(NamedTuple):
    """Arguments that are right, and for each argument wrong ones with their errors."""

    right: dict[str, Any]
    wrong: dict[str, list[tuple[Any, Error]]]


nade = build_case("NADE", oracle.nade_config(N_DIMS, N_HIDDEN))
other = build_case("NADE", oracle.nade_config(N_DIMS + 1, N_HIDDEN))
x = nade.events(2)
_temporary = tempfile.TemporaryDirectory()  # goes with the process
folder = Path(_temporary.name)
ordinary = nade.model.encode(x)

CALL = {"threads": THREADS, "progress": PROGRESS}
SEEDED = {"rng": RNG, "start": START, **CALL}
DRAW = {"n": N, "temperature": TEMPERATURE, **SEEDED}
STREAMED = [row for row in N if row[1] is not MemoryError]
EVIDENCE = [*PARTIAL, (np.full(N_DIMS, 2), ValueError), (np.ones((2, N_DIMS)), ValueError)]
RANGES = {
    "low": PARTIAL,
    "high": PARTIAL,
    "allowed": [
        (np.ones((N_DIMS, 2), bool), ValueError),  # beside low
    ],
    "n_paths": COUNT,
    "relative_error": [
        (0.0, ValueError),
        (-1.0, ValueError),
        (np.nan, ValueError),
        ("1", TypeError),
        (True, TypeError),
    ],
    "max_paths": [(10, ValueError)],  # without relative_error
    **SEEDED,
}
FUNCTIONS: dict[str, Function] = {
    "Model.log_prob": Function({"x": x}, {"x": X, "out": outs(2, dtype=np.float64), **CALL}),
    "Model.bits_per_dim": Function({"x": x}, {"x": X, "out": outs(2, dtype=np.float64), **CALL}),
    "Model.conditionals": Function({"x": x}, {"x": X, "out": outs(2, N_DIMS, dtype=np.float32), **CALL}),
    "Model.surprise": Function({"x": x}, {"x": X, "out": outs(2, N_DIMS, dtype=np.float32), **CALL}),
    "Model.features": Function({"x": x}, {"x": X, "step": STEP, "out": outs(2, N_HIDDEN, dtype=np.float32), **CALL}),
    "Model.cross_entropy": Function({"x": x}, {"x": [*X, (x[:1], ValueError)], **CALL}),
    "Model.log_prob_batches": Function(
        {"batches": [x]},
        {"batches": [*(([value], error) for value, error in X), (None, TypeError), (3, TypeError)], "threads": THREADS},
    ),
    "Model.typicality": Function(
        {"x": x, "rng": 0},
        {
            "x": X,
            "reference": [
                ("ab", TypeError),
                (np.array([-1j]), TypeError),
                (np.array([-1.0]), ValueError),
                (np.array([[-1.0, -2.0]]), ValueError),
                (np.array([-1.0, np.nan]), ValueError),
                (np.array([1.0, 2.0]), ValueError),
            ],
            "n_samples": [*COUNT, (1, ValueError)],
            **SEEDED,
        },
    ),
    "Model.entropy": Function({"n_samples": 2, "rng": 0}, {"n_samples": [*COUNT, (1, ValueError)], **SEEDED}),
    "kl_divergence": Function(
        {"p": nade.model, "q": nade.model, "n_samples": 2, "rng": 0},
        {"p": MODEL, "q": [*MODEL, (other.model, ValueError)], "n_samples": [*COUNT, (1, ValueError)], **SEEDED},
    ),
    "Model.sample": Function(
        {"n": 2, "rng": 0}, {"evidence": EVIDENCE, "out": outs(2, N_DIMS, dtype=np.uint8), **DRAW}
    ),
    "Model.sample_and_log_prob": Function(
        {"n": 2, "rng": 0},
        {
            "out": [
                *((out, TypeError) for out in (3, x, (x,), (x, x, x), "xy", {0: x, 1: x})),
                *(((wrong, np.zeros(2)), error) for wrong, error in outs(2, N_DIMS, dtype=np.uint8)),
                *(((np.zeros((2, N_DIMS), np.uint8), wrong), error) for wrong, error in outs(2, dtype=np.float64)),
            ],
            **DRAW,
        },
    ),
    "Model.sample_batches": Function(
        {"n": 2, "rng": 0},
        {"n": [row for row in STREAMED if row[0] is not None], "batch_size": COUNT, **SEEDED},
    ),
    "Model.sample_to": Function(
        {"path": folder / "x.npy", "n": 2, "rng": 0},
        {
            "path": [(None, TypeError), (3, TypeError), (folder, (IsADirectoryError, ValueError))],
            "n": STREAMED,
            "format": [("csv", ValueError), (3, (TypeError, ValueError))],
            "packed": FLAG,
            "overwrite": FLAG,
            "batch_size": COUNT,
            **SEEDED,
        },
    ),
    "Model.complete": Function(
        {"x": x, "observed": x == 1, "rng": 0},
        {
            "x": [*PARTIAL, (np.ones((3, N_DIMS)), ValueError)],
            "observed": [(x, TypeError), (None, TypeError), (np.ones(5, bool), ValueError)],
            "n_samples": COUNT,
            "resample": FLAG,
            "n_proposals": [(10, ValueError)],  # without resample
            **SEEDED,
        },
    ),
    "Model.beam_search": Function({}, {"evidence": EVIDENCE, "n_beams": COUNT, **CALL}),
    "Model.prob_range": Function({"low": x, "rng": 0}, RANGES),
    "Model.log_prob_range": Function(
        {"allowed": np.ones((N_DIMS, 2), bool), "rng": 0},
        {
            **RANGES,
            "low": [(x, ValueError)],  # beside allowed
            "high": [(x, ValueError)],
            "allowed": [
                (np.ones((N_DIMS, 2)), TypeError),
                (np.ones((N_DIMS, 3), bool), ValueError),
                (np.ones(N_DIMS, bool), ValueError),
            ],
        },
    ),
    "Model.encode": Function({"x": x}, {"x": X, "block_len": [*COUNT, (4097, ValueError)], **CALL}),
    "Model.decode": Function(
        {"blob": ordinary},
        {
            "blob": [
                (None, TypeError),
                ("text", TypeError),
                (x, TypeError),
                (b"", ancestral.FormatError),
                (ordinary[:-1], ancestral.FormatError),
                (ordinary + b"\0", ancestral.FormatError),
                (other.model.encode(other.events(2)), ancestral.FormatError),
            ],
            "start": [(-1, ValueError), (1.0, TypeError), (None, TypeError), ("0", TypeError)],
            "stop": [(-1, ValueError), (1.0, TypeError), ("0", TypeError)],
            **CALL,
        },
    ),
}
