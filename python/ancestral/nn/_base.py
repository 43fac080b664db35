"""The base of all torch modules: checks of x, log_prob from logits, sampling through the Rust core."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.model import Model


class Autoregressive(nn.Module, ABC):
    """A distribution p(x) = prod_i p(x_i | x_<i) over discrete x of shape `event_shape`.

    A subclass names its `kind` and `default_lr` and defines `config`, `tensors` and `_logits`.

    Attributes
    ----------
    event_shape : tuple of int
        Shape of one x.
    n_dims : int
        Number of dimensions, the product of `event_shape`.
    n_classes : int
        Values are 0 ... n_classes - 1. With two, the head is Bernoulli, else categorical.
    order : tuple of int or None
        The flat dimension visited at each step; None for the model's natural order.
    """

    kind: ClassVar[str]
    default_lr: ClassVar[float]

    def __init__(self, event_shape: tuple[int, ...], n_classes: int = 2) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.n_dims = math.prod(event_shape)
        self.n_classes = n_classes
        self.order: tuple[int, ...] | None = None
        self._export: tuple[dict[str, Tensor], Model] | None = None

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """All that is needed to build this module again, as JSON values."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The effective weights (masked entries zero): detached, float32, contiguous, on the CPU."""

    @abstractmethod
    def _logits(self, x: Tensor) -> Tensor:
        """`logits` of an x that has been checked and has the parameters' dtype and device."""

    def logits(self, x: Any) -> Tensor:
        """Logits of all conditionals p(x_i | x_<i), each at the place of its dimension.

        Parameters
        ----------
        x : tensor or array, shape (n, *event_shape)
            Values 0 ... n_classes - 1 of any real dtype.

        Returns
        -------
        Tensor
            Bernoulli: shape (n, *event_shape), the logit of x_i = 1.
            Categorical: shape (n, *event_shape, n_classes), to be normalised by a softmax.

        Raises
        ------
        TypeError, ValueError
            As `log_prob`.
        """
        return self._logits(self._checked(x))

    def log_prob(self, x: Any) -> Tensor:
        """Log-probability in nats, differentiable in the parameters.

        Parameters
        ----------
        x : tensor or array, shape (n, *event_shape)
            Values 0 ... n_classes - 1 of any real dtype.

        Returns
        -------
        Tensor, shape (n,)
            Of the parameters' dtype and device.

        Raises
        ------
        TypeError
            If x is not of a real dtype.
        ValueError
            If x has another shape or a value outside the support.
        """
        x = self._checked(x)
        logits = self._logits(x)
        if self.n_classes == 2:
            terms = F.logsigmoid((2 * x - 1) * logits)
        else:
            terms = logits.log_softmax(-1).gather(-1, x.long().unsqueeze(-1))
        total: Tensor = terms.flatten(1).sum(1)
        return total

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
            self._export = clones, Model.from_tensors(self.kind, self.config(), clones)
        return self._export[1]

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        rng: int | np.random.Generator | None = None,
        start: int = 0,
        threads: int | None = None,
        progress: bool | Callable[[int, int], object] | None = None,
        out: np.ndarray[Any, Any] | None = None,
    ) -> Tensor:
        """Draw n samples in Rust: `Model.sample` of the present weights, which see for the keywords.

        Returns
        -------
        Tensor, uint8, shape (n, *event_shape)
            On the module's device. On the CPU it shares the memory of `out`, if that is given.
        """
        drawn = self.model().sample(n, rng=rng, start=start, threads=threads, progress=progress, out=out)
        return torch.from_numpy(drawn).to(self._like().device)

    def _like(self) -> Tensor:
        like: Tensor = next(self.parameters())
        return like

    def _checked(self, x: Any) -> Tensor:
        """X as a tensor of the parameters' dtype and device, or an error that names x."""
        events, like = as_events(x, self.event_shape, self.n_classes, "x"), self._like()
        return events.to(device=like.device, dtype=like.dtype)

    def __getstate__(self) -> dict[str, Any]:
        # Copies and pickles export again when they first sample.
        return {**self.__dict__, "_export": None}


