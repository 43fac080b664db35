"""Importance weights, kept as logarithms: their mean, its error, their effective number, and resampling by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ancestral import _core


class Weights:
    """Mean and variance of the weights of n rows, seen a block at a time.

    Weights may be far below the least float, so each row has a scale of its own, e^`largest`: that of its largest
    weight so far. Blocks are merged by the update of Chan, Golub and LeVeque (1983). A row's figures depend on its own
    weights and their blocks alone, not on the rows beside it.
    """

    def __init__(self, n_rows: int) -> None:
        self.n = np.zeros(n_rows, np.int64)
        self.largest = np.full(n_rows, -np.inf)
        self._mean = np.zeros(n_rows)
        self._squares = np.zeros(n_rows)  # Σ (w − mean)², both in the row's scale

    def add(self, rows: NDArray[np.int64], log_weights: NDArray[np.float64]) -> None:
        """Takes one more block for these rows, (len(rows), k)."""
        n_old, n_new = self.n[rows], log_weights.shape[1]
        n = n_old + n_new
        largest = np.maximum(self.largest[rows], log_weights.max(axis=1))
        scale = np.where(np.isneginf(largest), 0.0, largest)  # all weights 0: any will do
        weights = np.exp(log_weights - scale[:, None])
        change = np.exp(self.largest[rows] - scale)
        old_mean, old_squares = change * self._mean[rows], change**2 * self._squares[rows]
        mean = weights.mean(axis=1)
        squares = ((weights - mean[:, None]) ** 2).sum(axis=1)
        self.n[rows], self.largest[rows] = n, largest
        self._mean[rows] = old_mean + (mean - old_mean) * (n_new / n)
        self._squares[rows] = old_squares + squares + (mean - old_mean) ** 2 * (n_old * n_new / n)

    def log_mean(self) -> NDArray[np.float64]:
        """The logarithm of each row's mean weight; −inf where all are 0."""
        with np.errstate(divide="ignore"):
            return self.largest + np.log(self._mean)

    def relative_error(self) -> NDArray[np.float64]:
        """Standard error of each row's mean weight, divided by it; inf for a single weight, which says nothing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            error: NDArray[np.float64] = np.sqrt(self._squares / (self.n - 1) / self.n) / self._mean
        return np.where(self.n > 1, error, np.inf)

    def effective_sample_size(self) -> NDArray[np.float64]:
        """(Σ w)² / Σ w² of each row (Kong, Liu, Wong, JASA 1994)."""
        ratio: NDArray[np.float64] = self._mean**2 / (self._mean**2 + self._squares / self.n)
        return self.n * ratio


def systematic(log_weights: NDArray[np.float64], n: int, seed: int, row: int) -> NDArray[np.int64]:
    """n indices drawn in proportion to the weights of one row, in random order: systematic resampling.

    One uniform u places the points (u + j) / n on the cumulated weights, so that index i comes ⌊n w_i⌋ or ⌈n w_i⌉
    times (w_i normalised; Carpenter, Clifford, Fearnhead 1999). It depends on nothing but (weights, n, seed, row).
    """
    uniforms = _core.resampling_uniforms(seed, row, 1 + n)
    sums = np.cumsum(np.exp(log_weights - log_weights.max()))
    points = (uniforms[0] + np.arange(n)) / n * sums[-1]
    chosen = np.minimum(np.searchsorted(sums, points, side="right"), len(sums) - 1)
    shuffled: NDArray[np.int64] = chosen[np.argsort(uniforms[1:], kind="stable")]
    return shuffled
