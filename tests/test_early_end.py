"""Walks that end before the last step: what the core tells the operations that need no more of an event."""

from __future__ import annotations

import numpy as np
import pytest

from support import oracle
from support.cases import Case


def test_log_prob_and_the_last_conditional(small: Case) -> None:
    """After t steps: log p of the first t values, and log p of every class of the last of them."""
    case = small
    steps, n = case.order, 21
    x = case.events(n)
    surprise = case.surprise(x).reshape(n, -1)[:, steps]
    conditionals = oracle.log_conditionals(case.logits(x))
    for n_steps in range(1, len(steps) + 1):
        later = x.reshape(n, -1).copy()
        later[:, steps[n_steps:]] = 0
        log_prob, last = np.full(n, np.nan), np.full((n, case.model.n_classes), np.nan)
        case.model._inner.score(
            later.reshape(x.shape), 0, None, log_prob=log_prob, log_conditional=last, n_steps=n_steps
        )
        np.testing.assert_allclose(log_prob, -surprise[:, :n_steps].sum(axis=1), rtol=0, atol=1e-5 * n_steps)
        np.testing.assert_allclose(last, conditionals[:, n_steps - 1], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(log_prob, case.model.log_prob(x))


def test_no_steps(small: Case) -> None:
    log_prob = np.full(3, np.nan)
    small.model._inner.score(small.events(3), 0, None, log_prob=log_prob, n_steps=0)
    np.testing.assert_array_equal(log_prob, 0.0)


def test_paths_without_a_restriction_have_weight_one(small: Case) -> None:
    low, log_weight = np.zeros((2, *small.model.event_shape), np.uint8), np.full(6, np.nan)
    high = np.full_like(low, small.model.n_classes - 1)
    small.model._inner.restrict(low, high, log_weight, 0, np.zeros(2, np.uint64), 3, 0, None)
    np.testing.assert_allclose(log_weight, 0.0, atol=1e-35)


@pytest.mark.parametrize("n_steps", [1, 17, 40])
def test_the_rest_of_the_event_does_not_matter(n_steps: int, large: Case) -> None:
    """Nor does the number of threads."""
    x = large.events(200)
    other = x.reshape(200, -1).copy()
    dims = large.order[n_steps:]
    other[:, dims] = 1 - (other[:, dims] > 0)
    results = []
    for threads, events in [(1, x), (2, x), (3, other.reshape(x.shape))]:
        log_prob, last = np.empty(200), np.empty((200, large.model.n_classes))
        large.model._inner.score(events, threads, None, log_prob=log_prob, log_conditional=last, n_steps=n_steps)
        results.append((log_prob.tobytes(), last.tobytes()))
    assert results[0] == results[1] == results[2]
