"""from_torch: from a trained torch module to a Model."""

from __future__ import annotations

import torch

from ancestral._wrappers import unwrapped
from ancestral.model import Model


def from_torch(module: torch.nn.Module) -> Model:
    """The model that a trained `ancestral.nn` module describes, its weights copied.

    The module may be wrapped by DataParallel, DistributedDataParallel, AveragedModel (whose averaged weights are
    taken) or `torch.compile`.

    Raises TypeError if it is no such module, FormatError if its weights are not finite.
    """
    inner = unwrapped(module)
    return inner.model()
