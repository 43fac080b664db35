"""What PixelCNN and Gated PixelCNN share: the shape of images, the map of their values, the layout of logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ancestral import _arguments as arguments


def as_image_shape(event_shape: Any) -> tuple[int, int, int]:
    """(channels, height, width) as ints, or an error that says what is wrong."""
    if not isinstance(event_shape, (tuple, list, torch.Size)):
        raise TypeError(f"event_shape is {arguments.brief(event_shape)}; wanted a tuple (channels, height, width)")
    if len(event_shape) != 3:
        raise ValueError(f"event_shape is {tuple(event_shape)}; wanted (channels, height, width)")
    channels, height, width = (arguments.integer(f"event_shape[{i}]", size, 1) for i, size in enumerate(event_shape))
    return channels, height, width


def as_affine(scale: Any, shift: Any, n_classes: int) -> tuple[float, float]:
    """The map scale · x + shift of values; by default two classes as they are, more to [-1, 1]."""
    default_scale, default_shift = (1.0, 0.0) if n_classes == 2 else (2 / (n_classes - 1), -1.0)
    scale = arguments.real("input_scale", default_scale if scale is None else scale)
    return scale, arguments.real("input_shift", default_shift if shift is None else shift)


def as_kernel_size(value: Any, name: str, at_least: int = 1) -> int:
    """The size of a kernel that has a centre."""
    size = arguments.integer(name, value, at_least)
    if size % 2 == 0:
        raise ValueError(f"{name} is {size}; wanted an odd integer")
    return size


def degrees_of(n_channels: int, n_image: int) -> list[int]:
    """The degree of each of `n_channels` channels, split into as many groups as an image has channels: what is in
    group g may depend, of its own pixel, on the image channels before g."""
    return [j * n_image // n_channels - 1 for j in range(n_channels)]


def as_logits(out: Tensor, event_shape: tuple[int, ...], n_classes: int) -> Tensor:
    """Channels as the last axis of `Autoregressive.logits`: channel g * n_classes + k is class k of image channel g."""
    if n_classes == 2:
        return out
    n_image, height, width = event_shape
    return out.view(-1, n_image, n_classes, height, width).movedim(2, -1)
