"""Samples without end: batches of them, and files."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, Report, after, check, reporting
from ancestral.operations._part import Part
from ancestral.operations._sinks import Sink, chosen
from ancestral.operations.handle import LAST_INDEX, Handle


class Streams(Handle):
    """More samples than memory holds."""

    __slots__ = ()

    def sample_batches(
        self,
        n: int | None,
        batch_size: int | None = None,
        *,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: Progress = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """The samples of `sample(n, ...)` in batches, uint8 (batch_size, *event_shape), drawn as they are asked for.

        Put together they are what `sample` gives, bit for bit, whatever `batch_size` is; the last may be shorter.
        `batch_size` is by default what fills four megabytes, and at most 65,536. n None is a stream without end, of
        which there is no progress to report. A Generator is asked for its seed by this call, and not again.

        Raises TypeError and ValueError for arguments that make no sense, at once; OverflowError as `log_prob`.
        """
        check(progress)
        if n is None:
            if not (progress is None or progress is False):
                raise ValueError(f"progress is {arguments.brief(progress)}; wanted None or False where n is None")
            progress = False
            start = arguments.integer("start", start, 0, LAST_INDEX)
            count = LAST_INDEX - start
        else:
            count = arguments.integer("n", n, 0, LAST_INDEX)
            start = arguments.integer("start", start, 0, LAST_INDEX - count)
        size = self._samples_at_a_time(batch_size)
        n_threads = arguments.threads(threads)
        return self._reported(count, size, arguments.seed(rng), start, n_threads, progress)

    def sample_to(
        self,
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

        - "npy" (`.npy`): uint8 (n, *event_shape), which `np.load(path, mmap_mode="r")` opens without reading it.
        - "arrow" (`.arrow`, `.feather`: Arrow IPC) and "parquet" (`.parquet`): a column "x" of fixed-size lists of
          uint8, one a sample, with `event_shape` as JSON in the schema's metadata. These need pyarrow. They are made
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
        count = arguments.integer("n", n, 0, LAST_INDEX)
        start = arguments.integer("start", start, 0, LAST_INDEX - count)
        size = self._samples_at_a_time(batch_size)
        n_threads = arguments.threads(threads)
        overwrite = arguments.flag("overwrite", overwrite)
        sink = Sink(chosen(target, format), count, self.event_shape, arguments.flag("packed", packed))
        if sink.packed and self.n_classes != 2:
            raise ValueError(f"packed is True for a model of {self.n_classes} classes; wanted a model of two")
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
            batches = self._batches(count, size, seed, start, n_threads, report, done)
            part.fill(request | {"seed": seed}, done, map(sink.rows, batches))
            part.publish(sink.convert)
        return target

    def _samples_at_a_time(self, batch_size: int | None) -> int:
        if batch_size is None:
            return self._batch_size
        # So many that NumPy can still count the bytes of a batch.
        return arguments.integer("batch_size", batch_size, 1, (LAST_INDEX - 1) // self.n_dims)

    def _reported(
        self, n: int, size: int, seed: int, start: int, threads: int, progress: Progress
    ) -> Iterator[NDArray[np.uint8]]:
        with reporting(progress, n, "sample") as report:
            yield from self._batches(n, size, seed, start, threads, report)

    def _batches(
        self, n: int, size: int, seed: int, start: int, threads: int, report: Report, done: int = 0
    ) -> Iterator[NDArray[np.uint8]]:
        """The samples that are left of n when so many are done."""
        while done < n:
            x = np.empty((min(size, n - done), *self.event_shape), np.uint8)
            self._inner.draw(x, seed, start + done, threads, after(done, report))
            done += len(x)
            if report is not None:
                report(done)
            yield x
