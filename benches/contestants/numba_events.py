"""Numba: loops over the ones only, samples in parallel.

A zero changes nothing in FVSBN, NADE and MADE, so a sample is a loop over its ones, each of which adds a contiguous row
of weights; in MADE, so do hidden units, of which a ReLU leaves many zero. That is a natural thing to write in Numba,
and nothing that the array libraries can express.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange

from ancestral.nn import Autoregressive
from benches.contestants import Contestant, Task, Unsupported
from benches.contestants._made import Made


class NumbaEvents(Contestant):
    """Compiled loops, a sample a turn of `prange`."""

    name = "Numba"

    def __init__(self, module: Autoregressive) -> None:
        kernels = {
            "FVSBN": (sample_fvsbn, score_fvsbn),
            "NADE": (sample_nade, score_nade),
            "MADE": (sample_made, score_made),
        }
        if module.kind not in kernels:
            raise Unsupported("a convolution has no events to be driven by")
        self._sample, self._score = kernels[module.kind]
        tensors = {name: tensor.numpy() for name, tensor in module.tensors().items()}
        if module.kind == "FVSBN":
            self._weights: Any = (np.ascontiguousarray(tensors["weight"].T), tensors["bias"])
        elif module.kind == "MADE":
            made = Made(module)
            columns = np.ascontiguousarray(made.w.numpy().T), np.ascontiguousarray(made.v.numpy().T)
            self._weights = (*columns, made.b.numpy(), made.c.numpy(), np.array(made.ends))
        else:
            self._weights = (tensors["W"], tensors["c"], tensors["V"], tensors["b"])
        self._n_dims = module.n_dims
        self._seed = 0

    def set_threads(self, threads: int) -> None:
        numba.set_num_threads(threads)

    def sampler(self, n: int) -> Task:
        self._sample(*self._weights, np.uint64(0), np.zeros((1, self._n_dims), np.uint8))  # compiles

        def sample() -> Any:
            x = np.zeros((n, self._n_dims), np.uint8)
            self._seed += 1
            self._sample(*self._weights, np.uint64(self._seed), x)
            return x

        return Task(sample)

    def scorer(self, x: Any) -> Task:
        self._score(*self._weights, x[:1])  # compiles
        return Task(lambda: self._score(*self._weights, x))


GROUP = 16
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(inline="always")
def _mix(z: Any) -> Any:
    """SplitMix64's output function (Steele, Lea, Flood 2014): Numba's Mersenne Twister is several times slower."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(inline="always")
def _uniform(state: Any) -> Any:
    return np.float32(_mix(state) >> np.uint64(40)) * np.float32(2.0**-24)


