"""A convolution as a list of offsets, of which none need be masked for the order of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from typing_extensions import Self


class Taps(nn.Module):
    """bias + the sum over offsets and channels of weight · input, where each output reads the pixels at these offsets
    from its own, zero outside the image.

    Offsets are a rectangle of rows and columns, row by row, each times the dilation. At the offset (0, 0) a connection
    acts only where the degree of the input is at most that of the output.

    Parameters
    ----------
    degrees_in, degrees_out : sequence of int
        The degree of each channel: the last step within its own pixel that it may depend on.
    rows, columns : range
        Of the offsets, before dilation.
    dilation : int
        Of rows and columns.
    """

    mask: Tensor | None

    def __init__(
        self,
        degrees_in: Sequence[int],
        degrees_out: Sequence[int],
        rows: range = range(1),
        columns: range = range(1),
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.degrees_in, self.degrees_out = list(degrees_in), list(degrees_out)
        self.offsets = [(dilation * row, dilation * column) for row in rows for column in columns]
        self._kernel_size, self._dilation = (len(rows), len(columns)), dilation
        # Left, right, top, bottom. A negative number of them is taken off.
        self._padding = [dilation * n for n in (-columns[0], columns[-1], -rows[0], rows[-1])]
        n_out, n_in = len(self.degrees_out), len(self.degrees_in)
        # Uniform within 1/sqrt(fan-in), as nn.Conv2d.
        bound = 1 / math.sqrt(n_in * len(self.offsets))
        self.weight = nn.Parameter(torch.empty(n_out, n_in, len(self.offsets)).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound))
        self.register_buffer("mask", None, persistent=False)
        self._set_mask()
        self.register_load_state_dict_post_hook(Taps._set_mask)  # type: ignore[no-untyped-call]

    def _set_mask(self, *_: Any) -> None:
        """Put the mask where the weights are; there is none where all connections act."""
        if (0, 0) not in self.offsets or max(self.degrees_in) <= min(self.degrees_out):
            return
        like = next(self.parameters())  # not the weight, which a hook may compute
        degrees_in, degrees_out = (torch.tensor(d, device=like.device) for d in (self.degrees_in, self.degrees_out))
        own = torch.tensor([offset == (0, 0) for offset in self.offsets], device=like.device)
        self.mask = ((degrees_in <= degrees_out[:, None])[:, :, None] | ~own).to(like.dtype)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._set_mask()  # after `to_empty` it has no values
        return self

    def masked_weight(self) -> Tensor:
        """The weight as it acts, (outputs, inputs, offsets): zero where masked, whatever the parameter holds there."""
        return self.weight if self.mask is None else torch.where(self.mask.bool(), self.weight, 0)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.masked_weight().reshape(-1, len(self.degrees_in), *self._kernel_size)
        padded = F.pad(x, self._padding) if any(self._padding) else x
        return F.conv2d(padded, weight, self.bias, dilation=self._dilation)

    def extra_repr(self) -> str:
        return f"{len(self.degrees_in)}, {len(self.degrees_out)}, offsets={self.offsets}"
