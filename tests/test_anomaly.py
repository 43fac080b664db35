"""typicality: what its formula says, and higher for what the model does not draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
from support.cases import Case
from support.families import EVERY_SMALL


@pytest.mark.parametrize("name", [name for name in EVERY_SMALL if name != "fvsbn-1"])
def test_against_enumeration(name: str, build: Callable[..., Case]) -> None:
    """With many samples, H and s are the entropy and the standard deviation of −log p, exactly summed."""
    case = build(*EVERY_SMALL[name])
    x = case.every_event()
    log_p = case.log_prob(x)
    p = np.exp(log_p)
    entropy = -p @ log_p
    s = math.sqrt(p @ (log_p + entropy) ** 2)
    expected = np.abs(-log_p - entropy) / s
    got = case.model.typicality(x, n_samples=200_000, rng=0)
    assert got.dtype == np.float64
    # H is off by s / √n, s by some parts in √n of itself.
    np.testing.assert_allclose(got, expected, rtol=0.02, atol=0.01)


def test_with_a_reference(every_small: Case) -> None:
    x, reference = every_small.events(30), np.linspace(-9.0, -2.0, 101)
    log_prob = every_small.model.log_prob(x)
    expected = np.abs(log_prob - reference.mean()) / reference.std(ddof=1)
    np.testing.assert_allclose(every_small.model.typicality(x, reference=reference), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(
        every_small.model.typicality(x, reference=reference, n_samples=5, rng=3),
        every_small.model.typicality(x, reference=reference),
    )


def test_samples_are_those_of_the_seed(binary: Case) -> None:
    model, x = binary.model, binary.events(20)
    reference = model.sample_and_log_prob(70, rng=4, start=3)[1]
    np.testing.assert_array_equal(
        model.typicality(x, n_samples=70, rng=4, start=3), model.typicality(x, reference=reference)
    )


def test_too_probable_is_atypical() -> None:
    """Of 400 coins that show heads with 0.7, all heads is the most probable event, and one that never comes."""
    d = 400
    tensors = {"weight": np.zeros((d, d), np.float32), "bias": np.full(d, math.log(0.7 / 0.3), np.float32)}
    model = ancestral.Model.from_tensors("FVSBN", {"n_dims": d, "order": None}, tensors)
    drawn = model.sample(1000, rng=1)
    usual = model.typicality(drawn, rng=0)
    heads = np.ones((1, d), np.uint8)
    assert model.log_prob(heads)[0] > model.log_prob(drawn).max() + 50
    assert np.mean(usual < 3) > 0.99
    # 400 heads where 280 ± 9.165 are expected
    assert model.typicality(heads, rng=0)[0] == pytest.approx(120 / math.sqrt(400 * 0.21), rel=0.1)


@pytest.mark.parametrize("bias", [0.0, 60.0])
def test_no_spread(bias: float) -> None:
    """All that is drawn has one log-probability: such events score about 0, others high, and nothing is inf or nan."""
    d = 5
    tensors = {"weight": np.zeros((d, d), np.float32), "bias": np.full(d, bias, np.float32)}
    model = ancestral.Model.from_tensors("FVSBN", {"n_dims": d, "order": None}, tensors)
    score = model.typicality(np.concatenate([model.sample(50, rng=1), np.zeros((1, d), np.uint8)]), rng=0)
    assert (score[:-1] <= 1e-3).all()
    assert score[-1] <= 1e-3 if bias == 0 else 1e6 < score[-1] < np.inf


@pytest.mark.parametrize("threads", [1, 2, 3, None])
def test_bits_do_not_depend_on_threads(threads: int | None, large: Case) -> None:
    x = large.events(200)
    expected = large.model.typicality(x, n_samples=200, rng=0, threads=1)
    np.testing.assert_array_equal(large.model.typicality(x, n_samples=200, rng=0, threads=threads), expected)


def test_progress_counts_samples_and_rows(digits: Case) -> None:
    heard: list[tuple[int, int]] = []
    digits.model.typicality(digits.events(300), n_samples=400, rng=0, progress=lambda *pair: heard.append(pair))
    done = [d for d, _ in heard]
    assert {total for _, total in heard} == {700}
    assert done == sorted(done)
    assert done[-1] == 700


def test_torch_tensors_lists_and_no_rows(binary: Case) -> None:
    torch = pytest.importorskip("torch")
    x, reference = binary.events(9), binary.model.log_prob(binary.events(40))
    expected = binary.model.typicality(x, reference=reference)
    got = binary.model.typicality(torch.from_numpy(x), reference=torch.from_numpy(reference))
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(binary.model.typicality(x, reference=reference.tolist()), expected)
    assert binary.model.typicality(binary.events(0), reference=reference).shape == (0,)


@pytest.mark.parametrize(
    ("reference", "error"),
    [
        (np.zeros(0), ValueError),
        (np.array([-1.0]), ValueError),
        (np.float64(-1.0), ValueError),
        (np.zeros((4, 6)), ValueError),  # the data, and not their log-probabilities
        ([-1.0, np.nan], ValueError),
        ([-1.0, -np.inf], ValueError),
        ([3.0, 4.0], ValueError),  # negative log-probabilities
        ([[-1.0], [-1.0, -2.0]], ValueError),
        (["a", "b"], TypeError),
        ([1j, 2j], TypeError),
        ([True, False], TypeError),
    ],
)
def test_wrong_references(reference: Any, error: type[Exception], binary: Case) -> None:
    with pytest.raises(error, match=r"\breference\b"):
        binary.model.typicality(binary.events(2), reference=reference)


def test_wrong_data(binary: Case) -> None:
    for wrong, error in ((np.zeros((3, 5)), ValueError), (np.full((3, 6), 2), ValueError), ("x", TypeError)):
        with pytest.raises(error, match=r"\bx\b"):
            binary.model.typicality(wrong)
