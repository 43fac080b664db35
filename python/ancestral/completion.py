"""Completion: what `Model.complete` returns, and its warning."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral._space import Values
from ancestral.estimate import Estimate


class LowSampleSizeWarning(UserWarning):
    """Nearly all the weight is on a few samples: what is computed from them is not to be trusted."""


class Completion(NamedTuple):
    """Completions of n partly observed events, k of each. For a single event given as such, the axis n is missing."""

    x: Values
    """(n, k, *event_shape): the observed values as they were, the others drawn."""
    log_weights: NDArray[np.float64]
    """(n, k), in nats, not normalised: a mean over the k samples is to be taken with weights in proportion to their
    exponentials. Equal within a row where the draws are exact or resampled."""
    effective_sample_size: NDArray[np.float64] | float
    """(n,): about how many draws from p(x | evidence) the weighted ones are worth, (Σ w)² / Σ w²."""
    log_prob_evidence: Estimate
    """log p(evidence) in nats, (n,), and how many samples it rests on."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weights normalised to sum to 1 over the k samples, (n, k)."""
        weights = np.exp(self.log_weights - self.log_weights.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]
