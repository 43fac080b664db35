"""PixelCNN: masked convolutions over an image, pixel by pixel in raster order."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ancestral.nn._base import Autoregressive, as_size
from ancestral.nn._reparametrized import reparametrize
from ancestral.nn._transforms import in_transform
from ancestral.nn.masked_conv import MaskedConv2d


class PixelCNN(Autoregressive):
    """PixelCNN, a model of images with integer values 0 ... n_classes - 1.

    The steps go over rows, then columns, then image channels. With u = input_scale x + input_shift,

        a = conv7x7_A(u)
        a = a + up(relu(conv3x3_B(relu(down(relu(a))))))       n_blocks times; down halves the channels
        logits = head_out(relu(head_hidden(relu(a))))

    where down, up and the head are 1 x 1 convolutions with mask B. Borders are padded by zeros, in u.
    The head is Bernoulli for two classes, else a softmax over the classes.

    Parameters
    ----------
    event_shape : tuple of int
        (channels, height, width) of an image. Channels of a pixel are visited in their order, and every
        feature map is split into as many groups (see `MaskedConv2d`).
    n_classes : int
        Number of values, 2 ... 256.
    n_channels : int
        Feature channels between blocks; even, and half of them at least the image channels.
    n_blocks : int
        Residual blocks; 0 is allowed.
    n_head : int
        Channels between the two last convolutions; at least the image channels.
    input_scale, input_shift : float, optional
        The map of values that the first layer sees. Default: two classes as they are, more to [-1, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    References
    ----------
    van den Oord, Kalchbrenner and Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016.

    Examples
    --------
    >>> import torch
    >>> from ancestral.nn import PixelCNN
    >>> model = PixelCNN((1, 28, 28), n_channels=32, n_blocks=4, n_head=32)
    >>> x = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    >>> model.log_prob(x).shape
    torch.Size([2])
    >>> (-model.log_prob(x).mean()).backward()
    """

    kind: ClassVar[str] = "PixelCNN"
    default_lr: ClassVar[float] = 1e-2

    def __init__(
        self,
        event_shape: tuple[int, int, int],
        n_classes: int = 2,
        n_channels: int = 64,
        n_blocks: int = 8,
        n_head: int = 64,
        input_scale: float | None = None,
        input_shift: float | None = None,
    ) -> None:
        shape = _as_event_shape(event_shape)
        super().__init__(shape, as_size(n_classes, "n_classes", 2, 256))
        n_image = shape[0]
        self.n_channels = as_size(n_channels, "n_channels", 2 * n_image)
        if self.n_channels % 2:
            raise ValueError(f"n_channels must be even, got {n_channels}")
        self.n_blocks = as_size(n_blocks, "n_blocks", 0)
        self.n_head = as_size(n_head, "n_head", n_image)
        bits = self.n_classes == 2
        self.input_scale = _as_number(input_scale, "input_scale", 1.0 if bits else 2 / (self.n_classes - 1))
        self.input_shift = _as_number(input_shift, "input_shift", 0.0 if bits else -1.0)

        n_out = n_image if bits else n_image * self.n_classes
        self.input = MaskedConv2d(n_image, self.n_channels, 7, mask="A", groups=n_image)
        self.blocks = nn.ModuleList(_Block(self.n_channels, n_image) for _ in range(self.n_blocks))
        self.head_hidden = MaskedConv2d(self.n_channels, self.n_head, 1, mask="B", groups=n_image)
        self.head_out = MaskedConv2d(self.n_head, n_out, 1, mask="B", groups=n_image)

    def config(self) -> dict[str, Any]:
        return {
            "event_shape": list(self.event_shape),
            "n_classes": self.n_classes,
            "n_channels": self.n_channels,
            "n_blocks": self.n_blocks,
            "n_head": self.n_head,
            "input_scale": self.input_scale,
            "input_shift": self.input_shift,
        }

    def _effective(self) -> dict[str, Tensor]:
        reparametrize(self)
        weights = {}
        for name, layer in self.named_modules():
            if isinstance(layer, MaskedConv2d):
                assert layer.bias is not None
                weights[f"{name}.weight"] = layer.masked_weight()
                weights[f"{name}.bias"] = layer.bias
        return weights

    def _like(self) -> Tensor:
        return self.input.weight

    def _logits(self, x: Tensor) -> Tensor:
        a = self.input(x * self.input_scale + self.input_shift)
        if not in_transform():  # which knows no layouts
            # With channels innermost the many 1x1 convolutions are plain matrix products.
            a = a.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            a = block(a)
        logits: Tensor = self.head_out(self.head_hidden(a.relu()).relu()).contiguous()
        if self.n_classes == 2:
            return logits
        # Output channel g * n_classes + k is class k of image channel g.
        n_image, height, width = self.event_shape
        return logits.view(-1, n_image, self.n_classes, height, width).movedim(2, -1)


class _Block(nn.Module):
    """a + up(relu(conv(relu(down(relu(a))))))."""

    def __init__(self, n_channels: int, groups: int) -> None:
        super().__init__()
        half = n_channels // 2
        self.down = MaskedConv2d(n_channels, half, 1, mask="B", groups=groups)
        self.conv = MaskedConv2d(half, half, 3, mask="B", groups=groups)
        self.up = MaskedConv2d(half, n_channels, 1, mask="B", groups=groups)

    def forward(self, a: Tensor) -> Tensor:
        out: Tensor = a + self.up(self.conv(self.down(a.relu()).relu()).relu())
        return out


def _as_event_shape(event_shape: Any) -> tuple[int, int, int]:
    if not isinstance(event_shape, (tuple, list, torch.Size)):
        raise TypeError(f"event_shape must be a tuple (channels, height, width), got {event_shape!r}")
    if len(event_shape) != 3:
        raise ValueError(f"event_shape must be (channels, height, width), got {tuple(event_shape)}")
    channels, height, width = (as_size(size, f"event_shape[{i}]") for i, size in enumerate(event_shape))
    return channels, height, width


def _as_number(value: Any, name: str, default: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)
