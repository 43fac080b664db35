"""Compressed files taken apart and put together from the description of the format alone."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

MAGIC = b"\x89ANCZ\r\n\x1a"
HEADER = 72
"""Bytes of the header with its checksum."""
ENTRY = 8
"""Bytes that a block takes in the list of blocks, which has a checksum of four bytes, too."""


class Compressed(NamedTuple):
    """What a file holds."""

    sha256: bytes
    n_samples: int
    block_len: int
    n_dims: int
    n_classes: int
    revision: int
    payloads: list[bytes]


def sealed(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))


def split(blob: bytes) -> Compressed:
    magic, version, *numbers = struct.unpack("<8sI32sQIIII", blob[: HEADER - 4])
    assert (magic, version) == (MAGIC, 2)
    _, n, block_len, *_ = numbers
    index = HEADER + ENTRY * -(-n // block_len)
    payloads, at = [], index + 4
    for length, _ in struct.iter_unpack("<II", blob[HEADER:index]):
        payloads.append(blob[at : at + length])
        at += length
    assert at == len(blob)
    return Compressed(*numbers, payloads)


def join(file: Compressed, version: int = 2) -> bytes:
    """A file with right checksums, whatever it claims. Version 1 has no revision."""
    *numbers, revision, payloads = file
    if version != 1:
        numbers.append(revision)
    index = b"".join(struct.pack("<II", len(payload), zlib.crc32(payload)) for payload in payloads)
    header = struct.pack("<8sI32sQIII" + "I" * (version != 1), MAGIC, version, *numbers)
    return sealed(header) + sealed(index) + b"".join(payloads)


def repeated(blob: bytes, times: int) -> bytes:
    """The same rows again and again; they must fill their blocks."""
    file = split(blob)
    return join(file._replace(n_samples=file.n_samples * times, payloads=file.payloads * times))
