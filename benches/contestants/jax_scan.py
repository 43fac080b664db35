"""JAX: `lax.scan` over the dimensions, compiled by XLA as a whole, uniforms included.

XLA compiles for one batch size, before the clock starts. Samples stand last in memory where that makes what a step
reads contiguous. XLA chooses its threads when the process starts: there is one figure, for all.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax, nn

from ancestral.nn import Autoregressive
from benches.contestants import Contestant, Task
from benches.contestants._jax_gated import prepare_gated, sample_gated, score_gated, tensors_gated
from benches.contestants._jax_made import prepare_made, sample_made, score_made, tensors_made

FVSBN_BLOCK = 14


class JaxScan(Contestant):
    """One compiled function for sampling and one for the likelihood."""

    name = "JAX"
    one_thread = False

    def __init__(self, module: Autoregressive) -> None:
        prepare, self._sample, self._score = {
            "FVSBN": (prepare_fvsbn, sample_fvsbn, score_fvsbn),
            "NADE": (prepare_nade, sample_nade, score_nade),
            "PixelCNN": (prepare_pixelcnn, sample_pixelcnn, score_pixelcnn),
            "MADE": (prepare_made, sample_made, score_made),
            "GatedPixelCNN": (prepare_gated, sample_gated, score_gated),
        }[module.kind]
        tensors_of = {"MADE": tensors_made, "GatedPixelCNN": tensors_gated}.get(module.kind, tensors)
        self._weights = jax.jit(prepare)(tensors_of(module))
        self._shape, self._bits = module.event_shape, module.n_classes == 2
        self._draws = 0

    def sampler(self, n: int) -> Task:
        def draw(weights: Any, key: Any) -> Any:
            uniforms = jax.random.uniform(key, (*self._shape, n), minval=jnp.finfo(jnp.float32).tiny)
            thresholds = jnp.log(uniforms) - jnp.log1p(-uniforms) if self._bits else uniforms
            return self._sample(weights, thresholds).astype(jnp.uint8)

        compiled = jax.jit(draw).lower(self._weights, jax.random.key(0)).compile()

        def sample() -> Any:
            self._draws += 1
            return compiled(self._weights, jax.random.key(self._draws)).block_until_ready()

        return Task(sample)

    def scorer(self, x: Any) -> Task:
        def log_prob(weights: Any, x: Any) -> Any:
            logits = self._score(weights, x.astype(jnp.float32))
            if self._bits:
                terms = nn.log_sigmoid(jnp.where(x == 1, logits, -logits))
            else:
                terms = jnp.take_along_axis(nn.log_softmax(logits), x.astype(jnp.int32)[..., None], -1)
            return terms.reshape(len(x), -1).sum(1)

        compiled = jax.jit(log_prob).lower(self._weights, x).compile()
        return Task(lambda: compiled(self._weights, x).block_until_ready())


def tensors(module: Autoregressive) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in module.tensors().items()}


def prepare_fvsbn(tensors: dict[str, Any]) -> Any:
    """Cut into blocks of steps: rows of weights, and those within the block by column."""
    weight, bias = tensors["weight"], tensors["bias"]
    n_dims = len(bias)
    size = max(size for size in range(1, FVSBN_BLOCK + 1) if n_dims % size == 0)
    rows = weight.reshape(-1, size, n_dims)
    within = jnp.stack([lax.dynamic_slice(row, (0, k * size), (size, size)).T for k, row in enumerate(rows)])
    return {"rows": rows, "within": within, "bias": bias.reshape(-1, size, 1), "weight": weight}


def sample_fvsbn(weights: Any, thresholds: Any) -> Any:
    """What all before it adds to a block is one matrix product; within it, each step adds a product of rank one."""
    rows, within, bias = weights["rows"], weights["within"], weights["bias"]
    size = rows.shape[1]

    def step(logits: Any, inputs: Any) -> Any:
        i, column = inputs
        z = (logits[i] > 0).astype(jnp.float32)
        return logits + column[:, None] * z, z

    def block(x: Any, inputs: Any) -> Any:
        k, rows, within, bias, thresholds = inputs
        _, z = lax.scan(step, rows @ x + bias - thresholds, (jnp.arange(size), within))
        return lax.dynamic_update_slice(x, z, (k * size, 0)), None

    inputs = (jnp.arange(len(rows)), rows, within, bias, thresholds.reshape(len(rows), size, -1))
    return lax.scan(block, jnp.zeros_like(thresholds), inputs)[0].T


def score_fvsbn(weights: Any, x: Any) -> Any:
    return x @ weights["weight"].T + weights["bias"].reshape(-1)


def prepare_nade(tensors: dict[str, Any]) -> Any:
    """A hidden unit is 1 / (1 + e^−a), and a one multiplies e^−a by e^−w: three times as fast as a sigmoid of a."""
    return {"odds": jnp.exp(-tensors["c"]), "factors": jnp.exp(-tensors["W"]), "V": tensors["V"], "b": tensors["b"]}


def _walk_nade(weights: Any, thresholds: Any) -> Any:
    """Scan over the steps; gives whether the logit exceeded the threshold, and the logit, each (n_dims, n)."""

    def step(odds: Any, inputs: Any) -> Any:
        factor, v, b, threshold = inputs
        logit = (1 / (1 + odds)) @ v + b
        one = logit > threshold
        return jnp.where(one[:, None], odds * factor, odds), (one, logit)

    odds = jnp.broadcast_to(weights["odds"], (thresholds.shape[1], len(weights["odds"])))
    return lax.scan(step, odds, (weights["factors"], weights["V"], weights["b"], thresholds))[1]


def sample_nade(weights: Any, thresholds: Any) -> Any:
    return _walk_nade(weights, thresholds)[0].T


def score_nade(weights: Any, x: Any) -> Any:
    """Thresholds without end force the data: XLA compiles that to faster code than a walk without comparisons."""
    return _walk_nade(weights, jnp.where(x.T == 1, -jnp.inf, jnp.inf))[1].T


def prepare_pixelcnn(tensors: dict[str, Any]) -> Any:
    """Taps as matrices: above (columns side by side), left and centre; the kernels as they are for whole images."""
    n_blocks = sum(name.endswith(".down.weight") for name in tensors)
    bias = {name: tensors[f"{name}.bias"][:, None] for name in ("input", "head_hidden", "head_out")}
    first = tensors["input.weight"][:, 0]
    blocks = []
    for k in range(n_blocks):
        down, conv, up = (tensors[f"blocks.{k}.{name}.weight"] for name in ("down", "conv", "up"))
        b_down, b_conv, b_up = (tensors[f"blocks.{k}.{name}.bias"][:, None] for name in ("down", "conv", "up"))
        above = conv[:, :, 0].transpose(0, 2, 1).reshape(len(conv), -1)
        blocks.append(
            (down[:, :, 0, 0], b_down, above, conv[:, :, 1, 0], conv[:, :, 1, 1], b_conv, up[:, :, 0, 0], b_up)
        )
    return {
        "above": first[:, :3].transpose(0, 2, 1).reshape(len(first), -1),
        "left": first[:, 3, :3],
        "blocks": blocks,
        "hidden": tensors["head_hidden.weight"][:, :, 0, 0],
        "out": tensors["head_out.weight"][:, :, 0, 0],
        "bias": bias,
        "kernels": tensors,
    }


def sample_pixelcnn(weights: Any, thresholds: Any) -> Any:
    """A scan over rows and one over their pixels.

    What the rows above add is computed a row at a time, as matrix products over all its pixels; a pixel then needs the
    taps at its left and centre alone (fast-pixel-cnn, Ramachandran et al. 2017).
    """
    _, _, width, n = thresholds.shape
    bias, blocks = weights["bias"], weights["blocks"]
    half = len(blocks[0][0])

    def windows(row: Any, size: int) -> Any:
        """(width, channels, n) → (width, size · channels, n), zeros beyond the ends."""
        row = jnp.pad(row, ((size // 2, size // 2), (0, 0), (0, 0)))
        return jnp.concatenate([row[k : k + width] for k in range(size)], axis=1)

    def pixel(carry: Any, inputs: Any) -> Any:
        before, lefts = carry
        threshold, from_above, per_block = inputs
        a = from_above + weights["left"] @ before
        downs = []
        for (down, b_down, _, left, centre, _, up, b_up), d_left, above in zip(blocks, lefts, per_block, strict=True):
            downs.append(nn.relu(down @ nn.relu(a) + b_down))
            a = a + up @ nn.relu(above + left @ d_left + centre @ downs[-1]) + b_up
        head = nn.relu(weights["hidden"] @ nn.relu(a) + bias["head_hidden"])
        value = ((weights["out"] @ head + bias["head_out"])[0] > threshold).astype(jnp.float32)
        return (jnp.concatenate([before[1:], value[None]]), downs), (value, downs)

    def row(carry: Any, thresholds: Any) -> Any:
        above, previous = carry
        from_above = weights["above"] @ windows(above, 7) + bias["input"]
        per_block = [block[2] @ windows(d, 3) + block[5] for block, d in zip(blocks, previous, strict=True)]
        start = (jnp.zeros((3, n)), [jnp.zeros((half, n)) for _ in blocks])
        _, (values, downs) = lax.scan(pixel, start, (thresholds, from_above, per_block))
        return (jnp.concatenate([above[:, 1:], values[:, None]], axis=1), downs), values

    start = (jnp.zeros((width, 3, n)), [jnp.zeros((width, half, n)) for _ in blocks])
    _, image = lax.scan(row, start, thresholds[0])
    return image.transpose(2, 0, 1)[:, None]


def score_pixelcnn(weights: Any, x: Any) -> Any:
    """One forward pass, channels last."""
    kernels = weights["kernels"]

    def conv(name: str, a: Any) -> Any:
        kernel = kernels[f"{name}.weight"].transpose(2, 3, 1, 0)
        out = lax.conv_general_dilated(a, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return out + kernels[f"{name}.bias"]

    a = conv("input", x.transpose(0, 2, 3, 1))
    for k in range(len(weights["blocks"])):
        h = nn.relu(conv(f"blocks.{k}.down", nn.relu(a)))
        a = a + conv(f"blocks.{k}.up", nn.relu(conv(f"blocks.{k}.conv", h)))
    return conv("head_out", nn.relu(conv("head_hidden", nn.relu(a)))).transpose(0, 3, 1, 2)
