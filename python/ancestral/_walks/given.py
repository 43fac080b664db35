"""Teacher forcing: one walk along given data, whatever is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, Report, after, reporting

if TYPE_CHECKING:
    import torch

    from ancestral.model import Model


@dataclass(frozen=True)
class Output(Generic[arguments.Scalar]):
    """One of the core's outputs, and what it holds of an event."""

    name: str
    shape: tuple[int, ...]
    dtype: type[arguments.Scalar]


def teach(
    model: Model,
    output: Output[arguments.Scalar],
    x: ArrayLike | torch.Tensor,
    out: object,
    threads: int | None,
    progress: Progress,
    *,
    n_steps: int | None = None,
) -> NDArray[arguments.Scalar]:
    """(n, *output.shape): an output for the rows of x.

    x is walked at once if the core can read it, else a copy of some rows at a time.
    """
    values = arguments.events(x, model._space)
    result = arguments.output("out", out, (len(values), *output.shape), output.dtype, avoid=values)
    n_threads = arguments.threads(threads)
    with reporting(progress, len(values), output.name) as report:
        fill(model, output.name, values, result, n_threads, report, n_steps=n_steps)
    return result


def fill(
    model: Model,
    name: str,
    values: NDArray[Any],
    result: NDArray[Any],
    threads: int,
    report: Report,
    *,
    n_steps: int | None = None,
) -> None:
    """`teach` for checked arguments: `values` of `arguments.events`, and an array for the results."""
    score: Any = model._inner.score
    if values.dtype == model._space.dtype and values.flags.c_contiguous:
        score(values, threads, report, n_steps=n_steps, **{name: result})
        return
    for first in range(0, len(values), model._batch_size):
        if report is not None:
            report(first)
        part = slice(first, first + model._batch_size)
        rows = arguments.as_values(values[part], model._space, first)
        score(rows, threads, after(first, report), n_steps=n_steps, **{name: result[part]})
