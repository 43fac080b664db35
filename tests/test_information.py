"""entropy, cross_entropy, bits_per_dim and kl_divergence: exact sums over all events, honest standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
from ancestral import model as model_module
from support import long_calls
from support.cases import Case
from support.families import EVERY_FEW, EVERY_SMALL, FVSBN, NADE, PixelCNN
from support.oracle import Float

N_SAMPLES = 20_000


def exact(case: Case) -> tuple[Float, Float]:
    """p and log p of every event."""
    log_p = case.log_prob(case.every_event())
    return np.exp(log_p), log_p


def within(estimate: ancestral.Estimate, truth: float, sigmas: float = 4.0) -> bool:
    # Log-probabilities come from float32 conditionals: no estimate is nearer than their rounding.
    return abs(estimate.value - truth) <= sigmas * estimate.standard_error + 1e-5


# --- against enumeration -----------------------------------------------------------------------------------


def test_entropy(every_small: Case) -> None:
    p, log_p = exact(every_small)
    estimate = every_small.model.entropy(N_SAMPLES, rng=0)
    assert within(estimate, -p @ log_p)
    assert estimate.n_samples == N_SAMPLES
    spread = math.sqrt(p @ log_p**2 - (p @ log_p) ** 2)
    assert estimate.standard_error == pytest.approx(spread / math.sqrt(N_SAMPLES), rel=0.1, abs=1e-7)
    assert [type(part) for part in estimate] == [float, float, int]


@pytest.mark.parametrize("name", EVERY_SMALL)
def test_kl_divergence(name: str, build: Callable[..., Case]) -> None:
    p_case, q_case = build(*EVERY_SMALL[name], scale=2.0), build(*EVERY_SMALL[name], scale=1.0, seed=1)
    (p, log_p), (_, log_q) = exact(p_case), exact(q_case)
    truth = p @ (log_p - log_q)
    estimate = ancestral.kl_divergence(p_case.model, q_case.model, N_SAMPLES, rng=0)
    assert truth > 1e-3, "the models are too alike for the test to fail"
    assert within(estimate, truth)
    spread = math.sqrt(p @ (log_p - log_q - truth) ** 2)
    assert estimate.standard_error == pytest.approx(spread / math.sqrt(N_SAMPLES), rel=0.2)


def test_kl_divergence_of_a_model_with_itself_is_zero(every_small: Case) -> None:
    assert ancestral.kl_divergence(every_small.model, every_small.model, 100, rng=0) == (0.0, 0.0, 100)


def test_kl_divergence_of_two_families(build: Callable[..., Case]) -> None:
    """Only the space of events has to be the same."""
    p_case, q_case = build(FVSBN, FVSBN.config(6), scale=1.0), build(NADE, NADE.config(6, 4))
    (p, log_p), (_, log_q) = exact(p_case), exact(q_case)
    assert within(ancestral.kl_divergence(p_case.model, q_case.model, N_SAMPLES, rng=0), p @ (log_p - log_q))


def test_cross_entropy_and_bits_per_dim(every_small: Case) -> None:
    x = every_small.events(50)
    log_prob = every_small.log_prob(x)
    value, error, n = every_small.model.cross_entropy(x)
    assert value == pytest.approx(-log_prob.mean(), rel=1e-5, abs=1e-5)
    assert error == pytest.approx(log_prob.std(ddof=1) / math.sqrt(50), rel=1e-4, abs=1e-6)
    assert n == 50
    bits = every_small.model.bits_per_dim(x)
    assert bits.dtype == np.float64
    np.testing.assert_allclose(bits, -log_prob / every_small.model.n_dims / np.log(2), rtol=1e-5, atol=1e-6)


def test_a_uniform_model() -> None:
    """Every estimate is known: D bits, one bit a dimension, no error."""
    d = 8
    tensors = {"weight": np.zeros((d, d), np.float32), "bias": np.zeros(d, np.float32)}
    model = ancestral.Model.from_tensors("FVSBN", {"n_dims": d, "order": None}, tensors)
    entropy = model.entropy(1000, rng=0)
    assert entropy.value == pytest.approx(d * math.log(2))
    assert entropy.standard_error < 1e-15
    np.testing.assert_allclose(model.bits_per_dim(np.eye(d)), 1.0)


def test_a_certain_model_has_entropy_zero(build: Callable[..., Case]) -> None:
    """Up to e⁻⁸⁷, the least an exponential comes to; and not −0, which prints."""
    model = build(PixelCNN, PixelCNN.config((1, 1, 1), 3), scale=1000.0).model
    x, log_prob = model.sample_and_log_prob(10, rng=0)
    assert (abs(log_prob) < 1e-30).all()
    for estimate in (model.entropy(10, rng=0), model.cross_entropy(x)):
        assert 0 <= estimate.value < 1e-30
        assert estimate.standard_error < 1e-30
        assert not str(estimate).startswith("-")
    assert not np.signbit(model.bits_per_dim(x)).any()


# --- the standard error is what it says --------------------------------------------------------------------

REPEATS, EACH = 2000, 500


@pytest.mark.parametrize("name", EVERY_FEW)
def test_intervals_cover(name: str, build: Callable[..., Case]) -> None:
    """95 % intervals of 2,000 repeats hold the truth 95 % of the time, for entropy and divergence."""
    p_case, q_case = build(*EVERY_SMALL[name], scale=1.5), build(*EVERY_SMALL[name], scale=1.5, seed=1)
    (p, log_p), (_, log_q) = exact(p_case), exact(q_case)
    model, other = p_case.model, q_case.model
    asked: list[tuple[float, Callable[..., ancestral.Estimate]]] = [
        (-p @ log_p, model.entropy),
        (p @ (log_p - log_q), lambda *args, **keywords: ancestral.kl_divergence(model, other, *args, **keywords)),
    ]
    for truth, ask in asked:
        intervals = [ask(EACH, rng=3, start=i * EACH, threads=1).interval() for i in range(REPEATS)]
        covered = np.mean([low <= truth <= high for low, high in intervals])
        assert 0.93 <= covered <= 0.97


# --- reproducible ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3, None])
def test_bits_do_not_depend_on_threads_or_batches(
    threads: int | None, large: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = large.model, large.events(300)
    q = large.with_tensors({k: v * np.float32(0.9) for k, v in large.tensors.items()}).model

    def ask(**keywords: Any) -> tuple[Any, ...]:
        return (
            model.entropy(300, rng=1, start=5, **keywords),
            ancestral.kl_divergence(model, q, 300, rng=1, start=5, **keywords),
            model.cross_entropy(x, **keywords),
            model.bits_per_dim(x, **keywords).tobytes(),
        )

    expected = ask(threads=1)
    log_prob = model.sample_and_log_prob(300, rng=1, start=5)[1]
    assert expected[0].value == -log_prob.mean()
    for rows in (1, 7, 128, 299, 300):
        monkeypatch.setattr(model_module, "_BATCH_VALUES", rows * model.n_dims)
        assert ask(threads=threads) == expected


def test_a_generator_advances_once(binary: Case) -> None:
    generator = np.random.default_rng(0)
    first, second = (binary.model.entropy(100, rng=generator) for _ in range(2))
    assert first != second
    assert first == binary.model.entropy(100, rng=np.random.default_rng(0))


def heard_of(call: str, model: ancestral.Model, n: int) -> list[int]:
    """What `progress` is told."""
    heard: list[tuple[int, int]] = []
    keywords: dict[str, Any] = {"rng": 0, "progress": lambda *pair: heard.append(pair)}
    if call == "entropy":
        model.entropy(n, **keywords)
    else:
        ancestral.kl_divergence(model, model, n, **keywords)
    done = [d for d, _ in heard]
    assert {total for _, total in heard} == {n}
    assert done == sorted(done)
    assert done[-1] == n
    return done


@pytest.mark.parametrize("call", ["entropy", "kl_divergence"])
def test_progress_goes_over_all_batches(call: str, digits: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also batches that are over before the core reports anything."""
    monkeypatch.setattr(model_module, "_BATCH_VALUES", 100 * digits.model.n_dims)
    assert {*range(100, 1050, 100), 1050} <= set(heard_of(call, digits.model, 1050))


