"""The models of the benchmark, with weights that draw what they are used for: digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ancestral import Model, datasets, fit, from_torch
from ancestral.nn import FVSBN, MADE, NADE, Autoregressive, GatedPixelCNN, PixelCNN


@dataclass(frozen=True)
class Spec:
    """A model's name in tables, what it is made of, and how long it is trained.

    The time of FVSBN, NADE and MADE depends on how many values are one: they are trained until they draw about as many
    as the data hold. That of PixelCNN and Gated PixelCNN depends on no weight: they stay as they were initialized.
    """

    name: str
    kind: type[Autoregressive]
    arguments: tuple[Any, ...]
    epochs: int
    lr: float | None = None  # of that training; None: the module's default
    sizes: tuple[int, ...] | None = None  # samples at once; None: those of the pace

    def make(self, backend: str = "torch") -> Autoregressive:
        """Return the module; networks have no backend but torch."""
        return self.kind(*self.arguments, **({"backend": backend} if self.in_core else {}))

    @property
    def in_core(self) -> bool:
        """Whether the core has gradients of this kind."""
        return self.kind in (FVSBN, NADE)


N_TRAIN = 2000

SPECS = (
    Spec("FVSBN", FVSBN, (784,), epochs=20),
    Spec("NADE, 500 hidden units", NADE, (784, 500), epochs=2),
    Spec("PixelCNN, 15 blocks of 16 channels", PixelCNN, ((1, 28, 28), 2, 16, 15, 32), epochs=0),
    Spec("PixelCNN, 8 blocks of 64 channels", PixelCNN, ((1, 28, 28), 2, 64, 8, 64), epochs=0),
    Spec("PixelCNN, 15 blocks of 128 channels", PixelCNN, ((1, 28, 28), 2, 128, 15, 32), epochs=0),
    Spec("MADE, 500 hidden units", MADE, (784, (500,)), epochs=5, lr=1e-2, sizes=(1, 100, 1000)),
    Spec("MADE, 8,000 hidden units", MADE, (784, (8000,)), epochs=2, lr=3e-3, sizes=(1, 100, 1000)),
    Spec("Gated PixelCNN, 64 channels", GatedPixelCNN, ((1, 28, 28), 256, 64, 7), epochs=0, sizes=(1, 64)),
)
# So small that every case of `pytest benches --tiny` takes moments.
TINY = (
    Spec("FVSBN, one epoch", FVSBN, (784,), epochs=1),
    Spec("NADE, 4 hidden units", NADE, (784, 4), epochs=1),
    Spec("PixelCNN, 1 block of 2 channels", PixelCNN, ((1, 28, 28), 2, 2, 1, 2), epochs=0),
    Spec("MADE, 4 hidden units", MADE, (784, (4,)), epochs=1),
    Spec("Gated PixelCNN, 2 channels", GatedPixelCNN, ((1, 28, 28), 4, 2, 1, 2), epochs=0),
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
        """Some samples of the model: fewer of images, since no time depends on them."""
        n = 100 if len(self.model.event_shape) == 3 else 1000
        return self.model.sample(n, rng=0, progress=False)


digits = cache(datasets.mnist_5k)


def prepare(spec: Spec) -> Entrant:
    torch.manual_seed(0)
    module = spec.make()
    # Black is the highest class; which ones digits have changes no time.
    train, valid, test = ((module.n_classes - 1) * part.reshape(-1, *module.event_shape) for part in digits())
    if spec.epochs:
        fit(module, train[:N_TRAIN], valid, epochs=spec.epochs, lr=spec.lr, rng=0, progress=False)
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
