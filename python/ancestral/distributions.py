"""A model as a torch.distributions.Distribution, for code that is written for these."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from ancestral import _arguments as arguments
from ancestral.model import Model
from ancestral.operations.handle import LAST_INDEX
from ancestral.operations.information import kl_divergence


class Autoregressive(Distribution):
    """The distribution of a `Model`, with an empty batch_shape and the model's event_shape.

    `model` does the work, in Rust, without gradients. `n_samples` is how many samples `entropy` and
    `torch.distributions.kl_divergence` of two such distributions rest on: they are estimates, which differ from call to
    call; `Model.entropy` and `ancestral.kl_divergence` give their standard errors.

    Whatever is random has a seed from torch's global generator, so `torch.manual_seed` makes it reproducible.

    Raises TypeError if `model` is no Model, TypeError and ValueError if `n_samples` is no integer from 2.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  (as torch's own distributions have it)

    def __init__(self, model: Model, *, n_samples: int = 10_000, validate_args: bool | None = None) -> None:
        self.model = arguments.model("model", model)
        self.n_samples = arguments.integer("n_samples", n_samples, 2, LAST_INDEX)
        super().__init__(event_shape=torch.Size(model.event_shape), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Zeros and ones, or integers 0 to n_classes − 1, in the event_shape."""
        k = self.model.n_classes
        values = constraints.boolean if k == 2 else constraints.integer_interval(0, k - 1)  # type: ignore[no-untyped-call]
        return constraints.independent(values, len(self.event_shape))  # type: ignore[no-untyped-call]

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008  (a constant)
        """Independent samples (*sample_shape, *event_shape), on the CPU.

        Two classes: of torch's default float type, as `torch.distributions.Bernoulli` gives. More: int64, as
        `Categorical` gives.
        """
        shape = torch.Size(sample_shape)
        x = torch.from_numpy(self.model.sample(shape.numel(), rng=_seed()))
        dtype = torch.get_default_dtype() if self.model.n_classes == 2 else torch.int64
        return x.to(dtype).reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) in nats for a value (*sample_shape, *event_shape): float64 (*sample_shape,), on its device.

        Raises ValueError for a value of another shape or outside the support, whether or not arguments are validated.
        """
        if self._validate_args and not (isinstance(value, Tensor) and value.numel() == 0):  # which torch cannot check
            self._validate_sample(value)
        shape = value.shape[: max(0, value.ndim - len(self.event_shape))]
        x = value.reshape(shape.numel(), *value.shape[len(shape) :])
        return torch.from_numpy(self.model.log_prob(x)).reshape(shape).to(value.device)

    def entropy(self) -> Tensor:
        """An unbiased estimate of the entropy in nats, a float64 scalar: see `Model.entropy`."""
        return torch.tensor(self.model.entropy(self.n_samples, rng=_seed()).value, dtype=torch.float64)

    def expand(self, batch_shape: Any, _instance: Any = None) -> NoReturn:
        """Refused: a model has no parameters that could have a batch."""
        raise NotImplementedError("Autoregressive has no batch to expand; draw with sample(sample_shape) instead")

    def __repr__(self) -> str:
        return f"Autoregressive({self.model!r})"


@register_kl(Autoregressive, Autoregressive)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl(p: Autoregressive, q: Autoregressive) -> Tensor:
    return torch.tensor(kl_divergence(p.model, q.model, p.n_samples, rng=_seed()).value, dtype=torch.float64)


def _seed() -> int:
    """63 bits of torch's global generator, which advances."""
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_())
