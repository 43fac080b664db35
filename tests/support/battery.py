"""Statistical tests of a stream of bits that should be fair and independent.

Each gives a p-value, P(a statistic at least as large | fair bits): uniform between 0 and 1, so both ends are
suspicious. After Knuth, The Art of Computer Programming 2, 3.3; Marsaglia's DIEHARD; NIST SP 800-22.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import stats

Bits = npt.NDArray[np.uint8]

LAGS = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 256, 512, 1024]


def p_values(bits: Bits) -> dict[str, float]:
    """All tests of a stream of 0s and 1s; a million of them or more."""
    words = np.packbits(bits[: len(bits) // 32 * 32]).view(np.uint32)
    return dict(_tests(bits, words))


def _tests(bits: Bits, words: npt.NDArray[np.uint32]) -> Iterator[tuple[str, float]]:
    yield "ones", _fair_coin(int(np.count_nonzero(bits)), len(bits))
    # The lag 1 is the test of runs: a run ends where two neighbours differ.
    for lag in LAGS:
        yield f"lag {lag}", _fair_coin(int(np.count_nonzero(bits[lag:] == bits[:-lag])), len(bits) - lag)
    for n_bits in (8, 16):
        observed = np.bincount(words.view(f"u{n_bits // 8}"), minlength=2**n_bits)
        yield f"patterns of {n_bits}", float(stats.chisquare(observed).pvalue)
    yield "collisions", _collisions(words)
    yield "birthday spacings", _birthday_spacings(words)
    yield "ranks", _ranks(words)


def _fair_coin(heads: int, n: int) -> float:
    return float(stats.norm.sf((2 * heads - n) / np.sqrt(n)))


def _poisson(k: int, mean: float) -> float:
    """P(more) + ½ P(as many)."""
    return float(stats.poisson.sf(k, mean) + stats.poisson.pmf(k, mean) / 2)


def _collisions(words: npt.NDArray[np.uint32]) -> float:
    """Of 2**20 words, those met before: n² / 2m in the mean, as n is far below m = 2**32."""
    n = min(len(words), 2**20)
    batches = words[: len(words) // n * n].reshape(-1, n)
    met = np.count_nonzero(np.diff(np.sort(batches, axis=1), axis=1) == 0)
    return _poisson(int(met), len(batches) * n * (n - 1) / 2.0**33)


def _birthday_spacings(words: npt.NDArray[np.uint32], n: int = 4096) -> float:
    """Of the gaps between n birthdays in a year of m = 2**32 days, those met before: n³ / 4m in the mean."""
    birthdays = np.sort(words[: len(words) // n * n].reshape(-1, n), axis=1)
    gaps = np.sort(np.diff(birthdays, axis=1), axis=1)
    return _poisson(int(np.count_nonzero(gaps[:, 1:] == gaps[:, :-1])), len(gaps) * n**3 / 2.0**34)


def _ranks(words: npt.NDArray[np.uint32]) -> float:
    """Ranks over GF(2) of 32 × 32 matrices of bits: what a linear generator betrays itself by."""
    rows = words[: len(words) // 32 * 32].reshape(-1, 32).copy()
    for i in range(31):
        pivot = rows[:, i, None]
        lowest = pivot & (~pivot + np.uint32(1))
        rows[:, i + 1 :] ^= np.where(rows[:, i + 1 :] & lowest, pivot, np.uint32(0))
    rank = np.count_nonzero(rows, axis=1)
    p = np.array([_probability_of_rank(32), _probability_of_rank(31)])
    expected = np.append(p, 1 - p.sum()) * len(rank)
    observed = [np.count_nonzero(rank == 32), np.count_nonzero(rank == 31), np.count_nonzero(rank < 31)]
    return float(stats.chisquare(observed, expected).pvalue)


def _probability_of_rank(r: int, n: int = 32) -> float:
    """2^(−(n − r)²) ∏_{i<r} (1 − 2^(i − n))² / (1 − 2^(i − r))."""
    i = np.arange(r)
    return float(2.0 ** -((n - r) ** 2) * np.prod((1 - 2.0 ** (i - n)) ** 2 / (1 - 2.0 ** (i - r))))
