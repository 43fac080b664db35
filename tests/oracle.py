"""The models once more, in float64 NumPy from the formulas alone: slow, plain, and apart from `ancestral`.

Everything is indexed by step: dimension `order[i]` of the flattened event is visited at step i. A Bernoulli
conditional has one logit, a categorical one `n_classes`; `logits` gives them as (n, n_dims, n_logits).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Config = dict[str, Any]
Tensors = dict[str, npt.NDArray[np.float32]]
Float = npt.NDArray[np.float64]


def fvsbn_config(n_dims: int, order: list[int] | None = None) -> Config:
    return {"n_dims": n_dims, "order": order}


def nade_config(n_dims: int, n_hidden: int, order: list[int] | None = None) -> Config:
    return {"n_dims": n_dims, "n_hidden": n_hidden, "order": order}


def pixelcnn_config(
    event_shape: tuple[int, int, int],
    n_classes: int = 2,
    n_channels: int = 8,
    n_blocks: int = 2,
    n_head: int = 6,
    input_scale: float | None = None,
    input_shift: float | None = None,
) -> Config:
    scale, shift = (1.0, 0.0) if n_classes == 2 else (2.0 / (n_classes - 1), -1.0)
    return {
        "event_shape": list(event_shape),
        "n_classes": n_classes,
        "n_channels": n_channels,
        "n_blocks": n_blocks,
        "n_head": n_head,
        "input_scale": scale if input_scale is None else input_scale,
        "input_shift": shift if input_shift is None else input_shift,
    }


def event_shape(kind: str, config: Config) -> tuple[int, ...]:
    return tuple(config["event_shape"]) if kind == "PixelCNN" else (config["n_dims"],)


def n_dims(kind: str, config: Config) -> int:
    return math.prod(event_shape(kind, config))


def n_classes(kind: str, config: Config) -> int:
    return int(config["n_classes"]) if kind == "PixelCNN" else 2


def order(kind: str, config: Config) -> npt.NDArray[np.int64]:
    """The flat dimension visited at each step."""
    if kind == "PixelCNN":  # y, then x, then the image channel
        c, h, w = config["event_shape"]
        steps = itertools.product(range(h), range(w), range(c))
        return np.array([g * h * w + y * w + x for y, x, g in steps], dtype=np.int64)
    return np.array(config["order"] or range(config["n_dims"]), dtype=np.int64)


def n_params(kind: str, config: Config) -> int:
    if kind == "FVSBN":
        return int(config["n_dims"] * (config["n_dims"] + 1) // 2)
    if kind == "NADE":
        d, h = config["n_dims"], config["n_hidden"]
        return int(2 * d * h + d + h)
    count = 0
    for name, n_out, n_in, size in _convolutions(config):
        masks = [tap_mask(config, name, n_out, n_in, size, ky, kx) for ky, kx in np.ndindex(size, size)]
        count += n_out + int(sum(mask.sum() for mask in masks))
    return count


# --- the three models ------------------------------------------------------------------------------------


def logits(kind: str, config: Config, tensors: Tensors, x: npt.ArrayLike) -> Float:
    """The conditionals' logits in step order, (n, n_dims, 1) or (n, n_dims, n_classes)."""
    t = {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}
    x = np.asarray(x, dtype=np.float64)
    if kind == "PixelCNN":
        return _pixelcnn(config, t, x)[1]
    z = x[:, order(kind, config)]
    return (_fvsbn(t, z) if kind == "FVSBN" else _nade(t, z))[:, :, None]


def _fvsbn(t: dict[str, Float], z: Float) -> Float:
    """logit_i = bias_i + sum_{j<i} weight_ij z_j."""
    out = np.empty_like(z)
    for i in range(z.shape[1]):
        out[:, i] = t["bias"][i] + z[:, :i] @ t["weight"][i, :i]
    return out


def _nade(t: dict[str, Float], z: Float) -> Float:
    """h_i = sigmoid(c + z_{<i} W[:i]), logit_i = b_i + V_i . h_i."""
    out = np.empty_like(z)
    a = np.tile(t["c"], (len(z), 1))
    for i in range(z.shape[1]):
        h = np.exp(-np.logaddexp(0.0, -a))
        out[:, i] = t["b"][i] + h @ t["V"][i]
        a += np.outer(z[:, i], t["W"][i])
    return out