def as_events(x: Any, event_shape: tuple[int, ...], n_classes: int, name: str) -> Tensor:
    """A tensor of (n, *event_shape) values in {0, ..., n_classes - 1}, or an error that names it."""
    tensor = _as_real_tensor(x, name)
    if tensor.ndim != 1 + len(event_shape) or tuple(tensor.shape[1:]) != event_shape:
        dims = ", ".join(map(str, event_shape))
        hint = ""
        if tuple(tensor.shape) == event_shape:
            hint = f"; try {name}.reshape(1, {dims})"
        elif tensor.ndim > 0 and tensor.numel() == tensor.shape[0] * math.prod(event_shape):
            hint = f"; try {name}.reshape(-1, {dims})"
        raise ValueError(f"{name} must have shape (n, {dims}), got {tuple(tensor.shape)}{hint}")
    _check_support(tensor, n_classes, name)
    return tensor


def _as_real_tensor(x: Any, name: str) -> Tensor:
    """X as a tensor; a TypeError that names it unless its dtype is bool, integer or floating."""
    if isinstance(x, Tensor):
        tensor = x
        if tensor.is_complex():
            raise TypeError(f"{name} must be of a bool, integer or floating dtype, got {tensor.dtype}")
    else:
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ValueError(f"{name} must be a tensor or array: {error}") from error
        if array.dtype.kind not in "buif":
            raise TypeError(f"{name} must be of a bool, integer or floating dtype, got {array.dtype}")
        # A copy in the native byte order: torch takes no other, nor negative strides or read-only memory.
        tensor = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return tensor.long()  # torch cannot compare unsigned ones
    return tensor


def _check_support(x: Tensor, n_classes: int, name: str) -> None:
    """A ValueError that names x, its first value outside {0, ..., n_classes - 1} and where it is."""
    if x.dtype == torch.bool or x.numel() == 0:
        return
    if not x.is_floating_point():
        least, most = map(int, x.aminmax())
        if least >= 0 and most < n_classes:
            return
    if n_classes == 2:
        valid = (x == 0) | (x == 1)
    else:
        valid = (x >= 0) & (x <= n_classes - 1)
        if x.is_floating_point():
            valid &= x == x.floor()
    if not valid.all():
        where = tuple(int(i) for i in torch.nonzero(~valid)[0])
        place = "[" + ", ".join(map(str, where)) + "]"
        raise ValueError(
            f"{name} must hold only the values 0 ... {n_classes - 1}, got {x[where].item()} at {name}{place}"
        )


def as_size(value: Any, name: str, at_least: int = 1, at_most: int | None = None) -> int:
    """Value as an int, or an error that names the argument."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < at_least or (at_most is not None and value > at_most):
        wanted = f">= {at_least}" if at_most is None else f"in {at_least} ... {at_most}"
        raise ValueError(f"{name} must be {wanted}, got {value}")
    return int(value)


def as_order(order: Any, n_dims: int) -> tuple[int, ...] | None:
    """Order as a tuple of ints, None if it is the natural one, or an error that says what is wrong."""
    if order is None:
        return None
    array = np.asarray(order)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"order must hold ints, got {array.dtype}")
    if array.shape != (n_dims,):
        raise ValueError(f"order must have shape ({n_dims},), got {array.shape}")
    if not np.array_equal(np.sort(array), np.arange(n_dims)):
        raise ValueError(f"order must be a permutation of 0 ... {n_dims - 1}, each exactly once")
    steps = tuple(int(i) for i in array)
    return None if steps == tuple(range(n_dims)) else steps


def exported(tensor: Tensor) -> Tensor:
    """A weight as the file holds it: detached, float32, contiguous, on the CPU."""
    return tensor.detach().to(device="cpu", dtype=torch.float32).contiguous()


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
