"""What is not a whole compressed file of this very model is refused: a FormatError, never wrong rows or a crash."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancestral
from support import compressed_file
from support.cases import Case, build_case
from support.families import FEW, FVSBN, LARGE, SMALL, PixelCNN


@pytest.fixture(scope="module", params=FEW)
def case(request: pytest.FixtureRequest) -> Case:
    return build_case(*SMALL[request.param])


@pytest.fixture
def blob(case: Case) -> bytes:
    """Two whole blocks and a part of one."""
    return case.model.encode(case.events(20), block_len=8)


def refused(model: ancestral.Model, blob: bytes, match: str) -> None:
    with pytest.raises(ancestral.FormatError, match=match):
        model.decode(blob)


# --- accidents -----------------------------------------------------------------------------------------------


def test_truncated_anywhere(case: Case, blob: bytes) -> None:
    refused(case.model, b"", "does not hold compressed samples")
    for length in range(1, len(blob)):
        refused(case.model, blob[:length], "^blob: the file is truncated: ")


def test_any_bit_flipped(case: Case, blob: bytes) -> None:
    index = compressed_file.HEADER + 3 * compressed_file.ENTRY + 4
    for bit in range(8 * len(blob)):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        if bit < 8 * 8:
            message = "does not hold compressed samples"
        elif bit < 12 * 8:
            message = r"format version \d+; this release reads versions 1 and 2"
        elif bit < compressed_file.HEADER * 8:
            message = "the file's header has been altered"
        elif bit < index * 8:
            message = "the file's list of blocks has been altered"
        else:
            message = r"block \d of the file has been altered: its checksum does not match"
        refused(case.model, bytes(damaged), message)


def test_trailing_bytes(case: Case, blob: bytes) -> None:
    for more in (b"\0", b"\0" * 4, b"\n", blob):
        refused(case.model, blob + more, f"the file goes on for {len(more)} bytes after its last block")


def test_blocks_that_changed_places(case: Case, blob: bytes) -> None:
    """Each has a right checksum, but not in its place."""
    file = compressed_file.split(blob)
    first, second, *rest = file.payloads
    assert first != second
    payloads = len(first + second + b"".join(rest))
    refused(case.model, blob[:-payloads] + second + first + b"".join(rest), "block [01] of the file has been altered")


FOREIGN = {
    "empty": b"",
    "zeros": bytes(200),
    "text": b"PK and so on" * 20,
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "npy": b"\x93NUMPY\x01\x00" + bytes(100),
    "sent as text": compressed_file.MAGIC.replace(b"\r\n", b"\n") + bytes(100),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_bytes(name: str, case: Case) -> None:
    refused(case.model, FOREIGN[name], "the file does not hold compressed samples of this package")


def test_a_model_file_is_no_compressed_file(case: Case) -> None:
    refused(case.model, case.model._inner.to_bytes(), "does not hold compressed samples")


@pytest.mark.parametrize("version", [0, 3, 7, 2**32 - 1])
def test_another_version(version: int, case: Case, blob: bytes) -> None:
    newer = compressed_file.join(compressed_file.split(blob), version)
    refused(case.model, newer, f"the file has format version {version}; this release reads versions 1 and 2")
    refused(case.model, newer[:12], f"format version {version}")


@pytest.mark.parametrize("revision", [0, 2, 7, 2**32 - 1])
def test_another_revision_of_the_arithmetic(revision: int, case: Case, blob: bytes) -> None:
    """Its probabilities may differ in their last bits, and the rows would be nonsense."""
    other = compressed_file.split(blob)._replace(revision=revision)
    own = case.family.revision
    message = f"compressed with revision {revision} of this model's arithmetic; this release has revision {own}"
    refused(case.model, compressed_file.join(other), message)


def test_a_file_that_names_no_revision(case: Case, blob: bytes) -> None:
    """Of version 1: read where the arithmetic is still the first one."""
    old = compressed_file.join(compressed_file.split(blob), version=1)
    assert len(old) == len(blob) - 4
    if case.family.revision > 1:
        refused(case.model, old, "format version 1, which does not name a revision of the model's arithmetic; this")
    else:
        np.testing.assert_array_equal(case.model.decode(old), case.model.decode(blob))


def test_another_model(case: Case, blob: bytes) -> None:
    """Of the same shape: the hash tells. Of another: the sizes do."""
    other = build_case(case.family, case.config, seed=1).model
    begins = [model._inner.sha256[:4] for model in (case.model, other)]
    ours, theirs = ("".join(f"{byte:02x}" for byte in begin) for begin in begins)
    refused(other, blob, f"compressed with another model: its SHA-256 begins with {ours}; this model has {theirs}")
    shape = f"{case.model.n_dims} dimensions and {case.model.n_classes} classes; this model has"
    refused(build_case(*LARGE["nade"]).model, blob, f"another model: one of {shape} 200 dimensions and 2 classes")


def test_another_event_shape(build: Callable[..., Case]) -> None:
    """As many dimensions in another shape are another model."""
    wide, high = (build(PixelCNN, PixelCNN.config(shape)) for shape in [(1, 2, 6), (1, 6, 2)])
    refused(high.model, wide.model.encode(wide.events(3)), "another model: its SHA-256")


# --- attacks: the checksums are right ------------------------------------------------------------------------


def test_altered_codes(case: Case, blob: bytes) -> None:
    """Whoever makes new checksums gets other rows, or an error: rows of this model in any case."""
    file = compressed_file.split(blob)
    rng = np.random.default_rng(0)
    n_decoded = 0
    for attempt in range(30_000):
        if n_decoded and attempt >= 300:
            break
        payload = bytearray(file.payloads[0])
        for _ in range(rng.integers(1, 4)):
            payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
        forged = compressed_file.join(file._replace(payloads=[bytes(payload), *file.payloads[1:]]))
        try:
            x = case.model.decode(forged)
        except ancestral.FormatError as error:
            assert "block 0 of the file: the compressed values are damaged" in str(error)  # noqa: PT017
        else:
            n_decoded += 1
            assert x.max() < case.model.n_classes
            np.testing.assert_array_equal(x[8:], case.events(20)[8:])
    assert n_decoded > 0


@pytest.mark.parametrize("change", [b"", b"\0", b"\0" * 4, b"\xff" * 40], ids=len)
def test_codes_of_the_wrong_length(change: bytes, case: Case, blob: bytes) -> None:
    file = compressed_file.split(blob)
    for payload in (change, file.payloads[0] + change * 2 + b"\1"):
        forged = compressed_file.join(file._replace(payloads=[payload, *file.payloads[1:]]))
        refused(case.model, forged, "^block 0 of the file: ")


CLAIMS = {
    "more samples": {"n_samples": 25},
    "fewer samples": {"n_samples": 16},
    "none": {"n_samples": 0},
    "the most samples": {"n_samples": 2**64 - 1},
    "more blocks than can be counted": {"n_samples": 2**64 - 1, "block_len": 1},
    "empty blocks": {"block_len": 0},
    "large blocks": {"block_len": 4097},
    "the largest blocks": {"block_len": 2**32 - 1},
    "more dimensions": {"n_dims": 2**32 - 1},
    "more classes": {"n_classes": 256},
    "no classes": {"n_classes": 0},
}


@pytest.mark.parametrize("name", CLAIMS)
def test_forged_headers(name: str, case: Case, blob: bytes) -> None:
    refused(case.model, compressed_file.join(compressed_file.split(blob)._replace(**CLAIMS[name])), "^blob: the file")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=120), st.integers(0, 2**64 - 1) | st.integers(0, 40), st.integers(1, 20))
def test_any_bytes_behind_a_right_header(nade: Case, rest: bytes, n_samples: int, block_len: int) -> None:
    header = compressed_file.Compressed(bytes(nade.model._inner.sha256), n_samples, block_len, 9, 2, 3, [])
    forged = compressed_file.join(header)[: compressed_file.HEADER]
    refused(nade.model, forged + rest, "^blob: the file")


@pytest.fixture(scope="module")
def nade() -> Case:
    return build_case(*SMALL["nade"])


FORGED = """
import resource
import numpy as np
import ancestral
from support import compressed_file
from support.families import SMALL
from support.cases import build_case


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


