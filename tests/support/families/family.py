"""What the tests know of a family of models."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from support import model_file, oracle
from support.oracle import Config, Events, Float, Tensors

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    import ancestral

Float64Tensors = dict[str, Float]
Graph = dict[str, Any]


class Configs(NamedTuple):
    """Models for the tests, by names of which no other family has the same."""

    small: dict[str, Config]
    """Every sort: orders, edges, kinds of values; each with at most 2**12 events, so that one can sum over all."""
    few: list[str]
    """Of the small ones, for tests that take longer."""
    medium: dict[str, Config]
    """Models that a slow algorithm can still follow."""
    large: dict[str, Config]
    """So large that a few dozen samples are worth sharing among threads."""
    references: dict[str, Config]
    """Models whose results are kept to the bit (`make references`)."""
    shapes: dict[str, Config]
    """Sizes at which kernels go other ways: wide ones, odd ones. The small ones are among them by themselves."""


class CoreStep(NamedTuple):
    """A step of training in the core: functions of `ancestral._core`, and the tensors that they take."""

    score: str
    gradient: str
    tensors: list[str]


class Family(ABC):
    """A family of models, and its formulas in float64.

    Everything is indexed by step: dimension `order[i]` of the flattened event is visited at step i.
    """

    # --- a family gives these --------------------------------------------------------------------------------

    kind: ClassVar[str]
    """Its name in model files."""
    configs: ClassVar[Configs]
    lacks: ClassVar[frozenset[str]] = frozenset()
    """Of "features" (of a whole event), "features at a step", and "one order": a mixture has a likelihood and draws,
    and nothing that takes conditionals."""
    revision: ClassVar[int] = 1
    """Of its arithmetic, as compressed files name it."""
    core_step: ClassVar[CoreStep | None] = None
    """Of a family that is trained in the core."""

    @abstractmethod
    def formula(self, config: Config, tensors: Float64Tensors, x: Float) -> Float:
        """The logits, (n, n_dims, n_logits) in step order as oracle.py says, of events x, (n, *event_shape).

        From the paper and the tensors of a model file alone, and not from the code.
        """

    def hidden(self, config: Config, tensors: Float64Tensors, x: Float, step: int | None) -> Float:
        """The hidden units of `features`, (n, *shape); with a step, after that many values of x."""
        raise NotImplementedError

    @abstractmethod
    def weights(self, config: Config, rng: np.random.Generator) -> Float64Tensors:
        """Random weights under the names and shapes of a model file, 0 where a mask is."""

    @abstractmethod
    def last_layer(self, config: Config) -> tuple[str, ...]:
        """The tensors that logits are linear in: a weight, its bias, and any further weights."""

    @abstractmethod
    def n_params(self, config: Config) -> int:
        """The number of weights that no mask hides."""

    @abstractmethod
    def of_bits(self, n_dims: int) -> Config:
        """A model of so many bits, in another order than the natural one if the family has others.

        Its last layer has a bias and one weight.
        """

    @abstractmethod
    def any_config(self, draw: DrawFn, max_events: int | None) -> Config:
        """Any model of the family, for Hypothesis; as far as possible of at most so many events."""

    # --- these it may give in another way ------------------------------------------------------------------------

    def event_shape(self, config: Config) -> tuple[int, ...]:
        return tuple(config["event_shape"]) if "event_shape" in config else (config["n_dims"],)

    def n_classes(self, config: Config) -> int | tuple[int, ...]:
        """One number, or one for each dimension of the flattened event."""
        n_classes = config.get("n_classes", 2)
        return n_classes if isinstance(n_classes, int) else tuple(n_classes)

    def order(self, config: Config) -> npt.NDArray[np.int64]:
        """The flat dimension visited at each step."""
        order = config.get("order")
        return np.arange(self.n_dims(config)) if order is None else np.array(order, np.int64)

    def members(self, config: Config) -> list[Config]:
        """The models that p(x) is the mean of: several in a mixture."""
        return [config]

    def graph(self, config: Config) -> Graph | None:
        """The network as a file says it, from docs/networks.md alone; None for a family that is known by its kind."""
        return None

    def last_bias(self, config: Config, logits: Float) -> Float:
        """The bias of the last layer of a model of bits, from its part of the logit at each step."""
        return logits

    def module(self, config: Config) -> Any:
        """The torch module of this config."""
        import ancestral

        return getattr(ancestral.nn, self.kind)(**config)

    def state(self, config: Config, tensors: Tensors) -> Tensors:
        """The tensors of a file as the torch module's state holds them."""
        return tensors

    # --- what follows ------------------------------------------------------------------------------------------

    def model(self, config: Config, tensors: Tensors) -> ancestral.Model:
        import ancestral

        return ancestral.Model.from_tensors(self.kind, config, tensors, self.graph(config))

    def file(self, config: Config, tensors: Tensors) -> bytes:
        """A model file, from the description of the format alone."""
        return model_file.file_of(self.kind, config, tensors, self.graph(config))

    def __repr__(self) -> str:
        return self.kind

    def n_dims(self, config: Config) -> int:
        return math.prod(self.event_shape(config))

    def classes(self, config: Config) -> npt.NDArray[np.int64]:
        """The number of classes of each dimension of the flattened event."""
        return np.broadcast_to(np.asarray(self.n_classes(config), np.int64), (self.n_dims(config),))

    def dtype(self, config: Config) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest unsigned type that holds the classes."""
        return np.min_scalar_type(int(self.classes(config).max()) - 1)

    def logits(self, config: Config, tensors: Tensors, x: npt.ArrayLike) -> Float:
        return self.formula(config, _float64(tensors), np.asarray(x, np.float64))

    def features(self, config: Config, tensors: Tensors, x: npt.ArrayLike, step: int | None = None) -> Float:
        return self.hidden(config, _float64(tensors), np.asarray(x, np.float64), step)

    def conditionals(self, config: Config, tensors: Tensors, x: npt.ArrayLike) -> Float:
        """P(x_i = 1 | x_<i) in the shape of x, or of more classes P(x_i = k | x_<i) as (*shape of x, most classes)."""
        x = np.asarray(x)
        p = oracle.probabilities(self.logits(config, tensors, x))
        placed = np.empty_like(p)
        placed[:, self.order(config)] = p
        return placed.reshape(x.shape if p.shape[2] == 1 else (*x.shape, p.shape[2]))

    def surprise(self, config: Config, tensors: Tensors, x: npt.ArrayLike, temperature: float = 1.0) -> Float:
        """-ln P(x_i | x_<i) in the shape of x."""
        x, order = np.asarray(x), self.order(config)
        z = x.reshape(len(x), self.n_dims(config))[:, order].astype(np.int64)
        log_p = oracle.log_conditionals(self.logits(config, tensors, x) / temperature)
        placed = np.empty(z.shape)
        placed[:, order] = -np.take_along_axis(log_p, z[:, :, None], axis=2)[:, :, 0]
        return placed.reshape(x.shape)

    def log_prob(self, config: Config, tensors: Tensors, x: npt.ArrayLike, temperature: float = 1.0) -> Float:
        """ln p(x) in nats, (n,); with a temperature, of the distribution that is drawn from with it."""
        each = [self.surprise(member, tensors, x, temperature) for member in self.members(config)]
        log_p = np.stack([-terms.reshape(-1, self.n_dims(config)).sum(axis=1) for terms in each])
        largest = log_p.max(axis=0)
        log_mean: Float = largest + np.log(np.exp(log_p - largest).mean(axis=0))
        return log_mean

    def enumerate_events(self, config: Config) -> Events:
        """All events; row r spells r with a digit for each dimension, high digit first."""
        classes, place = self.classes(config), self._place_values(config)
        digits = np.arange(math.prod(classes.tolist()))[:, None] // place % classes
        return digits.astype(self.dtype(config)).reshape(-1, *self.event_shape(config))

    def event_index(self, config: Config, x: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The row of each event in `enumerate_events`."""
        return x.reshape(len(x), self.n_dims(config)).astype(np.int64) @ self._place_values(config)

    def _place_values(self, config: Config) -> npt.NDArray[np.int64]:
        """The classes of all later dimensions multiplied."""
        return np.append(np.cumprod(self.classes(config)[:0:-1])[::-1], 1)

    def random_events(self, config: Config, n: int, rng: np.random.Generator) -> Events:
        shape, n_classes = self.event_shape(config), self.n_classes(config)
        end = n_classes if isinstance(n_classes, int) else np.reshape(n_classes, shape)
        return rng.integers(0, end, (n, *shape), dtype=self.dtype(config))

    def random_tensors(self, config: Config, rng: np.random.Generator, scale: float) -> Tensors:
        """Random weights under the names and shapes of a file, masked entries zero, the last layer scaled so that
        the largest logit met on random events is about `scale`."""
        tensors = {name: value.astype(np.float32) for name, value in self.weights(config, rng).items()}
        x = self.random_events(config, 64, rng)
        logits = np.stack([self.logits(member, tensors, x) for member in self.members(config)])
        reached = np.abs(logits[np.isfinite(logits)]).max()
        for name in self.last_layer(config):
            tensors[name] = (tensors[name] * (scale / max(reached, 1e-30))).astype(np.float32)
        return tensors

    def independent(self, logits: npt.ArrayLike) -> tuple[Config, Tensors]:
        """A model of independent bits: the logit of step i is `logits[i]`, whatever came before."""
        config = self.of_bits(np.size(logits))
        tensors = self.random_tensors(config, np.random.default_rng(0), 0.0)
        _, bias = self.last_layer(config)
        return config, {**tensors, bias: self.last_bias(config, np.asarray(logits)).astype(np.float32)}


def _float64(tensors: Tensors) -> Float64Tensors:
    return {name: np.asarray(value, np.float64) for name, value in tensors.items()}


def any_order(draw: DrawFn, n_dims: int) -> list[int] | None:
    from hypothesis import strategies as st

    return draw(st.none() | st.permutations(range(n_dims)))


def any_n_dims(draw: DrawFn, max_events: int | None) -> int:
    """Of bits."""
    from hypothesis import strategies as st

    return draw(st.integers(1, 40 if max_events is None else max_events.bit_length() - 1))


def any_image(draw: DrawFn, n_classes: int, max_events: int | None) -> tuple[int, int, int]:
    """An event shape (channels, height, width)."""
    from hypothesis import strategies as st

    channels = draw(st.sampled_from([1, 1, 2, 3, 4]))
    most = 36 if max_events is None else max(1, int(math.log(max_events) / math.log(n_classes)) // channels)
    height = draw(st.integers(1, min(6, most)))
    return channels, height, draw(st.integers(1, min(12, most // height)))


def raster(event_shape: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """The order of an image's dimensions: by row, column, then channel."""
    c, h, w = event_shape
    return np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0).ravel()
