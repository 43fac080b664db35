"""The base of all torch modules: checks of x, log_prob from logits, sampling through the Rust core."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ancestral import _arguments as arguments
from ancestral.model import Model, no_order
from ancestral.nn._events import as_events
from ancestral.nn._graph import tap_tensors
from ancestral.nn._reparametrized import reparametrize
from ancestral.nn._transforms import is_differentiated

MAX_ORDERS = 64
"""Members that a file may have."""


class Autoregressive(nn.Module, ABC):
    """A distribution p(x) = prod_i p(x_i | x_<i) over discrete x of shape `event_shape`.

    A subclass names its `kind` and defines `_logits`, and `graph` unless the core knows its `kind`. One with weights
    that do not all act as they stand, or that are not all to be exported, defines `_effective` too.

    Attributes
    ----------
    event_shape : tuple of int
        Shape of one x.
    n_dims : int
        Number of dimensions, the product of `event_shape`.
    n_classes : int
        Values are 0 ... n_classes - 1. With two, the head is Bernoulli, else categorical.
    order : tuple of int or None
        The flat dimension visited at each step; None for the model's natural order, and with `orders`.
    orders : tuple of tuple of int, or None
        Those of a mixture of several orders, whose p(x) is the mean of one product for each.
    """

    kind: ClassVar[str]
    """Name of the family, in files and reprs."""
    default_lr: ClassVar[float] = 1e-3
    """Learning rate of `ancestral.fit`, unless it is given one."""

    def __init__(self, event_shape: tuple[int, ...], n_classes: int = 2) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.n_dims = math.prod(event_shape)
        self.n_classes = n_classes
        self.order: tuple[int, ...] | None = None
        self.orders: tuple[tuple[int, ...], ...] | None = None
        self._export: tuple[dict[str, Tensor], Model] | None = None

    def config(self) -> dict[str, Any]:
        """All that is needed to build this module again, as JSON values."""
        return {}

    def graph(self) -> dict[str, Any] | None:
        """The network as a model file says it, as JSON values; None for a family that the core knows by its kind.

        docs/networks.md lists the layers there are. A mixture of orders has a graph for each: {"members": [...]}.
        """
        return None

    def _effective(self) -> dict[str, Tensor]:
        """The weights as they act, masked entries zero, by their names in files."""
        reparametrize(self)
        return dict(self.named_parameters())

    def tensors(self) -> dict[str, Tensor]:
        """The effective weights (masked entries zero): detached, float32, contiguous, on the CPU."""
        return {name: exported(weight) for name, weight in self._effective().items()}

    @abstractmethod
    def _logits(self, x: Tensor) -> Tensor:
        """`logits` of an x that has been checked and has the parameters' dtype and device."""

    def _members(self, x: Tensor) -> list[Tensor]:
        """The `_logits` of each order, of which a mixture has several."""
        return [self._logits(x)]

    def logits(self, x: Any) -> Tensor:
        """Logits of all conditionals p(x_i | x_<i), each at the place of its dimension.

        Parameters
        ----------
        x : tensor or array, shape (n, *event_shape)
            Values 0 ... n_classes - 1 of any real dtype.

        Returns
        -------
        Tensor
            Of the parameters' dtype and device. Bernoulli: shape (n, *event_shape), the logit of x_i = 1.
            Categorical: shape (n, *event_shape, n_classes), to be normalised by a softmax.

        Raises
        ------
        TypeError, ValueError
            As `log_prob`; ValueError for a mixture of orders, which has no such conditionals.
        """
        if self.orders is not None:
            raise ValueError(no_order("logits", len(self.orders)))
        x = self._checked(x)
        return self._logits(x).to(x.dtype)

    def log_prob(self, x: Any) -> Tensor:
        """Log-probability in nats, differentiable in the parameters.

        With two classes it is differentiable in x as well, as the formula's extension to real x.

        Parameters
        ----------
        x : tensor or array, shape (n, *event_shape)
            Values 0 ... n_classes - 1 of any real dtype.

        Returns
        -------
        Tensor, shape (n,)
            Of the parameters' dtype and device, under autocast too; summed in float32 at least. NaN if a weight is not
            finite.

        Raises
        ------
        TypeError
            If x is not of a real dtype.
        ValueError
            If x has another shape or a value outside the support, or requires grad and has more than two classes.
        """
        return self._log_prob_in_torch(self._checked(x))

    def _log_prob_in_torch(self, x: Tensor) -> Tensor:
        """`log_prob` of an x that has been checked and has the parameters' dtype and device."""
        if self.n_classes > 2 and is_differentiated(x):
            raise ValueError(
                "x requires grad, but the log-probability of more than two classes is no function of real x; "
                "pass x.detach()"
            )
        each = [self._log_prob_of(at_least_float32(logits), x) for logits in self._members(x)]
        log_prob = each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - math.log(len(each))
        return log_prob.to(x.dtype) * self._one_if_finite()

    def _log_prob_of(self, logits: Tensor, x: Tensor) -> Tensor:
        """log p(x) by the conditionals of these logits."""
        if self.n_classes == 2:
            terms = F.logsigmoid((2 * x - 1) * logits)
        else:
            terms = logits.log_softmax(-1).gather(-1, x.long().unsqueeze(-1))
        return terms.flatten(1).sum(1)

    @torch.no_grad()
    def _one_if_finite(self) -> Tensor:
        """1, or NaN where a weight is not finite: a ReLU or a sigmoid can hide an infinite one."""
        weights = torch.cat([weight.reshape(-1) for weight in self._effective().values()])
        return 1 + (0 * weights).sum()

    def _in_core(self) -> bool:
        """Whether `log_prob` and its gradient run in the Rust core."""
        return False

    def forward(self, x: Any) -> Tensor:
        """`log_prob`, so that the module can be called, hooked and wrapped as torch users expect."""
        return self.log_prob(x)

    def model(self) -> Model:
        """The Rust model of the present weights, built again only if a weight has changed."""
        tensors = self.tensors()
        if self._export is None or not _same(self._export[0], tensors):
            # Clones: `tensors` may share memory with the parameters, which change in place.
            clones = {name: tensor.clone() for name, tensor in tensors.items()}
            graph = self.graph()
            taken = clones if graph is None else tap_tensors(graph, clones)
            self._export = clones, Model.from_tensors(self.kind, self.config(), taken, graph)
        return self._export[1]

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        rng: arguments.Rng = None,
        start: int = 0,
        threads: int | None = None,
        progress: bool | Callable[[int, int], object] | None = None,
        out: np.ndarray[Any, Any] | None = None,
    ) -> Tensor:
        """Draw n samples in Rust: `Model.sample` of the present weights, which see for the keywords.

        `torch.manual_seed` does not govern it: sample i depends on the weights, the seed `rng` and i alone, so that it
        is the same on any device and for any number of threads. `rng=0` gives the same draws always;
        `rng=torch.default_generator` takes the seed from the generator that `torch.manual_seed` sets.

        Returns
        -------
        Tensor, shape (n, *event_shape)
            Of `Model.dtype` (uint8 up to 256 classes, uint16 beyond), on the module's device. On the CPU it shares the
            memory of `out`, if that is given.
        """
        drawn = self.model().sample(n, rng=rng, start=start, threads=threads, progress=progress, out=out)
        return torch.from_numpy(drawn).to(self._like().device)

    def _like(self) -> Tensor:
        """A weight, of the dtype and device of all. DataParallel's replicas have none in `parameters()`."""
        return next(iter(self._effective().values()))

    def _checked(self, x: Any) -> Tensor:
        """X as a tensor of the parameters' dtype and device, or an error that names x."""
        return self._as_weights(as_events(x, self.event_shape, self.n_classes, "x"))

    def _as_weights(self, events: Tensor) -> Tensor:
        """Events of the parameters' dtype and device."""
        like = self._like()
        events = events.to(device=like.device, dtype=like.dtype)
        # Autograd keeps no tensor that was made in inference mode.
        return events.clone() if events.is_inference() and torch.is_grad_enabled() else events

    def __getstate__(self) -> dict[str, Any]:
        # Copies and pickles export again when they first sample.
        return {**self.__dict__, "_export": None}


