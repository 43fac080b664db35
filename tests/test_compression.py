"""Lossless compression: rows come back, bytes are few and the same everywhere, any part can be had on its own."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancestral
import references
from support import compressed_file, golden_files
from support.cases import Case, build_case
from support.families import FVSBN, LARGE, SMALL
from test_references import cpu_has

LENGTHS = [0, 1, 7, 300]
BLOCK_LENS = [1, 5, 256]


def ideal(model: ancestral.Model, x: np.ndarray) -> float:
    """−Σ log₂ p(x) in bytes."""
    return float(-model.log_prob(x).sum() / np.log(2) / 8)


def assert_comes_back(case: Case, x: np.ndarray, block_len: int) -> bytes:
    blob = case.model.encode(x, block_len=block_len)
    decoded = case.model.decode(blob)
    assert (type(blob), decoded.dtype, decoded.shape) == (bytes, case.dtype, x.shape)
    np.testing.assert_array_equal(decoded, x)
    return blob


# --- rows come back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_len", BLOCK_LENS)
@pytest.mark.parametrize("n", LENGTHS)
def test_round_trips(n: int, block_len: int, small: Case) -> None:
    assert_comes_back(small, small.events(n), block_len)
    assert_comes_back(small, small.model.sample(n, rng=0), block_len)


@pytest.mark.parametrize("block_len", BLOCK_LENS)
@pytest.mark.parametrize("n", LENGTHS)
def test_round_trips_of_large_models(n: int, block_len: int, large: Case) -> None:
    """Here blocks are spread over threads, and rows of weights are cut."""
    assert_comes_back(large, large.events(n), block_len)
    assert_comes_back(large, large.model.sample(n, rng=0), block_len)


def test_every_event_comes_back(small: Case) -> None:
    assert_comes_back(small, small.every_event(), 100)


def test_inputs_beyond_the_near_cache_come_back(build: Callable[..., Case]) -> None:
    """FVSBN adds its inputs in stretches of 1,024."""
    case = build(FVSBN, FVSBN.config(2100), scale=20.0)
    assert_comes_back(case, case.events(19), 11)
    assert_comes_back(case, case.model.sample(19, rng=0), 11)


def test_default_block_len(small: Case) -> None:
    x = small.events(300)
    assert small.model.encode(x) == small.model.encode(x, block_len=256)


def test_any_input_that_log_prob_takes(small: Case) -> None:
    torch = pytest.importorskip("torch")
    x = small.events(12)
    blob = small.model.encode(x)
    wide = np.repeat(x, 2, axis=0)
    inputs: list[Any] = [
        wide[::2],
        np.asfortranarray(x),
        x.astype(np.int64),
        x.astype(np.float32),
        x.tolist(),
        torch.from_numpy(x),
        torch.from_numpy(x.astype(np.int64)),
        torch.from_numpy(wide)[::2],
    ]
    if small.model.n_classes == 2:
        inputs += [x.astype(bool), torch.from_numpy(x.astype(bool))]
    for rows in inputs:
        assert small.model.encode(rows) == blob


def test_the_same_model_from_elsewhere_decodes(small: Case, tmp_path: Path) -> None:
    x = small.events(5)
    blob = small.model.encode(x)
    small.model.save(tmp_path / "model.safetensors")
    for model in (ancestral.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(small.model))):
        assert model.encode(x) == blob
        np.testing.assert_array_equal(model.decode(blob), x)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda blob: memoryview(b"".join([blob, b"x"]))[:-1]])
def test_blobs_of_any_kind(kind: Callable[[bytes], Any], small: Case) -> None:
    x = small.events(5)
    np.testing.assert_array_equal(small.model.decode(kind(small.model.encode(x))), x)


# --- few bytes ---------------------------------------------------------------------------------------------


def assert_few_bytes(case: Case, x: np.ndarray, block_len: int) -> None:
    """The header, 8 bytes a block for the list and at most 8 for the end of the code; and what the coder loses, some
    1.3e-4 bits a value (codec/coder.rs), here twice that."""
    size, n_blocks = len(case.model.encode(x, block_len=block_len)), -(-len(x) // block_len)
    expected = ideal(case.model, x)
    assert size <= 72 + 16 * n_blocks + expected + 2.6e-4 / 8 * x.size
    if np.isclose(case.model.surprise(x).max(), 0, atol=15):  # no value is rarer than the coder's 2⁻²⁴
        assert size >= 72 + 8 * n_blocks + expected * (1 - 1e-6)


@pytest.mark.parametrize("block_len", BLOCK_LENS)
def test_bytes_are_as_few_as_the_model_says(block_len: int, small: Case) -> None:
    for x in (small.events(300), small.model.sample(300, rng=0)):
        assert_few_bytes(small, x, block_len)
        size, n_blocks = len(small.model.encode(x, block_len=block_len)), -(-len(x) // block_len)
        assert size <= 1.001 * ideal(small.model, x) + 64 * n_blocks


@pytest.mark.parametrize("block_len", BLOCK_LENS)
def test_bytes_of_large_models(block_len: int, large: Case) -> None:
    for x in (large.events(300), large.model.sample(300, rng=0)):
        assert_few_bytes(large, x, block_len)
        size, n_blocks = len(large.model.encode(x, block_len=block_len)), -(-len(x) // block_len)
        assert size <= 1.001 * ideal(large.model, x) + 64 * n_blocks


@pytest.mark.parametrize("scale", [0.01, 30.0, 1000.0])
@pytest.mark.parametrize("name", LARGE)
def test_bytes_of_certain_and_uncertain_models(name: str, scale: float, build: Callable[..., Case]) -> None:
    """Where values are as good as certain, what the coder loses may be more than their −log₂ p, but not by much."""
    case = build(*LARGE[name], scale=scale)
    x = case.model.sample(2000, rng=0)
    assert_few_bytes(case, x, 500)
    assert len(case.model.encode(x, block_len=500)) <= 1.001 * ideal(case.model, x) + 64 * 4
    assert case.model.encode(x) == case.model.encode(x, block_len=256)
    assert_comes_back(case, x, 500)
    assert_comes_back(case, case.events(50), 256)  # values that the model holds for impossible


def test_rows_of_many_dimensions_stand_in_smaller_blocks() -> None:
    d = 40_000
    tensors = {"W": np.zeros((d, 1)), "c": np.zeros(1), "V": np.zeros((d, 1)), "b": np.full(d, -4.0)}
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    model = ancestral.Model.from_tensors("NADE", {"n_dims": d, "n_hidden": 1, "order": None}, tensors)
    x = np.zeros((150, d), np.uint8)  # 52 rows a block; 0.026 bits a value
    bound = 72 + 1.001 * ideal(model, x)
    blob = model.encode(x)
    assert blob == model.encode(x, block_len=(1 << 21) // d)
    assert len(blob) <= bound + 64 * 3
    assert len(model.encode(x, block_len=150)) > bound + 64
    np.testing.assert_array_equal(model.decode(blob), x)


# --- the same bytes everywhere -------------------------------------------------------------------------------


@pytest.mark.parametrize("block_len", [16, 256])
def test_threads_change_no_byte(block_len: int, large: Case) -> None:
    x = large.model.sample(300, rng=0)
    blob = large.model.encode(x, block_len=block_len, threads=1)
    for threads in (2, 3, 7, None):
        assert large.model.encode(x, block_len=block_len, threads=threads) == blob
        np.testing.assert_array_equal(large.model.decode(blob, threads=threads), x)


def test_a_block_is_coded_on_its_own(large: Case) -> None:
    """The payload of a block is that of its rows alone: a file can be put together from parts made apart."""
    x = large.events(64)
    whole = compressed_file.split(large.model.encode(x, block_len=16))
    parts = [large.model.encode(x[i : i + 16], block_len=16) for i in range(0, 64, 16)]
    assert whole.payloads == [payload for part in parts for payload in compressed_file.split(part).payloads]


BYTES = """
import hashlib, sys
import numpy as np
from support.families import LARGE
from support.families import SMALL
from support.cases import build_case

