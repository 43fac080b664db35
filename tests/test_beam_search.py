"""Beam search: exact with as many beams as events, greedy with one, and in between what its definition says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support import long_calls, oracle
from support.cases import Case, case_of
from support.families import FAMILIES, LARGE, MEDIUM, NADE, SMALL, Family, PixelCNN


def some_evidence(case: Case, seed: int, share: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """An event with -1 where it is not observed, and where it is."""
    rng = np.random.default_rng(seed)
    x = case.events(1, seed)[0]
    observed = rng.random(x.shape) < share
    return np.where(observed, x.astype(np.int64), -1), observed


def agrees(events: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Which events have the evidence's values."""
    differs = (events != evidence) & (evidence != -1)
    return ~differs.reshape(len(events), -1).any(axis=1)


def check(case: Case, x: np.ndarray, log_prob: np.ndarray, n: int) -> None:
    """What holds of every result."""
    assert x.shape == (n, *case.model.event_shape)
    assert x.dtype == case.dtype
    assert log_prob.dtype == np.float64
    np.testing.assert_array_equal(log_prob, case.model.log_prob(x))
    assert (np.diff(log_prob) <= 0).all()
    assert len(np.unique(x, axis=0)) == n


@pytest.mark.parametrize("scale", [0.1, 3.0, 50.0, 1000.0])
@pytest.mark.parametrize("name", SMALL)
def test_with_as_many_beams_as_events(name: str, scale: float, build: Callable[..., Case]) -> None:
    """All that agree with the evidence, in the order of their probability: the first is the true maximum."""
    case = build(*SMALL[name], scale=scale)
    events = case.every_event()
    nothing = np.full(case.model.event_shape, -1)
    for evidence in (nothing, *(some_evidence(case, seed)[0] for seed in range(5))):
        expected = events[agrees(events, evidence)]
        for n_beams in (len(expected), 2**16):
            x, log_prob = case.model.beam_search(evidence, n_beams=n_beams)
            check(case, x, log_prob, len(expected))
            assert agrees(x, evidence).all()
            np.testing.assert_array_equal(log_prob, np.sort(case.model.log_prob(expected))[::-1])


@pytest.mark.parametrize("scale", [0.01, 3.0, 1000.0])
@pytest.mark.parametrize("name", SMALL)
def test_one_beam_is_greedy(name: str, scale: float, build: Callable[..., Case]) -> None:
    case = build(*SMALL[name], scale=scale, seed=3)
    x, log_prob = case.model.beam_search(n_beams=1)
    check(case, x, log_prob, 1)
    np.testing.assert_array_equal(x, case.model.sample(1, temperature=0))


@pytest.mark.parametrize("name", LARGE)
def test_one_beam_is_greedy_in_a_large_model(name: str, build: Callable[..., Case]) -> None:
    case = build(*LARGE[name])
    np.testing.assert_array_equal(case.model.beam_search(n_beams=1)[0], case.model.sample(1, temperature=0))


def by_the_oracle(case: Case, evidence: np.ndarray, n_beams: int) -> np.ndarray:
    """Beam search from its definition, one value after the other, observed ones among them."""
    given = evidence.ravel()
    beams = [(0.0, np.zeros(case.model.n_dims, case.dtype))]
    for step, dim in enumerate(case.order):
        x = np.stack([x for _, x in beams]).reshape(-1, *case.model.event_shape)
        log_p = oracle.log_conditionals(case.logits(x))[:, step]
        extended = []
        for (score, x), log_p_of_one in zip(beams, log_p, strict=True):
            for k in range(case.classes.flat[dim]) if given[dim] == -1 else [given[dim]]:
                longer = x.copy()
                longer[dim] = k
                extended.append((score + log_p_of_one[k], longer))
        beams = sorted(extended, key=lambda beam: -beam[0])[:n_beams]
    return np.stack([x for _, x in beams]).reshape(-1, *case.model.event_shape)


