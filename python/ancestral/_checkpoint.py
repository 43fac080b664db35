"""The file that a training run goes on from after it was killed."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ancestral._files import replacing

FORMAT = "ancestral.fit 1"


def _partial(file: Path) -> Path:
    # A name of its own for the run's one file, not a random one: what a killed run left is found and removed. Beside
    # the file that a link leads to, which may be on another disk.
    file = Path(os.path.realpath(file))
    return file.with_name(file.name + ".tmp")


def clear(file: Path) -> None:
    """Remove what a run that was killed while it wrote has left."""
    _partial(file).unlink(missing_ok=True)


def write(file: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, strings, lists and dicts: whole, or the old file stays.

    `state["identity"]` says which run it is; `read` compares it.
    """
    with replacing(file, _partial(file)) as stream:
        torch.save({"format": FORMAT, **state}, stream)


def read(file: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The state in a file, on the CPU. No code in the file is run.

    Raises ValueError if it is no such file, or of a run that differs from `identity`, whose keys are looked up in the
    file's identity and then in its state.
    """
    content = io.BytesIO(file.read_bytes())
    try:
        state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
        known = state["format"] == FORMAT
    except Exception as error:  # torch.load raises what its parsers happen to raise
        raise ValueError(f"checkpoint {str(file)!r} cannot be read as one of fit: {error}") from error
    if not known:
        raise ValueError(f"checkpoint {str(file)!r} is of another format: {state['format']!r}")
    was = state | state["identity"]
    changes = [f"{name} was {was.get(name)}, now {now}" for name, now in identity.items() if was.get(name) != now]
    if changes:
        raise ValueError(
            f"checkpoint {str(file)!r} is of another run: {'; '.join(changes)}. "
            "Name another file, or delete this one to begin anew."
        )
    return state


def fingerprint(shape: Sequence[int], parts: Iterable[Tensor]) -> str:
    """Shape and SHA-256 of the values, whose parts come in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.cpu().numpy().data)
    return f"{tuple(shape)} {digest.hexdigest()[:16]}"
