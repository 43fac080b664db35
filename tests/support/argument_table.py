"""Wrong values for the arguments of every public function, and the errors that they must bring."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ancestral
from support.cases import build_case
from support.families import NADE

N_DIMS = 6
N_HIDDEN = 4

Error = type[Exception] | tuple[type[Exception], ...]

HUGE = 10**5000
"""An int of more digits than Python prints."""


class Failing:
    """An object whose own methods raise, on several lines."""

    def fail(self, *_: object, **__: object) -> Any:
        raise RuntimeError("inner\nerror")

    __array__ = __len__ = __getitem__ = __index__ = __float__ = __fspath__ = __repr__ = fail
    dtype = dtypes = property(fail)


class Nonsense:
    """An object whose methods return what they must not."""

    def __array__(self, *_: object, **__: object) -> Any:
        return "no array"


nested: list[Any] = []
nested.append(nested)

NUMBERLESS: list[tuple[Any, Error]] = [
    (Failing(), TypeError),
    (np.array([[1]] * 100), TypeError),
    (np.array(True), TypeError),
    (np.array("1"), TypeError),
    (np.ma.masked_array(3, mask=True), TypeError),
    (np.ma.masked, TypeError),
    (np.complex128(1), TypeError),
    (np.datetime64(1, "s"), TypeError),
    (np.timedelta64(1, "s"), TypeError),
    (HUGE, ValueError),
    (-HUGE, ValueError),
]
"""What `float` or `operator.index` fails at, or takes for a number."""
ARRAYLESS: list[tuple[Any, Error]] = [
    (Failing(), TypeError),
    (Nonsense(), TypeError),
    (nested, ValueError),
    ({1: 2}, TypeError),
    ({1, 2}, TypeError),
    ((row for row in [[0] * N_DIMS]), TypeError),
    (..., TypeError),
    (b"011010", TypeError),
    (np.zeros(2, [(f"field_{i}", "u1") for i in range(100)]), TypeError),
    (np.ma.masked, ValueError),
    ([[0, 1, 2**70, 0, 0, 0]], TypeError),
    ([[0, 1, "0", 0, 0, 0]], TypeError),
]
"""What is no array of numbers, in any argument."""
NUMBERLESS_TENSORS: list[tuple[Any, Error]] = []
ARRAYLESS_TENSORS: list[tuple[Any, Error]] = []
if importlib.util.find_spec("torch"):
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    tensor = torch.ones(2, N_DIMS)
    with FakeTensorMode():
        fake = torch.ones(2, N_DIMS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on sorts of tensors that are new or old
        strange = [
            tensor.to_sparse(),
            tensor.to_sparse_csr(),
            torch.nested.nested_tensor([tensor[0], tensor[1]]),
            torch.nested.nested_tensor([tensor[0], tensor[1]], layout=torch.jagged),
            torch.quantize_per_tensor(tensor, 1.0, 0, torch.quint8),
            torch.masked.masked_tensor(tensor, tensor.bool()),
            tensor.to(torch.complex32),
        ]

    class Overriding(torch.Tensor):
        @classmethod
        def __torch_function__(cls, *_: object, **__: object) -> Any:
            raise RuntimeError("inner\nerror")

    NUMBERLESS_TENSORS += [
        (torch.tensor([3]), TypeError),
        (torch.tensor(True), TypeError),
        (torch.tensor(1j), TypeError),
        (torch.tensor(3, device="meta"), TypeError),
    ]
    ARRAYLESS_TENSORS += [
        (tensor.to("meta"), TypeError),
        (fake, TypeError),
        *((kind, TypeError) for kind in strange),
        (tensor.as_subclass(Overriding), TypeError),
        (tensor.to(torch.complex64).conj(), TypeError),
        (tensor.to(torch.uint8).view(torch.bits8), TypeError),
        (torch.nn.UninitializedParameter(), TypeError),
        ([tensor[0].to("meta")], TypeError),
    ]

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
    *NUMBERLESS,
    *NUMBERLESS_TENSORS,
]
RNG: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (2**64, ValueError),
    (1.5, TypeError),
    (True, TypeError),
    ("0", TypeError),
    ([0], TypeError),
    (np.random.RandomState(0), TypeError),
    *NUMBERLESS,
    *NUMBERLESS_TENSORS,
]
START: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (2**63, ValueError),
    (10**30, ValueError),
    (1.0, TypeError),
    (None, TypeError),
    *NUMBERLESS,
    *NUMBERLESS_TENSORS,
]
THREADS: list[tuple[Any, Error]] = [
    (0, ValueError),
    (-1, ValueError),
    (10**6, ValueError),
    (2**64, ValueError),
    (1.0, TypeError),
    (True, TypeError),
    ("2", TypeError),
    *NUMBERLESS,
    *NUMBERLESS_TENSORS,
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
    *NUMBERLESS,
    *NUMBERLESS_TENSORS,
]
STEP: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (N_DIMS + 1, ValueError),
    (1.0, TypeError),
    ("1", TypeError),
    (True, TypeError),
    *NUMBERLESS,
    *NUMBERLESS_TENSORS,
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
    (np.ma.masked_array(np.ones((2, N_DIMS)), mask=[[0] * 5 + [1]] * 2), ValueError),
    ([np.ma.masked_array([1] * N_DIMS, mask=[1] * N_DIMS)], ValueError),
    *ARRAYLESS,
    *ARRAYLESS_TENSORS,
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
        (np.ma.masked_array(right), TypeError),
        (Failing(), TypeError),
    ]


COUNT: list[tuple[Any, Error]] = [
    (-1, ValueError),
    (0, ValueError),
    (10**30, (ValueError, MemoryError)),
    (2.5, TypeError),
    (True, TypeError),
    ("3", TypeError),
    ([3], TypeError),
    *NUMBERLESS,
    *NUMBERLESS_TENSORS,
]
FLAG: list[tuple[Any, Error]] = [
    (wrong, TypeError) for wrong in (1, "yes", None, HUGE, Failing(), np.ones((50, 50), bool))
]
PARTIAL: list[tuple[Any, Error]] = [
    ("011010", TypeError),
    (np.ones(N_DIMS, complex), TypeError),
    (np.ones(N_DIMS + 1), ValueError),
    (np.ones((2, 2, N_DIMS)), ValueError),
    (np.full(N_DIMS, 0.5), ValueError),
    ([[0, 1], [0]], ValueError),
    *ARRAYLESS,
    *ARRAYLESS_TENSORS,
]
"""Of a part of an event, or bounds of one."""
MODEL: list[tuple[Any, Error]] = [
    (None, TypeError),
    ("nade.safetensors", TypeError),
    (3, TypeError),
    (Failing(), TypeError),
]


class Function(NamedTuple):
    """Arguments that are right, and for each argument wrong ones with their errors."""

    right: dict[str, Any]
    wrong: dict[str, list[tuple[Any, Error]]]


nade = build_case(NADE, NADE.config(N_DIMS, N_HIDDEN))
other = build_case(NADE, NADE.config(N_DIMS + 1, N_HIDDEN))
x = nade.events(2)
_temporary = tempfile.TemporaryDirectory()  # goes with the process
folder = Path(_temporary.name)
ordinary = nade.model.encode(x)
released = memoryview(ordinary)
released.release()

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
        *NUMBERLESS,
        *NUMBERLESS_TENSORS,
        (0.0, ValueError),
        (-1.0, ValueError),
        (np.nan, ValueError),
        ("1", TypeError),
        (True, TypeError),
    ],
    "max_paths": [(10, ValueError), (HUGE, ValueError), (Failing(), ValueError)],  # without relative_error
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
        {
            "batches": [
                *(([value], error) for value, error in X),
                (None, TypeError),
                (3, TypeError),
            ],
            "threads": THREADS,
        },
    ),
    "Model.typicality": Function(
        {"x": x, "rng": 0},
        {
            "x": X,
            "reference": [
                *ARRAYLESS,
                *ARRAYLESS_TENSORS,
                (np.ma.masked_array([-1.0, -2.0], mask=[0, 1]), ValueError),
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
            "path": [
                (None, TypeError),
                (3, TypeError),
                (b"x.npy", TypeError),
                (Failing(), TypeError),
                ("a\0b.npy", ValueError),
                ("\ud800.npy", ValueError),
                (folder, (IsADirectoryError, ValueError)),
            ],
            "n": STREAMED,
            "format": [
                ("csv", ValueError),
                ("x" * 1000, ValueError),
                (3, TypeError),
                (np.array(["npy", "npy"]), TypeError),
                (Failing(), TypeError),
            ],
            "packed": FLAG,
            "overwrite": FLAG,
            "batch_size": COUNT,
            **SEEDED,
        },
    ),
    "Model.complete": Function(
        {"x": x, "observed": x == 1, "rng": 0},
        {
            "x": [
                *PARTIAL,
                (np.ones((3, N_DIMS)), ValueError),
                (np.ma.masked_array(x, mask=x == 1), ValueError),
            ],
            "observed": [
                *ARRAYLESS,
                *ARRAYLESS_TENSORS,
                (x, TypeError),
                (None, TypeError),
                (np.ones(5, bool), ValueError),
                (np.ma.masked_array(np.ones(N_DIMS, bool), mask=np.ones(N_DIMS)), ValueError),
            ],
            "n_samples": COUNT,
            "resample": FLAG,
            "n_proposals": [(10, ValueError), (HUGE, ValueError), (Failing(), ValueError)],  # without resample
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
                *ARRAYLESS,
                *ARRAYLESS_TENSORS,
                (np.ma.masked_array(np.ones((N_DIMS, 2), bool), mask=np.ones((N_DIMS, 2))), ValueError),
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
                (Failing(), TypeError),
                (released, ValueError),
                (b"", ancestral.FormatError),
                (ordinary[:-1], ancestral.FormatError),
                (ordinary + b"\0", ancestral.FormatError),
                (other.model.encode(other.events(2)), ancestral.FormatError),
            ],
            "start": [(-1, ValueError), (1.0, TypeError), (None, TypeError), ("0", TypeError), *NUMBERLESS],
            "stop": [(-1, ValueError), (1.0, TypeError), ("0", TypeError), *NUMBERLESS],
            **CALL,
        },
    ),
}
