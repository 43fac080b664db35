"""MADE in JAX: a scan over blocks of steps, and within each one over its steps."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax, nn

from ancestral.nn import Autoregressive
from benches.contestants._made import Made, by_steps

MADE_BLOCK = 28


def tensors_made(module: Autoregressive) -> dict[str, Any]:
    """The weights as they are, and as many hidden units a step."""
    made = Made(module)
    dense = {"dense_w": made.w, "dense_b": made.b, "dense_v": made.v}
    return {name: tensor.numpy() for name, tensor in (dense | by_steps(made)._asdict()).items()}


def prepare_made(tensors: dict[str, Any]) -> Any:
    """Cut into blocks: rows of weights, and those within the block with its steps first."""
    w, b, v, c = (tensors[name] for name in "wbvc")
    n_dims, units, _ = w.shape
    size = max(size for size in range(1, MADE_BLOCK + 1) if n_dims % size == 0)
    n_blocks = n_dims // size
    block = jnp.arange(n_blocks)
    within_w = w.reshape(n_blocks, size, units, n_blocks, size)[block, :, :, block]  # (blocks, step, unit, input)
    within_v = v.reshape(n_blocks, size, n_blocks, size, units)[block, :, block]  # (blocks, output, step, unit)
    return {
        "w": w.reshape(n_blocks, size * units, n_dims),
        "b": b.reshape(n_blocks, size * units, 1),
        "v": v.reshape(n_blocks, size, n_dims * units),
        "c": c.reshape(n_blocks, size, 1),
        "within": (within_w.reshape(n_blocks, size * units, size).transpose(0, 2, 1), within_v.transpose(0, 2, 1, 3)),
        "dense": (tensors["dense_w"].T, tensors["dense_b"], tensors["dense_v"].T),
    }


def sample_made(weights: Any, thresholds: Any) -> Any:
    """What all before it adds to a block is two matrix products; within it, each step adds two products of few columns.

    Steps to come are zero in both x and h, whose weights are zero wherever they must not be seen.
    """
    w, b, v, c = (weights[name] for name in "wbvc")
    n_dims, n = thresholds.shape
    n_blocks, size, _ = c.shape
    units = b.shape[1] // size

    def step(carry: Any, inputs: Any) -> Any:
        a, logits = carry
        i, w_i, v_i = inputs
        z = (logits[i] > 0).astype(jnp.float32)
        a = a + w_i[:, None] * z
        h = nn.relu(lax.dynamic_slice(a, (i * units, 0), (units, n)))
        return (a, logits + v_i @ h), (z, h)

    def block(carry: Any, inputs: Any) -> Any:
        x, h = carry
        k, w, b, v, c, within, thresholds = inputs
        start = (w @ x + b, v @ h + c - thresholds)
        _, (z, own) = lax.scan(step, start, (jnp.arange(size), *within))
        x = lax.dynamic_update_slice(x, z, (k * size, 0))
        h = lax.dynamic_update_slice(h, own.reshape(size * units, n), (k * size * units, 0))
        return (x, h), None

    inputs = (jnp.arange(n_blocks), w, b, v, c, weights["within"], thresholds.reshape(n_blocks, size, n))
    start = (jnp.zeros((n_dims, n)), jnp.zeros((n_dims * units, n)))
    return lax.scan(block, start, inputs)[0][0].T


def score_made(weights: Any, x: Any) -> Any:
    w, b, v = weights["dense"]
    return nn.relu(x @ w + b) @ v + weights["c"].reshape(-1)
