"""More than memory holds: sample_batches, log_prob of files and of batches."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ancestral import model as model_module
from support.cases import Case
from support.families import NADE

N_DIMS = 11  # not a multiple of eight


@pytest.fixture(scope="module")
def binary(build: Callable[..., Case]) -> Case:
    return build(NADE, NADE.config(N_DIMS, 4))


@pytest.fixture
def few_values_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long calls take a few samples at a time by themselves."""
    monkeypatch.setattr(model_module, "_BATCH_VALUES", 3 * N_DIMS + 1)


# --- sample_batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000, None])
def test_batches_are_the_samples(batch_size: int | None, binary: Case, image: Case) -> None:
    for case in (binary, image):
        batches = list(case.model.sample_batches(100, batch_size, rng=3, start=5))
        sizes = {len(batch) for batch in batches[:-1]}
        assert sizes <= {batch_size}
        assert all(batch.dtype == np.uint8 and batch.flags.owndata for batch in batches)
        np.testing.assert_array_equal(np.concatenate(batches), case.model.sample(100, rng=3, start=5))


@pytest.mark.usefixtures("few_values_at_a_time")
def test_batches_of_the_default_size(binary: Case) -> None:
    batches = list(binary.model.sample_batches(8, rng=0))
    assert [len(batch) for batch in batches] == [3, 3, 2]
    np.testing.assert_array_equal(np.concatenate(batches), binary.model.sample(8, rng=0))


def test_no_batches(binary: Case) -> None:
    assert list(binary.model.sample_batches(0)) == []


def test_a_stream_without_end(binary: Case) -> None:
    stream = binary.model.sample_batches(None, 4, rng=0, start=2)
    got = np.concatenate(list(itertools.islice(stream, 5)))
    np.testing.assert_array_equal(got, binary.model.sample(20, rng=0, start=2))
    last = list(binary.model.sample_batches(None, 4, rng=0, start=2**63 - 6))
    np.testing.assert_array_equal(np.concatenate(last), binary.model.sample(6, rng=0, start=2**63 - 6))
    with pytest.raises(ValueError, match="progress"):
        binary.model.sample_batches(None, progress=True)


