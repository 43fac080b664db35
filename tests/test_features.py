"""Features: the hidden units of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.cases import Case
from support.families import LARGE, MEDIUM, NADE, SHAPES, SMALL

WITH_FEATURES = [name for name, (family, _) in SHAPES.items() if "features" not in family.lacks]
BY_STEP = {name: model for name, model in (SMALL | MEDIUM).items() if "features at a step" not in model[0].lacks}


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_matches_the_oracle(name: str, build: Callable[..., Case]) -> None:
    case = build(*SHAPES[name], seed=4)
    x = case.events(50)
    features, expected = case.model.features(x), case.features(x)
    assert features.dtype == np.float32
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    if case.model.n_dims > 1 and expected.any():  # a single ReLU may be dead
        assert len(np.unique(features)) > 1


@pytest.mark.parametrize("name", BY_STEP)
def test_after_every_step(name: str, build: Callable[..., Case]) -> None:
    """What p(x_step | x_<step) is computed from, and nothing of what comes later."""
    case = build(*BY_STEP[name], seed=4)
    x = case.events(20)
    for step in range(case.model.n_dims + 1):
        features = case.model.features(x, step=step)
        np.testing.assert_allclose(features, case.features(x, step), rtol=1e-5, atol=1e-6)
        later = case.model.order[step:]
        changed = x.copy()
        changed[:, later] = (changed[:, later] + 1) % case.classes[later]
        np.testing.assert_array_equal(case.model.features(changed, step=step), features)
    np.testing.assert_array_equal(features, case.model.features(x))


@pytest.mark.parametrize("size", [30.0, 100.0, 1e4])
def test_saturated_units(size: float, build: Callable[..., Case]) -> None:
    """Beyond the range in which products of e^-W are safe floats, the sums themselves are taken."""
    case = build(NADE, NADE.config(40, 21))
    tensors = {**case.tensors, "W": case.tensors["W"] * np.float32(size)}
    case = case.with_tensors(tensors)
    x = case.events(30)
    for step in (0, 1, 20, 40):
        expected = case.features(x, step)
        np.testing.assert_allclose(case.model.features(x, step=step), expected, rtol=0, atol=1e-6 * size)


def test_a_model_without_hidden_units(build: Callable[..., Case]) -> None:
    case = build(*SMALL["fvsbn"])
    with pytest.raises(ValueError, match="FVSBN has no hidden units"):
        case.model.features(case.events(2))


def test_pixels_have_no_step(build: Callable[..., Case]) -> None:
    case = build(*SMALL["pixelcnn"])
    with pytest.raises(ValueError, match=r"step is 3; PixelCNN"):
        case.model.features(case.events(2), step=3)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (-1, ValueError),
        (10, ValueError),
        (2**70, ValueError),
        (True, TypeError),
        (1.0, TypeError),
        (float("nan"), TypeError),
        ("1", TypeError),
        ([1], TypeError),
    ],
)
def test_wrong_steps(step: Any, error: type[Exception], build: Callable[..., Case]) -> None:
    case = build(*SMALL["nade"])
    assert case.model.n_dims == 9
    with pytest.raises(error, match=r"\bstep\b"):
        case.model.features(case.events(2), step=step)


@pytest.mark.parametrize("threads", [1, 2, 3, None])
@pytest.mark.parametrize("name", [name for name, (family, _) in LARGE.items() if "features" not in family.lacks])
def test_does_not_depend_on_the_batch(name: str, threads: int | None, build: Callable[..., Case]) -> None:
    case = build(*LARGE[name])
    x = case.events(300)
    whole = case.model.features(x, threads=1)
    for step in (7, 16, 33, 300):
        parts = [case.model.features(x[first : first + step], threads=threads) for first in range(0, 300, step)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