for name, (family, config) in [*SMALL.items(), *LARGE.items()]:
    for scale in (0.3, 3.0, 100.0):
        case = build_case(family, config, scale=scale)
        for x in (case.events(23), case.model.sample(23, rng=0)):
            blob = case.model.encode(x, block_len=9)
            assert (case.model.decode(blob) == x).all()
            print(name, scale, hashlib.sha256(blob).hexdigest())
"""


@pytest.fixture(scope="module")
def native_bytes(run_python: Callable[..., str]) -> str:
    return run_python(BYTES)


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bytes(
    isa: str, native_bytes: str, run_python: Callable[..., str]
) -> None:
    """And reads them back: so each reads what any other has written."""
    if not cpu_has(isa):
        pytest.skip(f"this CPU has no {isa}")
    assert run_python(BYTES, ANCESTRAL_ISA=isa) == native_bytes
    assert native_bytes.count("\n") == 6 * (len(SMALL) + len(LARGE))


@pytest.mark.parametrize("name", golden_files.FILES)
def test_files_of_earlier_releases(name: str) -> None:
    """These bytes must be read for ever. A release whose likelihoods have other bits needs another revision of the
    model's arithmetic, which the files name, and adds its own files here."""
    case, blob = references.build(name), bytes.fromhex(golden_files.FILES[name])
    rows = references.events(case)[: golden_files.N]
    np.testing.assert_array_equal(case.model.decode(blob), rows)
    assert case.model.encode(rows, block_len=golden_files.BLOCK_LEN) == blob


@pytest.mark.parametrize("name", golden_files.OF_VERSION_1)
def test_files_of_version_1(name: str) -> None:
    case, blob = references.build(name), bytes.fromhex(golden_files.OF_VERSION_1[name])
    np.testing.assert_array_equal(case.model.decode(blob), references.events(case)[: golden_files.N])


