"""PixelCNN: masked convolutions over an image of bits or classes.

Its default network has a file of version 1, which holds sizes alone; others have a graph.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from support.families.family import Configs, Family, Float64Tensors, Graph, any_image, raster
from support.oracle import Config, Float, Tensors, relu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

RELU = ["down", "conv", "up", "head"]
POSITIONS = ["input", "down", "conv", "up", "branch", "sum", "head"]
DEFAULTS: Config = {"head_layers": 1, "input_kernel_size": 7, "kernel_size": 3, "relu": RELU}
"""What the config of a default network leaves out."""


class PixelCNNFamily(Family):
    @staticmethod
    def config(
        event_shape: tuple[int, int, int],
        n_classes: int = 2,
        n_channels: int = 8,
        n_blocks: int = 2,
        n_head: int = 6,
        input_scale: float | None = None,
        input_shift: float | None = None,
        *,
        head_layers: int = 1,
        input_kernel_size: int = 7,
        kernel_size: int = 3,
        relu: Sequence[str] = RELU,
    ) -> Config:
        more = {
            "head_layers": head_layers,
            "input_kernel_size": input_kernel_size,
            "kernel_size": kernel_size,
            "relu": list(relu),
        }
        scale, shift = (1.0, 0.0) if n_classes == 2 else (2.0 / (n_classes - 1), -1.0)
        return {
            "event_shape": list(event_shape),
            "n_classes": n_classes,
            "n_channels": n_channels,
            "n_blocks": n_blocks,
            "n_head": n_head,
            "input_scale": scale if input_scale is None else input_scale,
            "input_shift": shift if input_shift is None else input_shift,
        } | {name: value for name, value in more.items() if value != DEFAULTS[name]}

    kind = "PixelCNN"
    configs = Configs(
        small={
            "pixelcnn": config((1, 3, 4)),
            "pixelcnn-row": config((1, 1, 9), n_blocks=1),
            "pixelcnn-column": config((1, 9, 1), n_blocks=1),
            "pixelcnn-1x1": config((1, 1, 1)),
            "pixelcnn-no-block": config((1, 3, 3), n_blocks=0),
            "pixelcnn-affine": config((1, 2, 3), input_scale=-1.5, input_shift=0.75),
            "pixelcnn-rgb": config((3, 2, 2), n_channels=10, n_head=5),
            "pixelcnn-rgb-1x1": config((3, 1, 1), 16, n_channels=14, n_head=16),
            "categorical": config((1, 2, 2), 5),
            "categorical-rgb": config((3, 1, 2), 3, n_channels=6, n_head=3),
            "categorical-2-channels": config((2, 2, 1), 4, n_channels=6, n_head=5),
            "categorical-256": config((1, 1, 1), 256),
            "pixelcnn-no-head": config((1, 2, 4), head_layers=0, input_kernel_size=3),
            "pixelcnn-relu": config((1, 3, 3), relu=["input", "conv", "branch", "sum"], head_layers=3),
            "pixelcnn-kernels-rgb": config((3, 2, 1), 3, n_channels=12, n_head=9, input_kernel_size=3, kernel_size=5),
        },
        few=["pixelcnn-rgb", "categorical", "categorical-rgb", "pixelcnn-kernels-rgb"],
        medium={
            "pixelcnn": config((1, 4, 5)),
            "pixelcnn-rgb": config((3, 2, 3), n_channels=10),
            "categorical": config((2, 3, 2), 7),
        },
        large={
            "pixelcnn": config((1, 9, 10), n_channels=18),
            "categorical-rgb": config((3, 5, 6), 5, n_channels=18),
        },
        shapes={
            "pixelcnn-3x5": config((1, 3, 5), n_channels=18, n_head=13),
            "pixelcnn-1x7": config((1, 1, 7), n_channels=2, n_head=1),
            "pixelcnn-5x1": config((1, 5, 1), n_channels=4, n_head=3),
            "pixelcnn-9x11": config((1, 9, 11), n_channels=32, n_blocks=4, n_head=32),
            "pixelcnn-rgb-4x5": config((3, 4, 5), n_channels=14, n_head=8),
            "classes-3": config((1, 4, 3), 3),
            "classes-5-rgb": config((3, 3, 2), 5, n_channels=12),
            "classes-256": config((1, 3, 3), 256, n_channels=16),
            "classes-256-rgb": config((3, 2, 3), 256, n_channels=16, n_blocks=1),
            "channels-4": config((4, 2, 3), 2, n_channels=12, n_head=9),
            "affine-classes": config((1, 4, 4), 7, input_scale=0.3, input_shift=2.5),
            "pixelcnn-odd": config((3, 5, 7), 4, n_channels=20, n_head=23),
            "pixelcnn-own-pixel": config((3, 3, 2), 3, n_channels=8, input_kernel_size=1),
            "pixelcnn-kernels": config((1, 6, 7), n_channels=18, input_kernel_size=5, kernel_size=1, head_layers=2),
            "pixelcnn-relu-rgb": config((3, 4, 3), 5, n_channels=14, relu=POSITIONS, kernel_size=7),
        },
        references={
            "pixelcnn": config((1, 5, 6), n_channels=22, n_head=19),
            "categorical-rgb": config((3, 3, 2), 5, n_channels=12, n_head=7),
            "categorical-256": config((1, 2, 2), 256, n_channels=34, n_head=33),
            "pixelcnn-kernels-rgb": config(
                (3, 3, 2), 3, 12, 2, 7, head_layers=2, input_kernel_size=3, kernel_size=5, relu=["input", "conv", "sum"]
            ),
        },
    )
    lacks = frozenset({"features at a step"})

    def order(self, config: Config) -> npt.NDArray[np.int64]:
        return raster(config["event_shape"])

    def formula(self, config: Config, tensors: Float64Tensors, x: Float) -> Float:
        """From the last hidden layer; output channel g*K + k is the logit of class k for image channel g."""
        out = _convolved(config, tensors, "head_out", self.hidden(config, tensors, x, None))
        c, h, w = config["event_shape"]
        n_logits = out.shape[1] // c
        # Steps run over y, x, g.
        return out.reshape(-1, c, n_logits, h, w).transpose(0, 3, 4, 1, 2).reshape(-1, c * h * w, n_logits)

    def hidden(self, config: Config, tensors: Float64Tensors, x: Float, step: int | None) -> Float:
        """The last hidden layer, (n, channels, height, width)."""
        positions = _setting(config, "relu")

        def conv(name: str, u: Float) -> Float:
            return _convolved(config, tensors, name, u)

        def act(position: str, u: Float) -> Float:
            return relu(u) if position in positions else u

        a = act("input", conv("input", x * config["input_scale"] + config["input_shift"]))
        for i in range(config["n_blocks"]):
            block = f"blocks.{i}"
            middle = conv(f"{block}.conv", act("conv", conv(f"{block}.down", act("down", a))))
            a = act("sum", a + act("branch", conv(f"{block}.up", act("up", middle))))
        a = act("head", a)
        for name in _head_names(config):
            a = relu(conv(name, a))
        return a

    def graph(self, config: Config) -> Graph | None:
        if not DEFAULTS.keys() & config.keys():
            return None
        positions = _setting(config, "relu")
        sizes = {name: (n_out, size) for name, n_out, _, size in _convolutions(config)}
        affine = {"scale": config["input_scale"], "shift": config["input_shift"]}
        nodes: list[dict[str, Any]] = [{"name": "x", "op": "values", **affine}]

        def combine(op: str, source: str | list[str]) -> str:
            nodes.append({"name": f"{op} {len(nodes)}", "op": op, "from": source})
            return f"{op} {len(nodes) - 1}"

        def conv(name: str, source: str) -> str:
            n_out, size = sizes[name]
            offsets = [list(offset) for offset in _offsets(config, name, size)]
            tensors = {"weight": f"{name}.weight", "bias": f"{name}.bias"}
            c = config["event_shape"][0]
            degrees = [j * c // n_out - 1 for j in range(n_out)]
            nodes.append(
                {"name": name, "op": "taps", "from": source, "offsets": offsets, **tensors, "degrees": degrees}
            )
            return name

        def act(position: str, source: str) -> str:
            return combine("relu", source) if position in positions else source

        a = act("input", conv("input", "x"))
        for i in range(config["n_blocks"]):
            block = f"blocks.{i}"
            middle = conv(f"{block}.conv", act("conv", conv(f"{block}.down", act("down", a))))
            a = act("sum", combine("add", [a, act("branch", conv(f"{block}.up", act("up", middle)))]))
        a = act("head", a)
        for name in _head_names(config):
            a = combine("relu", conv(name, a))
        space = {"event_shape": config["event_shape"], "n_classes": config["n_classes"], "order": None}
        return {"space": space, "nodes": nodes, "output": conv("head_out", a), "features": a}

    def state(self, config: Config, tensors: Tensors) -> Tensors:
        """Kernels instead of lists of offsets."""
        kernels = {f"{name}.weight": (name, size) for name, _, _, size in _convolutions(config)}
        return {
            key: _kernel(config, *kernels[key], value) if key in kernels else value for key, value in tensors.items()
        }

    def weights(self, config: Config, rng: np.random.Generator) -> Float64Tensors:
        tensors: Float64Tensors = {}
        for name, n_out, n_in, size in _convolutions(config):
            weight = np.zeros((n_out, n_in, size, size))
            for ky, kx in np.ndindex(size, size):
                mask = _tap_mask(config, name, n_out, n_in, size, ky, kx)
                weight[:, :, ky, kx] = rng.normal(size=(n_out, n_in)) * mask
            fan_in = max(1, np.count_nonzero(weight) // n_out)
            weight *= math.sqrt(2.0 / fan_in)
            if self.graph(config) is not None:
                rows, columns = np.transpose(_offsets(config, name, size)) + size // 2
                weight = weight[:, :, rows, columns]
            tensors[f"{name}.weight"] = weight
            tensors[f"{name}.bias"] = rng.normal(size=n_out) * 0.3
        return tensors

    def last_layer(self, config: Config) -> tuple[str, ...]:
        return ("head_out.weight", "head_out.bias")

    def n_params(self, config: Config) -> int:
        count = 0
        for name, n_out, n_in, size in _convolutions(config):
            masks = [_tap_mask(config, name, n_out, n_in, size, ky, kx) for ky, kx in np.ndindex(size, size)]
            count += n_out + int(sum(mask.sum() for mask in masks))
        return count

    def of_bits(self, n_dims: int) -> Config:
        return self.config((n_dims, 1, 1), n_channels=2 * n_dims, n_blocks=0, n_head=n_dims)

    def any_config(self, draw: DrawFn, max_events: int | None) -> Config:
        from hypothesis import strategies as st

        n_classes = draw(st.sampled_from([2, 2, 3, 4, 5, 17, 256]))
        shape = any_image(draw, n_classes, max_events)
        return self.config(
            shape,
            n_classes,
            n_channels=2 * draw(st.integers(shape[0], 12)),
            n_blocks=draw(st.integers(0, 3)),
            n_head=draw(st.integers(shape[0], 20)),
            head_layers=draw(st.sampled_from([1, 1, 0, 2])),
            input_kernel_size=draw(st.sampled_from([7, 7, 3, 5])),
            kernel_size=draw(st.sampled_from([3, 3, 1, 5])),
            relu=draw(
                st.just(RELU) | st.sets(st.sampled_from(POSITIONS)).map(lambda s: [p for p in POSITIONS if p in s])
            ),
        )


def _setting(config: Config, name: str) -> Any:
    return config.get(name, DEFAULTS[name])


def _head_names(config: Config) -> list[str]:
    return [f"head_hidden_{i + 1}" if i else "head_hidden" for i in range(_setting(config, "head_layers"))]


def _offsets(config: Config, name: str, size: int) -> list[tuple[int, int]]:
    """Rows and columns from a pixel to those that a convolution reads, row by row."""
    half = size // 2
    span = range(-half, half + 1)
    own = [] if name == "input" and config["event_shape"][0] == 1 else [(0, 0)]
    return [(row, column) for row in span for column in span if (row, column) < (0, 0)] + own


def _kernel(config: Config, name: str, size: int, weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A weight as a kernel, (out, in, size, size), whether it is one or has a value for each offset."""
    if weight.ndim == 4:
        return weight
    kernel = np.zeros((*weight.shape[:2], size, size), weight.dtype)
    rows, columns = np.transpose(_offsets(config, name, size)) + size // 2
    kernel[:, :, rows, columns] = weight
    return kernel


