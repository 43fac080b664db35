"""Estimate: a number found by sampling, and how far it may be off."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Estimate(NamedTuple):
    """A Monte Carlo estimate, or an array of them for batched queries.

    `standard_error` is that of `value`, 0 where `value` is exact; `n_samples` is how many samples it rests on.
    """

    value: NDArray[np.float64] | float
    standard_error: NDArray[np.float64] | float
    n_samples: NDArray[np.int64] | int

    def interval(self, sigmas: float = 1.96) -> tuple[NDArray[np.float64] | float, NDArray[np.float64] | float]:
        """(value − sigmas · standard_error, value + sigmas · standard_error): by default the 95 % interval."""
        return self.value - sigmas * self.standard_error, self.value + sigmas * self.standard_error

    def __str__(self) -> str:
        if np.ndim(self.value):
            return repr(self)
        return f"{self.value:.6g} ± {self.standard_error:.2g}"


def only(estimates: Estimate) -> Estimate:
    """The one estimate of an array of length 1, in plain numbers."""
    return Estimate(*(np.asarray(field).item() for field in estimates))


def mean(values: NDArray[np.float64]) -> Estimate:
    """The mean of two log-probabilities or more, whose array is overwritten. It is finite, and so is its error: logits
    are finite float32 numbers, whose sums and squares stay far inside the range of float64."""
    n, mean = len(values), values.mean()
    values -= mean
    error = math.sqrt(np.square(values, out=values).sum() / (n - 1) / n)
    return Estimate(float(mean), error, n)
