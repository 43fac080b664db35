"""Models and samples as files and bytes."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from numpy.typing import ArrayLike

from ancestral import _arguments as arguments
from ancestral import _core
from ancestral._files import replacing
from ancestral._progress import Progress, reporting
from ancestral._sample_file.formats import Sink, chosen
from ancestral._sample_file.part import Part
from ancestral._space import Values
from ancestral._walks.draws import Samples, batches

if TYPE_CHECKING:
    import torch

    from ancestral.model import Model

_BLOCK_VALUES = 1 << 21
"""Values that a block has by default at most: the coder loses 1.3e-4 bits a value, so 34 bytes."""


def save(self: Model, path: str | os.PathLike[str]) -> None:
    """Writes the model to a safetensors file, whole or not at all. Equal models give equal files.

    Raises OSError as `open` does, TypeError and ValueError for what is no path.
    """
    with replacing(arguments.path("path", path)) as file:
        file.write(self._inner.to_bytes())


def sample_to(
    self: Model,
    path: str | os.PathLike[str],
    n: int,
    *,
    format: Literal["npy", "arrow", "parquet"] | None = None,
    packed: bool = False,
    overwrite: bool = False,
    batch_size: int | None = None,
    rng: arguments.Rng = None,
    start: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> Path:
    """Writes the samples of `sample(n, ...)` to a file, a batch at a time, and returns its path.

    However the call was interrupted, by Ctrl-C, a kill, a full disk or a power cut, **the same call goes on where
    it stopped**, and the file has the bytes that it would have had. It gets its name when it is complete. Until
    then what there is of it lies in a folder `path + ".part"`; delete that to begin anew. With rng None the call
    goes on with the seed that it began with. At most the last second and the last batch are drawn again.

    `format`, by default that of the suffix:

    - "npy" (`.npy`): (n, *event_shape) of the model's `dtype`, which `np.load(path, mmap_mode="r")` opens without
      reading it.
    - "arrow" (`.arrow`, `.feather`: Arrow IPC) and "parquet" (`.parquet`): a column "x" of fixed-size lists of
      that dtype, one a sample, with `event_shape` as JSON in the schema's metadata. These need pyarrow. They are made
      from the complete samples at the end, so that for a while the disk must hold both.

    Parameters
    ----------
    packed : bool
        Eight dimensions in a byte, for models of two classes: rows are `np.packbits` of the flat event,
        ceil(n_dims / 8) bytes. `np.unpackbits(rows, axis=1, count=model.n_dims).reshape(-1, *model.event_shape)`
        are the samples.
    overwrite : bool
        Replace a file of this name when the new one is complete, and begin anew where what was left is of a call
        with other arguments. What is left of this call is still gone on with.
    batch_size : int, optional
        Samples drawn at once, as for `sample_batches`; the file does not depend on it.

    Raises
    ------
    TypeError, ValueError
        If an argument makes no sense; names it.
    ValueError
        If the folder is of a call with another model, n, start, rng, format or packed, of another version of this
        package, or damaged; says which.
    FileExistsError
        If there is a file of this name, and not `overwrite`.
    BlockingIOError
        If another call is writing this file.
    OSError
        As `open` does.
    ImportError
        If pyarrow is needed and missing.
    OverflowError
        As `log_prob`.
    """
    target = arguments.path("path", path)
    count = arguments.integer("n", n, 0, arguments.LAST_INDEX)
    start = arguments.integer("start", start, 0, arguments.LAST_INDEX - count)
    size = self._batch_size if batch_size is None else arguments.batch_size(batch_size, self.n_dims)
    n_threads = arguments.threads(threads)
    overwrite = arguments.flag("overwrite", overwrite)
    sink = Sink(chosen(target, format), count, self._space, arguments.flag("packed", packed))
    if sink.packed and not self._space.is_bits:
        raise ValueError(f"packed is True for a model of {self._space.most_classes} classes; wanted a model of two")
    if target.is_dir():
        raise IsADirectoryError(f"path is {str(target)!r}, a folder; wanted the name of a file")
    part = Part(target, sink.header(), sink.row_bytes)
    with reporting(progress, count, "sample") as report, part.held():
        if target.exists() and not overwrite:
            raise FileExistsError(f"{str(target)!r} exists; overwrite=True replaces it")
        asked = None if rng is None else arguments.seed(rng)
        request = {
            "model": self._inner.sha256.hex(),
            "ancestral": importlib.metadata.version("ancestral"),
            "n": count,
            "start": start,
            "seed": asked,
            "format": sink.format,
            "packed": sink.packed,
        }
        try:
            before = part.resume(request)
        except ValueError:
            if not overwrite:
                raise
            part.discard()
            before = None
        seed, done = before or (arguments.seed(asked), 0)
        left = batches(self, Samples(count, seed, start), size, n_threads, report, done)
        part.fill(request | {"seed": seed}, done, map(sink.rows, left))
        part.publish(sink.convert)
    return target


def encode(
    self: Model,
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
    that is not 1 to 4096. Memory: the bytes once more, and a copy of x unless it is contiguous and of the
    model's `dtype`.
    """
    self._need_order("encode")
    values = arguments.all_values(arguments.events(x, self._space), self._space)
    if block_len is None:
        block_len = min(_core.BLOCK_LEN, max(1, _BLOCK_VALUES // self.n_dims))
    rows = arguments.integer("block_len", block_len, 1, _core.MAX_BLOCK_LEN)
    n_threads = arguments.threads(threads)
    with reporting(progress, len(values), "encode") as report:
        return self._inner.encode(values, rows, n_threads, report)


def decode(
    self: Model,
    blob: bytes,
    *,
    start: int = 0,
    stop: int | None = None,
    threads: int | None = None,
    progress: Progress = None,
) -> Values:
    """The rows `start` to `stop` − 1 that `encode` was given, by default all: (n, *event_shape) of the model's `dtype`.

    Only the blocks that these rows stand in are looked at. As in a slice, `stop` may lie beyond the last row.

    Raises TypeError if `blob` is not bytes, FormatError (a ValueError) if it is not what `encode` returned, was
    truncated or altered, or was encoded with another model.
    """
    self._need_order("decode")
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise TypeError(f"blob is a {type(blob).__name__}; wanted the bytes that encode returned")
    try:
        blob = bytes(blob)
    except ValueError:
        raise ValueError("blob is a memoryview that was released; wanted the bytes that encode returned") from None
    first = arguments.integer("start", start, 0, arguments.LAST_INDEX)
    last = arguments.LAST_INDEX if stop is None else arguments.integer("stop", stop, 0, arguments.LAST_INDEX)
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
    x = arguments.empty((rows, *self.event_shape), self.dtype, "the number of rows in blob")
    with reporting(progress, rows, "decode") as report:
        self._inner.decode(blob, blocks.start, x, n_threads, report)
    return x[first - before : last - before]