@pytest.mark.parametrize("call", ["entropy", "kl_divergence"])
def test_progress_comes_within_a_batch(call: str, digits: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "_BATCH_VALUES", 2**62)
    monkeypatch.setattr(model_module, "_BATCH_SAMPLES", 2**62)
    for n in long_calls.growing(1000):
        if any(0 < done < n for done in heard_of(call, digits.model, n)):
            break


# --- arguments ---------------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any, Any]] = [
    ("n_samples", 0, ValueError),
    ("n_samples", 1, ValueError),
    ("n_samples", -5, ValueError),
    ("n_samples", True, TypeError),
    ("n_samples", 10.0, TypeError),
    ("n_samples", "10", TypeError),
    ("n_samples", None, TypeError),
    ("n_samples", 2**62, (ValueError, MemoryError)),
    ("n_samples", 10**30, ValueError),
    ("rng", -1, ValueError),
    ("rng", 0.5, TypeError),
    ("start", -1, ValueError),
    ("start", 2**63 - 1, ValueError),
    ("start", True, TypeError),
    ("threads", 0, ValueError),
    ("threads", 1.0, TypeError),
    ("progress", "yes", TypeError),
]


@pytest.mark.parametrize("call", ["entropy", "kl_divergence", "typicality"])
@pytest.mark.parametrize(("name", "value", "error"), WRONG, ids=lambda value: str(value)[:24])
def test_wrong_keywords(name: str, value: Any, error: Any, call: str, binary: Case) -> None:
    model = binary.model
    ask: Callable[..., Any] = {
        "entropy": model.entropy,
        "kl_divergence": lambda **keywords: ancestral.kl_divergence(model, model, **keywords),
        "typicality": lambda **keywords: model.typicality(binary.events(2), **keywords),
    }[call]
    generator = np.random.default_rng(0)
    state = generator.bit_generator.state
    with pytest.raises(error, match=rf"\b{name}\b"):
        ask(**{"n_samples": 10, "rng": generator, name: value})
    assert generator.bit_generator.state == state


