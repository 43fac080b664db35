"""A file in the making: its rows so far, and a journal of how many of them are safely on the disk.

They are beside the file, in a folder `NAME.part`:

    rows.npy        header and rows; those that the journal does not count are not trusted
    journal.json    what was asked for, its seed, and how many rows are done
    converted       the file, where it is made of rows.npy at the end
    lock            held by the one call that writes here

Without a journal there is nothing to go on from. The journal is replaced only after the rows it counts have been
flushed to the disk, and removed only after the file has its name.
"""

from __future__ import annotations

import errno
import json
import os
import reprlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ancestral import _arguments as arguments
from ancestral._space import Values

FORMAT = "ancestral.sample_to 1"

FLUSH_SECONDS = 1.0
"""At least so long between two flushes: what a crash may cost, beside a batch."""

_JOURNAL_BYTES = 2**16  # more than any of ours has


class Part:
    """The folder of one file, and what is done there, by whoever holds it (`held`)."""

    def __init__(self, target: Path, header: bytes, row_bytes: int) -> None:
        self._target = target
        self._header = header
        self._row_bytes = row_bytes
        self.folder = target.with_name(target.name + ".part")
        self._lock = self.folder / "lock"
        self._rows = self.folder / "rows.npy"
        self._journal = self.folder / "journal.json"
        self._new_journal = self.folder / "journal.json.tmp"
        self._converted = self.folder / "converted"

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder for this call alone; made if need be, and removed when there is nothing to go on from.

        Raises BlockingIOError if another call has it, OSError as `open` does.
        """
        with self._hold():
            try:
                yield
            finally:
                if not self._journal.exists():
                    with suppress(OSError):  # what is left does no harm, and another error matters more
                        self.discard()
                        self._lock.unlink()
                        self.folder.rmdir()

    def _hold(self) -> BinaryIO:
        import fcntl  # not on Windows, where the rest of the package may be used

        while True:
            try:
                file = open(self._lock, "ab")  # noqa: SIM115
            except FileNotFoundError:
                try:
                    self.folder.mkdir()
                except FileExistsError:  # another call has just made it, unless it is a link to nowhere
                    if self.folder.is_symlink():
                        raise
                continue
            try:
                # The kernel lets go of it however the process ends.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self._lock)):
                    return file
            except BlockingIOError:
                file.close()
                reason = "another call of sample_to is writing this file"
                raise BlockingIOError(errno.EWOULDBLOCK, reason, str(self._target)) from None
            except FileNotFoundError:
                pass
            # The call that held it has ended meanwhile, and taken the folder with it.
            file.close()

    def resume(self, request: dict[str, Any]) -> tuple[int, int] | None:
        """Seed and number of rows done of an earlier call with this request, whose seed may be None for any.

        None if there is nothing to go on from. Raises ValueError if the call was another or the files are damaged.
        """
        try:
            with open(self._journal, "rb") as file:
                content = file.read(_JOURNAL_BYTES)
        except FileNotFoundError:
            return None
        anew = f"delete {str(self.folder)!r}, or pass overwrite=True, to begin anew"
        try:
            journal = json.loads(content)
            if journal["format"] != FORMAT:
                raise ValueError(f"format is {reprlib.repr(journal['format'])}; wanted {FORMAT!r}")
            was = dict(journal["request"])
            seed = arguments.integer("seed", was["seed"], 0, 2**64 - 1)
            request = request | ({"seed": seed} if request["seed"] is None else {})
            changes = [
                f"{name} was {reprlib.repr(was.get(name))}, now {reprlib.repr(now)}"
                for name, now in request.items()
                if was.get(name) != now
            ]
            done = None if changes else arguments.integer("done", journal["done"], 0, request["n"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"{str(self._journal)!r} is not a journal of sample_to ({error!r}); {anew}") from error
        if done is None:
            raise ValueError(
                f"{str(self.folder)!r} is of another call: {'; '.join(changes)}. "
                f"Pass what it was given to go on; {anew}"
            )
        with suppress(FileNotFoundError), open(self._rows, "rb") as file:
            size = len(self._header) + done * self._row_bytes
            if file.read(len(self._header)) == self._header and os.fstat(file.fileno()).st_size >= size:
                return seed, done
        raise ValueError(f"{str(self._rows)!r} does not hold the {done} rows that its journal counts; {anew}")

    def fill(self, request: dict[str, Any], done: int, batches: Iterable[Values]) -> None:
        """Appends rows to those done, and flushes them now and then."""
        with open(self._rows, "r+b" if done else "wb") as file:
            file.write(self._header)
            file.seek(done * self._row_bytes, os.SEEK_CUR)
            file.truncate()
            flushed = time.monotonic()
            for rows in batches:
                file.write(rows.data)
                done += len(rows)
                if time.monotonic() - flushed >= FLUSH_SECONDS:
                    self._flush(file, request, done)
                    flushed = time.monotonic()
            self._flush(file, request, done)

    def _flush(self, rows: BinaryIO, request: dict[str, Any], done: int) -> None:
        _sync(rows)
        with open(self._new_journal, "wb") as file:
            file.write(json.dumps({"format": FORMAT, "request": request, "done": done}).encode())
            _sync(file)
        os.replace(self._new_journal, self._journal)

    def publish(self, convert: Callable[[BinaryIO, BinaryIO], None] | None) -> None:
        """Gives the file its name: the rows as they are, or what `convert` makes of them (from, to)."""
        product = self._rows
        if convert is not None:
            product = self._converted
            with open(self._rows, "rb") as rows, open(product, "wb") as file:
                rows.seek(len(self._header))
                convert(rows, file)
                _sync(file)
        os.replace(product, self._target)
        # The new name must be on the disk before the journal goes.
        parent = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
        self.discard()

    def discard(self) -> None:
        """Removes what there was to go on from."""
        for file in (self._journal, self._new_journal, self._rows, self._converted):
            file.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
