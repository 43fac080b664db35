"""Lossless compression, with the model's probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral import _core
from ancestral._progress import Progress, reporting
from ancestral.operations.handle import LAST_INDEX, Handle

if TYPE_CHECKING:
    import torch


_BLOCK_VALUES = 1 << 21
"""Values that a block has by default at most: the coder loses 1.3e-4 bits a value, so 34 bytes."""


class Compression(Handle):
    """From data to bytes and back."""

    __slots__ = ()

    def encode(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        block_len: int | None = None,
        threads: int | None = None,
        progress: Progress = None,
    ) -> bytes:
        """The rows of x in about −Σ log₂ p(x) bits, by range coding: `decode` gives them back exactly.

        The bytes hold the model's hash, the number of rows and a checksum for each block of `block_len` rows (default:
        256, or fewer of more than 8,192 dimensions). Blocks are coded on their own: small ones give more threads
        something to do and make single rows cheap to get at, large ones save bytes (each costs about 12). The same rows
        give the same bytes, whatever the threads or the machine.

        Size: −Σ log₂ p(x) bits and at most 0.1 % and 64 bytes a block more, after a header of 72 bytes, for rows that
        the model might have drawn and blocks no larger than by default. (The coder loses 1.3e-4 bits a value; no value
        takes more than 24 bits.)

        Only this very model decodes them: keep its file. `x` and errors as for `log_prob`; ValueError for a block_len
        that is not 1 to 4096. Memory: the bytes once more, and a copy of x unless it is contiguous uint8.
        """
        values = arguments.all_uint8(arguments.events(x, self.event_shape, self.n_classes), self.n_classes)
        if block_len is None:
            block_len = min(_core.BLOCK_LEN, max(1, _BLOCK_VALUES // self.n_dims))
        rows = arguments.integer("block_len", block_len, 1, _core.MAX_BLOCK_LEN)
        n_threads = arguments.threads(threads)
        with reporting(progress, len(values), "encode") as report:
            return self._inner.encode(values, rows, n_threads, report)

    def decode(
        self,
        blob: bytes,
        *,
        start: int = 0,
        stop: int | None = None,
        threads: int | None = None,
        progress: Progress = None,
    ) -> NDArray[np.uint8]:
        """The rows `start` to `stop` − 1 that `encode` was given, by default all: uint8 (n, *event_shape).

        Only the blocks that these rows stand in are looked at. As in a slice, `stop` may lie beyond the last row.

        Raises TypeError if `blob` is not bytes, FormatError (a ValueError) if it is not what `encode` returned, was
        truncated or altered, or was encoded with another model.
        """
        if not isinstance(blob, (bytes, bytearray, memoryview)):
            raise TypeError(f"blob is a {type(blob).__name__}; wanted the bytes that encode returned")
        try:
            blob = bytes(blob)
        except ValueError:
            raise ValueError("blob is a memoryview that was released; wanted the bytes that encode returned") from None
        first = arguments.integer("start", start, 0, LAST_INDEX)
        last = LAST_INDEX if stop is None else arguments.integer("stop", stop, 0, LAST_INDEX)
        n_threads = arguments.threads(threads)
        try:
            n_rows, block_len = self._inner.encoded(blob)
        except _core.FormatError as error:
            raise _core.FormatError(f"blob: {error}") from None
        last = min(last, n_rows)
        first = min(first, last)
        blocks = range(first // block_len, -(-last // block_len)) if first < last else range(0)
        before = blocks.start * block_len
        rows = max(min(blocks.stop * block_len, n_rows) - before, 0)
        x = arguments.empty((rows, *self.event_shape), np.uint8, "the number of rows in blob")
        with reporting(progress, rows, "decode") as report:
            self._inner.decode(blob, blocks.start, x, n_threads, report)
        return x[first - before : last - before]
