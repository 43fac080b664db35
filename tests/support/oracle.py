"""What follows from the logits of any model, in float64: plain, slow, and apart from `ancestral`.

Logits are (n, n_dims, n_logits) in step order: one for two classes (of the 1 against the 0), else one a class, −inf for
classes that a dimension lacks. The models' own formulas are in `families`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special

Config = dict[str, Any]
Tensors = dict[str, npt.NDArray[np.float32]]
Float = npt.NDArray[np.float64]
Events = npt.NDArray[np.unsignedinteger[Any]]


def log_conditionals(logits: Float) -> Float:
    """ln P(x_i = k | x_<i) of every class from its logits, (n, n_dims, n_classes), also where it is as good as 0."""
    if logits.shape[2] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
    mode = logits.argmax(axis=2)[:, :, None]
    shifted = logits - np.take_along_axis(logits, mode, axis=2)
    others = np.exp(shifted)
    np.put_along_axis(others, mode, 0.0, axis=2)
    return shifted - np.log1p(others.sum(axis=2, keepdims=True))


def probabilities(logits: Float) -> Float:
    """P(x_i = 1 | x_<i) as (n, n_dims, 1), or for more classes P(x_i = k | x_<i) as (n, n_dims, n_classes)."""
    if logits.shape[2] == 1:
        return np.exp(-np.logaddexp(0.0, -logits))
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    return p / p.sum(axis=2, keepdims=True)


def sigmoid(a: Float) -> Float:
    return np.exp(-np.logaddexp(0.0, -a))


def relu(a: Float) -> Float:
    return np.maximum(a, 0.0)


def gelu(a: Float) -> Float:
    """a Φ(a), with the normal distribution function Φ."""
    return np.asarray(a * scipy.special.ndtr(a), np.float64)


ACTIVATIONS: dict[str, Callable[[Float], Float]] = {
    "relu": relu,
    "elu": lambda a: np.where(a > 0.0, a, np.expm1(np.minimum(a, 0.0))),
    "silu": lambda a: a * sigmoid(a),
    "gelu": gelu,
    "tanh": np.tanh,
}