@pytest.mark.parametrize("n_beams", [1, 2, 5, 30])
@pytest.mark.parametrize("name", MEDIUM)
def test_matches_its_definition(name: str, n_beams: int, build: Callable[..., Case]) -> None:
    case = build(*MEDIUM[name])
    nothing = np.full(case.model.event_shape, -1)
    for evidence in (nothing, some_evidence(case, 0)[0], some_evidence(case, 1, 0.8)[0]):
        x, log_prob = case.model.beam_search(evidence, n_beams=n_beams)
        expected = by_the_oracle(case, evidence, n_beams)
        check(case, x, log_prob, len(expected))
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_probabilities_that_round_to_zero_and_one(family: Family) -> None:
    """What is left of a certain choice is told apart: the second best turns the least certain bit, and so on."""
    logits = np.float32([100, -60, 103, -40, 86])
    model = case_of(family, *family.independent(logits)).model
    x, log_prob = model.beam_search(n_beams=32)
    subsets = [combination for size in range(6) for combination in itertools.combinations(range(5), size)]
    costs = np.array([sum(abs(logits[list(subset)])) for subset in subsets])
    expected = [(logits > 0) ^ np.isin(range(5), subsets[at]) for at in np.argsort(costs)]
    np.testing.assert_array_equal(x.reshape(32, 5)[:, model.order], expected)
    np.testing.assert_allclose(log_prob, -np.sort(costs), rtol=1e-6, atol=1e-15)


def test_evidence_in_every_form(build: Callable[..., Case]) -> None:
    torch = pytest.importorskip("torch")
    for name in ("nade-order", "categorical-rgb"):
        case = build(*SMALL[name])
        evidence, observed = some_evidence(case, 2)
        assert 0 < observed.sum() < observed.size
        expected = case.model.beam_search(evidence, n_beams=3)
        forms = {
            "int8": evidence.astype(np.int8),
            "big-endian": evidence.astype(">i4"),
            "float": evidence.astype(np.float32),
            "nan": np.where(observed, evidence, np.nan),
            "nan and -1": np.where(observed, evidence, np.where(np.arange(6).reshape(evidence.shape) % 2, -1, np.nan)),
            "masked": np.ma.array(np.where(observed, evidence, 99), mask=~observed),
            "masked uint8": np.ma.array(np.where(observed, evidence, 255).astype(np.uint8), mask=~observed),
            "masked nan": np.ma.array(np.where(observed, evidence, np.nan), mask=~observed),
            "half masked": np.ma.array(evidence, mask=~observed & (np.arange(6).reshape(evidence.shape) % 2 == 0)),
            "fortran": np.asfortranarray(evidence),
            "list": evidence.tolist(),
            "tensor": torch.from_numpy(evidence),
            "bfloat16": torch.from_numpy(evidence).bfloat16(),
        }
        for form, value in forms.items():
            kept = value.copy() if isinstance(value, np.ndarray) else value
            for got, wanted in zip(case.model.beam_search(value, n_beams=3), expected, strict=True):
                np.testing.assert_array_equal(got, wanted, err_msg=form)
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, kept)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int64, np.uint64, np.float64])
def test_all_is_observed(dtype: Any, build: Callable[..., Case]) -> None:
    case = build(*SMALL["fvsbn-order"])
    event = case.events(1)
    x, log_prob = case.model.beam_search(event[0].astype(dtype))
    np.testing.assert_array_equal(x, event)
    np.testing.assert_array_equal(log_prob, case.model.log_prob(event))


