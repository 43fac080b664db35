"""The other arguments, n, rng, start, threads, progress and out: the right answer, or an error naming one."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral
from support.cases import Case, build_case
from support.families import FVSBN

N_DIMS = 6
CALLS = ["log_prob", "conditionals", "surprise", "features"]
DRAWS = ["sample", "sample_and_log_prob"]


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


# --- n, rng, start, threads, progress --------------------------------------------------------------------

WRONG_KEYWORDS: list[tuple[str, Any, type[Exception] | tuple[type[Exception], ...]]] = [
    ("n", -1, ValueError),
    ("n", 2.5, TypeError),
    ("n", 2.0, TypeError),
    ("n", "3", TypeError),
    ("n", None, TypeError),
    ("n", [3], TypeError),
    ("n", np.array([3]), TypeError),
    ("n", float("nan"), TypeError),
    ("n", 2**62, (ValueError, MemoryError)),
    ("n", 2**63, (ValueError, MemoryError)),
    ("n", 2**64, (ValueError, MemoryError)),
    ("n", 10**30, (ValueError, MemoryError)),
    ("n", -(2**70), ValueError),
    ("rng", -1, ValueError),
    ("rng", 2**64, ValueError),
    ("rng", 10**30, ValueError),
    ("rng", 1.5, TypeError),
    ("rng", 0.0, TypeError),
    ("rng", "0", TypeError),
    ("rng", [0], TypeError),
    ("rng", np.random.RandomState(0), TypeError),
    ("rng", np.random, TypeError),
    ("start", -1, ValueError),
    ("start", 2**64, ValueError),
    ("start", 10**30, ValueError),
    ("start", 1.0, TypeError),
    ("start", "0", TypeError),
    ("start", None, TypeError),
    ("threads", 0, ValueError),
    ("threads", -1, ValueError),
    ("threads", -(2**70), ValueError),
    ("threads", 10**30, ValueError),
    ("threads", 2.5, TypeError),
    ("threads", 1.0, TypeError),
    ("threads", "2", TypeError),
    ("temperature", True, TypeError),
    ("temperature", np.bool_(True), TypeError),
    ("temperature", "1", TypeError),
    ("temperature", b"1", TypeError),
    ("temperature", None, TypeError),
    ("temperature", 1j, TypeError),
    ("temperature", [1.0], TypeError),
    ("temperature", float("nan"), ValueError),
    ("temperature", float("inf"), ValueError),
    ("temperature", -1e-300, ValueError),
    ("temperature", -1, ValueError),
    ("temperature", 1.1e6, ValueError),
    ("temperature", 10**400, ValueError),
    ("progress", "yes", TypeError),
    ("progress", 3, TypeError),
    ("progress", [], TypeError),
]


@pytest.mark.parametrize("call", DRAWS)
@pytest.mark.parametrize(("name", "value", "error"), WRONG_KEYWORDS, ids=lambda v: str(v)[:24])
def test_wrong_keywords_of_a_draw(name: str, value: Any, error: Any, call: str, binary: Case) -> None:
    keywords = {"n": 2, "rng": 0, name: value}
    with pytest.raises(error, match=rf"\b{name}\b"):
        getattr(binary.model, call)(keywords.pop("n"), **keywords)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("name", "value", "error"), [row for row in WRONG_KEYWORDS if row[0] in ("threads", "progress")], ids=str
)
def test_wrong_keywords_of_a_score(name: str, value: Any, error: Any, call: str, binary: Case) -> None:
    with pytest.raises(error, match=rf"\b{name}\b"):
        getattr(binary.model, call)(binary.events(2), **{name: value})


def test_wrong_keywords_are_refused_even_for_no_samples(binary: Case) -> None:
    for name, value, error in WRONG_KEYWORDS:
        if name != "n":
            with pytest.raises(error, match=rf"\b{name}\b"):
                binary.model.sample(0, **{name: value})


@pytest.mark.parametrize("one", [1, np.int64(1), np.uint8(1)])
def test_integers_of_any_type(one: Any, binary: Case) -> None:
    expected = binary.model.sample(1, rng=1, start=1, threads=1)
    np.testing.assert_array_equal(binary.model.sample(one, rng=one, start=one, threads=one), expected)


def test_so_many_threads(binary: Case) -> None:
    """More threads than there is work for: refused by name, or no harm."""
    x = binary.events(20)
    expected = binary.model.log_prob(x)
    np.testing.assert_array_equal(binary.model.log_prob(x, threads=64), expected)
    with contextlib.suppress(ValueError):
        np.testing.assert_array_equal(binary.model.log_prob(x, threads=10**6), expected)


def test_a_generator_does_not_advance_in_a_call_that_is_refused(binary: Case) -> None:
    generator = np.random.default_rng(0)
    state = generator.bit_generator.state
    for name, value, error in WRONG_KEYWORDS:
        if name != "rng":
            keywords = {"n": 2, name: value}
            with pytest.raises(error):
                binary.model.sample(keywords.pop("n"), rng=generator, **keywords)
            assert generator.bit_generator.state == state, name


def test_options_are_keywords_only(binary: Case) -> None:
    with pytest.raises(TypeError):
        binary.model.sample(2, 0)
    with pytest.raises(TypeError):
        binary.model.log_prob(binary.events(2), 1)


# --- out -------------------------------------------------------------------------------------------------


def right_out(call: str, case: Case, n: int) -> Any:
    x = np.full((n, *case.model.event_shape), 77, np.uint8)
    log_prob = np.full(n, np.nan)
    if call == "surprise":
        return np.full(x.shape, np.nan, np.float32)
    if call == "features":
        return np.full((n, *case.features(case.events(1)).shape[1:]), np.nan, np.float32)
    if call == "conditionals":
        shape = x.shape if case.model.n_classes == 2 else (*x.shape, case.model.n_classes)
        return np.full(shape, np.nan, np.float32)
    return {"log_prob": log_prob, "sample": x, "sample_and_log_prob": (x, log_prob)}[call]


def invoke(call: str, case: Case, n: int, **keywords: Any) -> Any:
    if call in DRAWS:
        return getattr(case.model, call)(n, rng=0, **keywords)
    return getattr(case.model, call)(case.events(n), **keywords)


@pytest.mark.parametrize("n", [0, 1, 50])
@pytest.mark.parametrize("call", CALLS + DRAWS)
def test_out_is_filled_and_returned(call: str, n: int, binary: Case, image: Case) -> None:
    for case in (binary, image):
        out = right_out(call, case, n)
        got = invoke(call, case, n, out=out)
        expected = invoke(call, case, n)
        if call == "sample_and_log_prob":
            assert got[0] is out[0]
            assert got[1] is out[1]
            np.testing.assert_array_equal(out[0], expected[0])
            np.testing.assert_array_equal(out[1], expected[1])
        else:
            assert got is out
            np.testing.assert_array_equal(out, expected)


def test_out_may_be_part_of_a_larger_array(binary: Case) -> None:
    whole = np.full((30, N_DIMS), 9, np.uint8)
    binary.model.sample(10, rng=0, out=whole[10:20])
    np.testing.assert_array_equal(whole[10:20], binary.model.sample(10, rng=0))
    assert (whole[:10] == 9).all()
    assert (whole[20:] == 9).all()


def wrong_outs(right: np.ndarray) -> dict[str, tuple[Any, Any]]:
    swapped = right.dtype.newbyteorder("S")
    wrong = {
        "too-long": (np.zeros((len(right) + 1, *right.shape[1:]), right.dtype), ValueError),
        "too-short": (np.zeros((len(right) - 1, *right.shape[1:]), right.dtype), ValueError),
        "one-axis-more": (np.zeros((*right.shape, 1), right.dtype), ValueError),
        "int64": (np.zeros(right.shape, np.int64), TypeError),
        "float16": (np.zeros(right.shape, np.float16), TypeError),
        "object": (np.zeros(right.shape, object), TypeError),
        "complex": (np.zeros(right.shape, complex), TypeError),
        "read-only": (read_only(right), ValueError),
        "strided": (np.zeros((2 * len(right), *right.shape[1:]), right.dtype)[::2], ValueError),
        "reversed": (np.zeros(right.shape, right.dtype)[::-1], ValueError),
        "list": (right.tolist(), TypeError),
        "bytearray": (bytearray(right.nbytes), TypeError),
        "number": (3, TypeError),
    }
    if right.dtype.itemsize > 1:
        wrong["big-endian"] = (np.zeros(right.shape, swapped), TypeError)
        wrong["unaligned"] = (
            np.zeros(right.nbytes + 1, np.uint8)[1:].view(right.dtype).reshape(right.shape),
            ValueError,
        )
    if right.ndim > 1:
        wrong["fortran-order"] = (np.asfortranarray(right), ValueError)
    return wrong


@pytest.mark.parametrize("call", [*CALLS, "sample"])
def test_wrong_out(call: str, binary: Case, image: Case) -> None:
    for case in (binary, image):
        for out, error in wrong_outs(right_out(call, case, 5)).values():
            with pytest.raises(error, match=r"\bout\b"):
                invoke(call, case, 5, out=out)


def test_wrong_out_of_a_pair(binary: Case) -> None:
    x, log_prob = right_out("sample_and_log_prob", binary, 5)
    wrong = [
        (x, TypeError),
        ((x,), (TypeError, ValueError)),
        ((x, log_prob, x), (TypeError, ValueError)),
        ((log_prob, x), (TypeError, ValueError)),
        ((x, log_prob[:4]), ValueError),
        ((x[:4], log_prob), ValueError),
        ((x, read_only(log_prob)), ValueError),
    ]
    for out, error in wrong:
        with pytest.raises(error, match=r"\bout\b"):
            binary.model.sample_and_log_prob(5, rng=0, out=out)


def test_out_that_overlaps_x(binary: Case) -> None:
    """Told to write where it reads from: refused, or right all the same."""
    n = 4
    expected = binary.model.log_prob(binary.events(n))
    memory = np.zeros(n * 8, np.uint8)
    x = memory[: n * N_DIMS].reshape(n, N_DIMS)
    x[:] = binary.events(n)
    with contextlib.suppress(ValueError):
        np.testing.assert_array_equal(binary.model.log_prob(x, out=memory.view(np.float64)), expected)


def test_outs_that_overlap_each_other(binary: Case) -> None:
    n = 6
    memory = np.zeros(n * 8, np.uint8)
    out = (memory[: n * N_DIMS].reshape(n, N_DIMS), memory.view(np.float64))
    with pytest.raises(ValueError, match=r"\bout\b"):
        binary.model.sample_and_log_prob(n, rng=0, out=out)


# --- rng of torch ----------------------------------------------------------------------------------------


def seeded_calls(case: Case) -> dict[str, Callable[[Any], Any]]:
    """Every call that takes rng, as an array."""
    model, x = case.model, case.events(3)
    return {
        "sample": lambda rng: model.sample(20, rng=rng),
        "sample_and_log_prob": lambda rng: model.sample_and_log_prob(20, rng=rng)[0],
        "evidence": lambda rng: model.sample(20, evidence=np.full(N_DIMS, -1), rng=rng),
        "sample_batches": lambda rng: np.concatenate(list(model.sample_batches(20, 7, rng=rng))),
        "complete": lambda rng: model.complete(x, np.zeros(x.shape, bool), n_samples=20, rng=rng).x,
        "prob_range": lambda rng: model.prob_range(low=np.eye(N_DIMS)[-1], rng=rng).value,
        "entropy": lambda rng: model.entropy(20, rng=rng).value,
        "typicality": lambda rng: model.typicality(x, n_samples=20, rng=rng),
        "kl_divergence": lambda rng: ancestral.kl_divergence(model, other_model(), 20, rng=rng).value,
    }


def other_model() -> ancestral.Model:
    return build_case(FVSBN, FVSBN.config(N_DIMS)).model


def torch_generator(seed: int) -> Any:
    return pytest.importorskip("torch").Generator().manual_seed(seed)


def test_every_call_that_takes_rng_is_here(binary: Case) -> None:
    takes = {
        name
        for name, function in inspect.getmembers(ancestral.Model, inspect.isfunction)
        if "rng" in inspect.signature(function).parameters and not name.startswith("_")
    }
    assert takes == seeded_calls(binary).keys() - {"evidence", "kl_divergence"} | {"sample_to", "log_prob_range"}


@pytest.mark.parametrize("call", ["sample", "sample_and_log_prob", "evidence", "sample_batches", "complete",
                                  "prob_range", "entropy", "typicality", "kl_divergence"])  # fmt: skip
def test_rng_of_torch(call: str, binary: Case) -> None:
    """The same generator state gives the same draws; each call advances it."""
    draw = seeded_calls(binary)[call]
    generator = torch_generator(5)
    first, second = draw(generator), draw(generator)
    np.testing.assert_array_equal(draw(torch_generator(5)), first)
    assert not np.array_equal(first, second)


def test_rng_of_torch_gives_its_next_64_bits(binary: Case) -> None:
    torch = pytest.importorskip("torch")
    seeds = []
    generator, twin = torch_generator(3), torch_generator(3)
    for _ in range(64):
        seeds.append(int(torch.empty(1, dtype=torch.int64).random_(-(2**63), None, generator=twin)) % 2**64)
        np.testing.assert_array_equal(binary.model.sample(3, rng=generator), binary.model.sample(3, rng=seeds[-1]))
    assert torch.equal(generator.get_state(), twin.get_state())
    assert len(set(seeds)) == 64
    for bit in range(64):  # each is 0 and 1: a bit that never changed would have a chance of 2**-63
        assert {seed >> bit & 1 for seed in seeds} == {0, 1}


def test_rng_of_torch_in_a_file(binary: Case, tmp_path: Path) -> None:
    path = binary.model.sample_to(tmp_path / "x.npy", 20, rng=torch_generator(1))
    np.testing.assert_array_equal(np.load(path), binary.model.sample(20, rng=torch_generator(1)))


def test_torch_keeps_its_own_generators(binary: Case) -> None:
    """A call with a generator, a seed or None leaves the global one alone; the global one can be given too."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for rng in (torch_generator(1), 0, None):
        binary.model.sample(3, rng=rng)
        assert torch.equal(torch.get_rng_state(), state)
    first = binary.model.sample(20, rng=torch.default_generator)
    torch.manual_seed(0)
    np.testing.assert_array_equal(binary.model.sample(20, rng=torch.default_generator), first)