def as_order(order: Any, n_dims: int) -> tuple[int, ...] | None:
    """Order as a tuple of ints, None if it is the natural one, or an error that says what is wrong."""
    if order is None:
        return None
    steps = _as_permutation("order", arguments.as_array("order", order), n_dims)
    return None if steps == tuple(range(n_dims)) else steps


def as_orders(orders: Any, n_dims: int) -> int | tuple[tuple[int, ...], ...]:
    """A number of orders or the orders themselves, 1 ... 64 of them, or an error that says what is wrong."""
    array = arguments.as_array("orders", orders)
    if array.ndim == 0:
        return arguments.integer("orders", orders, 1, MAX_ORDERS)
    if array.ndim != 2 or not 1 <= len(array) <= MAX_ORDERS:
        wanted = f"a number of orders, or (1 to {MAX_ORDERS}, {n_dims}), permutations of 0 ... {n_dims - 1}"
        raise ValueError(f"orders has shape {array.shape}; wanted {wanted}")
    return tuple(_as_permutation(f"orders[{i}]", row, n_dims) for i, row in enumerate(array))


def _as_permutation(name: str, array: NDArray[Any], n_dims: int) -> tuple[int, ...]:
    wanted = f"a permutation of 0 ... {n_dims - 1}"
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} has dtype {array.dtype}; wanted integers, {wanted}")
    if array.shape != (n_dims,):
        raise ValueError(f"{name} has shape {array.shape}; wanted ({n_dims},), {wanted}")
    if (again := array.size - len(np.unique(array))) or array.min() != 0 or array.max() != n_dims - 1:
        what = f"has {again} numbers twice" if again else f"has numbers from {array.min()} to {array.max()}"
        raise ValueError(f"{name} {what}; wanted {wanted}, each once")
    return tuple(int(i) for i in array)


def at_least_float32(tensor: Tensor) -> Tensor:
    """In float16 and bfloat16 a sum of hundreds of terms has an error of several nats."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def exported(tensor: Tensor) -> Tensor:
    """A weight as the file holds it: detached, float32, contiguous, on the CPU."""
    if tensor.is_meta:
        raise ValueError("the module is on the meta device and has no weights yet; see torch.nn.Module.to_empty")
    return tensor.detach().to(device="cpu", dtype=torch.float32).contiguous()


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
