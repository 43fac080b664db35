"""Networks as a model file says them, run in float64 NumPy: slow, plain, and apart from `ancestral`.

A vector of D dimensions is one site of D channels, an image (C, H, W) has H · W sites of C channels. Every value is an
array (n, channels, rows, columns). A channel's degree is the last step within its own site that it may depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.special

Graph = dict[str, Any]
Tensors = Mapping[str, npt.ArrayLike]
Float = npt.NDArray[np.float64]


class Value(NamedTuple):
    """A node of some rows x."""

    array: Float
    degrees: list[int]


def classes(graph: Graph) -> list[int]:
    """The classes of each dimension of a site."""
    n_classes, shape = graph["space"]["n_classes"], graph["space"]["event_shape"]
    return list(n_classes) if isinstance(n_classes, list) else [n_classes] * shape[0]


def run(graph: Graph, tensors: Tensors, x: npt.ArrayLike) -> dict[str, Value]:
    """All nodes of rows x (n, *event_shape), by name."""
    shape, order = graph["space"]["event_shape"], graph["space"]["order"]
    x = np.asarray(x, np.float64).reshape(-1, *(shape if len(shape) == 3 else (shape[0], 1, 1)))
    steps = list(range(shape[0])) if order is None else [order.index(dim) for dim in range(shape[0])]
    values: dict[str, Value] = {}
    for node in graph["nodes"]:
        if node["op"] == "values":
            value = Value(node.get("scale", 1.0) * x + node.get("shift", 0.0), steps)
        elif node["op"] == "one_hot":
            channels = [x[:, dim] == k for dim, n in enumerate(classes(graph)) for k in range(n)]
            value = Value(
                np.stack(channels, 1).astype(np.float64),
                [step for step, n in zip(steps, classes(graph), strict=True) for _ in range(n)],
            )
        elif node["op"] in ("dense", "taps"):
            value = _taps(node, tensors, values[node["from"]])
        else:
            names = [node["from"]] if isinstance(node["from"], str) else node["from"]
            value = _combined(node, [values[name] for name in names], classes(graph))
        values[node["name"]] = value
    return values


def _taps(node: dict[str, Any], tensors: Tensors, source: Value) -> Value:
    """bias + Σ weight · input over offsets; at (0, 0) only where the degree of the input is at most the output's."""
    weight = np.asarray(tensors[node["weight"]], np.float64)
    bias = np.asarray(tensors[node["bias"]], np.float64) if "bias" in node else np.zeros(len(weight))
    degrees = node.get("degrees") or [-1] * len(weight)
    offsets = node.get("offsets", [[0, 0]])
    n, n_in, height, width = source.array.shape
    if weight.ndim == 4:  # a kernel, of which the centre is the offset (0, 0)
        half = weight.shape[2] // 2, weight.shape[3] // 2
        weight = np.stack([weight[:, :, half[0] + row, half[1] + column] for row, column in offsets], 2)
    weight = weight.reshape(len(bias), n_in, len(offsets))
    out = np.empty((n, len(bias), height, width))
    out[:] = bias[:, None, None]
    for at, (row, column) in enumerate(offsets):
        tap = weight[:, :, at]
        if (row, column) == (0, 0):
            tap = np.where(np.array(source.degrees) <= np.array(degrees)[:, None], tap, 0.0)
        for y, z in np.ndindex(height, width):
            if 0 <= y + row < height and 0 <= z + column < width:
                out[:, :, y, z] += source.array[:, :, y + row, z + column] @ tap.T
    return Value(out, degrees)


def elu(a: Float) -> Float:
    return np.where(a > 0, a, np.expm1(np.minimum(a, 0.0)))


POINTWISE: dict[str, Callable[[Float], Float]] = {
    "relu": lambda a: np.maximum(a, 0.0),
    "elu": elu,
    "tanh": np.tanh,
    "sigmoid": scipy.special.expit,
    "silu": lambda a: a * scipy.special.expit(a),
    "gelu": lambda a: a * scipy.special.ndtr(a),
}


def _combined(node: dict[str, Any], sources: list[Value], n_classes: list[int]) -> Value:
    """Layers without weights."""
    op, arrays, first = node["op"], [source.array for source in sources], sources[0].array
    largest = [max(degrees) for degrees in zip(*(source.degrees for source in sources), strict=False)]
    joined = [degree for source in sources for degree in source.degrees]
    if op in POINTWISE:
        return Value(POINTWISE[op](first), largest)
    if op == "leaky_relu":
        return Value(np.where(first > 0, first, node["slope"] * first), largest)
    if op == "concat_elu":
        return Value(np.concatenate([elu(first), elu(-first)], 1), joined * 2)
    if op == "concat":
        return Value(np.concatenate(arrays, 1), joined)
    if op == "gate":
        return Value(np.tanh(first) * scipy.special.expit(arrays[1]), largest)
    if op == "add":
        return Value(first + arrays[1], largest)
    if op == "multiply":
        return Value(first * arrays[1], largest)
    assert op == "average", op
    if is_bits(n_classes):
        mean = np.mean([scipy.special.expit(array) for array in arrays], 0)
        return Value(scipy.special.logit(mean), largest)
    ends = np.cumsum(n_classes)[:-1]
    means = [np.mean(each, 0) for each in zip(*(map(_softmax, np.split(a, ends, 1)) for a in arrays), strict=True)]
    return Value(np.log(np.concatenate(means, 1)), largest)


def _softmax(a: Float) -> Float:
    p: Float = scipy.special.softmax(a, 1)
    return p


def is_bits(n_classes: list[int]) -> bool:
    """Whether a dimension has one logit; else it has one a class."""
    return set(n_classes) == {2}


def logits(graph: Graph, tensors: Tensors, x: npt.ArrayLike) -> Float:
    """Of bits (n, *event_shape), of classes (n, *event_shape, classes), -inf for a class that a dimension has not."""
    n_classes, shape = classes(graph), graph["space"]["event_shape"]
    out = run(graph, tensors, x)[graph["output"]].array
    if is_bits(n_classes):
        return out.reshape(-1, *shape)
    placed = np.full((len(out), max(n_classes), len(n_classes), *out.shape[2:]), -np.inf)
    for dim, logits_of_dim in enumerate(np.split(out, np.cumsum(n_classes)[:-1], 1)):
        placed[:, : n_classes[dim], dim] = logits_of_dim
    return np.moveaxis(placed, 1, -1).reshape(-1, *shape, max(n_classes))


def log_prob(graph: Graph, tensors: Tensors, x: npt.ArrayLike) -> Float:
    """ln p(x) in nats, (n,)."""
    x, out = np.asarray(x), logits(graph, tensors, x)
    if is_bits(classes(graph)):
        terms = -np.logaddexp(0.0, (1 - 2 * x.astype(np.float64)) * out)
    else:
        log_p = out - scipy.special.logsumexp(out, -1, keepdims=True)
        terms = np.take_along_axis(log_p, x.astype(np.int64)[..., None], -1)[..., 0]
    return terms.reshape(len(x), -1).sum(1)


def steps(graph: Graph) -> list[int]:
    """The flat dimension visited at each step."""
    shape, order = graph["space"]["event_shape"], graph["space"]["order"]
    if len(shape) == 1:
        return list(range(shape[0])) if order is None else list(order)
    channels, height, width = shape
    return [c * height * width + y * width + z for y in range(height) for z in range(width) for c in range(channels)]
