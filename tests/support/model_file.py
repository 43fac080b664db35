"""Model files taken apart and put together from the description of the format alone."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

Header = dict[str, Any]


def split(content: bytes) -> tuple[Header, bytes]:
    """The header and the data of a safetensors file: 8 bytes of length, JSON, data."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(header: Header | str | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + data


def file_of(kind: str, config: Any, tensors: dict[str, np.ndarray], graph: Any = None) -> bytes:
    """A model file: of version 2 if it has a graph."""
    codes = {"float32": "F32", "float64": "F64", "float16": "F16", "int32": "I32", "uint8": "U8"}
    metadata = {"format": "ancestral", "version": "1", "kind": kind, "config": json.dumps(config)}
    if graph is not None:
        metadata |= {"version": "2", "graph": json.dumps(graph)}
    header: Header = {"__metadata__": metadata}
    data = b""
    for name, value in tensors.items():
        end = len(data) + value.nbytes
        header[name] = {
            "dtype": codes[str(value.dtype)],
            "shape": list(value.shape),
            "data_offsets": [len(data), end],
        }
        data += value.tobytes()
    return join(header, data)
