"""Axes of a new matplotlib figure, without pyplot and its global state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def new_axes(figsize: tuple[float, float]) -> Axes:
    """Axes of this size in inches. Raises ImportError if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("ancestral.plot draws with matplotlib: pip install 'ancestral[plot]'") from error
    axes: Any = Figure(figsize=figsize, layout="constrained").subplots()
    return axes  # type: ignore[no-any-return]
