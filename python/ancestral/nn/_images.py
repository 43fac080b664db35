"""What PixelCNN and Gated PixelCNN share: the shape of images, the map of their values, the layout of logits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ancestral.nn._base import as_size


def as_image_shape(event_shape: Any) -> tuple[int, int, int]:
    """(channels, height, width) as ints, or an error that says what is wrong."""
    if not isinstance(event_shape, (tuple, list, torch.Size)):
        raise TypeError(f"event_shape must be a tuple (channels, height, width), got {event_shape!r}")
    if len(event_shape) != 3:
        raise ValueError(f"event_shape must be (channels, height, width), got {tuple(event_shape)}")
    channels, height, width = (as_size(size, f"event_shape[{i}]") for i, size in enumerate(event_shape))
    return channels, height, width


def as_affine(scale: Any, shift: Any, n_classes: int) -> tuple[float, float]:
    """The map scale · x + shift of values; by default two classes as they are, more to [-1, 1]."""
    by_default = (1.0, 0.0) if n_classes == 2 else (2 / (n_classes - 1), -1.0)
    return _as_number(scale, "input_scale", by_default[0]), _as_number(shift, "input_shift", by_default[1])


def as_kernel_size(value: Any, name: str, at_least: int = 1) -> int:
    """The size of a kernel that has a centre."""
    size = as_size(value, name, at_least)
    if size % 2 == 0:
        raise ValueError(f"{name} must be odd, got {value}")
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


def _as_number(value: Any, name: str, default: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)
