"""NADE: one hidden layer shared by the conditionals of all dimensions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral import _arguments as arguments
from ancestral import _core
from ancestral.nn._base import at_least_float32
from ancestral.nn._core_step import Core
from ancestral.nn._ordered import OrderedBits
from ancestral.nn._transforms import has_tangent, in_transform

# Steps computed at once. Within a chunk the work grows with its length, around it with the number of
# chunks. On a CPU, with 784 dimensions and 500 hidden units, 4 to 16 are equally fast, 32 is slower.
CHUNK = 8


class NADE(OrderedBits):
    """Neural autoregressive distribution estimator, a model of vectors of bits.

    With z = x[:, order],

        h_i = sigmoid(c + z_<i W[:i]),    p(z_i = 1 | z_<i) = sigmoid(b_i + V_i . h_i),

    and since z_<i W[:i] is a running sum, all conditionals cost O(n_dims n_hidden). Row i of W (n_dims, n_hidden)
    is what bit i adds to the hidden units, column i of the paper's matrix; row i of V (n_dims, n_hidden) reads them.

    Parameters
    ----------
    n_dims : int
        Number of dimensions.
    n_hidden : int
        Number of hidden units.
    order : sequence of int, optional
        A permutation: the dimension visited at each step. Default: 0, 1, 2, ...
    backend : {"auto", "torch"}
        "auto" computes `log_prob` and its gradient in the Rust core where the weights are float32 on the CPU, and
        in PyTorch elsewhere; "torch" always in PyTorch. Both give the same numbers up to rounding; only PyTorch has
        gradients of gradients (`create_graph=True`) and derivatives in x, which "auto" leaves to it.

    Raises
    ------
    TypeError, ValueError
        If n_dims or n_hidden is not an int >= 1, order not a permutation or backend not one of the two.

    Notes
    -----
    Memory of a training step is O(batch (n_dims + n_hidden)): the hidden units are computed a few steps
    at a time, and again in the backward pass. Gradients of gradients, and torch.func's transforms, keep them
    all: O(batch n_dims n_hidden).

    In the core a step runs on `torch.get_num_threads()` threads. Its gradients are the same bits for any number of
    threads. In a loop of your own, `OMP_WAIT_POLICY=passive` in the environment keeps torch's threads from spinning
    on the processors that the core is about to use; `fit` sees to it.

    References
    ----------
    Larochelle and Murray, The Neural Autoregressive Distribution Estimator, AISTATS 2011.

    Examples
    --------
    >>> import torch
    >>> from ancestral.nn import NADE
    >>> model = NADE(784, n_hidden=500)
    >>> x = torch.zeros(2, 784)
    >>> model.log_prob(x).shape
    torch.Size([2])
    >>> (-model.log_prob(x).mean()).backward()
    """

    kind: ClassVar[str] = "NADE"
    _CORE: ClassVar[Core] = Core(_core.nade_score, _core.nade_gradient)
    _WEIGHTS: ClassVar[tuple[str, ...]] = ("W", "c", "V", "b")
    default_lr: ClassVar[float] = 2e-2

    def __init__(self, n_dims: int, n_hidden: int, order: Any = None, *, backend: str = "auto") -> None:
        super().__init__(n_dims, order, backend)
        self.n_hidden = arguments.integer("n_hidden", n_hidden, 1)
        # Uniform within 1/sqrt(fan-in), as nn.Linear: activations start where the sigmoid is steep.
        self.W = nn.Parameter(_uniform(self.n_hidden, self.n_dims).T.contiguous())
        self.c = nn.Parameter(torch.zeros(self.n_hidden))
        self.V = nn.Parameter(_uniform(self.n_dims, self.n_hidden))
        self.b = nn.Parameter(torch.zeros(self.n_dims))

    def config(self) -> dict[str, Any]:
        order = None if self.order is None else list(self.order)
        return {"n_dims": self.n_dims, "n_hidden": self.n_hidden, "order": order}

    def _effective(self) -> dict[str, Tensor]:
        return dict(zip(self._WEIGHTS, self._weights(), strict=True))

    def extra_repr(self) -> str:
        return f"{self.n_dims}, n_hidden={self.n_hidden}" + ("" if self.order is None else ", order=...")

    def _step_logits(self, z: Tensor) -> Tensor:
        z, W, c, V, b = map(at_least_float32, (z, *self._weights()))
        with _full_precision(z.device):
            if in_transform() or any(map(has_tangent, (z, W, c, V))):
                return _logits_at_once(z, W, c, V) + b
            logits: Tensor = _ChunkedLogits.apply(z, W, c, V, CHUNK)
            return logits + b


def _uniform(rows: int, columns: int) -> Tensor:
    bound = columns**-0.5
    return torch.empty(rows, columns).uniform_(-bound, bound)


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Without autocast: what the chunks take off a sum must be what was added, in both passes."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _logits_at_once(z: Tensor, W: Tensor, c: Tensor, V: Tensor) -> Tensor:
    """What `_ChunkedLogits` gives, in operations that torch can differentiate and transform any number of times."""
    before = F.pad((z.unsqueeze(2) * W)[:, :-1].cumsum(1), (0, 0, 1, 0))
    return (torch.sigmoid(c + before) * V).sum(2)


class _ChunkedLogits(torch.autograd.Function):
    """V_i . sigmoid(c + z_<i W[:i]) for all steps i, a chunk of steps at a time.

    `a` (n, n_hidden) holds c + z W of all steps before the chunk. Forward carries it up, backward starts
    from its last value, takes chunk by chunk off again and computes h anew: only z, the parameters
    and `a` are kept. Under plain autograd every h would be: n x n_dims x n_hidden numbers.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, W: Tensor, c: Tensor, V: Tensor, chunk: int) -> Tensor:
        a = c.expand(z.shape[0], -1)
        logits = torch.empty_like(z)
        for start in range(0, z.shape[1], chunk):
            part = slice(start, start + chunk)
            _, h = _hidden(a, z[:, part], W[part])
            logits[:, part] = torch.bmm(h, V[part].unsqueeze(2)).squeeze(2).T
            a = a + z[:, part] @ W[part]
        ctx.save_for_backward(z, W, c, V, a)
        ctx.chunk = chunk
        return logits

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, W, c, V, a = ctx.saved_tensors
        with _full_precision(z.device):
            if not torch.is_grad_enabled():
                return _chunked_gradient(z, W, V, a, grad, ctx.chunk, ctx.needs_input_grad[0])
            # create_graph=True
            inputs = [tensor for tensor in (z, W, c, V) if tensor.requires_grad]
            gradients = iter(torch.autograd.grad(_logits_at_once(z, W, c, V), inputs, grad, create_graph=True))
            return *(next(gradients) if tensor.requires_grad else None for tensor in (z, W, c, V)), None


