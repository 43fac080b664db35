"""NADE: one hidden layer shared by the conditionals of all dimensions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ancestral import _core
from ancestral.nn._base import as_size, exported
from ancestral.nn._core_step import Core
from ancestral.nn._ordered import OrderedBits

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
        in PyTorch elsewhere; "torch" always in PyTorch. Both give the same numbers up to rounding.

    Raises
    ------
    TypeError, ValueError
        If n_dims or n_hidden is not an int >= 1, order not a permutation or backend not one of the two.

    Notes
    -----
    Memory of a training step is O(batch (n_dims + n_hidden)): the hidden units are computed a few steps
    at a time, and again in the backward pass. Gradients of gradients are therefore not available.

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
    default_lr: ClassVar[float] = 2e-2

    def __init__(self, n_dims: int, n_hidden: int, order: Any = None, *, backend: str = "auto") -> None:
        super().__init__(n_dims, order, backend)
        self.n_hidden = as_size(n_hidden, "n_hidden")
        # Uniform within 1/sqrt(fan-in), as nn.Linear: activations start where the sigmoid is steep.
        self.W = nn.Parameter(_uniform(self.n_hidden, self.n_dims).T.contiguous())
        self.c = nn.Parameter(torch.zeros(self.n_hidden))
        self.V = nn.Parameter(_uniform(self.n_dims, self.n_hidden))
        self.b = nn.Parameter(torch.zeros(self.n_dims))

    def config(self) -> dict[str, Any]:
        order = None if self.order is None else list(self.order)
        return {"n_dims": self.n_dims, "n_hidden": self.n_hidden, "order": order}

    def tensors(self) -> dict[str, Tensor]:
        return {name: exported(parameter) for name, parameter in self.named_parameters()}

    def extra_repr(self) -> str:
        return f"{self.n_dims}, n_hidden={self.n_hidden}" + ("" if self.order is None else ", order=...")

    def _weights(self) -> tuple[Tensor, ...]:
        return self.W, self.c, self.V, self.b

    def _step_logits(self, z: Tensor) -> Tensor:
        logits: Tensor = _ChunkedLogits.apply(z, self.W, self.c, self.V, CHUNK)
        return logits + self.b


def _uniform(rows: int, columns: int) -> Tensor:
    bound = columns**-0.5
    return torch.empty(rows, columns).uniform_(-bound, bound)


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
        ctx.save_for_backward(z, W, V, a)
        ctx.chunk = chunk
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, W, V, a = ctx.saved_tensors
        grad_W, grad_V = torch.empty_like(W), torch.empty_like(V)
        # Of the activations at the start of the chunk, from all steps behind it.
        grad_a = torch.zeros_like(a)
        starts = range(0, z.shape[1], ctx.chunk)
        for start in reversed(starts):
            part = slice(start, start + ctx.chunk)
            a = a - z[:, part] @ W[part]
            before, h = _hidden(a, z[:, part], W[part])
            g = grad[:, part].T.contiguous()  # (steps, n)
            grad_V[part] = torch.bmm(g.unsqueeze(1), h).squeeze(1)
            grad_h = g.unsqueeze(2) * V[part].unsqueeze(1)
            grad_pre = torch.ops.aten.sigmoid_backward(grad_h, h)
            # z_j reaches the later steps of its own chunk one by one, and those behind it by grad_a.
            grad_W[part] = before.flatten(0, 1).T @ grad_pre.flatten(0, 1) + z[:, part].T @ grad_a
            grad_a = grad_a + grad_pre.sum(0)
        return None, grad_W, grad_a.sum(0), grad_V, None


def _hidden(a: Tensor, z: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """For each step of a chunk, the bits (steps, n, steps) of the chunk before it, zero from it on, and
    h (steps, n, n_hidden)."""
    steps = z.shape[1]
    mask = torch.ones(steps, steps, dtype=z.dtype, device=z.device).tril(-1)
    before = mask.unsqueeze(1) * z
    return before, (before @ W).add_(a).sigmoid_()
