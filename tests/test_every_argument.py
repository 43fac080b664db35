"""Every public function against wrong arguments of every kind: an exception that names the argument, nothing changed.

A new public function needs a row in `FUNCTIONS`, or a place in `COVERED_ELSEWHERE`. More of what x may be is in
test_arguments.py, and of the shared keywords in test_keywords.py; here every function meets them.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import ancestral
import oracle
from conftest import Case, build_case

N_DIMS = 6
N_HIDDEN = 4

Error = type[Exception] | tuple[type[Exception], ...]

COVERED_ELSEWHERE = {
    "Model.from_tensors": "test_hostile_files.py",
    "Model.save": "test_files.py",
    "load": "test_files.py, test_hostile_files.py",
    "fit": "test_train.py",
    "from_torch": "test_nn.py",
    "Estimate": "a tuple: takes what it is given",
    "Estimate.count": "a tuple's",
    "Estimate.index": "a tuple's",
    "Estimate.interval": "two multiplications",
    "History": "test_train.py",
    "Model": "cannot be called",
    "FormatError": "an exception",
    "datasets": "test_datasets.py",
    "nn": "test_nn.py",
    "plot": "test_plot.py",
}

# --- the table -------------------------------------------------------------------------------------------

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


class Function(NamedTuple):
    """Arguments that are right, and for each argument wrong ones with their errors."""

    right: dict[str, Any]
    wrong: dict[str, list[tuple[Any, Error]]]


x = oracle.random_events("NADE", oracle.nade_config(N_DIMS, N_HIDDEN), 2, np.random.default_rng(0))
CALL = {"threads": THREADS, "progress": PROGRESS}
DRAW = {"n": N, "rng": RNG, "start": START, "temperature": TEMPERATURE, **CALL}
FUNCTIONS: dict[str, Function] = {
    "Model.log_prob": Function({"x": x}, {"x": X, "out": outs(2, dtype=np.float64), **CALL}),
    "Model.conditionals": Function({"x": x}, {"x": X, "out": outs(2, N_DIMS, dtype=np.float32), **CALL}),
    "Model.surprise": Function({"x": x}, {"x": X, "out": outs(2, N_DIMS, dtype=np.float32), **CALL}),
    "Model.features": Function({"x": x}, {"x": X, "step": STEP, "out": outs(2, N_HIDDEN, dtype=np.float32), **CALL}),
    "Model.sample": Function({"n": 2, "rng": 0}, {"out": outs(2, N_DIMS, dtype=np.uint8), **DRAW}),
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
}
ROWS = [
    pytest.param(function, argument, value, error, id=f"{function}-{argument}-{at}")
    for function, (_, wrong) in FUNCTIONS.items()
    for argument, values in wrong.items()
    for at, (value, error) in enumerate(values)
]


@pytest.fixture(scope="module")
def nade() -> Case:
    return build_case("NADE", oracle.nade_config(N_DIMS, N_HIDDEN))


def function_of(name: str, model: ancestral.Model) -> Callable[..., Any]:
    found: Any = model
    for part in name.removeprefix("Model.").split("."):
        found = getattr(found, part)
    return found


# --- is the table whole? ---------------------------------------------------------------------------------


def public_functions() -> set[str]:
    names = set(ancestral.__all__)
    for name in ("Model", "Estimate"):
        for attribute, value in inspect.getmembers(getattr(ancestral, name), callable):
            if not attribute.startswith("_"):
                assert not isinstance(value, property)
                names.add(f"{name}.{attribute}")
    return names


def test_every_public_function_has_a_row() -> None:
    named = FUNCTIONS.keys() | COVERED_ELSEWHERE.keys()
    missing = public_functions() - named
    assert not missing, f"add rows to FUNCTIONS, or a place to COVERED_ELSEWHERE: {sorted(missing)}"
    assert named - public_functions() == set(), "no such functions"
    assert not FUNCTIONS.keys() & COVERED_ELSEWHERE.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_has_wrong_values(name: str, nade: Case) -> None:
    function = FUNCTIONS[name]
    assert set(inspect.signature(function_of(name, nade.model)).parameters) == set(function.wrong)


# --- what is wrong is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "argument", "value", "error"), ROWS)
def test_wrong_argument(name: str, argument: str, value: Any, error: Error, nade: Case) -> None:
    generator = np.random.default_rng(0)
    state = pickle.dumps(generator)
    right = dict(FUNCTIONS[name].right)
    if "rng" in right:
        right["rng"] = generator
    with pytest.raises(error, match=rf"\b{argument}\b") as caught:
        function_of(name, nade.model)(**{**right, argument: value})
    assert len(str(caught.value)) < 500
    if argument != "rng":
        assert pickle.dumps(generator) == state
    # As good as before.
    np.testing.assert_array_equal(nade.model.log_prob(x), nade.model.log_prob(x.copy()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_written_in_a_call_that_is_refused(name: str, nade: Case) -> None:
    right, wrong = FUNCTIONS[name]
    function = function_of(name, nade.model)
    out = function(**right)
    arrays = out if isinstance(out, tuple) else (out,)
    for array in arrays:
        array.fill(77)
    for argument in wrong.keys() - {"out", "n", "x"}:
        for value, error in wrong[argument]:
            with pytest.raises(error):
                function(**{**right, argument: value, "out": out})
    if "x" in wrong:
        with pytest.raises(ValueError, match=r"\bx\b"):
            function(**{**right, "x": np.full((2, N_DIMS), 2, np.uint8), "out": out})
    for array in arrays:
        assert (array == 77).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_positions_names_and_surplus(name: str, nade: Case) -> None:
    """Options are keywords; an unknown one is refused, as is a missing first argument."""
    function = function_of(name, nade.model)
    first = next(iter(FUNCTIONS[name].right.values()))
    for arguments, keywords in (((first, 1), {}), ((), {}), ((first,), {"no_such_option": 1})):
        with pytest.raises(TypeError):
            function(*arguments, **keywords)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_samples(name: str, nade: Case) -> None:
    right = dict(FUNCTIONS[name].right)
    if "n" in right:
        right["n"] = 0
    else:
        right["x"] = np.zeros((0, N_DIMS), np.uint8)
    out = function_of(name, nade.model)(**right)
    for array in out if isinstance(out, tuple) else (out,):
        assert len(array) == 0


@pytest.mark.parametrize("name", [name for name, function in FUNCTIONS.items() if "x" in function.wrong])
def test_out_that_overlaps_x(name: str, nade: Case) -> None:
    """Any overlap is refused: what is read would change while it is read."""
    function = function_of(name, nade.model)
    right = function(x)
    memory = np.zeros(right.nbytes + 64, np.uint8)
    values = memory[8 : 8 + x.size].reshape(x.shape)
    values[:] = x
    out = memory[: right.nbytes].view(right.dtype).reshape(right.shape)
    with pytest.raises(ValueError, match=r"\bout\b"):
        function(values, out=out)
    np.testing.assert_array_equal(values, x)
