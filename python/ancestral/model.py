"""Model: a trained model, scored and sampled by the Rust core."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral import _core
from ancestral._files import replacing
from ancestral._progress import Progress, reporting

if TYPE_CHECKING:
    import torch

_LAST_INDEX = 2**63
"""One past the largest index that a sample can have."""


class Model:
    """A trained autoregressive model p(x) = ∏ p(x_i | x_<i).

    Made by `ancestral.from_torch` and `ancestral.load`. A model never changes, and may be used from many threads at
    once; it pickles and copies.

    Keywords that the methods share:

    - `rng`: an int (the same int gives the same draws, always), a `numpy.random.Generator` (which advances), or None.
    - `start`: index of the first sample. Sample i of a seed is the same whatever the call it is part of:
      `sample(10, rng=0)` equals `sample(4, rng=0)` followed by `sample(6, rng=0, start=4)`.
    - `threads`: default `ANCESTRAL_NUM_THREADS`, else the processors of this process. No result depends on it.
    - `progress`: None (a bar on a terminal when the call takes long), True, False, or a callable given (done, total).
    - `out`: the array to fill and return, as in NumPy.

    Ctrl-C stops any call; `out` is then partly filled.
    """

    __slots__ = ("__weakref__", "_inner")
    _inner: _core.Model

    def __init__(self) -> None:
        raise TypeError("a Model is made by ancestral.load, ancestral.from_torch or Model.from_tensors")

    @classmethod
    def _of(cls, inner: _core.Model) -> Model:
        model = cls.__new__(cls)
        model._inner = inner
        return model

    @classmethod
    def from_tensors(cls, kind: str, config: Mapping[str, Any], tensors: Mapping[str, ArrayLike]) -> Model:
        """A model from its parts, as they stand in a file: what `from_torch` and other trainers' exports are made of.

        `kind` is "FVSBN", "NADE" or "PixelCNN"; `config` and `tensors` are what docs/architecture.md lists for it. The
        tensors are taken as float32.

        Raises FormatError if the parts do not make a model, TypeError if a tensor does not hold floats.
        """
        for argument, value in (("config", config), ("tensors", tensors)):
            if not isinstance(value, Mapping):
                raise TypeError(f"{argument} is a {type(value).__name__}; wanted a mapping")
        arrays = {}
        for name, tensor in tensors.items():
            array = arguments.as_array(f"tensors[{name!r}]", tensor)
            if array.dtype.kind != "f":
                raise TypeError(f"tensors[{name!r}] has dtype {array.dtype}; wanted floats")
            with np.errstate(over="ignore"):  # what is too large becomes inf, and is refused as such
                arrays[str(name)] = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
        return cls._of(_core.Model.from_tensors(kind, json.dumps(dict(config)), arrays))

    @property
    def kind(self) -> str:
        """The family: "FVSBN", "NADE" or "PixelCNN"."""
        return self._inner.kind

    @property
    def config(self) -> dict[str, Any]:
        """The family's settings."""
        config: dict[str, Any] = json.loads(self._inner.config)
        return config

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self._inner.event_shape)

    @property
    def n_dims(self) -> int:
        """Dimensions of one sample."""
        return int(np.prod(self._inner.event_shape))

    @property
    def n_classes(self) -> int:
        """Values that a dimension can take: 0 to n_classes − 1."""
        return self._inner.n_classes

    @property
    def n_params(self) -> int:
        """Parameters that have an effect: masked weights are not counted."""
        return self._inner.n_params

    @property
    def order(self) -> NDArray[np.int64]:
        """The flat dimension of an event that is visited at each step, (n_dims,)."""
        order = self._inner.order
        return np.arange(self.n_dims) if order is None else np.array(order, np.int64)

    def log_prob(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """log p(x) in nats, float64 (n,).

        `x` is (n, *event_shape): integers 0 to n_classes − 1 of any dtype, as an array or a torch tensor. A contiguous
        uint8 array is not copied.

        Raises TypeError and ValueError for what is no such array, OverflowError if the model's activations leave the
        range of float32.
        """
        values = arguments.events(x, self.event_shape, self.n_classes)
        result = arguments.output("out", out, (len(values),), np.float64, avoid=values)
        n_threads = arguments.threads(threads)
        with reporting(progress, len(values), "log_prob") as report:
            self._inner.score(values, result, None, n_threads, report)
        return result

    def conditionals(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """The conditional distribution of every dimension given those before it in the model's order, float32.

        Two classes: P(x_i = 1 | x_<i), shaped as `x`. More: (*x.shape, n_classes). `x` and errors as for `log_prob`.
        """
        values = arguments.events(x, self.event_shape, self.n_classes)
        shape = values.shape if self.n_classes == 2 else (*values.shape, self.n_classes)
        result = arguments.output("out", out, shape, np.float32, avoid=values)
        n_threads = arguments.threads(threads)
        with reporting(progress, len(values), "conditionals") as report:
            self._inner.score(values, None, result, n_threads, report)
        return result

    def sample(
        self,
        n: int,
        *,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: Progress = None,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """n independent samples, uint8 (n, *event_shape), by ancestral sampling.

        Raises TypeError and ValueError for arguments that make no sense, OverflowError as `log_prob`.
        """
        count = arguments.integer("n", n, 0, _LAST_INDEX)
        x = arguments.output("out", out, (count, *self.event_shape), np.uint8)
        self._draw(x, None, rng, start, threads, progress)
        return x

    def sample_and_log_prob(
        self,
        n: int,
        *,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: Progress = None,
        out: tuple[NDArray[np.uint8], NDArray[np.float64]] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """n independent samples and their log-probabilities in nats, the same bits as `sample` and `log_prob` give.

        `out` is a pair of arrays. Errors are as for `sample`.
        """
        if out is not None and not (isinstance(out, (tuple, list)) and len(out) == 2):
            raise TypeError(f"out is {type(out).__name__}; wanted a pair of arrays (x, log_prob)")
        x_out, log_prob_out = out or (None, None)
        count = arguments.integer("n", n, 0, _LAST_INDEX)
        x = arguments.output("out[0]", x_out, (count, *self.event_shape), np.uint8)
        log_prob = arguments.output("out[1]", log_prob_out, (count,), np.float64, avoid=x)
        self._draw(x, log_prob, rng, start, threads, progress)
        return x, log_prob

    def _draw(
        self,
        x: NDArray[np.uint8],
        log_prob: NDArray[np.float64] | None,
        rng: arguments.Rng,
        start: int,
        threads: int | None,
        progress: Progress,
    ) -> None:
        start = arguments.integer("start", start, 0, _LAST_INDEX - len(x))
        n_threads = arguments.threads(threads)
        with reporting(progress, len(x), "sample") as report:
            # Last, so that a Generator does not advance in a call that fails its checks.
            seed = arguments.seed(rng)
            self._inner.draw(x, log_prob, seed, start, n_threads, report)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model to a safetensors file, whole or not at all. Equal models give equal files.

        Raises OSError as `open` does.
        """
        with replacing(path) as file:
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

    Raises OSError as `open` does, FormatError if the file does not hold a model.
    """
    data = Path(path).read_bytes()
    try:
        return _from_bytes(data)
    except _core.FormatError as error:
        raise _core.FormatError(f"{os.fspath(path)}: {error}") from None
