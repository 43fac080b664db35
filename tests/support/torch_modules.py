"""Torch modules of every family; weights and rows for them, from generators of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from ancestral.nn import Autoregressive
from support.families import FEW, SMALL, Models

Modules = dict[str, Callable[[], Autoregressive]]


def modules_of(models: Models) -> Modules:
    return {name: functools.partial(family.module, config) for name, (family, config) in models.items()}


SMALL_MODULES = modules_of(SMALL)
FEW_MODULES = modules_of(FEW)


def randomized(module: Autoregressive, seed: int = 0, scale: float = 1.0) -> Autoregressive:
    """The module, with normal weights of this scale."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * noise)
    return module


def events(module: Autoregressive, n: int = 5, seed: int = 0) -> torch.Tensor:
    """n rows of any values: uint8, or int64 where it does not hold the classes."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n, *module.event_shape)
    if isinstance(module.n_classes, int):
        dtype = torch.uint8 if module.n_classes <= 256 else torch.int64
        return torch.randint(0, module.n_classes, shape, generator=generator, dtype=dtype)
    classes = torch.tensor(module.n_classes).reshape(module.event_shape)
    return torch.randint(0, 2**32, shape, generator=generator) % classes