def test_rng_of_torch_does_not_advance_in_a_call_that_is_refused(binary: Case) -> None:
    torch = pytest.importorskip("torch")
    generator = torch_generator(0)
    state = generator.get_state()
    for name, value, error in WRONG_KEYWORDS:
        if name != "rng":
            keywords = {"n": 2, name: value}
            with pytest.raises(error):
                binary.model.sample(keywords.pop("n"), rng=generator, **keywords)
            assert torch.equal(generator.get_state(), state), name


def test_rng_of_torch_on_a_gpu(binary: Case) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    generators = [torch.Generator("cuda").manual_seed(5) for _ in range(2)]
    first, again = (binary.model.sample(20, rng=generator) for generator in generators)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(binary.model.sample(20, rng=generators[0]), first)
    x = torch.from_numpy(first).cuda()
    np.testing.assert_array_equal(binary.model.log_prob(list(x)), binary.model.log_prob(first))


@pytest.mark.parametrize("rng", [np.random.PCG64(0), np.random.SeedSequence(0), np.random.Generator, object()])
def test_wrong_rng_says_what_is_taken(rng: Any, binary: Case) -> None:
    with pytest.raises(TypeError, match=r"wanted an int, a numpy\.random\.Generator, a torch\.Generator or None"):
        binary.model.sample(2, rng=rng)
