"""Completion against exhaustive enumeration: exact draws, weighted ones, resampled ones, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ancestral
from ancestral._estimation import completion
from support.cases import Case
from support.families import FEW, FVSBN, SMALL
from support.oracle import Events, Float
from test_exact import goodness_of_fit

Bool = npt.NDArray[np.bool_]


def flat_events(case: Case) -> tuple[Events, Float]:
    """All events, flattened, and their probabilities."""
    events = case.every_event()
    return events.reshape(len(events), -1), np.exp(case.log_prob(events))


def prefix(case: Case, n: int) -> Bool:
    """The mask of the first n dimensions in the model's order."""
    mask = np.zeros(case.model.n_dims, bool)
    mask[case.model.order[:n]] = True
    return mask.reshape(case.model.event_shape)


def random_masks(case: Case, n: int, seed: int) -> Bool:
    return np.random.default_rng(seed).random((n, *case.model.event_shape)) < 0.5


def agrees(case: Case, x: Events, mask: Bool) -> Bool:
    """Which of all events have the values of x where the mask says so."""
    events = case.every_event().reshape(-1, case.model.n_dims)
    return (events == x.ravel())[:, mask.ravel()].all(axis=1)


@pytest.fixture(scope="module")
def plain(build: Callable[..., Case]) -> Case:
    """Six bits in another order than their own."""
    return build(*SMALL["nade-order"], scale=1.5)


# --- the right distribution ------------------------------------------------------------------------------


