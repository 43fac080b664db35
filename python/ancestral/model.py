"""Model: a trained model, scored and sampled by the Rust core."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral import _core
from ancestral._space import Space
from ancestral.operations import files, inference, sampling, scoring

_BATCH_VALUES = 2**22
_BATCH_SAMPLES = 2**16
_LONGEST_HEADER = 100_000_000
"""Bytes that safetensors allows."""


class Model:
    """A trained autoregressive model p(x) = ∏ p(x_i | x_<i).

    A mixture of several orders is one too, but for what takes the conditionals of one order, which raises ValueError.
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

    __slots__ = ("__weakref__", "_inner", "_space")
    if TYPE_CHECKING:  # not in help
        _inner: _core.Model
        _space: Space

    # Of given data.
    log_prob = scoring.log_prob
    log_prob_batches = scoring.log_prob_batches
    bits_per_dim = scoring.bits_per_dim
    cross_entropy = scoring.cross_entropy
    conditionals = scoring.conditionals
    surprise = scoring.surprise
    features = scoring.features
    # Draws.
    sample = sampling.sample
    sample_and_log_prob = sampling.sample_and_log_prob
    sample_batches = sampling.sample_batches
    # Of the distribution, or of a part of an event.
    entropy = inference.entropy
    typicality = inference.typicality
    complete = inference.complete
    prob_range = inference.prob_range
    log_prob_range = inference.log_prob_range
    beam_search = inference.beam_search
    # Files and bytes.
    save = files.save
    sample_to = files.sample_to
    encode = files.encode
    decode = files.decode

    def __init__(self) -> None:
        raise TypeError("a Model is made by ancestral.load, ancestral.from_torch or Model.from_tensors")

    @classmethod
    def _of(cls, inner: _core.Model) -> Model:
        model = cls.__new__(cls)
        model._inner, model._space = inner, Space(inner.event_shape, inner.n_classes)
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

        `kind` is "FVSBN" or "NADE", with the `config` and `tensors` that docs/architecture.md lists; or any name, with
        the `graph` of a network or a mixture of several, which says what the tensors mean: docs/networks.md. (A
        "PixelCNN" may come without one, as in files of version 1.) The tensors are taken as float32.

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

    @property
    def _batch_size(self) -> int:
        """Samples that a long call takes at a time, where memory is to stay small: enough to be worth a call."""
        return max(1, min(_BATCH_VALUES // self.n_dims, _BATCH_SAMPLES))

    @property
    def kind(self) -> str:
        """The family, such as "NADE": the name that a file gives it."""
        return self._inner.kind

    @property
    def config(self) -> dict[str, Any]:
        """The family's settings."""
        config: dict[str, Any] = json.loads(self._inner.config)
        return config

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self._space.event_shape

    @property
    def n_dims(self) -> int:
        """Dimensions of one sample."""
        return self._space.n_dims

    @property
    def n_classes(self) -> int | tuple[int, ...]:
        """Values that a dimension can take: 0 to n_classes − 1. Where dimensions differ, a number for each, in the
        event's flat order."""
        return self._space.n_classes

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The type of samples: the smallest unsigned one that holds the classes, uint8 up to 256 and uint16 beyond.
        Data may be of any dtype."""
        return self._space.dtype

    @property
    def n_params(self) -> int:
        """Parameters that have an effect: masked weights are not counted."""
        return self._inner.n_params

    @property
    def order(self) -> NDArray[np.int64]:
        """The flat dimension of an event that is visited at each step, (n_dims,). Of a mixture of orders (see
        `ancestral.nn.MADE`) those of its members, (n_members, n_dims)."""
        natural = np.arange(self.n_dims)
        orders = self._inner.orders
        if orders is not None:
            return np.array([natural if order is None else order for order in orders], np.int64)
        order = self._inner.order
        return natural if order is None else np.array(order, np.int64)

    def _need_order(self, what: str) -> None:
        """Raises ValueError for a mixture of orders, which lacks what takes the conditionals of one."""
        orders = self._inner.orders
        if orders is not None:
            raise ValueError(no_order(what, len(orders)))

    def _is_prefix(self, observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether the dimensions marked in each row (n, n_dims) are the first ones in the model's order."""
        steps = observed[:, self.order]
        prefix: NDArray[np.bool_] = np.all(steps[:, :-1] >= steps[:, 1:], axis=1)
        return prefix

    def __repr__(self) -> str:
        settings = [f"{key}={_brief(value)}" for key, value in self.config.items() if value is not None]
        return f"{self.kind}({', '.join(settings)})"

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return _from_bytes, (self._inner.to_bytes(),)

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: object) -> Model:
        return self


for _name, _value in vars(Model).items():
    if isinstance(_value, FunctionType):  # so that help, errors and pickles say Model, whatever file it is written in
        _value.__module__, _value.__qualname__ = __name__, f"Model.{_name}"
        _value.__annotations__.pop("self", None)


def _brief(value: object) -> str:
    if not isinstance(value, list):
        return repr(value)
    return repr(tuple(value)) if len(value) <= 3 and not any(isinstance(item, list) for item in value) else "(…)"


def no_order(what: str, n_orders: int) -> str:
    """Why a mixture of orders lacks something."""
    return (
        f"{what} needs the conditionals p(x_i | x_<i) of one order, and this is a mixture of {n_orders} orders, the "
        "mean of their joint probabilities; log_prob, sample and what rests on these alone need none"
    )


def as_model(name: str, value: object) -> Model:
    """The argument of this name, if it is a Model, and not its torch module or its file; else a TypeError."""
    if not isinstance(value, Model):
        raise TypeError(f"{name} is a {type(value).__name__}; wanted an ancestral.Model (see load, from_torch)")
    return value


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
