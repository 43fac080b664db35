"""FVSBN: one logistic regression a dimension on all dimensions before it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ancestral import _core
from ancestral.nn._core_step import Core
from ancestral.nn._ordered import OrderedBits


class FVSBN(OrderedBits):
    """Fully visible sigmoid belief network, a model of vectors of bits.

    With z = x[:, order],

        p(z_i = 1 | z_<i) = sigmoid(bias_i + sum_{j < i} weight_ij z_j),

    n_dims (n_dims + 1) / 2 parameters. The log-likelihood is concave in them.

    Parameters
    ----------
    n_dims : int
        Number of dimensions.
    order : sequence of int, optional
        A permutation: the dimension visited at each step. Default: 0, 1, 2, ...
    backend : {"auto", "torch"}
        "auto" computes `log_prob` and its gradient in the Rust core where the weights are float32 on the CPU, and
        in PyTorch elsewhere; "torch" always in PyTorch. Both give the same numbers up to rounding; only PyTorch has
        gradients of gradients (`create_graph=True`) and derivatives in x, which "auto" leaves to it.

    Raises
    ------
    TypeError, ValueError
        If n_dims is not an int >= 1, order not a permutation or backend not one of the two.

    Notes
    -----
    In the core a step runs on `torch.get_num_threads()` threads. Its gradients are the same bits for any number of
    threads.

    References
    ----------
    Frey, Graphical Models for Machine Learning and Digital Communication, 1998.
    Gan, Henao, Carlson and Carin, Learning Deep Sigmoid Belief Networks with Data Augmentation, 2015.

    Examples
    --------
    >>> import torch
    >>> from ancestral.nn import FVSBN
    >>> model = FVSBN(784)
    >>> x = torch.zeros(2, 784)
    >>> (model.log_prob(x) / 784).exp()  # the weights are zero at first: fair coins
    tensor([0.5000, 0.5000], grad_fn=<ExpBackward0>)
    >>> (-model.log_prob(x).mean()).backward()
    """

    kind: ClassVar[str] = "FVSBN"
    _CORE: ClassVar[Core] = Core(_core.fvsbn_score, _core.fvsbn_gradient)
    _WEIGHTS: ClassVar[tuple[str, ...]] = ("weight", "bias")
    default_lr: ClassVar[float] = 3e-2

    def __init__(self, n_dims: int, order: Any = None, *, backend: str = "auto") -> None:
        super().__init__(n_dims, order, backend)
        # Zeros: the likelihood is concave, so there is no symmetry to break.
        self.weight = nn.Parameter(torch.zeros(self.n_dims, self.n_dims))
        self.bias = nn.Parameter(torch.zeros(self.n_dims))

    def config(self) -> dict[str, Any]:
        return {"n_dims": self.n_dims, "order": None if self.order is None else list(self.order)}

    def _effective(self) -> dict[str, Tensor]:
        weight, bias = self._weights()
        return {"weight": weight.tril(-1), "bias": bias}

    def extra_repr(self) -> str:
        return f"{self.n_dims}" + ("" if self.order is None else ", order=...")

    def _step_logits(self, z: Tensor) -> Tensor:
        weight, bias = self._weights()
        return torch.addmm(bias, z, weight.tril(-1).T)
