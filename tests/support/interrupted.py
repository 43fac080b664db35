"""Calls of sample_to that are stopped half-way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ancestral

FORMATS = ["npy", "packed", "arrow", "parquet"]
N = 40


def keywords_of(format: str) -> dict[str, Any]:
    if format in ("arrow", "parquet"):
        pytest.importorskip("pyarrow")
    return {"packed": True, "format": "npy"} if format == "packed" else {"format": format}


def stopping(after: int, error: BaseException) -> Callable[[int, int], None]:
    """A progress callable that raises when so many samples are drawn."""

    def progress(done: int, total: int) -> None:
        if done >= after:
            raise error

    return progress


def interrupted(model: ancestral.Model, path: Path, n: int = N, *, after: int = 24, **keywords: Any) -> Path:
    """What a call leaves that was stopped by Ctrl-C: the folder."""
    with pytest.raises(KeyboardInterrupt):
        model.sample_to(path, n, batch_size=8, progress=stopping(after, KeyboardInterrupt()), **keywords)
    assert not path.exists()
    return path.with_name(path.name + ".part")


def first_row(model: ancestral.Model, path: Path, **keywords: Any) -> int:
    """The number of rows that a call takes from an earlier one."""
    heard: list[int] = []
    model.sample_to(path, N, batch_size=4, progress=lambda done, total: heard.append(done), **keywords)
    return heard[0] - 4
