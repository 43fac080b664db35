"""What torch's derivatives and transforms ask of a call: questions that the core's way and torch's share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def in_transform() -> bool:
    """Whether a transform of torch.func is at work, which only plain operations of torch can follow."""
    active: bool = torch._C._are_functorch_transforms_active()
    return active


def values_of(x: Tensor) -> Tensor:
    """The values that a transform carries behind x, as of all calls under torch.func.vmap at once."""
    if in_transform():
        while torch._C._functorch.is_functorch_wrapped_tensor(x):
            x = torch._C._functorch.get_unwrapped(x)
    return x


def has_tangent(x: Tensor) -> bool:
    """Whether x is a dual number of torch's forward-mode derivatives."""
    return forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


def is_differentiated(x: Tensor) -> bool:
    """Whether a derivative in x is asked for, in reverse or forward mode."""
    return (x.requires_grad and torch.is_grad_enabled()) or has_tangent(x)
