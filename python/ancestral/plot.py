"""Pictures with matplotlib: a grid of images, the course of a training, and histograms of log-probabilities.

Each function draws on the Axes it is given, or on that of a new Figure, and returns the Axes: save it with
`axes.figure.savefig("picture.png")`. pyplot and its global state are not used: any thread or server may draw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ancestral import _arguments as arguments
from ancestral._axes import new_axes
from ancestral.history import History, curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def image_grid(
    images: ArrayLike,
    *,
    n_rows: int | None = None,
    n_cols: int | None = None,
    title: str | None = None,
    cmap: str = "gray",
    vmax: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images side by side, row by row.

    Parameters
    ----------
    images
        Shape (n, height, width), (n, 1, height, width) or, for colour, (n, 3, height, width).
    n_rows, n_cols
        The grid. Without `n_cols` it is about square, without `n_rows` it has as many rows as needed; images
        that do not fit are left out.
    title
        Written above the grid.
    cmap
        matplotlib colour map for images of one channel; "gray_r" is ink on paper.
    vmax
        The value shown brightest (0 is darkest); the largest of the images if not given.
    ax
        Where to draw; on a new Figure if not given.

    Raises
    ------
    ValueError
        If the images have another shape, or a number of rows or columns is not positive.
    ImportError
        If matplotlib is missing.
    """
    pixels = np.asarray(images, dtype=np.float64)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(
            f"images has shape {np.shape(images)}; wanted (n, height, width), (n, 1, height, width) or "
            "(n, 3, height, width); flat images need a reshape, such as images.reshape(-1, 28, 28)"
        )
    n, channels, height, width = pixels.shape
    n_rows = None if n_rows is None else arguments.integer("n_rows", n_rows, 1)
    n_cols = None if n_cols is None else arguments.integer("n_cols", n_cols, 1)
    if n_cols is None:
        n_cols = math.ceil(n / n_rows) if n_rows else math.ceil(math.sqrt(n))
    if n_rows is None:
        n_rows = math.ceil(n / n_cols)

    # One picture with gaps of one pixel (NaN shows the background) keeps every pixel the same size on paper.
    sheet = np.full((n_rows * (height + 1) - 1, n_cols * (width + 1) - 1, channels), np.nan)
    for k, image in enumerate(pixels[: n_rows * n_cols]):
        y, x = k // n_cols * (height + 1), k % n_cols * (width + 1)
        sheet[y : y + height, x : x + width] = image.transpose(1, 2, 0)
    top = vmax if vmax is not None else (pixels.max() or 1.0)

    if ax is None:
        ax = new_axes(figsize=(sheet.shape[1] / 40 + 0.3, sheet.shape[0] / 40 + (0.6 if title else 0.3)))
    if channels == 1:
        ax.imshow(sheet[:, :, 0], cmap=cmap, vmin=0, vmax=top, interpolation="nearest")
    else:
        ax.imshow(np.nan_to_num(np.clip(sheet / top, 0, 1), nan=0.86), interpolation="nearest")
    ax.set_facecolor("#dcdcdc")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title)
    return ax


def history(history: History, ax: Axes | None = None) -> Axes:
    """Draw the train and validation NLL against the epochs, and mark the epoch whose weights were kept.

    Parameters
    ----------
    history
        What `ancestral.fit` returned.
    ax
        Where to draw; on a new Figure if not given.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    """
    return curves(history, ax)


def log_prob_histogram(log_probs: Mapping[str, ArrayLike], *, n_bins: int = 50, ax: Axes | None = None) -> Axes:
    """Draw the densities of several sets of log-probabilities over each other, in the same bins.

    Parameters
    ----------
    log_probs
        In nats, each (n,), by the name that the legend gives the set:
        `{"test": model.log_prob(test), "samples": model.sample_and_log_prob(1000)[1]}`.
    n_bins
        Bins from the smallest to the largest of all the values.
    ax
        Where to draw; on a new Figure if not given.

    Raises
    ------
    TypeError
        If log_probs is no mapping.
    ValueError
        If it is empty, a set is empty, not one-dimensional or not finite, or n_bins is not positive.
    ImportError
        If matplotlib is missing.
    """
    if not isinstance(log_probs, Mapping):
        raise TypeError(f"log_probs is a {type(log_probs).__name__}; wanted a mapping of names to log-probabilities")
    sets = {name: np.asarray(values, dtype=np.float64) for name, values in log_probs.items()}
    if not sets:
        raise ValueError("log_probs is empty; wanted at least one set")
    for name, values in sets.items():
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"log_probs[{name!r}] has shape {values.shape}; wanted (n,) with n at least 1")
        if not np.isfinite(values).all():
            raise ValueError(f"log_probs[{name!r}] has a value {values[~np.isfinite(values)][0]}; wanted finite ones")
    n_bins = arguments.integer("n_bins", n_bins, 1)
    edges = np.histogram_bin_edges(np.concatenate(list(sets.values())), n_bins)
    if ax is None:
        ax = new_axes(figsize=(5.0, 3.4))
    for name, values in sets.items():
        ax.hist(values, edges.tolist(), density=True, histtype="stepfilled", alpha=0.5, label=str(name))
    ax.set_xlabel("log p(x) (nats)")
    ax.set_ylabel("density (1/nats)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax
