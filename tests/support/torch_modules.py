"""Weights and rows for torch modules, from generators of their own."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ancestral.nn import Autoregressive

TORCH_ONLY = ("gated", "pixelcnn-other")
"""What modules are called in the tests that the core does not run yet."""


def in_core(names: Iterable[str]) -> list[str]:
    """Those of the names whose modules the core runs."""
    return [name for name in names if not name.startswith(TORCH_ONLY)]


def randomized(module: Autoregressive, seed: int = 0, scale: float = 1.0) -> Autoregressive:
    """The module, with normal weights of this scale."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * noise)
    return module


def events(module: Autoregressive, n: int = 5, seed: int = 0) -> torch.Tensor:
    """n rows of any values, uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, module.n_classes, (n, *module.event_shape), generator=generator, dtype=torch.uint8)