def test_the_layout_is_the_one_described(small: Case) -> None:
    """As codec/container.rs says, by a reader and a writer that know no more than that."""
    blob = small.model.encode(small.events(10), block_len=4)
    file = compressed_file.split(blob)
    assert compressed_file.join(file) == blob
    assert (file.n_samples, file.block_len, len(file.payloads)) == (10, 4, 3)
    assert (file.n_dims, file.n_classes) == (small.model.n_dims, small.model.n_classes)
    assert file.sha256 == hashlib.sha256(small.model._inner.to_bytes()).digest()


# --- any part on its own -------------------------------------------------------------------------------------

N_ROWS = 50


@pytest.fixture(scope="module")
def nade() -> Case:
    return build_case(*SMALL["nade"])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, N_ROWS + 10), st.integers(0, N_ROWS + 10) | st.none(), st.integers(1, N_ROWS + 10))
def test_any_rows(nade: Case, start: int, stop: int | None, block_len: int) -> None:
    x = nade.events(N_ROWS)
    rows = nade.model.decode(nade.model.encode(x, block_len=block_len), start=start, stop=stop)
    np.testing.assert_array_equal(rows, x[start:stop])


def test_rows_of_large_models(large: Case) -> None:
    x = large.events(300)
    blob = large.model.encode(x, block_len=16)
    for start, stop in [(0, 1), (15, 17), (16, 32), (17, 200), (299, 300), (300, None), (2**62, 2**63 - 1), (9, 4)]:
        np.testing.assert_array_equal(large.model.decode(blob, start=start, stop=stop), x[start:stop])


def test_only_the_blocks_of_the_rows_are_looked_at(nade: Case) -> None:
    x = nade.events(40)
    blob = nade.model.encode(x, block_len=8)
    ends = np.cumsum([len(payload) for payload in compressed_file.split(blob).payloads])
    damaged = bytearray(blob)
    damaged[len(blob) - ends[-1] + ends[1]] ^= 1  # block 2: rows 16 to 23
    for start, stop in [(0, 16), (24, 40), (3, 5), (39, 40), (20, 20)]:
        np.testing.assert_array_equal(nade.model.decode(damaged, start=start, stop=stop), x[start:stop])
    for start, stop in [(0, 40), (15, 17), (16, 17), (23, 24), (20, 30)]:
        with pytest.raises(ancestral.FormatError, match="block 2 of the file has been altered"):
            nade.model.decode(damaged, start=start, stop=stop)


# --- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blob", ["text", None, 5, [1, 2], np.zeros(80, np.uint8), Path("file")], ids=repr)
def test_what_is_no_blob(blob: Any, nade: Case) -> None:
    with pytest.raises(TypeError, match=f"blob is a {type(blob).__name__}; wanted the bytes"):
        nade.model.decode(blob)


@pytest.mark.parametrize("value", [0, -1, 4097, 2**32, 2**64])
def test_block_len_out_of_range(value: int, nade: Case) -> None:
    with pytest.raises(ValueError, match=f"block_len is {value}; wanted an integer from 1 to 4096"):
        nade.model.encode(nade.events(3), block_len=value)
    x = nade.events(4100)
    np.testing.assert_array_equal(nade.model.decode(nade.model.encode(x, block_len=4096)), x)


@pytest.mark.parametrize("value", [1.0, "5", None, True, [1]], ids=repr)
def test_numbers_of_the_wrong_kind(value: Any, nade: Case) -> None:
    blob = nade.model.encode(nade.events(3))
    if value is not None:
        with pytest.raises(TypeError, match=r"block_len is .*; wanted an integer"):
            nade.model.encode(nade.events(3), block_len=value)
    for name in ("start", "stop") if value is not None else ("start",):
        with pytest.raises(TypeError, match=f"{name} is .*; wanted an integer"):
            nade.model.decode(blob, **{name: value})


@pytest.mark.parametrize("value", [-1, 2**64])
def test_rows_out_of_range(value: int, nade: Case) -> None:
    for name in ("start", "stop"):
        with pytest.raises(ValueError, match=f"{name} is {value}; wanted an integer from 0"):
            nade.model.decode(nade.model.encode(nade.events(3)), **{name: value})


def test_values_that_are_no_classes(small: Case) -> None:
    x = small.events(3)
    x[1] = small.model.n_classes - 1
    x.reshape(3, -1)[2, -1] = min(small.model.n_classes, 255)
    if small.model.n_classes < 256:
        with pytest.raises(ValueError, match=rf"x\[2.*\] is {small.model.n_classes}; wanted integers from 0"):
            small.model.encode(x)
    with pytest.raises(ValueError, match="x has shape"):
        small.model.encode(np.zeros((3, *small.model.event_shape, 2), np.uint8))
