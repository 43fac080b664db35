"""Formats of files of samples: rows in .npy; Arrow IPC and Parquet, which are made of these."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ancestral import _arguments as arguments
from ancestral._space import Space, Values

FORMATS = {".npy": "npy", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}
COLUMN = "x"

_GROUP_BYTES = 2**22
"""Of the rows that Arrow and Parquet store together. Parquet's encoder takes some fifty times that for a moment."""


def chosen(path: Path, asked: str | None) -> str:
    """The format asked for, else that of the name's suffix.

    Raises TypeError and ValueError if there is no such format, ImportError if the library for it is missing.
    """
    if asked is None:
        if (suffix := path.suffix.lower()) not in FORMATS:
            raise ValueError(f"path is {str(path)!r}; wanted a name that ends in {_listed(FORMATS)}, or a format")
        name = FORMATS[suffix]
    elif isinstance(asked, str) and asked in FORMATS.values():
        name = asked
    else:
        error = ValueError if isinstance(asked, str) else TypeError
        wanted = f"{_listed(dict.fromkeys(FORMATS.values()))}, or None"
        raise error(f"format is {arguments.brief(asked)}; wanted {wanted}")
    if name != "npy":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise ImportError(f"sample_to writes {name} files with pyarrow: pip install 'ancestral[arrow]'") from error
    return name


def _listed(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


@dataclass(frozen=True)
class Sink:
    """A file of n samples of a format, each packed to bits or not."""

    format: str
    n: int
    space: Space
    packed: bool

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """Of what is stored."""
        return np.dtype(np.uint8) if self.packed else self.space.dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a sample as it is stored."""
        return ((self.space.n_dims + 7) // 8,) if self.packed else self.space.event_shape

    @property
    def row_bytes(self) -> int:
        return math.prod(self.row_shape) * self.dtype.itemsize

    def header(self) -> bytes:
        """What comes before the rows in a .npy file."""
        file = io.BytesIO()
        shape = (self.n, *self.row_shape)
        description = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, description)
        return file.getvalue()

    def rows(self, x: Values) -> Values:
        """Samples as they are stored."""
        return np.packbits(x.reshape(len(x), -1), axis=1) if self.packed else x

    @property
    def convert(self) -> Callable[[BinaryIO, BinaryIO], None] | None:
        """What makes the file of the rows, if they are not the file."""
        return None if self.format == "npy" else self._to_arrow

    def _to_arrow(self, rows: BinaryIO, file: BinaryIO) -> None:
        """A column of fixed-size lists, some rows at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        row_len = math.prod(self.row_shape)
        row = pa.list_(pa.field("item", pa.from_numpy_dtype(self.dtype), nullable=False), row_len)
        metadata = {"event_shape": json.dumps(self.space.event_shape), "packed": json.dumps(self.packed)}
        schema = pa.schema([pa.field(COLUMN, row, nullable=False)], metadata)
        group = max(1, _GROUP_BYTES // self.row_bytes)
        # Plain in Arrow, so that it can be memory-mapped.
        arrow = self.format == "arrow"
        writer = pa.ipc.new_file(file, schema) if arrow else pq.ParquetWriter(file, schema, compression="zstd")
        with writer:
            for first in range(0, self.n, group):
                values = np.fromfile(rows, self.dtype, min(group, self.n - first) * row_len)
                column = pa.FixedSizeListArray.from_arrays(pa.array(values), type=row)
                writer.write(pa.record_batch([column], schema=schema))
