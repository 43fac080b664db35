"""Gated PixelCNN: a stack of convolutions down the rows, and one along each row that reads it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from support import oracle
from support.families.family import Configs, Family, Float64Tensors, Graph, any_image, raster
from support.oracle import Config, Float, sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn


class GatedPixelCNNFamily(Family):
    @staticmethod
    def config(
        event_shape: tuple[int, int, int],
        n_classes: int = 2,
        n_channels: int = 6,
        dilations: Sequence[int] = (1, 1),
        n_head: int = 5,
        *,
        input_kernel_size: int = 5,
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
    ) -> Config:
        if n_embedding is None:
            scale, shift = (1.0, 0.0) if n_classes == 2 else (2.0 / (n_classes - 1), -1.0)
            input_scale = scale if input_scale is None else input_scale
            input_shift = shift if input_shift is None else input_shift
        return {
            "event_shape": list(event_shape),
            "n_classes": n_classes,
            "n_channels": n_channels,
            "n_head": n_head,
            "dilations": list(dilations),
            "input_kernel_size": input_kernel_size,
            "kernel_size": kernel_size,
            "gated_input": gated_input,
            "n_embedding": n_embedding,
            "shifted": shifted,
            "vertical_residual": vertical_residual,
            "skip": skip,
            "head_layers": head_layers,
            "activation": activation,
            "activation_first": activation_first,
            "input_scale": input_scale,
            "input_shift": input_shift,
        }

    kind = "GatedPixelCNN"
    configs = Configs(
        small={
            "gated": config((1, 3, 4)),
            "gated-row": config((1, 1, 9), dilations=(1, 2), vertical_residual=True),
            "gated-column": config((1, 9, 1), dilations=(2, 1), shifted=True),
            "gated-1x1": config((1, 1, 1), 3),
            "gated-dilated": config((1, 4, 3), dilations=(1, 2, 3), gated_input=False, head_layers=0, activation="elu"),
            "gated-shifted": config(
                (1, 3, 3), shifted=True, vertical_residual=True, skip=True, input_scale=-1.5, input_shift=0.75
            ),
            "gated-classes-embedding": config((1, 2, 2), 5, n_embedding=3, activation_first=False, head_layers=2),
            "gated-rgb": config((3, 2, 2), n_channels=7, n_head=4, skip=True, activation="gelu"),
            "gated-classes-rgb": config((3, 2, 1), 3, n_channels=8, gated_input=False, shifted=True, activation="silu"),
            "gated-classes-2-channels": config((2, 2, 1), 4, n_embedding=2, shifted=True, vertical_residual=True),
        },
        few=["gated-rgb", "gated-classes-embedding", "gated-classes-rgb"],
        medium={
            "gated": config((1, 4, 5), kernel_size=5, vertical_residual=True, activation="tanh"),
            "gated-rgb": config((3, 2, 3), n_channels=10, shifted=True, skip=True),
            "gated-classes": config((2, 3, 2), 7, n_embedding=3),
        },
        large={
            "gated": config((1, 7, 8), n_channels=11, dilations=(1,), input_kernel_size=3, skip=True),
            "gated-classes-rgb": config((3, 4, 5), 5, n_channels=11, dilations=(2,)),
        },
        shapes={
            "gated-7x9": config((1, 7, 9), n_channels=16, dilations=(1, 2, 4, 1), n_head=16, input_kernel_size=7),
            "gated-odd": config((3, 5, 7), 4, n_channels=19, n_head=23, vertical_residual=True, activation="elu"),
            "gated-256": config((1, 3, 3), 256, n_channels=16, gated_input=False, skip=True),
            "gated-256-rgb": config((3, 2, 3), 256, n_channels=16, dilations=(1,), n_embedding=4, shifted=True),
            "gated-300": config((1, 2, 3), 300, n_channels=17, head_layers=0, activation_first=False),
            "gated-bits-embedding": config((2, 3, 5), n_channels=33, n_embedding=5, head_layers=3, activation="silu"),
        },
        references={
            "gated": config((1, 5, 6), n_channels=22, n_head=19),
            "gated-shifted": config((1, 4, 7), 3, 17, shifted=True, vertical_residual=True, skip=True, kernel_size=5),
            "gated-rgb": config(
                (3, 3, 2), 5, 12, (1, 2), 7, gated_input=False, n_embedding=3, head_layers=2, activation="elu"
            ),
            "gated-256": config((1, 2, 2), 256, n_channels=34, n_head=33, activation="gelu", vertical_residual=True),
        },
    )
    lacks = frozenset({"features at a step"})

    def order(self, config: Config) -> npt.NDArray[np.int64]:
        return raster(config["event_shape"])

    def formula(self, config: Config, tensors: Float64Tensors, x: Float) -> Float:
        """From what the last convolution reads; its output g K + k is the logit of class k for image channel g."""
        last = list(_convolutions(config))[-1]
        out = _Run(config, tensors)(last, self.hidden(config, tensors, x, None))
        c, h, w = config["event_shape"]
        n_logits = out.shape[1] // c
        # Steps run over y, x, g.
        return out.reshape(-1, c, n_logits, h, w).transpose(0, 3, 4, 1, 2).reshape(-1, c * h * w, n_logits)

    def hidden(self, config: Config, tensors: Float64Tensors, x: Float, step: int | None) -> Float:
        """What the last convolution of the head reads, (n, channels, height, width).

        In each layer, with v and h the vertical and the horizontal stack, and * a convolution,

            a = W_v * v,  b = W_l * a + W_h * h,  v = gate(a [+ W_r * v]),  g = gate(b),  h = W_o * g [+ h],

        where gate(a) = tanh(a_1) ⊙ σ(a_2). (Figure 2 of the paper.)
        """
        conv = _Run(config, tensors)
        convolutions = _convolutions(config)
        if config["n_embedding"] is None:
            u = x * config["input_scale"] + config["input_shift"]
        else:
            n_classes, (n, c, height, width) = config["n_classes"], x.shape
            ones = x[:, :, None] == np.arange(n_classes)[:, None, None]
            u = conv("embedding", ones.reshape(n, c * n_classes, height, width).astype(np.float64))
        v = h = u
        skips: list[Float] = []
        for layer in _layers(config):
            if f"{layer}.vertical" in convolutions:
                v, h = conv(f"{layer}.vertical", v), conv(f"{layer}.horizontal", h)
                continue
            a = conv.halves(f"{layer}.vertical", v)
            link = conv.halves(f"{layer}.link", np.concatenate(a, axis=1))
            left = conv.halves(f"{layer}.horizontal", h)
            if f"{layer}.vertical_residual.tanh" in convolutions:
                c = conv.halves(f"{layer}.vertical_residual", v)
                a = a[0] + c[0], a[1] + c[1]
            v = _gate(*a)
            g = _gate(link[0] + left[0], link[1] + left[1])
            if f"{layer}.out" in convolutions:
                out = conv(f"{layer}.out", g)
                h = out if layer == "input" else out + h
            if config["skip"]:
                skips.append(conv(f"{layer}.skip", g))
        y: Float = np.sum(skips, axis=0) if skips else h
        activation = oracle.ACTIVATIONS[config["activation"]]
        for i in range(config["head_layers"] + 1):
            y = activation(y) if i > 0 or config["activation_first"] else y
            if i < config["head_layers"]:
                y = conv(f"head.{i}", y)
        return y

    def graph(self, config: Config) -> Graph:
        convolutions = _convolutions(config)
        nodes: list[dict[str, Any]] = []
        if config["n_embedding"] is None:
            affine = {"scale": config["input_scale"], "shift": config["input_shift"]}
            nodes.append({"name": "x", "op": "values", **affine})
        else:
            nodes.append({"name": "x", "op": "one_hot"})

        def combine(op: str, *sources: str) -> str:
            name = f"{op} {len(nodes)}"
            nodes.append({"name": name, "op": op, "from": sources[0] if len(sources) == 1 else list(sources)})
            return name

        def conv(name: str, source: str) -> str:
            taps = convolutions[name]
            tensors = {"weight": f"{name}.weight", "bias": f"{name}.bias"}
            offsets = [list(offset) for offset in taps.offsets]
            nodes.append(
                {"name": name, "op": "taps", "from": source, "offsets": offsets, **tensors, "degrees": taps.outputs}
            )
            return name

        def halves(name: str, source: str) -> tuple[str, str]:
            return conv(f"{name}.tanh", source), conv(f"{name}.sigmoid", source)

        v = h = "x" if config["n_embedding"] is None else conv("embedding", "x")
        skips = ""
        for layer in _layers(config):
            if f"{layer}.vertical" in convolutions:
                v, h = conv(f"{layer}.vertical", v), conv(f"{layer}.horizontal", h)
                continue
            a = halves(f"{layer}.vertical", v)
            link = halves(f"{layer}.link", combine("concat", *a))
            left = halves(f"{layer}.horizontal", h)
            if layer != _layers(config)[-1]:
                if f"{layer}.vertical_residual.tanh" in convolutions:
                    c = halves(f"{layer}.vertical_residual", v)
                    a = combine("add", a[0], c[0]), combine("add", a[1], c[1])
                v = combine("gate", *a)
            g = combine("gate", combine("add", link[0], left[0]), combine("add", link[1], left[1]))
            if f"{layer}.out" in convolutions:
                out = conv(f"{layer}.out", g)
                h = out if layer == "input" else combine("add", out, h)
            if config["skip"]:
                skip = conv(f"{layer}.skip", g)
                skips = combine("add", skips, skip) if skips else skip
        y = features = skips or h
        for i in range(config["head_layers"] + 1):
            features = combine(config["activation"], y) if i > 0 or config["activation_first"] else y
            y = conv(f"head.{i}", features)
        space = {"event_shape": config["event_shape"], "n_classes": config["n_classes"], "order": None}
        return {"space": space, "nodes": nodes, "output": y, "features": features}

    def weights(self, config: Config, rng: np.random.Generator) -> Float64Tensors:
        tensors: Float64Tensors = {}
        for name, taps in _convolutions(config).items():
            mask = taps.mask()
            fan_in = max(1, np.count_nonzero(mask) // len(mask))
            tensors[f"{name}.weight"] = rng.normal(size=mask.shape) * mask * math.sqrt(2.0 / fan_in)
            tensors[f"{name}.bias"] = rng.normal(size=len(mask)) * 0.3
        return tensors

    def last_layer(self, config: Config) -> tuple[str, ...]:
        return (f"head.{config['head_layers']}.weight", f"head.{config['head_layers']}.bias")

    def n_params(self, config: Config) -> int:
        masks = [taps.mask() for taps in _convolutions(config).values()]
        return sum(np.count_nonzero(mask) + len(mask) for mask in masks)

    def of_bits(self, n_dims: int) -> Config:
        return self.config((n_dims, 1, 1), 2, n_dims, (1,), n_dims, input_kernel_size=3, gated_input=False)

    def any_config(self, draw: DrawFn, max_events: int | None) -> Config:
        from hypothesis import strategies as st

        n_classes = draw(st.sampled_from([2, 2, 3, 4, 5, 17, 256]))
        shape = any_image(draw, n_classes, max_events)
        return self.config(
            shape,
            n_classes,
            n_channels=draw(st.integers(shape[0], 12)),
            dilations=draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)),
            n_head=draw(st.integers(shape[0], 14)),
            input_kernel_size=draw(st.sampled_from([3, 5, 7])),
            kernel_size=draw(st.sampled_from([3, 3, 5])),
            gated_input=draw(st.booleans()),
            n_embedding=draw(st.none() | st.integers(1, 4)),
            shifted=draw(st.booleans()),
            vertical_residual=draw(st.booleans()),
            skip=draw(st.booleans()),
            head_layers=draw(st.integers(0, 2)),
            activation=draw(st.sampled_from(list(oracle.ACTIVATIONS))),
            activation_first=draw(st.booleans()),
        )


class _Taps(NamedTuple):
    """A convolution as the pixels that it reads from each, with the degrees of its inputs and outputs: the last image
    channel of its own pixel that each may depend on, −1 for none."""

    offsets: list[tuple[int, int]]
    inputs: list[int]
    outputs: list[int]

    def mask(self) -> npt.NDArray[np.bool_]:
        """Where weights act, (outputs, inputs, offsets): within a pixel, where the degree does not fall."""
        mask = np.ones((len(self.outputs), len(self.inputs), len(self.offsets)), np.bool_)
        if (0, 0) in self.offsets:
            mask[:, :, self.offsets.index((0, 0))] = np.array(self.inputs) <= np.array(self.outputs)[:, None]
        return mask


def _layers(config: Config) -> list[str]:
    return ["input", *(f"layers.{i}" for i in range(len(config["dilations"])))]


def _convolutions(config: Config) -> dict[str, _Taps]:
    """Every convolution by name, in the order in which they are computed but for the head, which is last."""
    c, n = config["event_shape"][0], config["n_channels"]
    n_logits = 1 if config["n_classes"] == 2 else config["n_classes"]
    shifted, skip = config["shifted"], config["skip"]

    def groups(n_channels: int) -> list[int]:
        """Group g of c sees of its own pixel the image channels before g."""
        return [j * c // n_channels - 1 for j in range(n_channels)]

    def box(rows: range, columns: range, dilation: int = 1) -> list[tuple[int, int]]:
        return [(dilation * row, dilation * column) for row in rows for column in columns]

    own = [(0, 0)]
    image = list(range(c))
    convolutions: dict[str, _Taps] = {}
    if config["n_embedding"] is not None:
        ones = [g for g in image for _ in range(config["n_classes"])]
        image = [g for g in image for _ in range(config["n_embedding"])]
        convolutions["embedding"] = _Taps(own, ones, image)
    # Rows above alone; or with the own row, and then one row above where the horizontal stack reads it.
    v, h = [c - 1 if shifted else -1] * n, groups(n)
    for layer, dilation in zip(_layers(config), [1, *config["dilations"]], strict=True):
        first, last = layer == "input", layer == _layers(config)[-1]
        v_in, h_in = (image, image) if first else (v, h)
        half = config["input_kernel_size" if first else "kernel_size"] // 2
        square = box(range(-half, 0 if first and not shifted else 1), range(-half, half + 1), dilation)
        line = box(range(1), range(-half, 0 if first and c == 1 else 1), dilation)
        if first and not config["gated_input"]:
            convolutions |= {f"{layer}.vertical": _Taps(square, v_in, v), f"{layer}.horizontal": _Taps(line, h_in, h)}
            continue
        pairs = {"vertical": _Taps(square, v_in, v)}
        if config["vertical_residual"] and not last and (shifted or not first):
            pairs["vertical_residual"] = _Taps(own, v_in, v)
        pairs |= {"link": _Taps([(-1, 0)] if shifted else own, [*v, *v], h), "horizontal": _Taps(line, h_in, h)}
        convolutions |= {f"{layer}.{name}.{of}": taps for name, taps in pairs.items() for of in ("tanh", "sigmoid")}
        if not (skip and last):
            convolutions[f"{layer}.out"] = _Taps(own, h, h)
        if skip:
            convolutions[f"{layer}.skip"] = _Taps(own, h, h)
    sizes = [n, *[config["n_head"]] * config["head_layers"], c * n_logits]
    for i in range(len(sizes) - 1):
        convolutions[f"head.{i}"] = _Taps(own, groups(sizes[i]), groups(sizes[i + 1]))
    return convolutions


class _Run:
    """The convolutions of a model, by name."""

    def __init__(self, config: Config, tensors: Float64Tensors) -> None:
        self.convolutions, self.tensors = _convolutions(config), tensors

    def __call__(self, name: str, u: Float) -> Float:
        """bias + Σ weight · u at each offset, zero outside the image."""
        taps = self.convolutions[name]
        weight = self.tensors[f"{name}.weight"] * taps.mask()
        bias = self.tensors[f"{name}.bias"]
        _, _, height, width = u.shape
        reach = max(max(abs(row), abs(column)) for row, column in taps.offsets)
        padded = np.pad(u, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
        out = np.broadcast_to(bias[:, None, None], (len(u), len(bias), height, width)).copy()
        for i, (row, column) in enumerate(taps.offsets):
            seen = padded[:, :, reach + row : reach + row + height, reach + column : reach + column + width]
            out += np.einsum("oi,nihw->nohw", weight[:, :, i], seen, optimize=True)
        return out

    def halves(self, name: str, u: Float) -> tuple[Float, Float]:
        return self(f"{name}.tanh", u), self(f"{name}.sigmoid", u)


def _gate(a: Float, b: Float) -> Float:
    return np.tanh(a) * sigmoid(b)


GatedPixelCNN = GatedPixelCNNFamily()
