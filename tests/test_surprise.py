"""Surprise: −log p(x_i | x_<i) of every dimension."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import ancestral
from support import oracle
from support.cases import Case, case_of
from support.families import FAMILIES, SMALL, Family, PixelCNN


@pytest.mark.parametrize("scale", [0.1, 3.0, 50.0])
@pytest.mark.parametrize("name", SMALL)
def test_matches_the_oracle(name: str, scale: float, build: Callable[..., Case]) -> None:
    case = build(*SMALL[name], scale=scale, seed=2)
    x = case.events(65)
    surprise = case.model.surprise(x)
    assert surprise.dtype == np.float32
    assert surprise.shape == x.shape
    np.testing.assert_allclose(surprise, case.surprise(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 3.0, 50.0, 1e4])
@pytest.mark.parametrize("name", SMALL)
def test_adds_up_to_log_prob(name: str, scale: float, build: Callable[..., Case]) -> None:
    case = build(*SMALL[name], scale=scale)
    x = case.events(300)
    total = case.model.surprise(x).reshape(len(x), -1).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(total, -case.model.log_prob(x), rtol=1e-6, atol=1e-30)


# ln p of what is certain is lost in p itself from 17 on, and that of what is not from 104.
LOGITS = [-1e4, -100.0, -86.0, -60.0, -17.0, -1.0, -1e-6, 0.0, 1e-6, 1.0, 16.0, 17.0, 60.0, 86.0, 100.0, 1e4]


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_certain_and_impossible_bits(family: Family) -> None:
    """No digit is lost where a probability rounds to 0 or to 1; e^-87 is the least surprise of all."""
    model = case_of(family, *family.independent(LOGITS)).model
    logits = np.float64(np.float32(LOGITS))
    for x in (0, 1):
        surprise = model.surprise(np.full((1, *model.event_shape), x)).ravel()[model.order]
        np.testing.assert_allclose(surprise, np.logaddexp(0, (1 - 2 * x) * logits), rtol=1e-6, atol=2e-38)
        assert (surprise > 0).all()


@pytest.mark.parametrize("ahead", [0.0, 1.0, 16.0, 17.0, 60.0, 86.0, 100.0, 1e4])
@pytest.mark.parametrize("n_classes", [3, 256])
def test_certain_and_impossible_classes(ahead: float, n_classes: int) -> None:
    config = PixelCNN.config((1, 1, 1), n_classes)
    tensors = PixelCNN.random_tensors(config, np.random.default_rng(0), 0.0)
    logits = np.full(n_classes, -3.0, np.float32)
    logits[1] += ahead
    model = ancestral.Model.from_tensors("PixelCNN", config, {**tensors, "head_out.bias": logits})
    surprise = model.surprise(np.arange(n_classes).reshape(-1, 1, 1, 1)).ravel()
    expected = -oracle.log_conditionals(np.float64(logits)[None, None])[0, 0]
    np.testing.assert_allclose(surprise, expected, rtol=1e-6, atol=n_classes * 2e-38)
    assert (surprise > 0).all()


@pytest.mark.parametrize("threads", [1, 2, 3, None])
def test_does_not_depend_on_the_batch(large: Case, threads: int | None) -> None:
    x = large.events(500)
    whole = large.model.surprise(x, threads=1)
    for step in (7, 16, 33, 500):
        parts = [large.model.surprise(x[first : first + step], threads=threads) for first in range(0, 500, step)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