@njit(inline="always", fastmath=True)
def _exp(x: Any) -> Any:
    """eˣ = 2ⁿ eʳ by a polynomial, which vectorizes; np.exp calls the C library for each element."""
    x = min(max(x, np.float32(-87)), np.float32(88))
    n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    r = x - n * np.float32(0.6931471805599453)
    e_r = np.float32(1 / 120)
    for c in (1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
        e_r = e_r * r + np.float32(c)
    return e_r * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(inline="always", fastmath=True)
def _sigmoid(x: Any) -> Any:
    return np.float32(1) / (np.float32(1) + _exp(-x))


@njit(inline="always", fastmath=True)
def _add(to: Any, row: Any) -> None:
    """Both from their beginning on: loops over parts of an array do not vectorize."""
    for k in range(len(to)):
        to[k] += row[k]


@njit(inline="always", fastmath=True)
def _dot(a: Any, b: Any) -> Any:
    total = np.float32(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@njit(inline="always", fastmath=True)
def _advance(activation: Any, hidden: Any, row: Any) -> None:
    for k in range(len(activation)):
        activation[k] += row[k]
        hidden[k] = _sigmoid(activation[k])


@njit(parallel=True, fastmath=True)
def sample_fvsbn(columns: Any, bias: Any, seed: Any, x: Any) -> None:
    n, n_dims = x.shape
    for s in prange(n):
        logits = bias.copy()
        state = _mix(seed + np.uint64(s))
        for i in range(n_dims):
            state += GOLDEN
            if _uniform(state) < _sigmoid(logits[i]):
                x[s, i] = 1
                _add(logits[i + 1 :], columns[i, i + 1 :])


@njit(parallel=True, fastmath=True)
def score_fvsbn(columns: Any, bias: Any, x: Any) -> Any:
    n, n_dims = x.shape
    out = np.empty(n)
    for s in prange(n):
        logits = bias.copy()
        for i in range(n_dims):
            if x[s, i]:
                _add(logits[i + 1 :], columns[i, i + 1 :])
        out[s] = _log_prob(logits, x[s])
    return out


@njit(parallel=True, fastmath=True)
def sample_nade(columns: Any, c: Any, V: Any, b: Any, seed: Any, x: Any) -> None:
    n, n_dims = x.shape
    for s in prange(n):
        activation, hidden = c.copy(), np.zeros_like(c)
        _advance(activation, hidden, hidden)
        state = _mix(seed + np.uint64(s))
        for i in range(n_dims):
            state += GOLDEN
            if _uniform(state) < _sigmoid(b[i] + _dot(V[i], hidden)):
                x[s, i] = 1
                _advance(activation, hidden, columns[i])


@njit(parallel=True, fastmath=True)
def score_nade(columns: Any, c: Any, V: Any, b: Any, x: Any) -> Any:
    n, n_dims = x.shape
    out = np.empty(n)
    for s in prange(n):
        activation, hidden, logits = c.copy(), np.zeros_like(c), b.copy()
        _advance(activation, hidden, hidden)
        for i in range(n_dims):
            logits[i] += _dot(V[i], hidden)
            if x[s, i]:
                _advance(activation, hidden, columns[i])
        out[s] = _log_prob(logits, x[s])
    return out


@njit(inline="always", fastmath=True)
def _advance_made(i: Any, start: Any, end: Any, x: Any, activation: Any, logits: Any, w: Any, v: Any) -> None:
    """Step i of some samples: a one adds to the hidden units from `start` on, and those before `end` are then final."""
    for s in range(len(x)):
        if x[s, i]:
            _add(activation[s, start:], w[i, start:])
    for k in range(start, end):
        for s in range(len(x)):
            if activation[s, k] > 0:
                _add_multiple(logits[s, i + 1 :], activation[s, k], v[k, i + 1 :])


@njit(inline="always", fastmath=True)
def _add_multiple(to: Any, factor: Any, row: Any) -> None:
    for k in range(len(to)):
        to[k] += factor * row[k]


@njit(inline="always")
def _repeat(row: Any, n: Any) -> Any:
    rows = np.empty((n, len(row)), row.dtype)
    rows[:] = row
    return rows


@njit(parallel=True, fastmath=True)
def sample_made(w: Any, v: Any, b: Any, c: Any, ends: Any, seed: Any, x: Any) -> None:
    """Some samples share what is read of the weights: a large layer's do not fit the caches."""
    for group in prange((len(x) + GROUP - 1) // GROUP):
        own = x[group * GROUP : (group + 1) * GROUP]
        activation, logits, start = _repeat(b, len(own)), _repeat(c, len(own)), 0
        for i in range(len(c)):
            for s in range(len(own)):
                state = _mix(seed + np.uint64(group * GROUP + s)) + np.uint64(i + 1) * GOLDEN
                if _uniform(state) < _sigmoid(logits[s, i]):
                    own[s, i] = 1
            _advance_made(i, start, ends[i], own, activation, logits, w, v)
            start = ends[i]


@njit(parallel=True, fastmath=True)
def score_made(w: Any, v: Any, b: Any, c: Any, ends: Any, x: Any) -> Any:
    out = np.empty(len(x))
    for group in prange((len(x) + GROUP - 1) // GROUP):
        own = x[group * GROUP : (group + 1) * GROUP]
        activation, logits, start = _repeat(b, len(own)), _repeat(c, len(own)), 0
        for i in range(len(c)):
            _advance_made(i, start, ends[i], own, activation, logits, w, v)
            start = ends[i]
        for s in range(len(own)):
            out[group * GROUP + s] = _log_prob(logits[s], own[s])
    return out


@njit(inline="always", fastmath=True)
def _log_prob(logits: Any, x: Any) -> Any:
    """−Σ softplus(s), s = −logit for a one, logit for a zero; many ln(1 + e^−|s|) as the logarithm of one product."""
    total, product = 0.0, 1.0
    for i in range(len(x)):
        s = -logits[i] if x[i] else logits[i]
        total += max(s, np.float32(0))
        product *= np.float32(1) + _exp(-abs(s))
        if product > 1e300:
            total += np.log(product)
            product = 1.0
    return -total - np.log(product)