def _chunked_gradient(
    z: Tensor, W: Tensor, V: Tensor, a: Tensor, grad: Tensor, chunk: int, in_z: bool
) -> tuple[Tensor | None, ...]:
    grad_z = torch.empty_like(z) if in_z else None
    grad_W, grad_V = torch.empty_like(W), torch.empty_like(V)
    # Of the activations at the start of the chunk, from all steps behind it.
    grad_a = torch.zeros_like(a)
    starts = range(0, z.shape[1], chunk)
    for start in reversed(starts):
        part = slice(start, start + chunk)
        a = a - z[:, part] @ W[part]
        before, h = _hidden(a, z[:, part], W[part])
        g = grad[:, part].T.contiguous()  # (steps, n)
        grad_V[part] = torch.bmm(g.unsqueeze(1), h).squeeze(1)
        grad_h = g.unsqueeze(2) * V[part].unsqueeze(1)
        grad_pre = torch.ops.aten.sigmoid_backward(grad_h, h)
        # z_j reaches the later steps of its own chunk one by one, and those behind it by grad_a.
        if grad_z is not None:
            grad_z[:, part] = (_earlier(z[:, part]) * (grad_pre @ W[part].T)).sum(0) + grad_a @ W[part].T
        grad_W[part] = before.flatten(0, 1).T @ grad_pre.flatten(0, 1) + z[:, part].T @ grad_a
        grad_a = grad_a + grad_pre.sum(0)
    return grad_z, grad_W, grad_a.sum(0), grad_V, None


def _earlier(z: Tensor) -> Tensor:
    """1 where step j is before step i of a chunk: (steps i, 1, steps j)."""
    steps = z.shape[1]
    return torch.ones(steps, steps, dtype=z.dtype, device=z.device).tril(-1).unsqueeze(1)


def _hidden(a: Tensor, z: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """For each step of a chunk, the bits (steps, n, steps) of the chunk before it, zero from it on, and
    h (steps, n, n_hidden)."""
    before = _earlier(z) * z
    return before, (before @ W).add_(a).sigmoid_()
