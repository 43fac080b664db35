"""PixelCNN: masked convolutions over an image, pixel by pixel in raster order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ancestral import _arguments as arguments
from ancestral.nn._base import Autoregressive
from ancestral.nn._graph import Nodes, add, add_taps, graph_of, masked_tensors
from ancestral.nn._images import as_affine, as_image_shape, as_kernel_size, as_logits
from ancestral.nn._transforms import in_transform
from ancestral.nn.masked_conv import MaskedConv2d

RELU = ("down", "conv", "up", "head")
POSITIONS = ("input", "down", "conv", "up", "branch", "sum", "head")


class PixelCNN(Autoregressive):
    """PixelCNN, a model of images with integer values 0 ... n_classes - 1.

    The steps go over rows, then columns, then image channels. With u = input_scale x + input_shift,

        a = conv7x7_A(u)
        a = a + up(relu(conv3x3_B(relu(down(relu(a))))))       n_blocks times; down halves the channels
        logits = head_out(relu(head_hidden(relu(a))))

    where down, up and the head are 1 x 1 convolutions with mask B. Borders are padded by zeros, in u. The two sizes of
    kernels, the positions of the ReLUs and the number of the head's hidden layers can be others.
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
        Channels of the head's hidden layers; at least the image channels.
    input_scale, input_shift : float, optional
        The map of values that the first layer sees. Default: two classes as they are, more to [-1, 1].
    head_layers : int
        Hidden layers of the head, a ReLU after each; 0 is allowed.
    input_kernel_size, kernel_size : int
        Of the first convolution, and of `conv` in the blocks; odd.
    relu : sequence of str
        Where there is a ReLU: after the "input" convolution; in each block before "down", "conv" and "up", after up
        (on the "branch") and after the "sum"; before the "head".

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
        *,
        head_layers: int = 1,
        input_kernel_size: int = 7,
        kernel_size: int = 3,
        relu: Sequence[str] = RELU,
    ) -> None:
        shape = as_image_shape(event_shape)
        super().__init__(shape, arguments.integer("n_classes", n_classes, 2, 256))
        n_image = shape[0]
        self.n_channels = arguments.integer("n_channels", n_channels, 2 * n_image)
        if self.n_channels % 2:
            raise ValueError(f"n_channels is {n_channels}; wanted an even integer")
        self.n_blocks = arguments.integer("n_blocks", n_blocks, 0)
        self.n_head = arguments.integer("n_head", n_head, n_image)
        self.input_scale, self.input_shift = as_affine(input_scale, input_shift, self.n_classes)
        self.head_layers = arguments.integer("head_layers", head_layers, 0)
        self.input_kernel_size = as_kernel_size(input_kernel_size, "input_kernel_size")
        self.kernel_size = as_kernel_size(kernel_size, "kernel_size")
        self.relu = _as_positions(relu)

        def conv(n_in: int, n_out: int, size: int = 1, mask: str = "B") -> MaskedConv2d:
            return MaskedConv2d(n_in, n_out, size, mask=mask, groups=n_image)

        self.input = conv(n_image, self.n_channels, self.input_kernel_size, "A")
        self.blocks = nn.ModuleList(
            _Block(self.n_channels, n_image, self.kernel_size, self.relu) for _ in range(self.n_blocks)
        )
        sizes = [self.n_channels, *[self.n_head] * self.head_layers]
        self._hidden = ["head_hidden" if i == 0 else f"head_hidden_{i + 1}" for i in range(self.head_layers)]
        for name, n_in, n_out in zip(self._hidden, sizes[:-1], sizes[1:], strict=True):
            self.add_module(name, conv(n_in, n_out))
        self.head_out = conv(sizes[-1], n_image if self.n_classes == 2 else n_image * self.n_classes)

    def config(self) -> dict[str, Any]:
        config = {
            "event_shape": list(self.event_shape),
            "n_classes": self.n_classes,
            "n_channels": self.n_channels,
            "n_blocks": self.n_blocks,
            "n_head": self.n_head,
            "input_scale": self.input_scale,
            "input_shift": self.input_shift,
        }
        # Named where they are not the default, so that files of a default network stay what they were.
        more = {
            "head_layers": (self.head_layers, 1),
            "input_kernel_size": (self.input_kernel_size, 7),
            "kernel_size": (self.kernel_size, 3),
            "relu": (list(self.relu), list(RELU)),
        }
        return config | {name: value for name, (value, default) in more.items() if value != default}

    def graph(self) -> dict[str, Any]:
        """The network as a model file says it: layers, the tensors they read, and the degrees of their channels."""
        nodes: Nodes = [{"name": "x", "op": "values", "scale": self.input_scale, "shift": self.input_shift}]

        def conv(name: str, source: str) -> str:
            layer = self.get_submodule(name)
            assert isinstance(layer, MaskedConv2d)
            return add_taps(nodes, name, source, layer.offsets, layer.degrees)

        def relu(position: str, source: str) -> str:
            return add(nodes, f"{source}.relu", "relu", source) if position in self.relu else source

        a = relu("input", conv("input", "x"))
        for i in range(self.n_blocks):
            block = f"blocks.{i}"
            branch = conv(f"{block}.down", relu("down", a))
            branch = conv(f"{block}.conv", relu("conv", branch))
            branch = relu("branch", conv(f"{block}.up", relu("up", branch)))
            a = relu("sum", add(nodes, f"{block}.sum", "add", [a, branch]))
        a = relu("head", a)
        for name in self._hidden:
            hidden = conv(name, a)
            a = add(nodes, f"{hidden}.relu", "relu", hidden)
        return graph_of(self, nodes, output=conv("head_out", a), features=a)

    def _effective(self) -> dict[str, Tensor]:
        return masked_tensors(self)

    def _like(self) -> Tensor:
        return self.input.weight

    def _logits(self, x: Tensor) -> Tensor:
        a = self.input(x * self.input_scale + self.input_shift)
        if not in_transform():  # which knows no layouts
            # With channels innermost the many 1x1 convolutions are plain matrix products.
            a = a.contiguous(memory_format=torch.channels_last)
        if "input" in self.relu:
            a = a.relu()
        for block in self.blocks:
            a = block(a)
        if "head" in self.relu:
            a = a.relu()
        for name in self._hidden:
            a = self.get_submodule(name)(a).relu()
        return as_logits(self.head_out(a).contiguous(), self.event_shape, self.n_classes)


