"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str], temporary: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` when the block ends well.

    It is a new file in the same folder, flushed to the disk and then renamed: a reader sees the old file or the new
    one, and after an exception or a crash the old one is untouched. A process that is killed leaves the new file
    behind: to find it again, name it with `temporary`, in that folder. As with `open`, a symbolic link stays one and
    leads to the new file, and a device or a pipe is written to.

    Raises OSError as `open` does, naming the file: the folder is missing, not writable, the disk is full.
    """
    path = Path(path)
    special = path.exists() and not (path.is_file() or path.is_dir())
    try:
        with open(path, "wb") if special else _renamed(path, temporary) as file:
            yield file
    except OSError as error:
        if error.errno is not None and error.filename is None:  # of a write: the system does not say of which file
            error.filename = os.fspath(path)
        raise


@contextmanager
def _renamed(path: Path, temporary: Path | None) -> Iterator[BinaryIO]:
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    # Of a length of its own: the longest name that a folder takes must still be writable.
    temporary = temporary or path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        # Not the tempfile module: its files are private to the user, ours get the permissions that `open` would give.
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
