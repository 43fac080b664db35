"""Same weights, same seed, same index: the same bits, whatever the batch, threads or instruction set."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
import oracle
from conftest import Case

THREADS = [1, 2, 3, None]


@pytest.mark.parametrize("threads", THREADS)
def test_a_sample_is_the_concatenation_of_its_parts(small: Case, threads: int | None) -> None:
    model = small.model
    whole = model.sample(10, rng=0)
    parts = [model.sample(4, rng=0, threads=threads), model.sample(6, rng=0, start=4, threads=threads)]
    np.testing.assert_array_equal(model.sample(10, rng=0, threads=threads), whole)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("threads", THREADS)
def test_every_cut_of_a_larger_sample(large: Case, threads: int | None) -> None:
    """Cuts on either side of anything a block might be aligned to."""
    model = large.model
    x, log_prob = model.sample_and_log_prob(2100, rng=7, threads=threads)
    cuts = [0, 1, 3, 8, 15, 16, 17, 31, 64, 100, 127, 129, 500, 511, 513, 1000, 1024, 2047, 2049, 2100]
    for a, b in itertools.pairwise(cuts):
        part, part_log_prob = model.sample_and_log_prob(b - a, rng=7, start=a, threads=threads)
        np.testing.assert_array_equal(part, x[a:b])
        np.testing.assert_array_equal(part_log_prob, log_prob[a:b])


@pytest.mark.parametrize("threads", THREADS)
def test_log_prob_and_conditionals_do_not_depend_on_the_batch(large: Case, threads: int | None) -> None:
    model = large.model
    x = large.events(1100)
    log_prob, conditionals = model.log_prob(x, threads=1), model.conditionals(x, threads=1)
    for step in (1, 7, 16, 33, 1000, 1100):
        rows = slice(0, 150) if step == 1 else slice(None)
        batches = np.array_split(x[rows], range(step, len(x[rows]), step))
        np.testing.assert_array_equal(
            np.concatenate([model.log_prob(batch, threads=threads) for batch in batches]), log_prob[rows]
        )
        np.testing.assert_array_equal(
            np.concatenate([model.conditionals(batch, threads=threads) for batch in batches]),
            conditionals[rows],
        )


def test_a_row_does_not_depend_on_its_neighbours(large: Case) -> None:
    model = large.model
    x = large.events(300)
    shuffled = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(model.log_prob(x[shuffled]), model.log_prob(x)[shuffled])
    np.testing.assert_array_equal(model.conditionals(x[shuffled]), model.conditionals(x)[shuffled])


def test_a_large_model(digits: Case) -> None:
    model = digits.model
    x, log_prob = model.sample_and_log_prob(40, rng=0, threads=2)
    np.testing.assert_array_equal(model.sample(23, rng=0, start=17, threads=1), x[17:])
    np.testing.assert_array_equal(model.log_prob(x[5:], threads=1), log_prob[5:])


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_sign_of_a_zero_shows_nowhere(n_classes: int) -> None:
    """Padding may turn -0 into 0 in one layout of PixelCNN and not in another."""
    config = oracle.pixelcnn_config((1, 4, 5), n_classes, n_channels=12, n_blocks=1, n_head=5)
    rng = np.random.default_rng(0)
    tensors = {
        name: np.where(rng.random(value.shape) < 0.9, np.copysign(0, value), value).astype(np.float32)
        for name, value in oracle.random_tensors("PixelCNN", config, rng, 1.0).items()
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
    return build("FVSBN", oracle.fvsbn_config(100), scale=0.5).model


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


# --- reference draws -------------------------------------------------------------------------------------

# What a seed gives is a promise: these change only with a note in the CHANGELOG.
REFERENCE = {
    "FVSBN": "b33b70ecdec643df544e02c1f179e163",
    "NADE": "0228696597a9b5e2c8b2dcc33f145608",
    "PixelCNN": "1d9f1a953fbc15f67624bc69700edf65",
    "categorical": "176572dcb4388d133c8ea4a4ec2f8bff",
}


def simple_tensors(kind: str, config: oracle.Config) -> oracle.Tensors:
    """Weights that are multiples of 1/8, the same on any machine and with any NumPy."""
    tensors = oracle.random_tensors(kind, config, np.random.default_rng(0), 1.0)
    for name, value in tensors.items():
        simple = np.arange(value.size) * 31 % 17 / 8 - 1
        tensors[name] = np.where(value != 0, simple.reshape(value.shape), 0).astype(np.float32)
    return tensors


REFERENCE_MODELS = [
    ("FVSBN", oracle.fvsbn_config(20)),
    ("NADE", oracle.nade_config(20, 9, list(range(19, -1, -1)))),
    ("PixelCNN", oracle.pixelcnn_config((1, 4, 5), n_channels=12, n_blocks=1, n_head=5)),
    ("PixelCNN", oracle.pixelcnn_config((3, 2, 3), 5, n_channels=6)),
]


@pytest.mark.parametrize(("kind", "config"), REFERENCE_MODELS, ids=["FVSBN", "NADE", "PixelCNN", "categorical"])
def test_reference_draws(kind: str, config: oracle.Config, request: pytest.FixtureRequest) -> None:
    model = ancestral.Model.from_tensors(kind, config, simple_tensors(kind, config))
    x = model.sample(100, rng=2026, start=2**33)
    assert hashlib.sha256(x.tobytes()).hexdigest()[:32] == REFERENCE[request.node.callspec.id]


# --- instruction sets ------------------------------------------------------------------------------------

BITS = """
import hashlib
import sys