class _Block(nn.Module):
    """a + up(relu(conv(relu(down(relu(a)))))), with ReLUs at the positions given."""

    def __init__(self, n_channels: int, groups: int, kernel_size: int, relu: tuple[str, ...]) -> None:
        super().__init__()
        half = n_channels // 2
        self.relu = relu
        self.down = MaskedConv2d(n_channels, half, 1, mask="B", groups=groups)
        self.conv = MaskedConv2d(half, half, kernel_size, mask="B", groups=groups)
        self.up = MaskedConv2d(half, n_channels, 1, mask="B", groups=groups)

    def _relu(self, position: str, a: Tensor) -> Tensor:
        return a.relu() if position in self.relu else a

    def forward(self, a: Tensor) -> Tensor:
        branch = self.down(self._relu("down", a))
        branch = self.conv(self._relu("conv", branch))
        branch = self._relu("branch", self.up(self._relu("up", branch)))
        return self._relu("sum", a + branch)


def _as_positions(relu: Any) -> tuple[str, ...]:
    """Names of positions, each once, in the order in which they are met."""
    if isinstance(relu, str) or not isinstance(relu, Sequence):
        raise TypeError(f"relu is {arguments.brief(relu)}; wanted a sequence of names, such as {RELU}")
    for i, name in enumerate(relu):
        arguments.choice(f"relu[{i}]", name, POSITIONS)
    return tuple(name for name in POSITIONS if name in relu)
