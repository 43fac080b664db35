"""Importance weights: their moments block by block, and resampling by them."""

from __future__ import annotations

import numpy as np
import pytest

from ancestral._estimation.weights import Weights, systematic


def in_blocks(log_weights: np.ndarray, cuts: list[int]) -> Weights:
    weights = Weights(len(log_weights))
    for block in np.split(log_weights, cuts, axis=1):
        weights.add(np.arange(len(log_weights)), block)
    return weights


@pytest.mark.parametrize("cuts", [[], [1], [500], [1, 2, 3, 700]])
@pytest.mark.parametrize("shift", [0.0, -5000.0])
def test_moments(cuts: list[int], shift: float) -> None:
    """Those of NumPy, for blocks of any length and weights far below the least float."""
    log_weights = np.random.default_rng(0).normal(0.0, 1.5, (4, 1000)) + np.linspace(-3, 3, 1000)
    weights, w = in_blocks(log_weights + shift, cuts), np.exp(log_weights)
    np.testing.assert_array_equal(weights.n, 1000)
    np.testing.assert_allclose(weights.log_mean(), np.log(w.mean(axis=1)) + shift, rtol=1e-12)
    error = w.std(axis=1, ddof=1) / np.sqrt(1000) / w.mean(axis=1)
    np.testing.assert_allclose(weights.relative_error(), error, rtol=1e-9)
    np.testing.assert_allclose(weights.effective_sample_size(), w.sum(axis=1) ** 2 / (w**2).sum(axis=1), rtol=1e-9)


def test_equal_weights_have_no_error() -> None:
    weights = in_blocks(np.full((2, 1001), -0.1), [1, 334])
    np.testing.assert_array_equal(weights.log_mean(), -0.1)
    np.testing.assert_array_equal(weights.relative_error(), 0.0)
    np.testing.assert_array_equal(weights.effective_sample_size(), 1001.0)


def test_rows_that_are_left_out_stay_as_they_are() -> None:
    log_weights = np.random.default_rng(0).normal(size=(3, 10))
    weights = in_blocks(log_weights, [])
    before = weights.log_mean()
    weights.add(np.array([2, 0]), log_weights[[2, 0]])
    np.testing.assert_array_equal(weights.n, [20, 10, 20])
    np.testing.assert_allclose(weights.log_mean(), before, rtol=1e-12)


def test_weights_of_zero() -> None:
    weights = in_blocks(np.array([[-np.inf] * 4, [-np.inf, -np.inf, 0.0, 0.0]]), [2])
    np.testing.assert_array_equal(weights.log_mean(), [-np.inf, np.log(0.5)])


def test_systematic_resampling() -> None:
    """Index i comes ⌊n w_i⌋ or ⌈n w_i⌉ times, and n w_i on average."""
    w = np.array([0.02, 0.5, 0.0, 0.18, 0.3])
    with np.errstate(divide="ignore"):
        log_weights = np.log(w) - 2000
    counts = np.array([np.bincount(systematic(log_weights, 10, 0, row), minlength=5) for row in range(4000)])
    assert ((counts >= np.floor(10 * w)) & (counts <= np.ceil(10 * w))).all()
    np.testing.assert_allclose(counts.mean(axis=0), 10 * w, atol=0.03)
    first = np.bincount([systematic(log_weights, 10, 1, row)[0] for row in range(4000)], minlength=5)
    np.testing.assert_allclose(first / 4000, w, atol=0.04)  # in random order


def test_resampling_depends_on_seed_and_row() -> None:
    log_weights = np.zeros(50)
    drawn = {systematic(log_weights, 20, seed, row).tobytes() for seed in (0, 1, 2**64 - 1) for row in (0, 1, 2**32)}
    assert len(drawn) == 9
    np.testing.assert_array_equal(systematic(log_weights, 20, 7, 7), systematic(log_weights, 20, 7, 7))
