"""Against exhaustive enumeration: p sums to one, samples follow p, conditionals see only what came before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from support.cases import Case
from support.families import EVERY_FEW, EVERY_SMALL, FVSBN, SMALL
from support.oracle import Events, Float

N_SAMPLES = 200_000


@pytest.mark.parametrize("scale", [0.01, 3.0, 50.0])
@pytest.mark.parametrize("name", EVERY_SMALL)
def test_probabilities_sum_to_one(name: str, scale: float, build: Callable[..., Case]) -> None:
    case = build(*EVERY_SMALL[name], scale=scale)
    events = case.every_event()
    assert len(events) <= 2**12
    assert np.exp(case.model.log_prob(events)).sum() == pytest.approx(1.0, abs=1e-6)


def goodness_of_fit(observed: npt.NDArray[np.int64], p: Float) -> float:
    """The p-value of Pearson's chi-square test, with the rarest cells merged until 5 are expected in each."""
    expected = p / p.sum() * observed.sum()
    by_size = np.argsort(expected)
    observed, expected = observed[by_size], expected[by_size]
    n_rare = int(np.searchsorted(expected, 5.0))
    while n_rare < len(expected) and 0 < expected[:n_rare].sum() < 5.0:
        n_rare += 1
    if n_rare:
        observed = np.concatenate([[observed[:n_rare].sum()], observed[n_rare:]])
        expected = np.concatenate([[expected[:n_rare].sum()], expected[n_rare:]])
    assert len(expected) > 1, "everything was merged into one cell: the test could not fail"
    return float(stats.chisquare(observed, expected).pvalue)


def test_goodness_of_fit_can_fail() -> None:
    """The test below would notice one conditional wrong by 0.01."""
    p = np.array([0.5, 0.5])
    assert goodness_of_fit(np.array([100_000, 100_000]), p) > 0.99
    assert goodness_of_fit(np.array([102_000, 98_000]), p) < 1e-4


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("name", EVERY_SMALL)
def test_samples_follow_the_exact_distribution(name: str, seed: int, build: Callable[..., Case]) -> None:
    case = build(*EVERY_SMALL[name], scale=2.0)
    events = case.every_event()
    x = case.model.sample(N_SAMPLES, rng=seed)
    observed = case.counts(x)
    assert goodness_of_fit(observed, np.exp(case.log_prob(events))) > 1e-4


@pytest.mark.parametrize("name", EVERY_FEW)
def test_samples_follow_a_peaked_distribution(name: str, build: Callable[..., Case]) -> None:
    """Logits up to 50: most events never occur, and those with probability near zero must not."""
    case = build(*EVERY_SMALL[name], scale=50.0, seed=3)
    events = case.every_event()
    p = np.exp(case.log_prob(events))
    x = case.model.sample(N_SAMPLES, rng=5)
    observed = case.counts(x)
    assert goodness_of_fit(observed, p) > 1e-4
    assert observed[p < 1e-12].sum() == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"rng": 0}, {"rng": 0, "start": 1}),  # neighbours in one stream
        ({"rng": 0}, {"rng": 0, "start": 2**32}),  # where a 32-bit counter would wrap around
        ({"rng": 0}, {"rng": 1}),  # neighbouring seeds
        ({"rng": 0}, {"rng": 2**32}),  # seeds with equal low halves
    ],
)
def test_samples_are_independent(first: dict[str, int], second: dict[str, int], build: Callable[..., Case]) -> None:
    case = build(FVSBN, FVSBN.config(5), scale=1.0)
    p = np.exp(case.log_prob(case.every_event()))
    index = [
        case.family.event_index(case.config, case.model.sample(N_SAMPLES, **keywords)) for keywords in (first, second)
    ]
    # Every second pair only, so that pairs of neighbours do not overlap.
    pairs = (index[0] * len(p) + index[1])[::2]
    observed = np.bincount(pairs, minlength=len(p) ** 2)
    assert goodness_of_fit(observed, np.outer(p, p).ravel()) > 1e-4


def test_dimensions_are_independent_in_a_wide_model(build: Callable[..., Case]) -> None:
    """Dimensions far apart get uniforms of their own: of a uniform model, no two columns are correlated."""
    case = build(FVSBN, FVSBN.config(300), scale=1e-6)
    x = case.model.sample(20_000, rng=0).astype(np.float64)
    correlation = np.corrcoef(x.T)[np.triu_indices(300, 1)] * np.sqrt(len(x))
    assert np.abs(correlation).max() < 6.5
    assert stats.kstest(correlation, "norm").pvalue > 1e-4
    assert np.abs(x.mean(axis=0) - 0.5).max() * 2 * np.sqrt(len(x)) < 5.5


@pytest.mark.parametrize("name", SMALL)
def test_a_conditional_sees_only_earlier_dimensions(name: str, build: Callable[..., Case]) -> None:
    """Changing x_j leaves each conditional i <= j (in the order) as it was, bit for bit, and moves others."""
    case = build(*SMALL[name], seed=1)
    steps = case.order
    classes = case.classes.ravel()
    x = case.events(20)
    shift = np.random.default_rng(1).integers(1, classes, x.reshape(len(x), -1).shape)

    def in_steps(events: Events) -> npt.NDArray[np.float32]:
        p = case.model.conditionals(events)
        return p.reshape(len(events), len(steps), -1)[:, steps]

    before = in_steps(x)
    for j, dim in enumerate(steps):
        changed = x.reshape(len(x), -1).copy()
        changed[:, dim] = (changed[:, dim] + shift[:, dim]) % classes[dim]
        after = in_steps(changed.reshape(x.shape))
        np.testing.assert_array_equal(after[:, : j + 1], before[:, : j + 1])
        if j + 1 < len(steps):
            assert (after[:, j + 1 :] != before[:, j + 1 :]).any(), f"nothing depends on step {j}"


def test_order_of_steps(every_small: Case) -> None:
    """`model.order` is the documented one; PixelCNN: row, column, then image channel."""
    assert every_small.model.order.dtype == np.int64
    np.testing.assert_array_equal(every_small.model.order, every_small.order)
