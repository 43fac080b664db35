"""A convolution that sees only pixels before the present one, and channels up to the present group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral import _arguments as arguments
from ancestral.nn._images import as_kernel_size, degrees_of

if TYPE_CHECKING:
    from typing_extensions import Self


class MaskedConv2d(nn.Conv2d):
    """A k x k convolution, k odd, padded by k // 2 zeros, whose kernel is masked.

    Taps above the centre and left of it in its row are free, those to the right and below are masked.
    At the centre the channels are split into `groups` groups, channel j of N in group floor(j groups / N);
    mask A lets an output see groups before its own (the first layer: a pixel must not see itself),
    mask B also its own group (all other layers).

    The mask multiplies the weight at each call, so masked entries get no gradient; their values
    have no effect.

    Parameters
    ----------
    in_channels, out_channels : int
        Each at least `groups`.
    kernel_size : int
        Odd.
    mask : {"A", "B"}
    groups : int
        Number of image channels. (Not the `groups` of `nn.Conv2d`.)

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    References
    ----------
    van den Oord, Kalchbrenner and Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016.

    Examples
    --------
    >>> import torch
    >>> from ancestral.nn import MaskedConv2d
    >>> MaskedConv2d(1, 1, 3, mask="A").mask
    tensor([[[[1., 1., 1.],
              [1., 0., 0.],
              [0., 0., 0.]]]])
    """

    mask: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, mask: str, groups: int = 1) -> None:
        groups = arguments.integer("groups", groups, 1)
        arguments.integer("in_channels", in_channels, groups)
        arguments.integer("out_channels", out_channels, groups)
        as_kernel_size(kernel_size, "kernel_size")
        arguments.choice("mask", mask, ("A", "B"))
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self._masked = mask, groups
        self.register_buffer("mask", None, persistent=False)
        self._set_mask()
        self.register_load_state_dict_post_hook(MaskedConv2d._set_mask)  # type: ignore[no-untyped-call]

    def _set_mask(self, *_: Any) -> None:
        n_out, n_in, size = self.out_channels, self.in_channels, self.kernel_size[0]
        kind, groups = self._masked
        like = next(self.parameters())  # not the weight, which a hook may compute
        group_in = torch.arange(n_in, device=like.device) * groups // n_in
        group_out = torch.arange(n_out, device=like.device)[:, None] * groups // n_out
        centre = size // 2
        mask = like.new_zeros(n_out, n_in, size, size)
        mask[:, :, :centre] = 1
        mask[:, :, centre, :centre] = 1
        mask[:, :, centre, centre] = (group_in < group_out if kind == "A" else group_in <= group_out).to(mask.dtype)
        self.mask = mask

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._set_mask()  # after `to_empty` it has no values
        return self

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Rows and columns from a pixel to those that it sees, row by row."""
        kind, groups = self._masked
        half = self.kernel_size[0] // 2
        span = range(-half, half + 1)
        own = [(0, 0)] if kind == "B" or groups > 1 else []
        return [(row, column) for row in span for column in span if (row, column) < (0, 0)] + own

    @property
    def degrees(self) -> list[int]:
        """Of each output, the last image channel of its own pixel that it may depend on, -1 for none."""
        return degrees_of(self.out_channels, self._masked[1])

    def masked_weight(self) -> Tensor:
        """The kernel as it acts: zero where masked, whatever the parameter holds there."""
        return torch.where(self.mask.bool(), self.weight, 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.masked_weight(), self.bias, padding=self.padding)
