"""Gated PixelCNN: a stack of convolutions down the rows, and one along each row that reads it, without a blind spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral import _arguments as arguments
from ancestral.nn._base import Autoregressive
from ancestral.nn._gated_layers import GatedLayer, PlainLayer
from ancestral.nn._graph import Nodes, add, add_taps, graph_of, masked_tensors
from ancestral.nn._images import as_affine, as_image_shape, as_kernel_size, as_logits, degrees_of
from ancestral.nn._taps import Taps
from ancestral.nn._transforms import in_transform

MAX_CLASSES = 65_536
N_LAYERS = 7
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "elu": F.elu,
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
}


class GatedPixelCNN(Autoregressive):
    """Gated PixelCNN, a model of images with integer values 0 ... n_classes - 1.

    The steps go over rows, then columns, then image channels. With u = input_scale x + input_shift, or an embedding of
    the values, the vertical stack v and the horizontal stack h begin as u, and each layer is

        a = vertical(v)                    n x n, the rows above (and the row itself where it holds rows above only)
        b = link(a) + horizontal(h)        1 x 1, and 1 x n: the pixel itself and those left of it
        v = tanh(a_1) sigmoid(a_2)
        g = tanh(b_1) sigmoid(b_2)
        h = out(g) + h                     1 x 1; in the input layer, where the pixel itself must not be seen, out(g)

    where a_1, a_2 are halves of the channels. The logits are 1 x 1 convolutions of h. Borders are padded by zeros. The
    head is Bernoulli for two classes, else a softmax over the classes.

    Parameters
    ----------
    event_shape : tuple of int
        (channels, height, width) of an image. Channels of a pixel are visited in their order, and the horizontal stack
        is split into as many groups (see `MaskedConv2d`).
    n_classes : int
        Number of values, 2 ... 65,536.
    n_channels : int
        Channels of each stack; at least the image channels.
    n_layers : int, optional
        Gated layers after the input layer. Default: 7.
    n_head : int
        Channels of the head's hidden layers; at least the image channels.
    dilations : sequence of int, optional
        Of the convolutions of each layer after the input layer. Default: 1.
    input_kernel_size, kernel_size : int
        n of the input layer and of the others; odd, 3 or more.
    gated_input : bool
        Whether the input layer is as above. If not, it is v = vertical(u), h = horizontal(u).
    n_embedding : int, optional
        Channels of a learned embedding of the values, which the input layer reads instead of scaled ones.
    shifted : bool
        Whether the vertical stack sees its own row too, and `link` reads it one row above.
    vertical_residual : bool
        Whether v = tanh(a_1 + c_1) sigmoid(a_2 + c_2), where c is a 1 x 1 convolution of what `vertical` reads. (None
        in an input layer that is not shifted.)
    skip : bool
        Whether the logits are those of the sum of skip(g) over all gated layers, 1 x 1, instead of h.
    head_layers : int
        Hidden layers before the logits; 0 is allowed.
    activation : {"relu", "elu", "silu", "gelu", "tanh"}
        Before each convolution of the head.
    activation_first : bool
        Whether before the first of them too.
    input_scale, input_shift : float, optional
        The map of values that the input layer sees. Default: two classes as they are, more to [-1, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    References
    ----------
    van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and Kavukcuoglu, Conditional Image Generation with PixelCNN
    Decoders, NeurIPS 2016.

    Examples
    --------
    >>> import torch
    >>> from ancestral.nn import GatedPixelCNN
    >>> model = GatedPixelCNN((1, 28, 28), n_classes=256, n_channels=16, n_layers=2)
    >>> x = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    >>> model.log_prob(x).shape
    torch.Size([2])
    >>> (-model.log_prob(x).mean()).backward()
    """

    kind: ClassVar[str] = "GatedPixelCNN"
    default_lr: ClassVar[float] = 3e-3

    def __init__(
        self,
        event_shape: tuple[int, int, int],
        n_classes: int = 2,
        n_channels: int = 64,
        n_layers: int | None = None,
        n_head: int = 64,
        *,
        dilations: Sequence[int] | None = None,
        input_kernel_size: int = 7,
        kernel_size: int = 3,
        gated_input: bool = True,
        n_embedding: int | None = None,
        shifted: bool = False,
        vertical_residual: bool = False,
        skip: bool = False,
        head_layers: int = 1,
        activation: str = "relu",
        activation_first: bool = True,
        input_scale: float | None = None,
        input_shift: float | None = None,
    ) -> None:
        shape = as_image_shape(event_shape)
        super().__init__(shape, arguments.integer("n_classes", n_classes, 2, MAX_CLASSES))
        n_image = shape[0]
        self.n_channels = arguments.integer("n_channels", n_channels, n_image)
        self.dilations = _as_dilations(n_layers, dilations)
        self.input_kernel_size = as_kernel_size(input_kernel_size, "input_kernel_size", 3)
        self.kernel_size = as_kernel_size(kernel_size, "kernel_size", 3)
        self.gated_input = arguments.flag("gated_input", gated_input)
        self.n_embedding = None if n_embedding is None else arguments.integer("n_embedding", n_embedding, 1)
        self.shifted = arguments.flag("shifted", shifted)
        self.vertical_residual = arguments.flag("vertical_residual", vertical_residual)
        self.skip = arguments.flag("skip", skip)
        self.n_head = arguments.integer("n_head", n_head, n_image)
        self.head_layers = arguments.integer("head_layers", head_layers, 0)
        self.activation = arguments.choice("activation", activation, tuple(ACTIVATIONS))
        self.activation_first = arguments.flag("activation_first", activation_first)
        self.input_scale: float | None = None
        self.input_shift: float | None = None
        if n_embedding is None:
            self.input_scale, self.input_shift = as_affine(input_scale, input_shift, self.n_classes)
        elif input_scale is not None or input_shift is not None:
            raise ValueError("input_scale and input_shift map values, of which n_embedding has none; wanted None")

        seen = list(range(n_image))
        self.embedding: Taps | None = None
        if self.n_embedding is not None:
            values, seen = ([i for i in seen for _ in range(n)] for n in (self.n_classes, self.n_embedding))
            self.embedding = Taps(values, seen)
            nn.init.normal_(self.embedding.weight)  # of each output one weight counts
            nn.init.zeros_(self.embedding.bias)
        h = degrees_of(self.n_channels, n_image)
        v = [n_image - 1 if self.shifted else -1] * self.n_channels
        how = {"shifted": self.shifted, "skip": self.skip}
        if self.gated_input:
            size, residual = self.input_kernel_size, self.vertical_residual and self.shifted
            self.input: nn.Module = GatedLayer(seen, seen, v, h, size, is_input=True, vertical_residual=residual, **how)
        else:
            self.input = PlainLayer(seen, v, h, self.input_kernel_size, self.shifted)
        size, residual = self.kernel_size, self.vertical_residual
        self.layers = nn.ModuleList(
            GatedLayer(v, h, v, h, size, d, is_last=i + 1 == len(self.dilations), vertical_residual=residual, **how)
            for i, d in enumerate(self.dilations)
        )
        sizes = [self.n_channels, *[self.n_head] * self.head_layers, n_image * (1 if n_classes == 2 else n_classes)]
        degrees = [degrees_of(size, n_image) for size in sizes]
        self.head = nn.ModuleList(Taps(a, b) for a, b in pairwise(degrees))

    def config(self) -> dict[str, Any]:
        return {
            "event_shape": list(self.event_shape),
            "n_classes": self.n_classes,
            "n_channels": self.n_channels,
            "n_head": self.n_head,
            "dilations": list(self.dilations),
            "input_kernel_size": self.input_kernel_size,
            "kernel_size": self.kernel_size,
            "gated_input": self.gated_input,
            "n_embedding": self.n_embedding,
            "shifted": self.shifted,
            "vertical_residual": self.vertical_residual,
            "skip": self.skip,
            "head_layers": self.head_layers,
            "activation": self.activation,
            "activation_first": self.activation_first,
            "input_scale": self.input_scale,
            "input_shift": self.input_shift,
        }

    def graph(self) -> dict[str, Any]:
        """The network as a model file says it: layers, the tensors they read, and the degrees of their channels."""
        nodes: Nodes = []
        if self.embedding is None:
            nodes.append({"name": "x", "op": "values", "scale": self.input_scale, "shift": self.input_shift})
            u = "x"
        else:
            nodes.append({"name": "x", "op": "one_hot"})
            u = add_taps(nodes, "embedding", "x", self.embedding.offsets, self.embedding.degrees_out)
        v = h = u
        y: str | None = None
        for name, layer in self._layers():
            v, h, skip = layer.add_nodes(nodes, name, v, h)
            if skip is not None:
                y = skip if y is None else add(nodes, f"{name}.skips", "add", [y, skip])
        y = h if y is None else y
        seen = y
        for i, layer in enumerate(self.head):
            assert isinstance(layer, Taps)
            seen = add(nodes, f"head.{i}.{self.activation}", self.activation, y) if self._is_activated(i) else y
            y = add_taps(nodes, f"head.{i}", seen, layer.offsets, layer.degrees_out)
        return graph_of(self, nodes, output=y, features=seen)

    def _layers(self) -> list[tuple[str, Any]]:
        return [("input", self.input), *((f"layers.{i}", layer) for i, layer in enumerate(self.layers))]

    def _is_activated(self, i: int) -> bool:
        """Whether the activation stands before convolution i of the head."""
        return i > 0 or self.activation_first

    def _effective(self) -> dict[str, Tensor]:
        return masked_tensors(self)

    def _like(self) -> Tensor:
        last = self.head[-1]
        assert isinstance(last, Taps)
        return last.bias

    def _logits(self, x: Tensor) -> Tensor:
        if self.embedding is None:
            assert self.input_scale is not None
            assert self.input_shift is not None
            u = x * self.input_scale + self.input_shift
        else:
            u = self.embedding(_one_hot(x, self.n_classes))
        v = h = u
        y: Tensor | None = None
        for _, layer in self._layers():
            v, h, skip = layer(v, h)
            if layer is self.input and not in_transform():  # which knows no layouts
                # With channels innermost a 1x1 convolution is a plain matrix product.
                v, h = (stack.contiguous(memory_format=torch.channels_last) for stack in (v, h))
            if skip is not None:
                y = skip if y is None else y + skip
        y = h if y is None else y
        activation = ACTIVATIONS[self.activation]
        for i, layer in enumerate(self.head):
            y = layer(activation(y) if self._is_activated(i) else y)
        return as_logits(y.contiguous(), self.event_shape, self.n_classes)

    def extra_repr(self) -> str:
        return f"{self.event_shape}, n_classes={self.n_classes}"


def _one_hot(x: Tensor, n_classes: int) -> Tensor:
    """Channel i * n_classes + k is 1 where channel i of x is k: (n, channels * n_classes, height, width). Of bits it is
    differentiable."""
    if n_classes == 2:
        return torch.stack([1 - x, x], 2).flatten(1, 2)
    classes = torch.arange(n_classes, device=x.device).view(-1, 1, 1)
    return (x.unsqueeze(2) == classes).to(x.dtype).flatten(1, 2)


def _as_dilations(n_layers: Any, dilations: Any) -> tuple[int, ...]:
    if dilations is None:
        return (1,) * arguments.integer("n_layers", N_LAYERS if n_layers is None else n_layers, 1)
    sizes = arguments.integers("dilations", dilations, 1, "layer")
    if n_layers is not None and arguments.integer("n_layers", n_layers, 1) != len(sizes):
        raise ValueError(f"n_layers is {n_layers}, but dilations has {len(sizes)}; wanted one of them, or the same")
    return sizes
