"""What `fit` trains on: examples that are read by index, or a stream of batches; always of one dtype in the end."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from ancestral import _arguments as arguments
from ancestral import _checkpoint as checkpoints
from ancestral._space import Space
from ancestral.nn._base import Autoregressive
from ancestral.nn._events import as_events

_ROOM = 2**22
"""Bytes of a memory-mapped file that are looked at together."""


class Data(ABC):
    """Batches of examples. `n_batches` is how many an epoch has, None where nobody knows before it ends."""

    n_batches: int | None

    def __init__(self, name: str, module: Autoregressive) -> None:
        self.name = name
        self.event_shape = module.event_shape
        self.space = Space(module.event_shape, module.n_classes)
        self.dtype = torch.uint8 if self.space.dtype == np.uint8 else torch.int32  # torch does little with uint16
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Give batches on this device from now on."""
        self.device = device

    @abstractmethod
    def batches(self, seed: int | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Each batch, (n, *event_shape) of `dtype`, and the weights (n,) of its examples, if there are any.

        The seed decides the order of what is read by index; None: its own order.
        """

    @abstractmethod
    def identity(self) -> str:
        """What a checkpoint knows these data by."""

    def _stored(self, rows: NDArray[Any], place: Callable[[int], str]) -> Tensor:
        """Rows of the right shape, once their values are checked. `place` says what row i is to the user."""
        good = self.space.holds(rows)
        if not good.all():
            at = tuple(map(int, np.unravel_index(np.argmin(good), rows.shape)))
            what = f"{place(at[0])} has the value {rows[at]} at {list(at[1:])}"
            raise ValueError(f"{what}; wanted {self.space.wanted}")
        return torch.from_numpy(rows.astype(np.uint8 if self.dtype == torch.uint8 else np.int32)).to(self.device)

    def _stacked(self, items: Sequence[Any], place: Callable[[int], str]) -> Tensor:
        """Examples, each an x of the event's shape, or a tuple or list that begins with it."""
        arrays = []
        for i, item in enumerate(items):
            array, where = _first(item, place(i), str(self.event_shape))
            if array.shape != self.event_shape:
                raise ValueError(f"{where} has shape {array.shape}; wanted {self.event_shape}")
            arrays.append(array)
        return self._stored(np.stack(arrays), place)


class Indexed(Data):
    """Examples that are read by index, each once an epoch, `batch_size` together."""

    weights: Tensor | None = None

    def __init__(self, name: str, module: Autoregressive, n: int, batch_size: int) -> None:
        super().__init__(name, module)
        if n == 0:
            raise ValueError(f"{name} has no examples; wanted at least one")
        self.n = n
        self.n_batches = math.ceil(n / batch_size)
        self._batch_size = batch_size

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.weights = None if self.weights is None else self.weights.to(device)

    def batches(self, seed: int | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        if seed is None:
            order = torch.arange(self.n, device="cpu")
        else:
            order = torch.randperm(self.n, generator=torch.Generator("cpu").manual_seed(seed), device="cpu")
        for indices in torch.split(order.to(self.device), self._batch_size):
            yield self._rows(indices), None if self.weights is None else self.weights[indices]

    @abstractmethod
    def _rows(self, indices: Tensor) -> Tensor:
        """The examples of these indices, which are on the device."""


class _InMemory(Indexed):
    def __init__(self, name: str, module: Autoregressive, x: Any, batch_size: int) -> None:
        events = as_events(x, module.event_shape, module.n_classes, name)
        super().__init__(name, module, len(events), batch_size)
        self._x = events.to(self.dtype).contiguous()

    def to(self, device: torch.device) -> None:
        super().to(device)
        self._x = self._x.to(device)

    def _rows(self, indices: Tensor) -> Tensor:
        return self._x[indices]

    def identity(self) -> str:
        return checkpoints.fingerprint(self._x.shape, [self._x])


class _MemoryMapped(Indexed):
    """An array in a file, of which no more than a batch is in memory at a time."""

    def __init__(self, name: str, module: Autoregressive, x: NDArray[Any], batch_size: int) -> None:
        if x.dtype.kind not in "buif":
            raise TypeError(f"{name} has dtype {x.dtype}; wanted {Space(module.event_shape, module.n_classes).wanted}")
        if x.shape[1:] != module.event_shape or x.ndim == 0:
            raise ValueError(f"{name} has shape {x.shape}; wanted ({_many(module.event_shape)})")
        super().__init__(name, module, len(x), batch_size)
        self._x = x

    def _rows(self, indices: Tensor) -> Tensor:
        return self._read(indices.numpy(force=True))

    def _read(self, indices: NDArray[np.int64]) -> Tensor:
        return self._stored(np.asarray(self._x[indices]), lambda i: f"{self.name}[{indices[i]}]")

    def identity(self) -> str:
        parts = arguments.parts(self.n, self._x.itemsize * math.prod(self.event_shape), _ROOM)
        return checkpoints.fingerprint(self._x.shape, (self._read(np.arange(p.start, p.stop)) for p in parts))


class _MapStyle(Indexed):
    """A torch Dataset: read anew in each epoch, so that whatever is random in it is drawn anew."""

    def __init__(self, name: str, module: Autoregressive, dataset: Dataset[Any], batch_size: int) -> None:
        n = _length(dataset)
        if n is None:
            raise TypeError(f"{name} is a {type(dataset).__name__}, a Dataset without a length; wanted one with len()")
        super().__init__(name, module, n, batch_size)
        self._dataset = dataset

    def _rows(self, indices: Tensor) -> Tensor:
        at = indices.tolist()
        # Both are what DataLoader calls.
        together = getattr(self._dataset, "__getitems__", None)
        items = together(at) if together else [self._dataset[i] for i in at]
        return self._stacked(items, lambda i: f"{self.name}[{at[i]}]")

    def identity(self) -> str:
        return f"{type(self._dataset).__name__} of {self.n} examples"


class _Stream(Data):
    """A DataLoader, whose items are batches, or an IterableDataset, of whose items `batch_size` are one batch."""

    def __init__(
        self, name: str, module: Autoregressive, source: DataLoader[Any] | IterableDataset[Any], batch_size: int
    ) -> None:
        super().__init__(name, module)
        self._source = source
        self._length = _length(source)
        self._batch_size = None if isinstance(source, DataLoader) else batch_size
        self.n_batches = self._length and math.ceil(self._length / (self._batch_size or 1))

    def batches(self, seed: int | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        del seed  # the source has an order of its own
        empty = True
        for x in self._loaded() if self._batch_size is None else self._grouped(self._batch_size):
            empty = False
            yield x, None
        if empty:
            what = type(self._source).__name__
            raise ValueError(f"{self.name} is a {what} that gave nothing; wanted examples each time it is iterated")

    def _loaded(self) -> Iterator[Tensor]:
        return (self._batch(batch, f"batch {at} of {self.name}") for at, batch in enumerate(self._source))

    def _batch(self, batch: Any, name: str) -> Tensor:
        rows, where = _first(batch, name, f"({_many(self.event_shape)})")
        if rows.ndim == 0 or len(rows) == 0 or rows.shape[1:] != self.event_shape:
            raise ValueError(f"{where} has shape {rows.shape}; wanted ({_many(self.event_shape)}), n >= 1")
        return self._stored(rows, lambda i: f"row {i} of {name}")

    def _grouped(self, batch_size: int) -> Iterator[Tensor]:
        examples = enumerate(self._source)
        while numbered := list(islice(examples, batch_size)):
            first, items = numbered[0][0], [item for _, item in numbered]
            yield self._stacked(items, lambda i: f"example {first + i} of {self.name}")  # noqa: B023  (called at once)

    def identity(self) -> str:
        what = type(self._source).__name__
        return what if self._length is None else f"{what} of length {self._length}"


def as_data(name: str, data: Any, module: Autoregressive, batch_size: int) -> Data:
    """Data as the user has them, or an error that names them, and what of them is wrong."""
    if type(data) is TensorDataset:  # the first tensor holds all examples, and nothing else is done to them
        data = data.tensors[0]
    if isinstance(data, (DataLoader, IterableDataset)):
        return _Stream(name, module, data, batch_size)
    if isinstance(data, Dataset):
        return _MapStyle(name, module, data, batch_size)
    if isinstance(data, np.memmap):
        return _MemoryMapped(name, module, data, batch_size)
    return _InMemory(name, module, _plain(name, data, module.event_shape), batch_size)


def set_weights(data: Data, weights: Any, dtype: torch.dtype) -> str:
    """Give each example a weight, divided by their mean; the fingerprint of the weights."""
    if not isinstance(data, Indexed):
        raise ValueError(
            f"weights go by the index of an example, and {data.name} gives batches in an order of its own; "
            "wanted None, or an array or a Dataset with len()"
        )
    array = arguments.as_array("weights", weights)
    if array.dtype.kind not in "buif":
        raise TypeError(f"weights has dtype {array.dtype}; wanted numbers")
    if array.shape != (data.n,):
        raise ValueError(f"weights has shape {array.shape}; wanted ({data.n},), one for each example of {data.name}")
    array = array.astype(np.float64)
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        at = int(np.argmin(good))
        raise ValueError(f"weights[{at}] is {array[at]}; wanted finite numbers >= 0")
    if not array.any():
        raise ValueError("weights are all 0; wanted at least one > 0")
    array /= array.max()  # so that their sum is finite
    array /= array.mean()
    values = torch.from_numpy(array)
    data.weights = values.to(dtype)
    return checkpoints.fingerprint(values.shape, [values])


def _plain(name: str, x: Any, shape: tuple[int, ...]) -> Any:
    """An array, a tensor, or a list or tuple of examples; for anything else, an error that says what it is."""
    wanted = f"an array or tensor ({_many(shape)}), a Dataset or a DataLoader"
    if isinstance(x, (list, tuple)) and any(isinstance(part, (Tensor, np.ndarray)) for part in x):
        arrays = [arguments.as_array(f"{name}[{i}]", part) for i, part in enumerate(x)]
        for i, array in enumerate(arrays):
            if array.shape != shape:
                what = f"a {type(x).__name__} whose entry {i} has shape {array.shape}"
                raise TypeError(f"{name} is {what}; wanted {wanted}; labels are left out")
        return np.stack(arrays)
    if isinstance(x, (Tensor, np.ndarray, list, tuple)):
        return x
    try:
        array = arguments.as_array(name, x)
    except TypeError:
        raise TypeError(f"{name} is a {type(x).__name__}; wanted {wanted}") from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} is a {type(x).__name__} of dtype {array.dtype}; wanted {wanted}")
    return array


def _first(item: Any, place: str, shape: str) -> tuple[NDArray[Any], str]:
    """The x of an item as an array, and what it is to the user; `shape` is for the error."""
    if isinstance(item, (tuple, list)) and len(item) > 0:
        item, place = item[0], f"the first entry of {place}"
    kind = f"{place} is a {type(item).__name__}; wanted an array or tensor {shape}, or a tuple that begins with one"
    try:
        array = arguments.as_array(place, item)
    except TypeError:
        raise TypeError(kind) from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{kind}, of numbers")
    return array, place


def _many(shape: tuple[int, ...]) -> str:
    return ", ".join(["n", *map(str, shape)])


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):  # of DataLoader: its IterableDataset has none
        return None
