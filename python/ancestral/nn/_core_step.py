"""log_prob and its gradient in the Rust core, as one differentiable function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral._core import Tape
from ancestral.nn._transforms import in_transform


class Core(NamedTuple):
    """The core's functions for one kind of model."""

    score: Callable[..., tuple[NDArray[np.float64], Tape]]
    gradient: Callable[..., None]


def takes(weights: Sequence[Tensor]) -> bool:
    """Whether the core can run with these weights: plain float32 tensors on the CPU, in no transform of torch.func."""
    plain = (Tensor, torch.nn.Parameter)
    return not in_transform() and all(type(w) in plain and w.is_cpu and w.dtype is torch.float32 for w in weights)


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


def log_prob(z: Tensor, core: Core, weights: Sequence[Tensor]) -> Tensor:
    """log p of bits z (n, n_dims) in the order of the steps, in nats: (n,), differentiable in the weights."""
    # To leave a graph that is compiled takes some time even where none is.
    apply = _outside_the_graph if torch.compiler.is_compiling() else _LogProb.apply
    total: Tensor = apply(z, core, *weights)
    return total


class _LogProb(torch.autograd.Function):
    """Keeps the weights, the bits, p(z_i = 1 | z_<i) and, of NADE, the last hidden units: memory
    O(n (n_dims + n_hidden)) between the passes, some megabytes within them."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, core: Core, *weights: Tensor) -> Tensor:
        ctx.core, ctx.weights = core, [np.ascontiguousarray(weight.detach().numpy()) for weight in weights]
        ctx.save_for_backward(*weights)
        # A copy: a buffer of batches may hold the next one by the time of the backward pass.
        ctx.bits = np.array(z.detach().to(torch.uint8).numpy(), order="C")
        log_prob, ctx.tape = core.score(ctx.weights, ctx.bits, _core_threads())
        return torch.from_numpy(log_prob.astype(np.float32))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError(
                'the core has no gradients of gradients: create_graph=True takes a module with backend="torch"'
            )
        _ = ctx.saved_tensors  # raises if a weight has been changed in place
        scale = np.ascontiguousarray(grad.detach().numpy())
        gradients = [np.empty(weight.shape, np.float32) for weight in ctx.weights]
        ctx.core.gradient(ctx.weights, ctx.bits, ctx.tape, scale, gradients, _core_threads())
        return None, None, *map(torch.from_numpy, gradients)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        raise NotImplementedError('the core has no forward-mode derivatives; use torch.func.jvp or backend="torch"')


_outside_the_graph = torch.compiler.disable(_LogProb.apply)  # type: ignore[no-untyped-call]