NADE_DIMS = 5
WRONG: list[tuple[str, Any, type[Exception]]] = [
    ("evidence", np.zeros(NADE_DIMS + 1), ValueError),
    ("evidence", np.zeros((1, NADE_DIMS)), ValueError),
    ("evidence", 0, ValueError),
    ("evidence", [], ValueError),
    ("evidence", [[0], [0, 1]], ValueError),
    ("evidence", [0, 1, 2, 0, 0], ValueError),
    ("evidence", [0, 1, -2, 0, 0], ValueError),
    ("evidence", [0, 1, 0.5, 0, 0], ValueError),
    ("evidence", [0, 1, np.inf, 0, 0], ValueError),
    ("evidence", [0, 1, -np.inf, 0, 0], ValueError),
    ("evidence", np.array([0, 1, 255, 0, 0], np.uint8), ValueError),
    ("evidence", np.array([0, 1, 2**64 - 1, 0, 0], np.uint64), ValueError),
    ("evidence", np.array([0, 1, 256, 0, 0]), ValueError),
    ("evidence", np.ma.array([0, 1, 7, 0, 0], mask=[1, 0, 0, 0, 0]), ValueError),
    ("evidence", [0, 1, None, 0, 0], TypeError),
    ("evidence", ["0", "1", "0", "0", "0"], TypeError),
    ("evidence", np.zeros(NADE_DIMS, complex), TypeError),
    ("evidence", "01-10", TypeError),
    ("evidence", {}, TypeError),
    ("n_beams", 0, ValueError),
    ("n_beams", -1, ValueError),
    ("n_beams", 2**16 + 1, ValueError),
    ("n_beams", 10**30, ValueError),
    ("n_beams", True, TypeError),
    ("n_beams", 2.0, TypeError),
    ("n_beams", "2", TypeError),
    ("n_beams", None, TypeError),
    ("n_beams", float("nan"), TypeError),
    ("threads", 0, ValueError),
    ("threads", 1.5, TypeError),
    ("progress", "yes", TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), WRONG, ids=lambda value: str(value)[:24])
def test_wrong_arguments(name: str, value: Any, error: type[Exception], build: Callable[..., Case]) -> None:
    model = build(NADE, NADE.config(NADE_DIMS, 3)).model
    with pytest.raises(error, match=rf"\b{name}\b"):
        model.beam_search(**{name: value})


def test_a_wrong_value_is_shown_with_its_place(build: Callable[..., Case]) -> None:
    case = build(PixelCNN, PixelCNN.config((2, 3, 4), 5))
    evidence = np.full((2, 3, 4), -1)
    evidence[1, 2, 3] = 5
    with pytest.raises(ValueError, match=r"evidence\[1, 2, 3\] is 5; wanted integers from 0 to 4, except"):
        case.model.beam_search(evidence)


@pytest.mark.parametrize("threads", [2, 3, None])
def test_does_not_depend_on_the_threads(large: Case, threads: int | None) -> None:
    evidence, _ = some_evidence(large, 0, 0.9)
    expected = large.model.beam_search(evidence, n_beams=20, threads=1)
    for got, wanted in zip(large.model.beam_search(evidence, n_beams=20, threads=threads), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_progress(build: Callable[..., Case]) -> None:
    """A step for each value that is not observed; an exception ends the search."""
    case = build(*LARGE["nade"])
    evidence, observed = some_evidence(case, 0)
    heard: list[tuple[int, int]] = []
    case.model.beam_search(evidence, progress=lambda done, total: heard.append((done, total)))
    n_steps = int((~observed).sum())
    assert heard == [(done, n_steps) for done in range(n_steps + 1)]

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        case.model.beam_search(evidence, progress=stop)


def test_progress_bar_counts_steps(capfd: pytest.CaptureFixture[str], build: Callable[..., Case]) -> None:
    build(*SMALL["nade"]).model.beam_search(progress=True)
    shown = capfd.readouterr().err
    assert "100%" in shown
    assert "steps" in shown


def test_a_signal_ends_a_search(digits: Case) -> None:
    """One of minutes, in the step that is at work, or the next if the signal is delivered late."""
    heard: list[int] = []
    heard_when_sent: list[int] = []

    def at_work() -> bool:
        if len(heard) > 3:
            heard_when_sent.append(heard[-1])
        return len(heard) > 3

    def progress(done: int, total: int) -> None:
        heard.append(done)

    with long_calls.no_forced_switches(), pytest.raises(long_calls.Signalled), long_calls.signal_once(at_work):
        digits.model.beam_search(n_beams=2000, progress=progress)
    assert heard[-1] <= heard_when_sent[0] + 1
