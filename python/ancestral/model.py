"""Model: a trained model, scored and sampled by the Rust core."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ancestral import _arguments as arguments
from ancestral import _core
from ancestral._files import replacing
from ancestral.operations.anomaly import Anomaly
from ancestral.operations.completion import Completing
from ancestral.operations.compression import Compression
from ancestral.operations.decoding import Decoding
from ancestral.operations.features import Features
from ancestral.operations.information import Information
from ancestral.operations.ranges import Ranges
from ancestral.operations.sampling import Sampling
from ancestral.operations.scoring import Scoring
from ancestral.operations.streams import Streams

_LONGEST_HEADER = 100_000_000
"""Bytes that safetensors allows."""


class Model(Information, Anomaly, Compression, Decoding, Features, Completing, Ranges, Streams, Sampling, Scoring):
    """A trained autoregressive model p(x) = ∏ p(x_i | x_<i).

    Made by `ancestral.from_torch` and `ancestral.load`. A model never changes, and may be used from many threads at
    once; it pickles and copies.

    Keywords that the methods share:

    - `rng`: an int (the same int gives the same draws, always), a `numpy.random.Generator` or `torch.Generator` of any
      device (each gives 64 bits and so advances), or None.
    - `start`: index of the first sample. Sample i of a seed is the same whatever the call it is part of:
      `sample(10, rng=0)` equals `sample(4, rng=0)` followed by `sample(6, rng=0, start=4)`.
    - `threads`: default `ANCESTRAL_NUM_THREADS`, else the processors of this process. No result depends on it.
    - `progress`: None (a bar on a terminal when the call takes long), True, False, or a callable given (done, total).
    - `out`: the array to fill and return, as in NumPy.

    Ctrl-C stops any call; `out` is then partly filled.
    """

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("a Model is made by ancestral.load, ancestral.from_torch or Model.from_tensors")

    @classmethod
    def _of(cls, inner: _core.Model) -> Model:
        model = cls.__new__(cls)
        model._inner = inner
        return model

    @classmethod
    def from_tensors(
        cls,
        kind: str,
        config: Mapping[str, Any],
        tensors: Mapping[str, ArrayLike],
        graph: Mapping[str, Any] | None = None,
    ) -> Model:
        """A model from its parts, as they stand in a file: what `from_torch` and other trainers' exports are made of.

        `kind` is "FVSBN" or "NADE", with the `config` and `tensors` that docs/architecture.md lists; or any name, with the
        `graph` of a network, which says what the tensors mean. (A "PixelCNN" may come without one, as in files of
        version 1.) The tensors are taken as float32.

        Raises FormatError if the parts do not make a model, TypeError if a tensor does not hold floats, TypeError and
        ValueError for a config that JSON cannot hold.
        """
        for argument, value in (("config", config), ("tensors", tensors), ("graph", {} if graph is None else graph)):
            if not isinstance(value, Mapping):
                raise TypeError(f"{argument} is a {type(value).__name__}; wanted a mapping")
        arrays = {}
        for name, tensor in tensors.items():
            name = arguments.text("the name of a tensor", name)
            array = arguments.as_array(f"tensors[{name!r}]", tensor)
            if array.dtype.kind != "f":
                raise TypeError(f"tensors[{name!r}] has dtype {array.dtype}; wanted floats")
            with np.errstate(over="ignore"):  # what is too large becomes inf, and is refused as such
                arrays[name] = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
        kind = arguments.text("kind", kind)
        network = None if graph is None else arguments.json_text("graph", graph)
        return cls._of(_core.Model.from_tensors(kind, arguments.json_text("config", config), arrays, network))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model to a safetensors file, whole or not at all. Equal models give equal files.

        Raises OSError as `open` does, TypeError and ValueError for what is no path.
        """
        with replacing(arguments.path("path", path)) as file:
            file.write(self._inner.to_bytes())

    def __repr__(self) -> str:
        settings = [f"{key}={_brief(value)}" for key, value in self.config.items() if value is not None]
        return f"{self.kind}({', '.join(settings)})"

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return _from_bytes, (self._inner.to_bytes(),)

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: object) -> Model:
        return self


def _brief(value: object) -> str:
    return repr(value) if not isinstance(value, list) else repr(tuple(value)) if len(value) <= 3 else "(…)"


def _from_bytes(data: bytes) -> Model:
    return Model._of(_core.Model.from_bytes(data))


def load(path: str | os.PathLike[str]) -> Model:
    """The model in a file that `Model.save` wrote. The file is checked whole first; no code in it is ever run.

    Raises OSError as `open` does, FormatError if the file does not hold a model, TypeError and ValueError for what is
    no path.
    """
    file = arguments.path("path", path)
    try:
        return _from_bytes(_read(file))
    except _core.FormatError as error:
        raise _core.FormatError(f"{os.fspath(path)}: {error}") from None


def _read(path: Path) -> bytes:
    """The bytes of a file that begins as a model does: another one may be large, or a device that never ends."""
    with path.open("rb") as file:
        head = file.peek(8)[:8]
        length = int.from_bytes(head, "little")
        if len(head) == 8 and not 2 <= length <= _LONGEST_HEADER:
            raise _core.FormatError(f"not a valid safetensors file: its header would have {length} bytes")
        return file.read()
