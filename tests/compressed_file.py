"""Compressed files taken apart and put together from the description of the format alone."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

MAGIC = b"\x89ANCZ\r\n\x1a"
HEADER = 68
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
    payloads: list[bytes]


def sealed(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))


def split(blob: bytes) -> Compressed:
    magic, version, sha256, n, block_len, n_dims, n_classes = struct.unpack("<8sI32sQIII", blob[: HEADER - 4])
    assert (magic, version) == (MAGIC, 1)
    index = HEADER + ENTRY * -(-n // block_len)
    payloads, at = [], index + 4
    for length, _ in struct.iter_unpack("<II", blob[HEADER:index]):
        payloads.append(blob[at : at + length])
        at += length
    assert at == len(blob)
    return Compressed(sha256, n, block_len, n_dims, n_classes, payloads)


def join(file: Compressed, version: int = 1) -> bytes:
    """A file with right checksums, whatever it claims."""
    *numbers, payloads = file
    index = b"".join(struct.pack("<II", len(payload), zlib.crc32(payload)) for payload in payloads)
    header = struct.pack("<8sI32sQIII", MAGIC, version, *numbers)
    return sealed(header) + sealed(index) + b"".join(payloads)


def repeated(blob: bytes, times: int) -> bytes:
    """The same rows again and again; they must fill their blocks."""
    file = split(blob)
    return join(file._replace(n_samples=file.n_samples * times, payloads=file.payloads * times))
