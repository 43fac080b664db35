"""A model as a torch.distributions.Distribution, for code that is written for these."""

from __future__ import annotations

from ancestral import _torch  # noqa: F401  (first)

# isort: split
import math
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from ancestral import _arguments as arguments
from ancestral.divergence import kl_divergence
from ancestral.model import Model, as_model


class Autoregressive(Distribution):
    """The distribution of a `Model`, with an empty batch_shape and the model's event_shape.

    `model` does the work, in Rust, without gradients. `n_samples` is how many samples `entropy` and
    `torch.distributions.kl_divergence` of two such distributions rest on: they are estimates, which differ from call to
    call; `Model.entropy` and `ancestral.kl_divergence` give their standard errors.

    Whatever is random has a seed from torch's global generator, so `torch.manual_seed` makes it reproducible.

    It stands in torch's wrappers as any discrete distribution without a batch does. A `TransformedDistribution` takes
    every base for a continuous one: its `log_prob` is right for transforms that keep volumes, such as
    `ReshapeTransform`. A `MixtureSameFamily` needs components with a batch, and refuses this one with an IndexError.
    What has no closed form raises NotImplementedError, and says what to use instead.

    Raises TypeError if `model` is no Model, TypeError and ValueError if `n_samples` is no integer from 2.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  (as torch's own distributions have it)

    def __init__(self, model: Model, *, n_samples: int = 10_000, validate_args: bool | None = None) -> None:
        self.model = as_model("model", model)
        self.n_samples = arguments.integer("n_samples", n_samples, 2, arguments.LAST_INDEX)
        super().__init__(event_shape=torch.Size(model.event_shape), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Zeros and ones, or integers 0 to n_classes − 1, in the event_shape."""
        space = self.model._space
        if space.is_bits:
            values: constraints.Constraint = constraints.boolean
        else:
            highest = space.highest if isinstance(space.highest, int) else torch.tensor(space.highest.astype(np.int64))
            values = constraints.integer_interval(0, highest)  # type: ignore[no-untyped-call]
        return constraints.independent(values, len(self.event_shape))  # type: ignore[no-untyped-call]

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008  (a constant)
        """Independent samples (*sample_shape, *event_shape), on the CPU.

        Two classes: of torch's default float type, as `torch.distributions.Bernoulli` gives. More: int64, as
        `Categorical` gives.

        Raises TypeError and ValueError if `sample_shape` is no shape.
        """
        shape = _shape("sample_shape", sample_shape)
        n = arguments.integer("the number of samples in sample_shape", math.prod(shape), 0, arguments.LAST_INDEX)
        x = torch.from_numpy(self.model.sample(n, rng=torch.default_generator))
        dtype = torch.get_default_dtype() if self.model._space.is_bits else torch.int64
        return x.to(dtype).reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) in nats for a value (*sample_shape, *event_shape): float64 (*sample_shape,), on its device.

        Raises TypeError for what is no dense tensor of real numbers; ValueError for a value of another shape or outside
        the support, whether or not arguments are validated.
        """
        if not isinstance(value, Tensor):
            raise TypeError(f"value is a {type(value).__name__}; wanted a tensor")
        array = arguments.values("value", value, self.model._space)
        event_shape = self.model.event_shape
        n_sample_axes = array.ndim - len(event_shape)
        if n_sample_axes < 0 or array.shape[n_sample_axes:] != event_shape:
            wanted = f"(*sample_shape, {', '.join(map(str, event_shape))})"
            raise arguments.wrong_shape("value", value, array.shape, event_shape, wanted, one=True, many=True)
        self.model._space.check("value", array)
        shape = array.shape[:n_sample_axes]
        log_prob = self.model.log_prob(array.reshape(math.prod(shape), *event_shape))
        return torch.from_numpy(log_prob).reshape(shape).to(value.device)

    def entropy(self) -> Tensor:
        """An unbiased estimate of the entropy in nats, a float64 scalar: see `Model.entropy`."""
        estimate = self.model.entropy(self.n_samples, rng=torch.default_generator)
        return torch.tensor(estimate.value, dtype=torch.float64, device="cpu")

    def expand(self, batch_shape: Any, _instance: Any = None) -> Autoregressive:
        """Itself for an empty batch_shape; refused for others, as a model has no parameters that could have a batch."""
        if _shape("batch_shape", batch_shape):
            raise NotImplementedError("Autoregressive has no batch to expand; draw with sample(sample_shape) instead")
        return self

    def rsample(self, sample_shape: Any = torch.Size()) -> NoReturn:  # noqa: B008  (a constant)
        """Refused: samples are discrete, and so have no gradients."""
        raise NotImplementedError("Autoregressive has no rsample: its samples are discrete, without gradients")

    @property
    def mean(self) -> NoReturn:
        """Refused: it has no closed form."""
        raise NotImplementedError("Autoregressive has no mean in closed form; estimate it with sample((n,)).mean(0)")

    @property
    def variance(self) -> NoReturn:
        """Refused: it has no closed form."""
        raise NotImplementedError("Autoregressive has no variance in closed form; estimate it with sample((n,)).var(0)")

    @property
    def mode(self) -> NoReturn:
        """Refused: it has no closed form."""
        raise NotImplementedError("Autoregressive has no mode in closed form; Model.beam_search looks for it")

    def cdf(self, value: Tensor) -> NoReturn:
        """Refused: it has no closed form."""
        raise NotImplementedError("Autoregressive has no cdf in closed form; Model.prob_range(high=value) estimates it")

    def icdf(self, value: Tensor) -> NoReturn:
        """Refused: events are no numbers in order."""
        raise NotImplementedError("Autoregressive has no icdf: its events are arrays, which have no order")

    def enumerate_support(self, expand: bool = True) -> NoReturn:
        """Refused: there are n_classes^n_dims events."""
        k = self.model.n_classes
        n = f"{k}^{self.model.n_dims}" if isinstance(k, int) else math.prod(k)
        raise NotImplementedError(f"Autoregressive has no enumerate_support: there are {n} events")

    def __repr__(self) -> str:
        return f"Autoregressive({self.model!r})"


@register_kl(Autoregressive, Autoregressive)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl(p: Autoregressive, q: Autoregressive) -> Tensor:
    estimate = kl_divergence(p.model, q.model, p.n_samples, rng=torch.default_generator)
    return torch.tensor(estimate.value, dtype=torch.float64, device="cpu")


@register_kl(Autoregressive, Distribution)  # type: ignore[no-untyped-call, untyped-decorator]
@register_kl(Distribution, Autoregressive)  # type: ignore[no-untyped-call, untyped-decorator]
def _no_kl(p: Distribution, q: Distribution) -> NoReturn:
    raise NotImplementedError(
        f"No KL(p || q) in closed form for p type {type(p).__name__} and q type {type(q).__name__}; estimate it with "
        "x = p.sample((n,)), (p.log_prob(x) - q.log_prob(x)).mean(). ancestral.kl_divergence is for two models"
    )


def _shape(name: str, value: Any) -> torch.Size:
    """The shape that an argument describes."""
    try:
        sizes = list(value)
    except Exception:  # whatever an object's own methods raise
        raise TypeError(f"{name} is {arguments.brief(value)}; wanted a torch.Size or a tuple of integers") from None
    return torch.Size([arguments.integer(name, size, 0, arguments.LAST_INDEX - 1) for size in sizes])