def _convolved(config: Config, tensors: Float64Tensors, name: str, u: Float) -> Float:
    """The masked convolution of this name."""
    [size] = [size for other, _, _, size in _convolutions(config) if other == name]
    weight, bias = _kernel(config, name, size, tensors[f"{name}.weight"]), tensors[f"{name}.bias"]
    n_out, n_in, _, _ = weight.shape
    _, _, h, w = u.shape
    out = np.broadcast_to(bias[None, :, None, None], (len(u), n_out, h, w)).copy()
    r = size // 2
    padded = np.pad(u, ((0, 0), (0, 0), (r, r), (r, r)))
    for ky, kx in np.ndindex(size, size):
        tap = weight[:, :, ky, kx] * _tap_mask(config, name, n_out, n_in, size, ky, kx)
        if tap.any():
            out += np.einsum("oi,nihw->nohw", tap, padded[:, :, ky : ky + h, kx : kx + w], optimize=True)
    return out


def _tap_mask(config: Config, name: str, n_out: int, n_in: int, size: int, ky: int, kx: int) -> Float:
    """What the tap (ky, kx) may connect: all above and to the left, nothing below or to the right, and at the
    centre only groups of channels that come before (mask A) or not after (mask B)."""
    dy, dx = ky - size // 2, kx - size // 2
    if (dy, dx) != (0, 0):
        return np.full((n_out, n_in), float(dy < 0 or (dy == 0 and dx < 0)))
    c = config["event_shape"][0]
    mask = np.zeros((n_out, n_in))
    for j, k in np.ndindex(n_out, n_in):
        out_group, in_group = j * c // n_out, k * c // n_in
        mask[j, k] = in_group < out_group if name == "input" else in_group <= out_group
    return mask


def _convolutions(config: Config) -> list[tuple[str, int, int, int]]:
    """(name, channels out, channels in, kernel size) of every convolution."""
    c, n = config["event_shape"][0], config["n_channels"]
    half = n // 2
    n_logits = 1 if config["n_classes"] == 2 else config["n_classes"]
    layers = [("input", n, c, _setting(config, "input_kernel_size"))]
    for i in range(config["n_blocks"]):
        layers += [
            (f"blocks.{i}.down", half, n, 1),
            (f"blocks.{i}.conv", half, half, _setting(config, "kernel_size")),
            (f"blocks.{i}.up", n, half, 1),
        ]
    n_in = n
    for name in _head_names(config):
        layers.append((name, config["n_head"], n_in, 1))
        n_in = config["n_head"]
    return [*layers, ("head_out", c * n_logits, n_in, 1)]


PixelCNN = PixelCNNFamily()
