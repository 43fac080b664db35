"""Gated PixelCNN in JAX: a scan over rows and one over their pixels."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax, nn

from ancestral.nn import Autoregressive
from benches.contestants._torch_gated import Gated


def tensors_gated(module: Autoregressive) -> dict[str, Any]:
    """The weights, both halves of a gate as one."""
    net = Gated(module)
    layers = [{name: tensor.numpy() for name, tensor in layer._asdict().items()} for layer in net.layers]
    head = [(weight.numpy()[:, :, 0, 0], bias.numpy()) for weight, bias in net.head]
    return {"layers": layers, "head": head, "scale": net.scale, "shift": net.shift}


def prepare_gated(tensors: dict[str, Any]) -> Any:
    """Kernels as matrices for a walk: windows with columns side by side; and as they are for whole images."""
    matrices = [
        {
            "vertical": layer["vertical"].transpose(0, 3, 2, 1).reshape(len(layer["vertical"]), -1),
            "vertical_bias": layer["vertical_bias"][:, None],
            "link": layer["link"][:, :, 0, 0],
            "link_bias": (layer["link_bias"] + layer["horizontal_bias"])[:, None],
            "horizontal": layer["horizontal"][:, :, 0].transpose(0, 2, 1).reshape(len(layer["horizontal"]), -1),
            "out": layer["out"][:, :, 0, 0],
            "out_bias": layer["out_bias"][:, None],
        }
        for layer in tensors["layers"]
    ]
    return {"matrices": matrices, **tensors}


def sample_gated(weights: Any, uniforms: Any) -> Any:
    """The vertical stack, and what it adds to the horizontal one, a row at a time; then the row pixel by pixel."""
    _, _, width, n = uniforms.shape
    layers, matrices, scale, shift = (weights[name] for name in ("layers", "matrices", "scale", "shift"))
    shapes = [layer["vertical"].shape for layer in layers]
    taps = [layer["horizontal"].shape[1:4:2] for layer in layers]

    def windows(row: Any, size: int) -> Any:
        """(width, channels, n) → (width, size · channels, n), zeros beyond the ends."""
        row = jnp.pad(row, ((size // 2, size // 2), (0, 0), (0, 0)))
        return jnp.concatenate([row[k : k + width] for k in range(size)], axis=1)

    def pixel(lefts: Any, inputs: Any) -> Any:
        """`lefts` are the inputs left of the pixel that each layer sees, a column after another."""
        uniform, links = inputs
        own, kept = jnp.zeros((0, n)), []
        for k, (m, link, left, (channels, _)) in enumerate(zip(matrices, links, lefts, taps, strict=True)):
            window = jnp.concatenate([left, own])  # the input layer does not see the pixel itself
            g = gate(link + m["horizontal"] @ window, 0)
            out = m["out"] @ g + m["out_bias"]
            kept.append(window[channels:])
            own = own + out if k else out
        logits = own
        for weight, bias in weights["head"]:
            logits = weight @ nn.relu(logits) + bias[:, None]
        mass = jnp.cumsum(jnp.exp(logits - logits.max(0)), 0)
        value = (mass < uniform * mass[-1]).sum(0).astype(jnp.float32)
        kept[0] = jnp.concatenate([kept[0], (value * scale + shift)[None]])
        return kept, value

    def row(above: Any, uniforms: Any) -> Any:
        """`above` are the rows above that each layer of the vertical stack sees, a row's channels after another's."""
        links, kept, v = [], [], jnp.zeros((width, 0, n))
        for m, rows, (_, channels, _, columns) in zip(matrices, above, shapes, strict=True):
            seen = jnp.concatenate([rows, v], axis=1)
            a = m["vertical"] @ windows(seen, columns) + m["vertical_bias"]
            links.append(m["link"] @ a + m["link_bias"])
            kept.append(seen[:, channels:])
            v = gate(a, 1)
        lefts = [jnp.zeros((channels * (size - (k > 0)), n)) for k, (channels, size) in enumerate(taps)]
        _, values = lax.scan(pixel, lefts, (uniforms, links))
        kept[0] = jnp.concatenate([kept[0], (values * scale + shift)[:, None]], axis=1)
        return kept, values

    start = [jnp.zeros((width, shape[1] * (shape[2] - (k > 0)), n)) for k, shape in enumerate(shapes)]
    _, image = lax.scan(row, start, uniforms[0])
    return image.transpose(2, 0, 1)[:, None]


def score_gated(weights: Any, x: Any) -> Any:
    """One forward pass, channels last."""

    def conv(a: Any, weight: Any, bias: Any, padding: Any = ((0, 0), (0, 0))) -> Any:
        kernel = weight.transpose(2, 3, 1, 0)
        return lax.conv_general_dilated(a, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias

    v = h = (x * weights["scale"] + weights["shift"]).transpose(0, 2, 3, 1)
    for k, layer in enumerate(weights["layers"]):
        _, _, rows, columns = layer["vertical"].shape
        own, half = k > 0, columns // 2  # whether a pixel sees itself
        a = conv(v, layer["vertical"], layer["vertical_bias"], ((rows - own, -1 + own), (half, half)))
        left = layer["horizontal"].shape[3]
        b = conv(h, layer["horizontal"], layer["horizontal_bias"], ((0, 0), (left - own, -1 + own)))
        out = conv(gate(b + conv(a, layer["link"], layer["link_bias"]), 3), layer["out"], layer["out_bias"])
        v, h = gate(a, 3), out + h if own else out
    for weight, bias in weights["head"]:
        h = nn.relu(h) @ weight.T + bias
    return h[:, None]


def gate(a: Any, axis: int) -> Any:
    """Of channels, the dimension `axis`."""
    tanh, sigmoid = jnp.split(a, 2, axis)
    return jnp.tanh(tanh) * nn.sigmoid(sigmoid)