def features(kind: str, config: Config, tensors: Tensors, x: npt.ArrayLike, step: int | None = None) -> Float:
    """The hidden units: NADE's after the first `step` dimensions (all of them), PixelCNN's before the logits."""
    t = {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}
    x = np.asarray(x, dtype=np.float64)
    if kind == "PixelCNN":
        return _pixelcnn(config, t, x)[0]
    z = x[:, order(kind, config)][:, :step]
    return np.exp(-np.logaddexp(0.0, -(t["c"] + z @ t["W"][: z.shape[1]])))


def _pixelcnn(config: Config, t: dict[str, Float], x: Float) -> tuple[Float, Float]:
    """The last hidden layer (n, n_head, height, width), and the logits."""

    def conv(name: str, u: Float) -> Float:
        weight, bias = t[f"{name}.weight"], t[f"{name}.bias"]
        n_out, n_in, size, _ = weight.shape
        _, _, h, w = u.shape
        out = np.broadcast_to(bias[None, :, None, None], (len(u), n_out, h, w)).copy()
        r = size // 2
        padded = np.pad(u, ((0, 0), (0, 0), (r, r), (r, r)))
        for ky, kx in np.ndindex(size, size):
            tap = weight[:, :, ky, kx] * tap_mask(config, name, n_out, n_in, size, ky, kx)
            if tap.any():
                out += np.einsum("oi,nihw->nohw", tap, padded[:, :, ky : ky + h, kx : kx + w], optimize=True)
        return out

    def relu(u: Float) -> Float:
        return np.maximum(u, 0.0)

    a = conv("input", x * config["input_scale"] + config["input_shift"])
    for i in range(config["n_blocks"]):
        block = f"blocks.{i}"
        a = a + conv(f"{block}.up", relu(conv(f"{block}.conv", relu(conv(f"{block}.down", relu(a))))))
    hidden = relu(conv("head_hidden", relu(a)))
    out = conv("head_out", hidden)
    c, h, w = config["event_shape"]
    # Output channel g*K + k is the logit of class k for image channel g; steps run over y, x, g.
    n_logits = out.shape[1] // c
    return hidden, out.reshape(-1, c, n_logits, h, w).transpose(0, 3, 4, 1, 2).reshape(-1, c * h * w, n_logits)


def tap_mask(config: Config, name: str, n_out: int, n_in: int, size: int, ky: int, kx: int) -> Float:
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
    c, n, head = config["event_shape"][0], config["n_channels"], config["n_head"]
    half = n // 2
    n_logits = 1 if config["n_classes"] == 2 else config["n_classes"]
    layers = [("input", n, c, 7)]
    for i in range(config["n_blocks"]):
        layers += [
            (f"blocks.{i}.down", half, n, 1),
            (f"blocks.{i}.conv", half, half, 3),
            (f"blocks.{i}.up", n, half, 1),
        ]
    return [*layers, ("head_hidden", head, n, 1), ("head_out", c * n_logits, head, 1)]


# --- what follows from the logits ------------------------------------------------------------------------


def log_prob(kind: str, config: Config, tensors: Tensors, x: npt.ArrayLike, temperature: float = 1.0) -> Float:
    """ln p(x) in nats, (n,); with a temperature, of the distribution that is drawn from with it."""
    return -surprise(kind, config, tensors, x, temperature).reshape(-1, n_dims(kind, config)).sum(axis=1)


def surprise(kind: str, config: Config, tensors: Tensors, x: npt.ArrayLike, temperature: float = 1.0) -> Float:
    """-ln P(x_i | x_<i) in the shape of x."""
    x = np.asarray(x)
    z = x.reshape(len(x), n_dims(kind, config))[:, order(kind, config)].astype(np.int64)
    log_p = log_conditionals(logits(kind, config, tensors, x) / temperature)
    placed = np.empty(z.shape)
    placed[:, order(kind, config)] = -np.take_along_axis(log_p, z[:, :, None], axis=2)[:, :, 0]
    return placed.reshape(x.shape)