def test_a_generator_is_asked_once(binary: Case, tmp_path: Path) -> None:
    one, other = np.random.default_rng(7), np.random.default_rng(7)
    expected = binary.model.sample(20, rng=one)
    batches = binary.model.sample_batches(20, 3, rng=other)
    assert other.bit_generator.state == one.bit_generator.state  # before anything was drawn
    np.testing.assert_array_equal(np.concatenate(list(batches)), expected)
    assert other.bit_generator.state == one.bit_generator.state
    path = binary.model.sample_to(tmp_path / "x.npy", 20, batch_size=3, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(np.load(path), expected)


def test_progress(binary: Case, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    calls: list[Callable[[Any], Any]] = [
        lambda progress: list(binary.model.sample_batches(10, 4, progress=progress)),
        lambda progress: binary.model.sample_to(tmp_path / "x.npy", 10, batch_size=4, progress=progress),
    ]
    for call in calls:
        heard.clear()
        call(lambda done, total: heard.append((done, total)))
        assert [done for done, _ in itertools.groupby(done for done, _ in heard)] == [4, 8, 10]
        assert {total for _, total in heard} == {10}


def test_an_unfinished_stream_closes_its_bar(binary: Case, capsys: pytest.CaptureFixture[str]) -> None:
    batches = binary.model.sample_batches(10, 2, progress=True)
    next(batches)
    del batches
    assert capsys.readouterr().err.endswith("\n")


WRONG_DRAWS: list[tuple[str, Any, type[Exception]]] = [
    ("n", -1, ValueError),
    ("n", 2.0, TypeError),
    ("n", 2**63 + 1, ValueError),
    ("batch_size", 0, ValueError),
    ("batch_size", 2.0, TypeError),
    ("batch_size", True, TypeError),
    ("batch_size", 2**63, ValueError),
    ("rng", -1, ValueError),
    ("rng", "0", TypeError),
    ("start", -1, ValueError),
    ("start", 2**63 - 1, ValueError),
    ("start", None, TypeError),
    ("threads", 0, ValueError),
    ("threads", 1.5, TypeError),
    ("progress", "yes", TypeError),
    ("progress", 1, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), WRONG_DRAWS, ids=str)
def test_wrong_arguments_of_sample_batches(name: str, value: Any, error: type[Exception], binary: Case) -> None:
    """Refused by the call, not when the first batch is asked for."""
    with pytest.raises(error, match=rf"\b{name}\b"):
        binary.model.sample_batches(**{"n": 2, name: value})


def test_more_than_memory_at_once(binary: Case) -> None:
    with pytest.raises(MemoryError):
        next(binary.model.sample_batches(2**63 - 1, 2**58))


# --- log_prob of what is large ---------------------------------------------------------------------------


@pytest.mark.usefixtures("few_values_at_a_time")
@pytest.mark.parametrize("dtype", ["?", "u1", "i1", ">i4", "i8", "f4"])
@pytest.mark.parametrize("call", ["log_prob", "conditionals"])
def test_memory_mapped_files(call: str, dtype: str, binary: Case, tmp_path: Path) -> None:
    x = binary.events(20)
    np.save(tmp_path / "x.npy", x.astype(dtype))
    for step in (1, 2, -1):
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")[::step]
        np.testing.assert_array_equal(getattr(binary.model, call)(mapped), getattr(binary.model, call)(x[::step]))


@pytest.mark.usefixtures("few_values_at_a_time")
@pytest.mark.parametrize("layout", ["i8", "f8", "strided uint8"])
def test_a_wrong_value_is_named_by_its_row_in_the_whole(layout: str, binary: Case) -> None:
    x = binary.events(20)
    x[17, 5] = 2
    wrong = np.repeat(x, 2, axis=0)[::2] if layout == "strided uint8" else x.astype(layout)
    with pytest.raises(ValueError, match=r"^x\[17, 5\] is 2(\.0)?; wanted integers from 0 to 1$"):
        binary.model.log_prob(wrong)


@pytest.mark.usefixtures("few_values_at_a_time")
def test_progress_of_log_prob_in_parts(binary: Case) -> None:
    heard: list[tuple[int, int]] = []
    binary.model.log_prob(binary.events(8).astype(int), progress=lambda *counts: heard.append(counts))
    assert [done for done, _ in itertools.groupby(done for done, _ in heard)] == [0, 3, 6, 8]
    assert {total for _, total in heard} == {8}


def peak(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_mapped_file_is_never_copied_whole(binary: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 40_000
    path = binary.model.sample_to(tmp_path / "x.npy", n, rng=0)
    mapped, out = np.load(path, mmap_mode="r"), np.empty(n)
    assert isinstance(mapped, np.memmap)
    assert peak(lambda: binary.model.log_prob(mapped, out=out)) < 20_000
    np.save(tmp_path / "wide.npy", mapped.astype(np.int64))
    wide = np.load(tmp_path / "wide.npy", mmap_mode="r")
    monkeypatch.setattr(model_module, "_BATCH_VALUES", 10_000)
    assert peak(lambda: binary.model.log_prob(wide, out=out)) < 100_000


def test_log_prob_of_batches(binary: Case) -> None:
    model, x = binary.model, binary.events(20)
    parts = [x[:5], x[5:6].tolist(), x[6:6], x[6:].astype(float)]
    for batches in (parts, iter(parts), (part for part in parts)):
        got = list(model.log_prob_batches(batches))
        assert [len(part) for part in got] == [5, 1, 0, 14]
        np.testing.assert_array_equal(np.concatenate(got), model.log_prob(x))
    drawn = np.concatenate(list(model.log_prob_batches(model.sample_batches(20, 6, rng=0))))
    np.testing.assert_array_equal(drawn, model.sample_and_log_prob(20, rng=0)[1])


def test_batches_are_taken_as_they_are_needed(binary: Case) -> None:
    taken: list[int] = []

    def batches() -> Iterator[Any]:
        for i in range(3):
            taken.append(i)
            yield binary.events(2)

    log_probs = binary.model.log_prob_batches(batches())
    assert taken == []
    next(log_probs)
    assert taken == [0]


def test_wrong_batches(binary: Case) -> None:
    good = binary.events(2)
    for wrong, error in [(None, TypeError), (3, TypeError)]:
        with pytest.raises(error, match=r"\bbatches\b"):
            binary.model.log_prob_batches(wrong)
    with pytest.raises(ValueError, match=r"\bthreads\b"):
        binary.model.log_prob_batches([good], threads=0)
    for bad, error in [(good[0], ValueError), (good + 2, ValueError), (good.astype(complex), TypeError)]:
        log_probs = binary.model.log_prob_batches([good, bad])
        next(log_probs)
        with pytest.raises(error, match=r"^batches, number 1: x\b"):
            next(log_probs)

    def broken() -> Iterator[Any]:
        yield good
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        list(binary.model.log_prob_batches(broken()))