def test_a_prefix_is_exact(small: Case) -> None:
    """All prefixes of the order in one call: each row is judged on its own."""
    n = small.model.n_dims + 1
    x = small.events(n, seed=3)
    masks = np.stack([prefix(small, i) for i in range(n)])
    _, p = flat_events(small)
    exact = [np.log(p[agrees(small, *row)].sum()) for row in zip(x, masks, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = small.model.complete(x, masks, n_samples=3, rng=0)
        resampled = small.model.complete(x, masks, n_samples=3, resample=True, rng=0)
    np.testing.assert_allclose(got.log_prob_evidence.value, exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got.log_prob_evidence.standard_error, 0.0)
    np.testing.assert_array_equal(got.log_weights, np.asarray(got.log_prob_evidence.value)[:, None].repeat(3, axis=1))
    np.testing.assert_array_equal(got.effective_sample_size, 3.0)
    np.testing.assert_array_equal(got.log_prob_evidence.n_samples, 3)
    for a, b in zip(got, resampled, strict=True):
        np.testing.assert_array_equal(a, b)


def test_draws_from_a_prefix_follow_the_posterior(small: Case) -> None:
    mask = prefix(small, small.model.n_dims // 2)
    x = small.events(1, seed=4)[0]
    drawn = small.model.complete(x, mask, n_samples=50_000, rng=1).x
    _, p = flat_events(small)
    observed = small.counts(drawn)
    match = agrees(small, x, mask)
    assert observed[~match].sum() == 0
    assert goodness_of_fit(observed[match], p[match]) > 1e-4


@pytest.mark.filterwarnings("ignore::ancestral.LowSampleSizeWarning")
def test_weighted_estimates(small: Case) -> None:
    """Of the evidence's probability, and of the posterior mean: within 4 standard errors of the truth."""
    n, k = 12, 4000
    x, masks = small.events(n, seed=5), random_masks(small, n, seed=6)
    got = small.model.complete(x, masks, n_samples=k, rng=2)
    events, p = flat_events(small)
    for i in range(n):
        match = agrees(small, x[i], masks[i])
        value, error = got.log_prob_evidence.value[i], got.log_prob_evidence.standard_error[i]
        assert abs(value - np.log(p[match].sum())) < 4 * error + 1e-5
        mean = p[match] @ events[match] / p[match].sum()
        drawn, weights = got.x[i].reshape(k, -1), got.weights[i]
        estimate = weights @ drawn
        spread = np.sqrt(weights**2 @ (drawn - estimate) ** 2)
        assert (np.abs(estimate - mean) < 4 * spread + 1e-5 + 30 / got.effective_sample_size[i]).all()
    np.testing.assert_array_equal((got.x == x[:, None]) | ~masks[:, None], True)


@pytest.mark.filterwarnings("ignore::ancestral.LowSampleSizeWarning")
def test_a_weight_is_the_product_of_the_observed_conditionals(small: Case) -> None:
    n, k = 6, 5
    x, masks = small.events(n, seed=7), random_masks(small, n, seed=8)
    got = small.model.complete(x, masks, n_samples=k, rng=3)
    surprise = small.model.surprise(got.x.reshape(n * k, *small.model.event_shape)).reshape(got.x.shape)
    expected = -np.where(masks[:, None], surprise, 0.0).reshape(n, k, -1).sum(axis=2, dtype=np.float64)
    np.testing.assert_allclose(got.log_weights, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FEW)
def test_resampled_draws_follow_the_posterior(name: str, build: Callable[..., Case]) -> None:
    """One draw a row, so that they are independent. Clamped draws without their weights do not follow it."""
    case = build(*SMALL[name], scale=2.0)
    n = 20_000
    x = case.events(1, seed=1)[0]
    mask = prefix(case, case.model.n_dims).ravel()
    mask[case.model.order[: case.model.n_dims // 2]] = False  # the evidence comes last
    masks = np.broadcast_to(mask.reshape(case.model.event_shape), (n, *case.model.event_shape))
    _, p = flat_events(case)
    match = agrees(case, x, masks[0])

    def fit(drawn: Events) -> float:
        index = case.family.event_index(case.config, drawn.reshape(n, *case.model.event_shape))
        return goodness_of_fit(np.bincount(index, minlength=len(p))[match], p[match])

    got = case.model.complete(x, masks, resample=True, n_proposals=200, rng=4)
    assert fit(got.x) > 1e-4
    with pytest.warns(ancestral.LowSampleSizeWarning):
        assert fit(case.model.complete(x, masks, rng=4).x) < 1e-4


def test_resampled_draws_weigh_the_same(plain: Case) -> None:
    x, masks = plain.events(8), random_masks(plain, 8, seed=1)
    got = plain.model.complete(x, masks, n_samples=20, resample=True, n_proposals=500, rng=0)
    proposals = plain.model.complete(x, masks, n_samples=500, rng=0)
    exact = np.asarray(proposals.log_prob_evidence.standard_error) == 0
    assert 0 < exact.sum() < 8
    value = np.asarray(got.log_prob_evidence.value)
    np.testing.assert_array_equal(got.log_weights, value[:, None].repeat(20, axis=1))
    np.testing.assert_array_equal(got.log_prob_evidence.n_samples, np.where(exact, 20, 500))
    np.testing.assert_array_equal(value[~exact], np.asarray(proposals.log_prob_evidence.value)[~exact])
    np.testing.assert_array_equal(got.effective_sample_size[~exact], proposals.effective_sample_size[~exact])
    for i in np.flatnonzero(~exact):  # each is one of the proposals
        assert {row.tobytes() for row in got.x[i]} <= {row.tobytes() for row in proposals.x[i]}


def test_intervals_cover_as_often_as_they_say(plain: Case) -> None:
    """2,000 repeats in one call. The weights are bounded and 300 of them are averaged: a normal mean, fairly."""
    n = 2000
    mask = ~prefix(plain, 3)
    x = plain.events(1)[0]
    got = plain.model.complete(x, np.broadcast_to(mask, (n, *mask.shape)), n_samples=300, rng=5)
    _, p = flat_events(plain)
    low, high = got.log_prob_evidence.interval()
    truth = np.log(p[agrees(plain, x, mask)].sum())
    assert 0.93 < np.mean((low < truth) & (truth < high)) < 0.97


def test_evidence_that_is_far_from_likely(build: Callable[..., Case]) -> None:
    """Probabilities that no float can hold."""
    case = build(FVSBN, FVSBN.config(300), scale=60.0)
    x = 1 - case.model.sample(1, rng=0)[0]
    mask = prefix(case, 300)
    log_prob = case.model.log_prob(x[None])[0]
    assert log_prob < -1000
    got = case.model.complete(x, mask, n_samples=2, rng=0)
    assert got.log_prob_evidence.value == pytest.approx(log_prob, rel=1e-6)
    mask[0] = False
    both = case.model.log_prob(np.stack([x, np.concatenate([1 - x[:1], x[1:]])]))
    got = case.model.complete(x, mask, n_samples=4000, rng=0)
    assert abs(got.log_prob_evidence.value - np.logaddexp(*both)) < 4 * got.log_prob_evidence.standard_error


# --- the same, always ------------------------------------------------------------------------------------


def same(a: Any, b: Any) -> None:
    for one, other in zip([*a[:3], *a[3]], [*b[:3], *b[3]], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore::ancestral.LowSampleSizeWarning")
@pytest.mark.parametrize("resample", [False, True])
def test_a_row_depends_on_nothing_beside_it(resample: bool, large: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 9
    x, masks = large.events(n), random_masks(large, n, seed=1)
    masks[3] = prefix(large, 5)
    keywords: dict[str, Any] = {"n_samples": 7, "resample": resample, "rng": 11}
    whole = large.model.complete(x, masks, **keywords)
    for threads in (1, 2, 3):
        same(large.model.complete(x, masks, threads=threads, **keywords), whole)
    for first, last in ((0, 1), (1, 4), (4, 9)):
        part = large.model.complete(x[first:last], masks[first:last], start=first, **keywords)
        same(part, [*(a[first:last] for a in whole[:3]), tuple(a[first:last] for a in whole[3])])
    monkeypatch.setattr(completion, "_ROOM", 1)
    same(large.model.complete(x, masks, **keywords), whole)


@pytest.mark.filterwarnings("ignore::ancestral.LowSampleSizeWarning")
def test_a_sample_does_not_depend_on_how_many_are_asked_for(large: Case) -> None:
    x, masks = large.events(5), random_masks(large, 5, seed=1)
    many = large.model.complete(x, masks, n_samples=10, rng=0)
    few = large.model.complete(x, masks, n_samples=4, rng=0)
    np.testing.assert_array_equal(many.x[:, :4], few.x)
    np.testing.assert_array_equal(many.log_weights[:, :4], few.log_weights)


def test_what_was_not_observed_is_ignored(plain: Case) -> None:
    x, masks = plain.events(6), random_masks(plain, 6, seed=2)
    expected = plain.model.complete(x, masks, n_samples=50, rng=0)
    for junk in (np.nan, -1, 300, 0.5, np.inf):
        same(plain.model.complete(np.where(masks, x.astype(float), junk), masks, n_samples=50, rng=0), expected)


def test_shapes(build: Callable[..., Case]) -> None:
    """One event, or one mask, goes with every row of the other; two of them with no axis of rows."""
    model = build(*SMALL["categorical-rgb"]).model
    x, masks = model.sample(4, rng=0), np.ones((4, *model.event_shape), bool)
    whole = model.complete(np.stack([x[1]] * 4), masks, n_samples=3, rng=0)
    assert whole.x.shape == (4, 3, *model.event_shape)
    assert whole.log_weights.shape == whole.weights.shape == (4, 3)
    same(model.complete(x[1], masks, n_samples=3, rng=0), whole)
    same(model.complete(np.stack([x[1]] * 4), masks[0], n_samples=3, rng=0), whole)
    one = model.complete(x[1], masks[0], n_samples=3, rng=0)
    same(one, [*(a[0] for a in whole[:3]), tuple(a[0] for a in whole[3])])
    assert isinstance(one.effective_sample_size, float)
    assert [type(field) for field in one.log_prob_evidence] == [float, float, int]
    for resample in (False, True):
        none = model.complete(x[:0], masks[:0], n_samples=3, resample=resample, rng=0)
        assert none.x.shape == (0, 3, *model.event_shape)
        assert none.effective_sample_size.shape == none.log_prob_evidence.value.shape == (0,)


def test_torch_tensors(plain: Case) -> None:
    torch = pytest.importorskip("torch")
    x, masks = plain.events(6), random_masks(plain, 6, seed=2)
    expected = plain.model.complete(x, masks, n_samples=50, rng=0)
    same(plain.model.complete(torch.tensor(x), torch.tensor(masks), n_samples=50, rng=0), expected)


# --- warnings and errors ---------------------------------------------------------------------------------


def test_few_effective_samples_are_told(build: Callable[..., Case]) -> None:
    case = build(FVSBN, FVSBN.config(300), scale=20.0)
    mask = ~prefix(case, 150)
    x = case.events(3)
    with pytest.warns(ancestral.LowSampleSizeWarning, match=r"3 of 3 rows .* raise n_samples") as caught:
        got = case.model.complete(x, mask, n_samples=1000, rng=0)
    assert caught[0].filename == __file__
    assert (got.effective_sample_size < 10).all()
    with pytest.warns(ancestral.LowSampleSizeWarning, match="raise n_proposals"):
        case.model.complete(x, mask, resample=True, rng=0)


def test_a_single_weighted_sample_has_no_error_bar(plain: Case) -> None:
    with pytest.warns(ancestral.LowSampleSizeWarning):
        got = plain.model.complete(plain.events(1)[0], ~prefix(plain, 2), rng=0)
    assert got.log_prob_evidence.standard_error == np.inf


@pytest.mark.parametrize("resample", [False, True])
def test_impossible_evidence(resample: bool, plain: Case) -> None:
    """No model of the package has any, since logits are finite: here the core says so of row 2."""

    class Impossible:
        def __getattr__(self, name: str) -> Any:
            return getattr(plain.model._inner, name)

        def restrict(self, low: Any, high: Any, log_weight: Any, *arguments: Any, **keywords: Any) -> None:
            plain.model._inner.restrict(low, high, log_weight, *arguments, **keywords)
            log_weight[2] = -np.inf

    model = ancestral.Model._of(Impossible())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"row 2 has probability 0"):
        model.complete(plain.events(5), ~prefix(plain, 2), n_samples=20, resample=resample, rng=0)


ONES = np.ones((3, 6), np.uint8)
MASK = np.ones((3, 6), bool)
WRONG: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("x", {"x": ONES[:, :5]}, ValueError),
    ("x", {"x": ONES[None]}, ValueError),
    ("x", {"x": np.uint8(1)}, ValueError),
    ("x", {"x": ONES * 2}, ValueError),
    ("x", {"x": np.full((3, 6), np.nan)}, ValueError),
    ("x", {"x": np.full((3, 6), -1)}, ValueError),
    ("x", {"x": np.full((3, 6), 0.5)}, ValueError),
    ("x", {"x": ONES.astype(complex)}, TypeError),
    ("x", {"x": ONES.astype(str)}, TypeError),
    ("x", {"x": None}, TypeError),
    ("x", {"x": [[0, 1], [0]]}, ValueError),
    ("observed", {"observed": ONES}, TypeError),
    ("observed", {"observed": ONES.astype(float)}, TypeError),
    ("observed", {"observed": None}, TypeError),
    ("observed", {"observed": MASK[:, :5]}, ValueError),
    ("observed", {"observed": MASK[:2]}, ValueError),
    ("observed", {"observed": MASK[None]}, ValueError),
    ("observed", {"observed": True}, ValueError),
    ("n_samples", {"n_samples": 0}, ValueError),
    ("n_samples", {"n_samples": -1}, ValueError),
    ("n_samples", {"n_samples": 2**32 + 1}, ValueError),
    ("n_samples", {"n_samples": 1.0}, TypeError),
    ("n_samples", {"n_samples": True}, TypeError),
    ("n_samples", {"n_samples": "3"}, TypeError),
    ("resample", {"resample": 1}, TypeError),
    ("resample", {"resample": "yes"}, TypeError),
    ("n_proposals", {"n_proposals": 10}, ValueError),
    ("n_proposals", {"n_proposals": 0, "resample": True}, ValueError),
    ("n_proposals", {"n_proposals": 2.5, "resample": True}, TypeError),
    ("rng", {"rng": -1}, ValueError),
    ("rng", {"rng": 0.5}, TypeError),
    ("start", {"start": -1}, ValueError),
    ("start", {"start": 2**32 - 2}, ValueError),
    ("start", {"start": 1.0}, TypeError),
    ("threads", {"threads": 0}, ValueError),
    ("progress", {"progress": 3}, TypeError),
]


@pytest.mark.parametrize(("name", "keywords", "error"), WRONG, ids=lambda v: str(v)[:24])
def test_wrong_arguments(name: str, keywords: dict[str, Any], error: type[Exception], plain: Case) -> None:
    generator = np.random.default_rng(0)
    state = generator.bit_generator.state
    with pytest.raises(error, match=rf"\b{name}\b"):
        plain.model.complete(**{"x": ONES, "observed": MASK, "rng": generator, **keywords})
    assert generator.bit_generator.state == state


def test_progress(digits: Case) -> None:
    calls: list[tuple[int, int]] = []
    masks = np.zeros((3, 1, 28, 28), bool)
    masks[1:, :, :, :14] = True
    with pytest.warns(ancestral.LowSampleSizeWarning):
        digits.model.complete(
            digits.events(3),
            masks,
            n_samples=20,
            resample=True,
            n_proposals=40,
            rng=0,
            progress=lambda *a: calls.append(a),
        )
    assert {total for _, total in calls} == {3 * 20 + 2 * 40}
    done = [done for done, _ in calls]
    assert done == sorted(done)
    assert done[-1] == 140


# --- sample(evidence=...) --------------------------------------------------------------------------------


def test_samples_given_evidence_are_those_of_complete(small: Case) -> None:
    for n_observed in range(small.model.n_dims + 1):
        mask = prefix(small, n_observed)
        x = small.events(1, seed=n_observed)[0]
        expected = small.model.complete(x, mask, n_samples=9, rng=3).x
        evidence = np.where(mask, x.astype(np.int16), -1)
        np.testing.assert_array_equal(small.model.sample(9, evidence=evidence, rng=3), expected)
        np.testing.assert_array_equal(small.model.sample(4, evidence=evidence, rng=3, start=5), expected[5:])
        masked = np.ma.masked_array(x, ~mask)
        np.testing.assert_array_equal(small.model.sample(9, evidence=masked, rng=3), expected)
        nan = np.where(mask, x, np.nan)
        np.testing.assert_array_equal(small.model.sample(9, evidence=nan, rng=3), expected)
    nothing = np.full(small.model.event_shape, -1)
    np.testing.assert_array_equal(small.model.sample(9, evidence=nothing, rng=3), small.model.sample(9, rng=3))


def test_samples_given_evidence_in_an_array_of_ones_own(plain: Case) -> None:
    out = np.full((9, 6), 77, np.uint8)
    evidence = np.full(6, -1)
    assert plain.model.sample(9, evidence=evidence, rng=3, out=out) is out
    assert plain.model.sample(0, evidence=evidence).shape == (0, 6)
    np.testing.assert_array_equal(out, plain.model.sample(9, rng=3))


NOTHING = np.full(6, -1)
WRONG_EVIDENCE: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("complete", {"evidence": np.array([1, -1, -1, -1, -1, -1])}, ValueError),  # the order begins with dimension 5
    ("complete", {"evidence": np.array([-1, -1, 0, -1, -1, -1])}, ValueError),
    ("evidence", {"evidence": NOTHING[None]}, ValueError),
    ("evidence", {"evidence": NOTHING[:5]}, ValueError),
    ("evidence", {"evidence": NOTHING - 1}, ValueError),
    ("evidence", {"evidence": NOTHING + 3}, ValueError),
    ("evidence", {"evidence": NOTHING + 1.5}, ValueError),
    ("evidence", {"evidence": np.full(6, np.inf)}, ValueError),
    ("signed", {"evidence": np.full(6, 255, np.uint8)}, ValueError),  # what −1 becomes as uint8
    ("evidence", {"evidence": np.full(6, None)}, TypeError),
    ("evidence", {"evidence": "-1"}, TypeError),
    ("temperature", {"temperature": 0.5}, ValueError),
    ("temperature", {"temperature": "1"}, TypeError),
    ("start", {"start": 2**63}, ValueError),
    ("threads", {"threads": 0}, ValueError),
]


@pytest.mark.parametrize(("name", "keywords", "error"), WRONG_EVIDENCE, ids=lambda v: str(v)[:24])
def test_wrong_evidence(name: str, keywords: dict[str, Any], error: type[Exception], plain: Case) -> None:
    with pytest.raises(error, match=rf"\b{name}\b"):
        plain.model.sample(2, **{"evidence": NOTHING, "rng": 0, **keywords})