def log_conditionals(logits: Float) -> Float:
    """ln P(x_i = k | x_<i) of every class from its logits, (n, n_dims, n_classes), also where it is as good as 0."""
    if logits.shape[2] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
    mode = logits.argmax(axis=2)[:, :, None]
    shifted = logits - np.take_along_axis(logits, mode, axis=2)
    others = np.exp(shifted)
    np.put_along_axis(others, mode, 0.0, axis=2)
    return shifted - np.log1p(others.sum(axis=2, keepdims=True))


def conditionals(kind: str, config: Config, tensors: Tensors, x: npt.ArrayLike) -> Float:
    """P(x_i = 1 | x_<i) in the shape of x, or for a softmax P(x_i = k | x_<i) as (*shape of x, n_classes)."""
    x = np.asarray(x)
    out = logits(kind, config, tensors, x)
    if out.shape[2] == 1:
        p = np.exp(-np.logaddexp(0.0, -out))
    else:
        p = np.exp(out - out.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
    placed = np.empty_like(p)
    placed[:, order(kind, config)] = p
    return placed.reshape(x.shape if p.shape[2] == 1 else (*x.shape, p.shape[2]))


def enumerate_events(kind: str, config: Config) -> npt.NDArray[np.uint8]:
    """All events, (n_classes ** n_dims, *event_shape); row r spells r in base n_classes, high digit first."""
    k, d = n_classes(kind, config), n_dims(kind, config)
    digits = np.arange(k**d)[:, None] // k ** np.arange(d - 1, -1, -1) % k
    return digits.astype(np.uint8).reshape(-1, *event_shape(kind, config))


def event_index(kind: str, config: Config, x: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The row of each event in `enumerate_events`."""
    k, d = n_classes(kind, config), n_dims(kind, config)
    return x.reshape(len(x), d).astype(np.int64) @ k ** np.arange(d - 1, -1, -1)


def random_events(kind: str, config: Config, n: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return rng.integers(0, n_classes(kind, config), (n, *event_shape(kind, config)), dtype=np.uint8)


# --- random weights --------------------------------------------------------------------------------------


def random_tensors(kind: str, config: Config, rng: np.random.Generator, scale: float) -> Tensors:
    """Random weights under the names and shapes of a file, masked entries zero, the last layer scaled so that
    the largest logit met on random events is about `scale`."""
    tensors = {name: value.astype(np.float32) for name, value in _unscaled(kind, config, rng).items()}
    reached = np.abs(logits(kind, config, tensors, random_events(kind, config, 64, rng))).max()
    for name in LAST_LAYER[kind]:
        tensors[name] = (tensors[name] * (scale / max(reached, 1e-30))).astype(np.float32)
    return tensors


LAST_LAYER = {
    "FVSBN": ("weight", "bias"),
    "NADE": ("V", "b"),
    "PixelCNN": ("head_out.weight", "head_out.bias"),
}


def _unscaled(kind: str, config: Config, rng: np.random.Generator) -> dict[str, Float]:
    if kind == "FVSBN":
        d = config["n_dims"]
        return {"weight": np.tril(rng.normal(size=(d, d)), -1), "bias": rng.normal(size=d)}
    if kind == "NADE":
        d, h = config["n_dims"], config["n_hidden"]
        return {
            "W": rng.normal(size=(d, h)) * 3.0 / math.sqrt(d),
            "c": rng.normal(size=h),
            "V": rng.normal(size=(d, h)),
            "b": rng.normal(size=d),
        }
    tensors: dict[str, Float] = {}
    for name, n_out, n_in, size in _convolutions(config):
        weight = np.zeros((n_out, n_in, size, size))
        for ky, kx in np.ndindex(size, size):
            mask = tap_mask(config, name, n_out, n_in, size, ky, kx)
            weight[:, :, ky, kx] = rng.normal(size=(n_out, n_in)) * mask
        fan_in = max(1, np.count_nonzero(weight) // n_out)
        tensors[f"{name}.weight"] = weight * math.sqrt(2.0 / fan_in)
        tensors[f"{name}.bias"] = rng.normal(size=n_out) * 0.3
    return tensors
