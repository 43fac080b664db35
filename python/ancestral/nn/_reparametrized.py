"""Weights that a hook computes before each call of `forward`: they are stale wherever else they are read."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def reparametrize(module: nn.Module) -> None:
    """Compute the weights of torch.nn.utils.prune, and of its older weight_norm and spectral_norm, anew.

    Those of torch.nn.utils.parametrize need it not: they are computed when they are read.
    """
    for layer in module.modules():
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, (BasePruningMethod, SpectralNorm, WeightNorm)):
                hook(layer, ())
