"""Operations whose results must have the same bits everywhere. A new operation is one line in a table here.

An operation takes a case, rows of data, the index of the first, and threads, and gives arrays with a row for each: the
tests cut the rows in many ways and put the results together again. Nothing to give (a family that lacks the operation)
is an empty tuple.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import ancestral
from ancestral import _core
from support.cases import Case

Events = npt.NDArray[np.uint8]
Arrays = tuple[npt.NDArray[Any], ...]
Operation = Callable[[Case, Events, int, "int | None"], Any]

SEED = 2026


def in_one_order(operation: Operation) -> Operation:
    """Nothing from a mixture, which has no conditionals."""
    return lambda case, *arguments: () if "one order" in case.family.lacks else operation(case, *arguments)


# Row i is a function of x[i].
SCORES: dict[str, Operation] = {
    "log_prob": lambda case, x, start, threads: case.model.log_prob(x, threads=threads),
    "log_prob_batches": lambda case, x, start, threads: np.concatenate(
        [*case.model.log_prob_batches([x[:5], x[5:]], threads=threads)]
    ),
    "conditionals": in_one_order(lambda case, x, start, threads: case.model.conditionals(x, threads=threads)),
    "surprise": in_one_order(lambda case, x, start, threads: case.model.surprise(x, threads=threads)),
    "features": lambda case, x, start, threads: (
        () if "features" in case.family.lacks else case.model.features(x, threads=threads)
    ),
    "decode": in_one_order(
        lambda case, x, start, threads: case.model.decode(
            case.model.encode(x, block_len=16, threads=threads), threads=threads
        )
    ),
}

# Row i is a function of the seed and start + i, and of x[i] where x is given.
DRAWS: dict[str, Operation] = {
    "sample": lambda case, x, start, threads: case.model.sample(len(x), rng=SEED, start=start, threads=threads),
    "sample_and_log_prob": lambda case, x, start, threads: case.model.sample_and_log_prob(
        len(x), rng=SEED, start=start, threads=threads
    ),
    "sample_batches": lambda case, x, start, threads: np.concatenate(
        [*case.model.sample_batches(len(x), 7, rng=SEED, start=start, threads=threads)]
    ),
    "temperature": lambda case, x, start, threads: case.model.sample_and_log_prob(
        len(x), rng=SEED, start=start, temperature=0.75, threads=threads
    ),
    "greedy": lambda case, x, start, threads: case.model.sample(
        len(x), rng=SEED, start=start, temperature=0, threads=threads
    ),
    "complete": in_one_order(lambda case, x, start, threads: complete(case, x, start, threads)[:2]),
}

# As in DRAWS, but NumPy's logarithms and sums come after: other machines may differ in the last bits.
ESTIMATES: dict[str, Operation] = {
    "complete, resampled": in_one_order(
        lambda case, x, start, threads: complete(case, x, start, threads, resample=True, n_proposals=8)[:2]
    ),
    "prob_range": in_one_order(
        lambda case, x, start, threads: tuple(
            case.model.prob_range(
                high=x, n_paths=4, relative_error=1, max_paths=8, rng=SEED, start=start, threads=threads
            )
        )
    ),
}


def complete(case: Case, x: Events, start: int, threads: int | None, **how: Any) -> ancestral.Completion:
    observed = np.arange(case.model.n_dims).reshape(case.model.event_shape) % 3 == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ancestral.LowSampleSizeWarning)
        # Rows are numbered up to 2**32, and not as far as samples.
        return case.model.complete(x, observed, n_samples=3, rng=SEED, start=start % 2**32, threads=threads, **how)


def gradient(case: Case, x: Events, start: int, threads: int | None) -> Arrays:
    """A step of training in the core: log-probabilities, and the gradients of the weights."""
    if case.family.core_step is None:
        return ()
    score, gradient, names = case.family.core_step
    weights = [np.ascontiguousarray(case.tensors[name]) for name in names]
    z = np.ascontiguousarray(x[:, case.model.order])
    log_prob, tape = getattr(_core, score)(weights, z, threads or 2)
    factors = (np.arange(len(z)) % 7 - 2).astype(np.float32)
    gradients = tuple(np.empty_like(weight) for weight in weights)
    getattr(_core, gradient)(weights, z, tape, factors, gradients, threads or 2)
    return (log_prob, *gradients)


def beam_search(case: Case, x: Events, start: int, threads: int | None) -> Arrays:
    """The last eight steps of the first row."""
    evidence = x[0].astype(np.int64)
    evidence.reshape(-1)[case.model.order[-8:]] = -1
    return case.model.beam_search(evidence, n_beams=3, threads=threads)


# One result for all rows: they cannot be cut.
WHOLE: dict[str, Operation] = {
    "gradient": gradient,
    "beam_search": in_one_order(beam_search),
    "encode": in_one_order(
        lambda case, x, start, threads: np.frombuffer(case.model.encode(x, block_len=16, threads=threads), np.uint8)
    ),
}

OPERATIONS = SCORES | DRAWS | ESTIMATES | WHOLE


def run(operation: Operation, case: Case, x: Events, start: int = 0, threads: int | None = None) -> Arrays:
    result = operation(case, x, start, threads)
    return result if isinstance(result, tuple) else (result,)


def joined(parts: list[Arrays]) -> Arrays:
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def assert_same_bits(got: Arrays, expected: Arrays, what: str) -> None:
    """Not only equal: a zero has a sign, and a NaN its bits."""
    assert len(got) == len(expected), what
    for a, b in zip(got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), what
        if a.tobytes() != b.tobytes():
            np.testing.assert_array_equal(a, b, what)
            raise AssertionError(f"{what}: equal values with different bits")
