"""Vectors visited in a chosen order: what FVSBN, NADE and MADE share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ancestral import _arguments as arguments
from ancestral.nn import _core_step
from ancestral.nn._base import Autoregressive, as_order
from ancestral.nn._events import as_events
from ancestral.nn._reparametrized import reparametrize
from ancestral.nn._transforms import is_differentiated

if TYPE_CHECKING:
    from typing_extensions import Self


class Ordered(Autoregressive):
    """A model of vectors of n_dims dimensions, whose order is a part of the state: it says what the weights mean."""

    steps: Tensor | None
    """`order` or `orders` as a buffer, None for the natural one."""

    def __init__(self, n_dims: int, n_classes: int, order: Any) -> None:
        super().__init__((arguments.integer("n_dims", n_dims, 1),), n_classes)
        self._set_order(as_order(order, self.n_dims))

    def _set_order(self, order: tuple[int, ...] | None, orders: tuple[tuple[int, ...], ...] | None = None) -> None:
        self.order, self.orders = order, orders
        self.register_buffer("steps", None if self._visited is None else torch.tensor(self._visited))

    @property
    def _visited(self) -> tuple[int, ...] | tuple[tuple[int, ...], ...] | None:
        return self.order if self.orders is None else self.orders

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.steps is not None:  # after `to_empty` it has no values
            self.steps = torch.tensor(self._visited, device=self.steps.device)
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        steps = state_dict.get(prefix + "steps")
        own = None if self._visited is None else torch.tensor(self._visited, device="cpu")
        if steps is None and own is not None:
            error_msgs.append(
                f"the state has the natural order, the module another one: {prefix}steps is missing. Build the module "
                "without order; or, if the weights are of its order, add its `steps` to the state."
            )
        elif isinstance(steps, Tensor) and not steps.is_meta and (own is None or not torch.equal(steps.cpu(), own)):
            other, argument = ("another order", "order") if steps.ndim < 2 else ("other orders", "orders")
            error_msgs.append(
                f"the state has {other} than the module: {prefix}steps differs. Build the module with "
                f'{argument}=state_dict["{prefix}steps"].tolist().'
            )
        else:
            super()._load_from_state_dict(
                state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
            )


class OrderedBits(Ordered):
    """A model of x in {0, 1}^n_dims whose parameters are indexed by step: z = x[:, order]."""

    _CORE: ClassVar[_core_step.Core]
    _WEIGHTS: ClassVar[tuple[str, ...]]
    """Names of the parameters as the core's functions take them."""

    def __init__(self, n_dims: int, order: Any, backend: str) -> None:
        super().__init__(n_dims, 2, order)
        self.backend = arguments.choice("backend", backend, ("auto", "torch"))

    @abstractmethod
    def _step_logits(self, z: Tensor) -> Tensor:
        """Logits (n, n_dims) of the steps, given the bits in the order of the steps."""

    def _weights(self) -> tuple[Tensor, ...]:
        if self._forward_pre_hooks:  # which run before `forward` only
            reparametrize(self)
        return tuple([getattr(self, name) for name in self._WEIGHTS])

    def _like(self) -> Tensor:
        like: Tensor = getattr(self, self._WEIGHTS[-1])
        return like

    def _core_weights(self) -> tuple[Tensor, ...] | None:
        """The parameters, if the core can run with them and is to."""
        weights = self._weights()
        return weights if self.backend != "torch" and _core_step.takes(weights) else None

    def _in_core(self) -> bool:
        return self._core_weights() is not None

    def log_prob(self, x: Any) -> Tensor:
        weights = self._core_weights()
        if weights is None:
            return super().log_prob(x)
        # The core looks at every value, in less time than torch takes to begin.
        if not (_is_bytes(x) and x.shape[1:] == self.event_shape):
            x = as_events(x, self.event_shape, self.n_classes, "x")
            if is_differentiated(x):
                return self._log_prob_in_torch(self._as_weights(x))
            x = x.cpu()
        try:
            return _core_step.log_prob(x if self.steps is None else x[:, self.steps], self._CORE, weights)
        except ValueError as error:
            refused = error
        as_events(x, self.event_shape, self.n_classes, "x")  # says which value it is, and where
        raise refused

    log_prob.__doc__ = Autoregressive.log_prob.__doc__

    def _logits(self, x: Tensor) -> Tensor:
        if self.steps is None:
            return self._step_logits(x)
        return self._step_logits(x[:, self.steps])[:, self.steps.argsort()]


def _is_bytes(x: Any) -> bool:
    """Whether x is a tensor of bytes in memory that NumPy can read."""
    return (
        type(x) is Tensor
        and x.dtype is torch.uint8
        and x.is_cpu
        and x.layout is torch.strided
        and not x.is_nested
        and not x.is_neg()
    )
