"""Teacher forcing: one walk along given data, whatever is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, Report, after, reporting
from ancestral.operations.handle import Handle

if TYPE_CHECKING:
    import torch


def teach(
    model: Handle,
    what: str,
    x: ArrayLike | torch.Tensor,
    shape: tuple[int, ...],
    dtype: type[arguments.Scalar],
    out: object,
    threads: int | None,
    progress: Progress,
    n_steps: int | None = None,
) -> NDArray[arguments.Scalar]:
    """(n, *shape) of `what`, which is one of the core's outputs, for the rows of x.

    x is walked at once if the core can read it, else a copy of some rows at a time.
    """
    values = arguments.events(x, model.event_shape, model.n_classes)
    result = arguments.output("out", out, (len(values), *shape), dtype, avoid=values)
    n_threads = arguments.threads(threads)
    with reporting(progress, len(values), what) as report:
        fill(model, what, values, result, n_threads, report, n_steps)
    return result


def fill(
    model: Handle,
    what: str,
    values: NDArray[Any],
    result: NDArray[Any],
    threads: int,
    report: Report,
    n_steps: int | None = None,
) -> None:
    """`teach` for checked arguments: `values` of `arguments.events`, and an array for the results."""
    score: Any = model._inner.score
    if values.dtype == np.uint8 and values.flags.c_contiguous:
        score(values, threads, report, n_steps=n_steps, **{what: result})
        return
    for first in range(0, len(values), model._batch_size):
        if report is not None:
            report(first)
        part = slice(first, first + model._batch_size)
        rows = arguments.as_uint8(values[part], model.n_classes, first)
        score(rows, threads, after(first, report), n_steps=n_steps, **{what: result[part]})
