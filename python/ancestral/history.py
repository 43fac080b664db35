"""History: what a training run went through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
        from ancestral import plot

        return plot.history(self, ax)

    def __repr__(self) -> str:
        if self.best_epoch is None:
            return "History(no epochs)"
        best = self.best_epoch - 1
        valid = f", valid {self.valid_nll[best]:.2f}" if self.valid_nll else ""
        return (
            f"History({len(self.epochs)} epochs in {sum(self.seconds):.0f} s; "
            f"best epoch {self.best_epoch}: train {self.train_nll[best]:.2f}{valid} nats)"
        )
