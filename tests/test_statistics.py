"""The random numbers behind the samples: fair, and independent along dimensions, samples and seeds.

Seeds are fixed and draws are the same on any machine, so that no test here fails by chance. `make statistics` looks at
far more numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

import uniforms
from support import battery
from support.cases import case_of
from support.families import FAMILIES, Family

Values = npt.NDArray[np.uint8]


def suspicious(x: Values, n_classes: int) -> list[str]:
    """What the battery finds strange: p-values so extreme that fair bits have one such, of all, once in 500 times."""
    found = {
        f"neighbours are {order}: {test}": p
        for order, stream in uniforms.orders(x, n_classes)
        for test, p in battery.p_values(stream).items()
    }
    return [f"{name}: {p}" for name, p in found.items() if min(p, 1 - p) < 0.001 / len(found)]


@pytest.mark.parametrize(("source", "n"), [("bits", 512), ("bytes", 64)])
def test_the_battery_finds_nothing(source: str, n: int) -> None:
    model = uniforms.SOURCES[source]()
    assert not suspicious(uniforms.values(model, uniforms.SEEDS, n), model.n_classes)


SHAPE = (64, 512, 256)


def coins(seed: int, n: int) -> Values:
    return np.unpackbits(np.frombuffer(np.random.default_rng(seed).bytes(n // 8), np.uint8))


def biased() -> Values:
    return (np.random.default_rng(0).random(SHAPE) < 0.5015).astype(np.uint8)


def a_congruential_generator() -> Values:
    state, bits = 1, []
    for _ in range(2**18):
        state = (state * 1664525 + 1013904223) % 2**32
        bits.append(state)
    return np.unpackbits(np.array(bits, np.uint32).view(np.uint8)).reshape(SHAPE)


def a_shift_register() -> Values:
    """x_i = x_(i-1) + x_(i-14), 32 bits at a time: fair, and linear."""
    words = list(np.frombuffer(np.random.default_rng(0).bytes(4 * 14), np.uint32))
    for _ in range(2**18 - 14):
        words.append(words[-1] ^ words[-14])
    return np.unpackbits(np.array(words, np.uint32).view(np.uint8)).reshape(SHAPE)


def seeds_that_overlap() -> Values:
    """Each seed begins where the one before was a sample later."""
    x = coins(0, 1024 * 256).reshape(1024, 256)
    return np.stack([x[i : i + 512] for i in range(64)])


def samples_that_repeat() -> Values:
    x = coins(0, math.prod(SHAPE)).reshape(SHAPE)
    x[:, 256:] = x[:, :256]
    return x


def dimensions_that_agree() -> Values:
    """A dimension is one of 128 before, in one sample of 256."""
    x = coins(0, math.prod(SHAPE)).reshape(SHAPE)
    x[:, ::256, 128:] = x[:, ::256, :128]
    return x


FAULTS: list[Callable[[], Values]] = [
    biased,
    a_congruential_generator,
    a_shift_register,
    seeds_that_overlap,
    samples_that_repeat,
    dimensions_that_agree,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_battery_finds_faults(fault: Callable[[], Values]) -> None:
    assert suspicious(fault(), 2)


def test_the_battery_is_calibrated() -> None:
    """Of other fair bits each test's p-values are uniform."""
    found = [battery.p_values(coins(seed, 2**22)) for seed in range(24)]
    for test in found[0]:
        assert stats.kstest([p[test] for p in found], "uniform").pvalue > 1e-4, test


LOGITS = np.linspace(-14, 14, 113, dtype=np.float32)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_any_probability(family: Family) -> None:
    """Thresholds all over the range of the uniforms, down to 10⁻⁶: each met as often as it should."""
    n = 1_000_000
    parts = []  # few logits at a time: a PixelCNN's work grows with their square
    for seed, logits in enumerate(np.array_split(LOGITS, 15)):
        model = case_of(family, *family.independent(logits)).model
        parts.append(model.sample(n, rng=seed).reshape(n, -1).sum(axis=0, dtype=np.int64)[model.order])
    ones = np.concatenate(parts)
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    tails = stats.binom.sf(ones, n, p) + stats.binom.pmf(ones, n, p) / 2
    assert tails.min() > 1e-4
    assert tails.max() < 1 - 1e-4
    assert stats.kstest(tails, "uniform").pvalue > 1e-3
