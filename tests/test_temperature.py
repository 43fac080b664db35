"""Temperature: draws from p(x_i | x_<i)^(1 / T), normalized, held against the exact distribution of all events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support import oracle
from support.cases import Case
from support.families import FEW, LARGE, SMALL, PixelCNN
from test_exact import goodness_of_fit

N_SAMPLES = 100_000


def fit(case: Case, temperature: float, exact: float | None = None) -> float:
    events = case.every_event()
    x = case.model.sample(N_SAMPLES, rng=1, temperature=temperature)
    observed = case.counts(x)
    log_p = case.log_prob(events, temperature if exact is None else exact)
    return goodness_of_fit(observed, np.exp(log_p))


@pytest.mark.parametrize("temperature", [0.4, 2.5])
@pytest.mark.parametrize("name", SMALL)
def test_samples_follow_the_tempered_distribution(name: str, temperature: float, build: Callable[..., Case]) -> None:
    case = build(*SMALL[name], scale=2.0)
    assert fit(case, temperature) > 1e-4
    if case.model.n_dims > 1:
        assert fit(case, temperature, exact=1.0) < 1e-4  # this many samples tell it from the model


@pytest.mark.parametrize("name", FEW)
def test_extreme_logits(name: str, build: Callable[..., Case]) -> None:
    """Logits of 100, whose probabilities are 0 and 1 in floats, come back with a temperature as large."""
    assert fit(build(*SMALL[name], scale=100.0), 60.0) > 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_the_highest_temperature_is_uniform(name: str, build: Callable[..., Case]) -> None:
    case = build(*SMALL[name], scale=3.0)
    assert fit(case, 1e6, exact=np.inf) > 1e-4


def greedy(case: Case) -> np.ndarray:
    """The most probable value at each step, by the oracle."""
    x = np.zeros((1, case.model.n_dims), case.dtype)
    for step, dim in enumerate(case.order):
        logits = case.logits(x.reshape(1, *case.model.event_shape))
        x[:, dim] = oracle.log_conditionals(logits)[0, step].argmax()
    return x.reshape(case.model.event_shape)


@pytest.mark.parametrize("scale", [0.1, 3.0, 1000.0])
@pytest.mark.parametrize("name", SMALL)
def test_zero_is_greedy(name: str, scale: float, build: Callable[..., Case]) -> None:
    case = build(*SMALL[name], scale=scale)
    expected = np.broadcast_to(greedy(case), (40, *case.model.event_shape))
    for temperature in (0, 0.0, -0.0, 1e-300, 1e-40, 1e-12):
        np.testing.assert_array_equal(case.model.sample(40, rng=3, temperature=temperature), expected)


@pytest.mark.parametrize("name", LARGE)
def test_zero_is_greedy_in_a_large_model(name: str, build: Callable[..., Case]) -> None:
    case = build(*LARGE[name])
    x = case.model.sample(3, temperature=0)
    np.testing.assert_array_equal(x, np.broadcast_to(greedy(case), x.shape))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_greedy_takes_the_first_of_equals(n_classes: int, build: Callable[..., Case]) -> None:
    model = build(PixelCNN, PixelCNN.config((1, 2, 2), n_classes), scale=0.0).model
    assert (model.sample(5, temperature=0) == 0).all()


@pytest.mark.parametrize("one", [1, 1.0, np.float32(1), np.int64(1)])
def test_one_is_the_model(one: Any, every_small: Case) -> None:
    model = every_small.model
    np.testing.assert_array_equal(model.sample(500, rng=2, temperature=one), model.sample(500, rng=2))


@pytest.mark.parametrize("temperature", [0.0, 0.3, 5.0])
def test_log_prob_is_that_of_the_model(temperature: float, every_small: Case) -> None:
    x, log_prob = every_small.model.sample_and_log_prob(300, rng=2, temperature=temperature)
    np.testing.assert_array_equal(x, every_small.model.sample(300, rng=2, temperature=temperature))
    np.testing.assert_array_equal(log_prob, every_small.model.log_prob(x))


@pytest.mark.parametrize("threads", [1, 2, 3, None])
def test_a_sample_is_the_concatenation_of_its_parts(large: Case, threads: int | None) -> None:
    whole = large.model.sample(300, rng=7, temperature=0.6, threads=1)
    for step in (7, 64, 300):
        parts = [
            large.model.sample(min(step, 300 - start), rng=7, start=start, temperature=0.6, threads=threads)
            for start in range(0, 300, step)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole != large.model.sample(300, rng=7)).any()