case = build_case(*SMALL["nade"])
file = compressed_file.split(case.model.encode(case.events(8192), block_len=4096))
case.model.decode(compressed_file.join(file))
before = peak()
empty = compressed_file.Compressed(file.sha256, 0, 4096, 9, 2, file.revision, [])
for claims in (
    {"n_samples": 2**64 - 1},
    {"n_samples": 2**40},
    {"n_samples": 4096 * 20_000, "payloads": [b""] * 20_000},
    {"n_samples": 4096 * 20_000, "payloads": [*file.payloads[:1], *[b""] * 19_999]},
):
    blob = compressed_file.join(empty._replace(**claims))
    try:
        case.model.decode(blob, threads=2)
    except ancestral.FormatError as error:
        print(error)
    else:
        print("no error")
print((peak() - before) // 2**20)
"""


@pytest.mark.skipif("sys.platform == 'win32'")
def test_forged_sizes_allocate_nothing(run_python: Callable[..., str]) -> None:
    """Twenty thousand empty blocks of 4,096 rows: 737 MB are claimed, and all but a block's are not touched."""
    *errors, grown = run_python(FORGED).splitlines()
    assert len(errors) == 4
    assert all("the file should" in error or "truncated" in error for error in errors[:2])
    assert all("of the file: the compressed values are damaged: they end too early" in error for error in errors[2:])
    assert int(grown) < 40


def test_more_rows_than_memory_can_hold(build: Callable[..., Case]) -> None:
    """512 rows a byte: 9 TB of a file of 8 MB. Some systems lend even that, until it is written to."""
    model = build(FVSBN, FVSBN.config(2100)).model
    blob = compressed_file.join(
        compressed_file.Compressed(bytes(model._inner.sha256), 2**32, 4096, 2100, 2, 1, [b""] * 2**20)
    )
    with pytest.raises((MemoryError, ancestral.FormatError), match=r"no room for an array|they end too early"):
        model.decode(blob)