import ancestral
import numpy as np
import oracle

models = [
    ("FVSBN", oracle.fvsbn_config(61)),
    ("NADE", oracle.nade_config(37, 83, list(range(36, -1, -1)))),
    ("PixelCNN", oracle.pixelcnn_config((1, 5, 6), n_channels=22, n_head=19)),
    ("PixelCNN", oracle.pixelcnn_config((3, 3, 2), 5, n_channels=12, n_head=7)),
    ("PixelCNN", oracle.pixelcnn_config((1, 2, 2), 256, n_channels=34, n_head=33)),
    ("NADE", oracle.nade_config(200, 150)),
]
for kind, config in models:
    for scale in (0.1, 3.0, 50.0, 1000.0):
        tensors = oracle.random_tensors(kind, config, np.random.default_rng(0), scale)
        model = ancestral.Model.from_tensors(kind, config, tensors)
        events = oracle.random_events(kind, config, 45, np.random.default_rng(1))
        sample, log_prob = model.sample_and_log_prob(45, rng=0)
        seen = np.arange(model.n_dims).reshape(model.event_shape) % 3 == 1
        done = model.complete(events, seen, n_samples=10, rng=0)
        arrays = [sample, log_prob, model.log_prob(events), model.conditionals(events), model.surprise(events)]
        arrays += [model.sample(45, rng=0, temperature=0.7), *model.beam_search(n_beams=3)]
        if kind != "FVSBN":
            arrays.append(model.features(events))
        arrays += [done.x, done.log_weights]
        for array in arrays:
            print(kind, scale, array.dtype, hashlib.sha256(array.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def native_bits(run_python: Callable[..., str]) -> str:
    return run_python(BITS)


def cpu_has(isa: str) -> bool:
    """Whether this CPU can run a path, by NumPy's own detection."""
    from numpy._core._multiarray_umath import __cpu_features__ as features

    needed = {"portable": [], "avx2": ["AVX2", "FMA3"], "avx512": ["AVX512F"]}
    return all(features.get(name, False) for name in needed[isa])


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(isa: str, native_bits: str, run_python: Callable[..., str]) -> None:
    if not cpu_has(isa):
        pytest.skip(f"this CPU has no {isa}")
    assert run_python(BITS, ANCESTRAL_ISA=isa, timeout=300) == native_bits
    assert native_bits.count("\n") == 4 * (10 + 5 * 11)


@pytest.mark.parametrize("isa", ["sse9", "AVX-2", "neon" if cpu_has("avx2") else "avx2"])
def test_an_instruction_set_that_is_not_there_is_refused(isa: str, run_python: Callable[..., str]) -> None:
    script = """
    import ancestral, numpy as np
    try:
        model = ancestral.Model.from_tensors(
            "FVSBN", {"n_dims": 1, "order": None},
            {"weight": np.zeros((1, 1), np.float32), "bias": np.zeros(1, np.float32)},
        )
        model.sample(1, rng=0)
    except (ValueError, RuntimeError) as error:
        print(error)
    else:
        print("no error")
    """
    message = run_python(script, ANCESTRAL_ISA=isa)
    assert "ANCESTRAL_ISA" in message
    assert isa in message


def test_the_number_of_threads_from_the_environment(native_bits: str, run_python: Callable[..., str]) -> None:
    assert run_python(BITS, ANCESTRAL_NUM_THREADS="3") == native_bits
