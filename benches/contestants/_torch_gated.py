"""Gated PixelCNN in torch: one forward pass, and sampling that computes nothing twice."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.nn import Autoregressive, GatedPixelCNN
from benches.contestants import Unsupported

# What of the configuration may differ from the module's defaults here.
SIZES = {
    "event_shape",
    "n_classes",
    "n_channels",
    "n_head",
    "dilations",
    "input_kernel_size",
    "kernel_size",
    "input_scale",
    "input_shift",
}


class Layer(NamedTuple):
    """A layer's weights, both halves of a gate as one: kernels (out, in, rows, columns)."""

    vertical: Tensor
    vertical_bias: Tensor
    link: Tensor
    link_bias: Tensor
    horizontal: Tensor
    horizontal_bias: Tensor
    out: Tensor
    out_bias: Tensor


class Gated:
    """The usual Gated PixelCNN: one image channel, gates in the input layer, one hidden layer in the head."""

    def __init__(self, module: Autoregressive) -> None:
        config = module.config()
        channels, self.height, self.width = config["event_shape"]
        usual = GatedPixelCNN((1, 1, 1)).config()
        others = [name for name in config if name not in SIZES and config[name] != usual[name]]
        if channels > 1 or config["n_classes"] == 2 or set(config["dilations"]) != {1} or others:
            raise Unsupported("written for one image channel of more than two classes, and the usual layers")
        self.scale, self.shift = config["input_scale"], config["input_shift"]
        tensors = {name: tensor.detach() for name, tensor in module.tensors().items()}
        size, inner = config["input_kernel_size"], config["kernel_size"]
        names = [f"layers.{i}" for i in range(len(config["dilations"]))]
        self.layers = [_layer(tensors, "input", size // 2, size, size // 2)]
        self.layers += [_layer(tensors, name, inner // 2 + 1, inner, inner // 2 + 1) for name in names]
        self.head = [(tensors[f"head.{i}.weight"].unsqueeze(3), tensors[f"head.{i}.bias"]) for i in range(2)]

    def forward(self, x: Tensor) -> Tensor:
        """The logits (n, 1, height, width, n_classes) of values (n, 1, height, width)."""
        v = h = x * self.scale + self.shift
        for k, layer in enumerate(self.layers):
            rows, columns = layer.vertical.shape[2:]
            left = layer.horizontal.shape[3]
            own = k > 0  # whether a pixel sees itself
            above = rows - own
            a = F.conv2d(F.pad(v, (columns // 2, columns // 2, above, -1 + own)), layer.vertical, layer.vertical_bias)
            b = F.conv2d(F.pad(h, (left - own, -1 + own, 0, 0)), layer.horizontal, layer.horizontal_bias)
            g = _gate(b + F.conv2d(a, layer.link, layer.link_bias))
            out = F.conv2d(g, layer.out, layer.out_bias)
            h = out + h if own else out
            if k + 1 < len(self.layers):
                v = _gate(a)
            if not own:
                # With channels innermost a 1 x 1 convolution is a plain matrix product.
                v, h = (stack.contiguous(memory_format=torch.channels_last) for stack in (v, h))
        for weight, bias in self.head:
            h = F.conv2d(h.relu(), weight, bias)
        return h.permute(0, 2, 3, 1).unsqueeze(1)

    @torch.inference_mode()
    def sample(self, n: int) -> Tensor:
        """The vertical stack, and what it adds to the horizontal one, a row at a time; then the row pixel by pixel."""
        stacks = _Stacks(self, n)
        uniforms = torch.rand(self.height, self.width, n)
        image = torch.empty(self.height, self.width, n)
        for y in range(self.height):
            links = stacks.vertical()
            for x in range(self.width):
                mass = stacks.horizontal(links, x)
                mass = mass.sub_(mass.amax(0)).exp_().cumsum(0)
                image[y, x] = (mass < uniforms[y, x] * mass[-1]).sum(0)
                torch.mul(image[y, x], self.scale, out=stacks.centres[0][x][0]).add_(self.shift)
        return image.permute(2, 0, 1).unsqueeze(1).to(torch.uint8)


class _Stacks:
    """Both stacks of n samples, a row of each layer's inputs stored as (columns, channels, n), with zeros at the ends:
    the inputs of a window are one contiguous matrix."""

    def __init__(self, net: Gated, n: int) -> None:
        layers, width, self.n = net.layers, net.width, n
        n_channels = layers[0].out.shape[0]
        self.weights = [_Matrices.of(layer) for layer in layers]
        self.head = [(weight.flatten(1), bias[:, None]) for weight, bias in net.head]
        # Of the vertical stack all rows that a window sees, those of a column one after another.
        self.rows = [torch.zeros(width + w.shape[3] - 1, w.shape[1] * w.shape[2], n) for w, *_ in layers]
        self.lefts, self.centres, self.windows = [], [], []
        for k, layer in enumerate(layers):
            _, channels, _, taps = layer.horizontal.shape
            half = taps - (k > 0)
            row = torch.zeros(width + half, channels, n)
            self.lefts.append(row)
            self.centres.append(row.unbind()[half:])
            self.windows.append([row[x : x + taps].view(-1, n) for x in range(width)])
        self.top = torch.empty(n_channels, n)
        self.gate_and_one = torch.ones(n_channels + 1, n)  # the one takes the bias into the product

    def vertical(self) -> list[tuple[Tensor, ...]]:
        """The next row of the vertical stack; of each layer, what it adds to the pixels of the horizontal one."""
        _push(self.rows[0], self.lefts[0][len(self.lefts[0]) - len(self.centres[0]) :])
        links = []
        for k, weights in enumerate(self.weights):
            a = torch.matmul(weights.vertical, _windows(self.rows[k], weights.columns)).add_(weights.vertical_bias)
            links.append(torch.matmul(weights.link, a).add_(weights.link_bias).unbind())
            if k + 1 < len(self.weights):
                _push(self.rows[k + 1], _gate(a))
        return links

    def horizontal(self, links: list[tuple[Tensor, ...]], x: int) -> Tensor:
        """The logits (n_classes, n) of a pixel, once those left of it are in `centres[0]`."""
        gate_and_one, outs = self.gate_and_one, [centre[x] for centre in self.centres[1:]] + [self.top]
        half = len(gate_and_one) - 1
        for k, (weights, out) in enumerate(zip(self.weights, outs, strict=True)):
            b = torch.addmm(links[k][x], weights.horizontal, self.windows[k][x])
            torch.mul(b[:half].tanh_(), b[half:].sigmoid_(), out=gate_and_one[:half])
            if k == 0:
                torch.mm(weights.out_and_bias, gate_and_one, out=out)
            else:
                torch.addmm(self.centres[k][x], weights.out_and_bias, gate_and_one, out=out)
        h = self.top
        for weight, bias in self.head:
            h = torch.addmm(bias, weight, h.relu())
        return h


class _Matrices(NamedTuple):
    """A layer's weights as matrices; a window's columns stand one after another."""

    vertical: Tensor
    vertical_bias: Tensor
    columns: int
    link: Tensor
    link_bias: Tensor  # with that of `horizontal`
    horizontal: Tensor
    out_and_bias: Tensor

    @classmethod
    def of(cls, layer: Layer) -> _Matrices:
        return cls(
            layer.vertical.permute(0, 3, 2, 1).flatten(1),
            layer.vertical_bias[:, None],
            layer.vertical.shape[3],
            layer.link.flatten(1),
            (layer.link_bias + layer.horizontal_bias)[:, None],
            layer.horizontal[:, :, 0].transpose(1, 2).flatten(1),
            torch.cat([layer.out.flatten(1), layer.out_bias[:, None]], 1),
        )


def _layer(tensors: dict[str, Tensor], name: str, rows: int, columns: int, left: int) -> Layer:
    def halves(part: str, height: int = 1, width: int = 1) -> tuple[Tensor, Tensor]:
        weight, bias = (
            torch.cat([tensors[f"{name}.{part}.{half}.{what}"] for half in ("tanh", "sigmoid")])
            for what in ("weight", "bias")
        )
        return weight.unflatten(2, (height, width)), bias

    out = tensors[f"{name}.out.weight"].unsqueeze(3), tensors[f"{name}.out.bias"]
    return Layer(*halves("vertical", rows, columns), *halves("link"), *halves("horizontal", 1, left), *out)


def _gate(a: Tensor) -> Tensor:
    """Of channels, the second dimension."""
    tanh, sigmoid = a.chunk(2, 1)
    return tanh.tanh() * sigmoid.sigmoid()


def _push(rows: Tensor, row: Tensor) -> None:
    """Let a row (width, channels, n) be the last one of `rows`, and the first one go."""
    width, channels, _ = row.shape
    half = (len(rows) - width) // 2
    rows[:, :-channels] = rows[:, channels:].clone()
    rows[half : half + width, -channels:] = row


def _windows(row: Tensor, size: int) -> Tensor:
    """View (columns, channels, n) as its overlapping windows, (columns - size + 1, size * channels, n)."""
    columns, channels, n = row.shape
    return row.as_strided((columns - size + 1, size * channels, n), (channels * n, n, 1))
