"""Same weights, same seed, same index: the same bits, whatever the batch, threads or layout.

For other instruction sets and machines see test_references.py; for the operations, bits.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
from support import bits
from support.cases import Case
from support.families import EVERY_LARGE, EVERY_SMALL, FVSBN, LARGE, PixelCNN

THREADS = [1, 2, 3, 8, None]
# Batches on either side of anything that a block might be aligned to.
CUTS = [0, 1, 3, 8, 15, 16, 17, 31, 64, 100, 127, 129, 500, 511, 513, 1000, 1024, 1100]

# Every family, then models that many rows of take several blocks and threads, then one of the size used on MNIST.
ROWS = {
    **{f"small {name}": 40 for name in EVERY_SMALL},
    **{f"large {name}": CUTS[-1] for name in EVERY_LARGE},
    "digits": 40,
}


@pytest.fixture(scope="module", params=ROWS)
def given(request: pytest.FixtureRequest, build: Callable[..., Case]) -> tuple[Case, bits.Events]:
    """A model, and rows of data."""
    size, _, name = request.param.partition(" ")
    if size == "digits":
        case: Case = request.getfixturevalue("digits")
    else:
        case = build(*(EVERY_SMALL if size == "small" else EVERY_LARGE)[name])
    return case, case.events(ROWS[request.param])


# --- the matrix: every model, every operation ------------------------------------------------------------


def test_any_threads_batches_and_starts(given: tuple[Case, bits.Events]) -> None:
    """All rows at once, and cut anywhere, each part begun at its own index."""
    case, x = given
    cuts = [cut for cut in CUTS if cut < len(x)] + [len(x)]
    for name, operation in bits.OPERATIONS.items():
        expected = bits.run(operation, case, x, threads=1)
        for threads in THREADS:
            what = f"{name}, {threads} threads"
            bits.assert_same_bits(bits.run(operation, case, x, threads=threads), expected, what)
            if name not in bits.WHOLE:
                parts = [bits.run(operation, case, x[a:b], a, threads) for a, b in itertools.pairwise(cuts)]
                bits.assert_same_bits(bits.joined(parts), expected, f"{what}, in parts")


def test_any_neighbours(given: tuple[Case, bits.Events]) -> None:
    case, x = given
    shuffled = np.random.default_rng(1).permutation(len(x))
    for name, operation in bits.SCORES.items():
        expected = tuple(array[shuffled] for array in bits.run(operation, case, x))
        bits.assert_same_bits(bits.run(operation, case, x[shuffled]), expected, name)


LAYOUTS: dict[str, Callable[[bits.Events], Any]] = {
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every other value": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "Fortran": np.asfortranarray,
    "int64": lambda x: x.astype(np.int64),
    "big-endian float": lambda x: x.astype(">f4"),
}


def test_any_layout_and_dtype(given: tuple[Case, bits.Events]) -> None:
    case, x = given[0], given[1][:100]
    for name, operation in bits.SCORES.items():
        expected = bits.run(operation, case, x)
        for layout, change in LAYOUTS.items():
            bits.assert_same_bits(bits.run(operation, case, change(x)), expected, f"{name}, {layout}")


def test_log_prob_has_the_bits_of_the_draw(given: tuple[Case, bits.Events]) -> None:
    """Two ways through the core: one in which the values come about, one in which they are known."""
    case, x = given
    draws, log_prob = case.model.sample_and_log_prob(len(x), rng=bits.SEED)
    again = case.model.sample(len(x), rng=bits.SEED), case.model.log_prob(draws)
    bits.assert_same_bits(again, (draws, log_prob), "sample, log_prob")


def test_the_matrix_can_fail(build: Callable[..., Case]) -> None:
    """Its comparison sees a draw begun elsewhere, and the sign of a zero."""
    case = build(*LARGE["fvsbn"])
    rows = bits.run(bits.DRAWS["sample"], case, case.events(5))
    with pytest.raises(AssertionError, match="elsewhere"):
        bits.assert_same_bits(bits.run(bits.DRAWS["sample"], case, case.events(5), 1), rows, "elsewhere")
    with pytest.raises(AssertionError, match="different bits"):
        bits.assert_same_bits((np.array([0.0]),), (np.array([-0.0]),), "zeros")


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_sign_of_a_zero_shows_nowhere(n_classes: int) -> None:
    """Padding may turn -0 into 0 in one layout of PixelCNN and not in another."""
    config = PixelCNN.config((1, 4, 5), n_classes, n_channels=12, n_blocks=1, n_head=5)
    rng = np.random.default_rng(0)
    tensors = {
        name: np.where(rng.random(value.shape) < 0.9, np.copysign(0, value), value).astype(np.float32)
        for name, value in PixelCNN.random_tensors(config, rng, 1.0).items()
    }
    model = ancestral.Model.from_tensors("PixelCNN", config, tensors)
    x, log_prob = model.sample_and_log_prob(50, rng=0)
    conditionals = model.conditionals(x)
    for i in range(len(x)):
        alone, log_prob_alone = model.sample_and_log_prob(1, rng=0, start=i)
        assert alone.tobytes() == x[i].tobytes()
        assert log_prob_alone.tobytes() == model.log_prob(x[i : i + 1]).tobytes() == log_prob[i].tobytes()
        assert model.conditionals(x[i : i + 1]).tobytes() == conditionals[i].tobytes()


# --- rng and start ---------------------------------------------------------------------------------------


def wide(build: Callable[..., Case]) -> Any:
    """So many fair coins that two different draws cannot be equal by chance."""
    return build(FVSBN, FVSBN.config(100), scale=0.5).model


def test_an_int_gives_the_same_draws_each_time(build: Callable[..., Case]) -> None:
    model = wide(build)
    np.testing.assert_array_equal(model.sample(5, rng=3), model.sample(5, rng=3))
    np.testing.assert_array_equal(model.sample(5, rng=np.uint64(3)), model.sample(5, rng=3))


def test_different_seeds_differ(build: Callable[..., Case]) -> None:
    model = wide(build)
    seeds = [0, 1, 2, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    draws = {model.sample(1, rng=seed).tobytes() for seed in seeds}
    assert len(draws) == len(seeds)


def test_every_sample_of_a_stream_differs(build: Callable[..., Case]) -> None:
    assert len(np.unique(wide(build).sample(5000, rng=0), axis=0)) == 5000


@pytest.mark.parametrize("start", [1, 2**16 - 1, 2**31 - 1, 2**32 - 2, 2**32, 2**53 - 1, 2**53, 2**62])
def test_start_far_into_the_stream(start: int, build: Callable[..., Case]) -> None:
    """No 32-bit index and no float on the way: neighbours differ, cuts agree, the start is not repeated."""
    model = wide(build)
    x = model.sample(4, rng=0, start=start)
    assert len(np.unique(x, axis=0)) == 4
    for i in range(4):
        np.testing.assert_array_equal(model.sample(1, rng=0, start=start + i), x[i : i + 1])
    beginning = model.sample(10, rng=0)[: min(start, 10)]
    assert not (beginning[None] == x[:, None]).all(axis=2).any()


def test_the_end_of_the_stream(build: Callable[..., Case]) -> None:
    """Indices up to 2**63 can be asked for; one past the end of the range is refused, not wrapped around."""
    model = wide(build)
    last = model.sample(3, rng=0, start=2**63 - 3)
    np.testing.assert_array_equal(model.sample(1, rng=0, start=2**63 - 1), last[2:])
    for start in (2**64, 2**64 + 1, 2**70):
        with pytest.raises(ValueError, match="start"):
            model.sample(1, rng=0, start=start)
    with pytest.raises(ValueError, match="start"):
        model.sample(2, rng=0, start=2**64 - 1)


def test_a_generator_advances(build: Callable[..., Case]) -> None:
    model = wide(build)
    generator = np.random.default_rng(5)
    first, second = model.sample(4, rng=generator), model.sample(4, rng=generator)
    assert not (first == second).all()
    again = np.random.default_rng(5)
    np.testing.assert_array_equal(model.sample(4, rng=again), first)
    np.testing.assert_array_equal(model.sample(4, rng=again), second)
    assert not (model.sample(4, rng=np.random.default_rng(6)) == first).all()
    legacy = np.random.Generator(np.random.MT19937(0))
    assert model.sample(2, rng=legacy).shape == (2, 100)


def test_no_rng_is_fresh_and_touches_no_global_state(build: Callable[..., Case]) -> None:
    model = wide(build)
    np.random.seed(0)  # noqa: NPY002 - the global state is the point
    state = np.random.get_state()[1].tobytes()  # type: ignore[index,union-attr] # noqa: NPY002
    first, second = model.sample(4), model.sample(4, rng=None)
    assert not (first == second).all()
    assert np.random.get_state()[1].tobytes() == state  # type: ignore[index,union-attr] # noqa: NPY002