@pytest.mark.parametrize("call", ["cross_entropy", "bits_per_dim"])
def test_wrong_data(call: str, binary: Case) -> None:
    ask = getattr(binary.model, call)
    for wrong, error in ((np.zeros((3, 5)), ValueError), (np.full((3, 6), 2), ValueError), (None, TypeError)):
        with pytest.raises(error, match=r"\bx\b"):
            ask(wrong)
    for name in ("threads", "progress"):
        with pytest.raises(TypeError, match=name):
            ask(binary.events(2), **{name: "yes"})


@pytest.mark.parametrize("n", [0, 1])
def test_cross_entropy_needs_two_rows(n: int, binary: Case) -> None:
    with pytest.raises(ValueError, match=rf"x has {n} rows; wanted at least 2"):
        binary.model.cross_entropy(binary.events(n))


def test_bits_per_dim_fills_out(binary: Case) -> None:
    out = np.empty(3)
    assert binary.model.bits_per_dim(binary.events(3), out=out) is out
    np.testing.assert_array_equal(out, binary.model.bits_per_dim(binary.events(3)))
    assert binary.model.bits_per_dim(binary.events(0)).shape == (0,)


def test_kl_divergence_of_models_that_do_not_match(binary: Case, build: Callable[..., Case]) -> None:
    p = binary.model
    with pytest.raises(ValueError, match=r"q has event_shape \(7,\); wanted that of p, \(6,\)"):
        ancestral.kl_divergence(p, build(NADE, NADE.config(7, 4)).model)
    two, three = (build(PixelCNN, PixelCNN.config((1, 2, 2), k)).model for k in (2, 3))
    with pytest.raises(ValueError, match=r"q has n_classes 3; wanted that of p, 2"):
        ancestral.kl_divergence(two, three)
    for wrong in (None, p._inner, "nade.safetensors", np.zeros(3)):
        with pytest.raises(TypeError, match=rf"q is a {type(wrong).__name__}; wanted an ancestral.Model"):
            ancestral.kl_divergence(p, wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"p is a "):
            ancestral.kl_divergence(wrong, p)  # type: ignore[arg-type]
