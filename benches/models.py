"""The models of the benchmark, with weights that draw what they are used for: digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ancestral import Model, datasets, fit, from_torch
from ancestral.nn import FVSBN, NADE, Autoregressive, PixelCNN


@dataclass(frozen=True)
class Spec:
    """A model's name in tables, what it is made of, and how long it is trained.

    The time of FVSBN and NADE depends on how many values are one: they are trained until they draw about as many as the
    data hold. That of PixelCNN depends on no weight: it stays as it was initialized.
    """

    name: str
    kind: type[Autoregressive]
    arguments: tuple[Any, ...]
    epochs: int

    def make(self, backend: str = "torch") -> Autoregressive:
        """Return the module; PixelCNN has no backend but torch."""
        return self.kind(*self.arguments, **({} if self.kind is PixelCNN else {"backend": backend}))


N_TRAIN = 2000

SPECS = (
    Spec("FVSBN", FVSBN, (784,), epochs=20),
    Spec("NADE, 500 hidden units", NADE, (784, 500), epochs=2),
    Spec("PixelCNN, 15 blocks of 16 channels", PixelCNN, ((1, 28, 28), 2, 16, 15, 32), epochs=0),
    Spec("PixelCNN, 8 blocks of 64 channels", PixelCNN, ((1, 28, 28), 2, 64, 8, 64), epochs=0),
    Spec("PixelCNN, 15 blocks of 128 channels", PixelCNN, ((1, 28, 28), 2, 128, 15, 32), epochs=0),
)
# So small that every case of `pytest benches --tiny` takes moments.
TINY = (
    Spec("FVSBN, one epoch", FVSBN, (784,), epochs=1),
    Spec("NADE, 4 hidden units", NADE, (784, 4), epochs=1),
    Spec("PixelCNN, 1 block of 2 channels", PixelCNN, ((1, 28, 28), 2, 2, 1, 2), epochs=0),
)


@dataclass(frozen=True)
class Entrant:
    """A torch module, the Rust model of the same weights, and real digits in its shape."""

    name: str
    module: Autoregressive
    model: Model
    digits: NDArray[np.uint8]

    def batch(self, n: int) -> NDArray[np.uint8]:
        """Return n digits; beyond the 5,000 that there are, they come again."""
        return np.ascontiguousarray(np.resize(self.digits, (n, *self.model.event_shape)))

    @cached_property
    def drawn(self) -> NDArray[np.uint8]:
        """Some samples of the model: fewer of a PixelCNN, whose time does not depend on them."""
        n = 100 if self.model.kind == "PixelCNN" else 1000
        return self.model.sample(n, rng=0, progress=False)


digits = cache(datasets.mnist_5k)


def prepare(spec: Spec) -> Entrant:
    torch.manual_seed(0)
    module = spec.make()
    train, valid, test = (part.reshape(-1, *module.event_shape) for part in digits())
    if spec.epochs:
        fit(module, train[:N_TRAIN], valid, epochs=spec.epochs, rng=0, progress=False)
    return Entrant(spec.name, module.requires_grad_(False), from_torch(module), np.concatenate([test, valid, train]))


def constant(kind: str, shapes: dict[str, tuple[int, ...]], config: dict[str, Any], sparse: str, ones: float) -> Model:
    """Return a model with weights of zero, each of whose values is one with the same probability.

    No walk looks at whether a weight is zero, so this is as fast as any other model of that density.
    """
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    tensors[sparse] += np.float32(np.log(ones / (1 - ones)))
    return Model.from_tensors(kind, config, tensors)


def fvsbn(n_dims: int, ones: float) -> Model:
    shapes = {"weight": (n_dims, n_dims), "bias": (n_dims,)}
    return constant("FVSBN", shapes, {"n_dims": n_dims, "order": None}, "bias", ones)


def nade(n_dims: int, n_hidden: int, ones: float) -> Model:
    shapes = {"W": (n_dims, n_hidden), "c": (n_hidden,), "V": (n_dims, n_hidden), "b": (n_dims,)}
    return constant("NADE", shapes, {"n_dims": n_dims, "n_hidden": n_hidden, "order": None}, "b", ones)
