"""History: what a training run went through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ancestral._axes import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass
class History:
    """What a training run went through; one entry an epoch.

    Attributes
    ----------
    epochs : list of int
        1, 2, ...
    train_nll : list of float
        Mean NLL in nats per example, taken while the weights were changing; weighted, if the examples are.
    valid_nll : list of float
        Mean NLL in nats per example at the end of the epoch, of the averaged weights if `average` was given; empty
        without validation data.
    lr : list of float
        Learning rate at the end of the epoch.
    seconds : list of float
        Duration of the epoch. No part of a comparison by ==.
    best_epoch : int or None
        The epoch whose weights the module has: of the lowest validation NLL, else the last one.
    """

    epochs: list[int] = field(default_factory=list)
    train_nll: list[float] = field(default_factory=list)
    valid_nll: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list, compare=False)
    best_epoch: int | None = None

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curves; see `ancestral.plot.history`."""
        return curves(self, ax)

    def __repr__(self) -> str:
        if self.best_epoch is None:
            return "History(no epochs)"
        best = self.best_epoch - 1
        valid = f", valid {self.valid_nll[best]:.2f}" if self.valid_nll else ""
        return (
            f"History({len(self.epochs)} epochs in {sum(self.seconds):.0f} s; "
            f"best epoch {self.best_epoch}: train {self.train_nll[best]:.2f}{valid} nats)"
        )


def curves(history: History, ax: Axes | None) -> Axes:
    """`ancestral.plot.history`."""
    if ax is None:
        ax = new_axes(figsize=(5.0, 3.4))
    from matplotlib.ticker import MaxNLocator

    ax.plot(history.epochs, history.train_nll, color="#9aa5b1", label="train")
    if len(history.valid_nll):
        ax.plot(history.epochs, history.valid_nll, color="#1f5fa8", label="validation")
        if history.best_epoch in history.epochs:
            best = history.valid_nll[list(history.epochs).index(history.best_epoch)]
            ax.plot(
                [history.best_epoch],
                [best],
                "o",
                color="#1f5fa8",
                label=f"kept: epoch {history.best_epoch}, {best:.2f}",
            )
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    ax.set_ylabel("NLL (nats per example)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
    ax.legend(frameon=False)
    return ax
