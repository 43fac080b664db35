"""NADE's log_prob and its gradient in the Rust core, as one differentiable function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ancestral import _core


def takes(*tensors: Tensor) -> bool:
    """Whether the core can run with these weights: plain float32 tensors on the CPU."""
    plain = (Tensor, torch.nn.Parameter)
    return all(type(t) in plain and t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


_threads: ContextVar[int | None] = ContextVar("threads", default=None)


@contextmanager
def own_threads() -> Iterator[None]:
    """Give torch's threads to the core, and one to torch.

    OpenMP's threads spin for some milliseconds after each operation, and hold the processors that the core is about
    to use: a step on two of them takes half as long again.
    """
    threads = torch.get_num_threads()
    token = _threads.set(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _threads.reset(token)


def _core_threads() -> int:
    return _threads.get() or torch.get_num_threads()


@torch.compiler.disable  # type: ignore[untyped-decorator]
def log_prob(z: Tensor, W: Tensor, c: Tensor, V: Tensor, b: Tensor) -> Tensor:
    """log p of bits z (n, n_dims) in the order of the steps, in nats: (n,), differentiable in the weights."""
    total: Tensor = _LogProb.apply(z, W, c, V, b)
    return total


class _LogProb(torch.autograd.Function):
    """Keeps p(z_i = 1 | z_<i), computes the hidden units again: memory O(n n_dims + weights) between the passes, and
    some megabytes more within them."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, W: Tensor, c: Tensor, V: Tensor, b: Tensor) -> Tensor:
        weights = [np.ascontiguousarray(t.detach().numpy()) for t in (W.T, c, V, b)]
        step = _core.NadeStep(*weights)
        bits = np.ascontiguousarray(z.detach().to(torch.uint8).numpy())
        log_prob, probs = np.empty(len(bits)), np.empty(bits.shape, np.float32)
        step.score(bits, log_prob, probs, _core_threads())
        ctx.step, ctx.bits, ctx.probs = step, bits, probs
        return torch.from_numpy(log_prob).to(W.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError("NADE has no gradients of gradients: create_graph=True is not supported")
        n_dims = ctx.bits.shape[1]
        scale = np.ascontiguousarray(grad.detach().numpy())
        n_hidden = ctx.step.n_hidden
        Wt, c = np.empty((n_dims, n_hidden), np.float32), np.empty(n_hidden, np.float32)
        V, b = np.empty((n_dims, n_hidden), np.float32), np.empty(n_dims, np.float32)
        ctx.step.gradient(ctx.bits, ctx.probs, scale, Wt, c, V, b, _core_threads())
        return None, torch.from_numpy(Wt).T, torch.from_numpy(c), torch.from_numpy(V), torch.from_numpy(b)
