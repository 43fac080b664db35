"""from_torch: from a trained torch module to a Model."""

from __future__ import annotations

import torch

from ancestral.model import Model
from ancestral.nn import Autoregressive


def from_torch(module: torch.nn.Module) -> Model:
    """The model that a trained `ancestral.nn` module describes, its weights copied.

    Raises TypeError if it is no such module, FormatError if its weights are not finite.
    """
    if not isinstance(module, Autoregressive):
        raise TypeError(f"module is a {type(module).__name__}; wanted a module of ancestral.nn")
    return Model.from_tensors(module.kind, module.config(), module.tensors())
