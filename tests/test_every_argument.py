"""Every public function against wrong arguments of every kind: an exception that names the argument, nothing changed.

A new public function needs a row in `FUNCTIONS`, or a place in `COVERED_ELSEWHERE`. More of what x may be is in
test_arguments.py, and of the shared keywords in test_keywords.py; here every function meets them.
"""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import ancestral
from support.argument_table import FUNCTIONS, N_DIMS, Error, folder, nade, x

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
    "LowSampleSizeWarning": "a warning",
    "Completion": "a tuple",
    "distributions": "test_distributions.py",
    "datasets": "test_datasets.py",
    "nn": "test_nn.py",
    "plot": "test_plot.py",
}

FILLING = [name for name, function in FUNCTIONS.items() if "out" in function.wrong]
ROWS = [
    pytest.param(function, argument, value, error, id=f"{function}-{argument}-{at}")
    for function, (_, wrong) in FUNCTIONS.items()
    for argument, values in wrong.items()
    for at, (value, error) in enumerate(values)
]


def function_of(name: str) -> Callable[..., Any]:
    """What a user calls; of an iterator all that it gives."""
    function: Any = getattr(nade.model if name.startswith("Model.") else ancestral, name.removeprefix("Model."))

    @functools.wraps(function)
    def whole(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        return list(result) if isinstance(result, Iterator) else result

    return whole


# --- is the table whole? ---------------------------------------------------------------------------------


def public_functions() -> set[str]:
    names = set(ancestral.__all__) | {"nn", "distributions"}  # which are not listed without torch
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
def test_every_argument_has_wrong_values(name: str) -> None:
    function = FUNCTIONS[name]
    assert set(inspect.signature(function_of(name)).parameters) == set(function.wrong)


# --- what is wrong is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "argument", "value", "error"), ROWS)
def test_wrong_argument(name: str, argument: str, value: Any, error: Error) -> None:
    generator = np.random.default_rng(0)
    state = pickle.dumps(generator)
    right = dict(FUNCTIONS[name].right)
    if "rng" in right:
        right["rng"] = generator
    with pytest.raises(error, match=rf"\b{argument}\b") as caught:
        function_of(name)(**{**right, argument: value})
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
    assert "inner" not in str(caught.value)
    assert not list(folder.iterdir())
    if argument != "rng":
        assert pickle.dumps(generator) == state
    # As good as before.
    np.testing.assert_array_equal(nade.model.log_prob(x), nade.model.log_prob(x.copy()))


@pytest.mark.parametrize("name", FILLING)
def test_nothing_is_written_in_a_call_that_is_refused(name: str) -> None:
    right, wrong = FUNCTIONS[name]
    function = function_of(name)
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


@pytest.mark.parametrize("name", FILLING)
def test_positions_names_and_surplus(name: str) -> None:
    """Options are keywords; an unknown one is refused, as is a missing first argument."""
    function = function_of(name)
    first = next(iter(FUNCTIONS[name].right.values()))
    for arguments, keywords in (((first, 1), {}), ((), {}), ((first,), {"no_such_option": 1})):
        with pytest.raises(TypeError):
            function(*arguments, **keywords)


@pytest.mark.parametrize("name", FILLING)
def test_no_samples(name: str) -> None:
    right = dict(FUNCTIONS[name].right)
    if "n" in right:
        right["n"] = 0
    else:
        right["x"] = np.zeros((0, N_DIMS), np.uint8)
    out = function_of(name)(**right)
    for array in out if isinstance(out, tuple) else (out,):
        assert len(array) == 0


@pytest.mark.parametrize("name", [name for name in FILLING if "x" in FUNCTIONS[name].wrong])
def test_out_that_overlaps_x(name: str) -> None:
    """Any overlap is refused: what is read would change while it is read."""
    function = function_of(name)
    right = function(x)
    memory = np.zeros(right.nbytes + 64, np.uint8)
    values = memory[8 : 8 + x.size].reshape(x.shape)
    values[:] = x
    out = memory[: right.nbytes].view(right.dtype).reshape(right.shape)
    with pytest.raises(ValueError, match=r"\bout\b"):
        function(values, out=out)
    np.testing.assert_array_equal(values, x)
