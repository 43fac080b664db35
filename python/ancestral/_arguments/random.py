"""The argument `rng`, as in Scientific Python's SPEC 7."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ancestral._arguments.arrays import of_module
from ancestral._arguments.numbers import integer
from ancestral._arguments.strings import brief

if TYPE_CHECKING:
    import torch

Rng: TypeAlias = "int | np.random.Generator | torch.Generator | None"


def seed(rng: Rng) -> int:
    """The 64-bit seed of an `rng` argument (as in Scientific Python's SPEC 7).

    An int is the seed itself; a Generator of NumPy or torch gives its next 64 bits, so it advances; None asks the
    system.
    """
    if rng is None:
        return secrets.randbits(64)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**64, dtype=np.uint64))
    if isinstance(rng, of_module("torch", "Generator")):
        return _torch_bits(rng)
    try:
        return integer("rng", rng, 0, 2**64 - 1)
    except TypeError:
        wanted = "an int, a numpy.random.Generator, a torch.Generator or None"
        raise TypeError(f"rng is {brief(rng)} ({type(rng).__name__}); wanted {wanted}") from None


def _torch_bits(generator: torch.Generator) -> int:
    """The next 64 bits of a generator of any device."""
    import torch

    bits = torch.empty((), dtype=torch.int64, device=generator.device)
    return int(bits.random_(-(2**63), None, generator=generator)) % 2**64
