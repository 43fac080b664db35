"""A model in Rust beside its formulas."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import ancestral
from support.families import Family, PixelCNN
from support.oracle import Config, Events, Float, Tensors


class Case(NamedTuple):
    """A model in Rust, and what it was made of. Its methods are those of the family, in float64."""

    family: Family
    config: Config
    tensors: Tensors
    model: ancestral.Model

    def logits(self, x: npt.ArrayLike) -> Float:
        return self.family.logits(self.config, self.tensors, x)

    def log_prob(self, x: npt.ArrayLike, temperature: float = 1.0) -> Float:
        return self.family.log_prob(self.config, self.tensors, x, temperature)

    def conditionals(self, x: npt.ArrayLike) -> Float:
        return self.family.conditionals(self.config, self.tensors, x)

    def surprise(self, x: npt.ArrayLike) -> Float:
        return self.family.surprise(self.config, self.tensors, x)

    def features(self, x: npt.ArrayLike, step: int | None = None) -> Float:
        return self.family.features(self.config, self.tensors, x, step)

    def events(self, n: int, seed: int = 0) -> Events:
        return self.family.random_events(self.config, n, np.random.default_rng(seed))

    def every_event(self) -> Events:
        return self.family.enumerate_events(self.config)

    def counts(self, x: Events) -> npt.NDArray[np.int64]:
        """How often each of `every_event` is in x."""
        index = self.family.event_index(self.config, x)
        return np.bincount(index, minlength=self.n_events)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        return self.family.order(self.config)

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """The number of classes of each dimension, (*event_shape)."""
        return self.family.classes(self.config).reshape(self.family.event_shape(self.config))

    @property
    def n_events(self) -> int:
        return int(np.prod(self.classes.astype(object)))

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        return self.family.dtype(self.config)

    def with_tensors(self, tensors: Tensors) -> Case:
        """The same model with other weights."""
        return case_of(self.family, self.config, tensors)

    def file(self) -> bytes:
        """A model file, from the description of the format alone."""
        return self.family.file(self.config, self.tensors)


def case_of(family: Family, config: Config, tensors: Tensors) -> Case:
    return Case(family, config, tensors, family.model(config, tensors))


def build_case(family: Family, config: Config, *, scale: float = 3.0, seed: int = 0) -> Case:
    """With random weights, and logits up to about `scale`."""
    return case_of(family, config, family.random_tensors(config, np.random.default_rng(seed), scale))


def endless_case() -> Case:
    """A model so large that a call for `long_calls.ENDLESS` samples does not end while a test runs."""
    small = PixelCNN.config((1, 4, 4), 2, 64, 8, 64)
    # The same weights, which the oracle scales sooner on small events.
    return case_of(PixelCNN, {**small, "event_shape": [1, 28, 28]}, build_case(PixelCNN, small).tensors)
