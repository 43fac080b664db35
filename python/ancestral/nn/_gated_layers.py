"""The layers of a Gated PixelCNN: a vertical and a horizontal stack, each in torch and as nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ancestral.nn._graph import Nodes, add, add_taps
from ancestral.nn._taps import Taps

Degrees = Sequence[int]


class GatedLayer(nn.Module):
    """A layer with gates: both stacks as they come, to both as they leave, and to what the layer adds to the skips.

        a = vertical(v),  b = link(a) + horizontal(h)
        v = tanh(a_1) sigmoid(a_2),  g = tanh(b_1) sigmoid(b_2),  h = out(g) + h,  skip(g)

    Figure 2 of van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016. `GatedPixelCNN`
    says what `shifted`, `vertical_residual` and `skip` mean.

    Parameters
    ----------
    v_in, h_in, v, h : sequence of int
        Degrees of the channels of each stack, as they come and as they leave.
    kernel_size, dilation : int
        Of `vertical` and `horizontal`.
    is_input, is_last : bool
        The input layer must not see its own pixel, and has no residual connection. The last layer has no vertical
        output, and with skips no horizontal one, since nothing would read it.
    """

    def __init__(
        self,
        v_in: Degrees,
        h_in: Degrees,
        v: Degrees,
        h: Degrees,
        kernel_size: int,
        dilation: int = 1,
        *,
        is_input: bool = False,
        is_last: bool = False,
        shifted: bool,
        vertical_residual: bool,
        skip: bool,
    ) -> None:
        super().__init__()
        self.is_input = is_input
        self.has_vertical = not is_last
        rows, columns, left = _spans(kernel_size, h_in, is_input, shifted)
        self.vertical = Halves(v_in, v, rows, columns, dilation)
        self.vertical_residual = Halves(v_in, v) if vertical_residual and self.has_vertical else None
        self.link = Halves([*v, *v], h, range(-1, 0) if shifted else range(1))
        self.horizontal = Halves(h_in, h, range(1), left, dilation)
        self.out = None if skip and is_last else Taps(h, h)
        self.skip = Taps(h, h) if skip else None

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        a_1, a_2 = self.vertical(v)
        link_1, link_2 = self.link(torch.cat([a_1, a_2], 1))
        left_1, left_2 = self.horizontal(h)
        if self.has_vertical:
            if self.vertical_residual is not None:
                c_1, c_2 = self.vertical_residual(v)
                a_1, a_2 = a_1 + c_1, a_2 + c_2
            v = a_1.tanh() * a_2.sigmoid()
        g = (link_1 + left_1).tanh() * (link_2 + left_2).sigmoid()
        if self.out is not None:
            h = self.out(g) if self.is_input else self.out(g) + h
        return v, h, None if self.skip is None else self.skip(g)

    def add_nodes(self, nodes: Nodes, name: str, v: str, h: str) -> tuple[str, str, str | None]:
        """What `forward` computes, as nodes; their names."""
        a = self.vertical.add_nodes(nodes, f"{name}.vertical", v)
        link = self.link.add_nodes(nodes, f"{name}.link", add(nodes, f"{name}.halves", "concat", list(a)))
        left = self.horizontal.add_nodes(nodes, f"{name}.horizontal", h)
        if self.has_vertical:
            if self.vertical_residual is not None:
                a = _sums(
                    nodes, f"{name}.a", a, self.vertical_residual.add_nodes(nodes, f"{name}.vertical_residual", v)
                )
            v = add(nodes, f"{name}.v", "gate", list(a))
        g = add(nodes, f"{name}.g", "gate", list(_sums(nodes, f"{name}.b", link, left)))
        if self.out is not None:
            out = add_taps(nodes, f"{name}.out", g, self.out.offsets, self.out.degrees_out)
            h = out if self.is_input else add(nodes, f"{name}.h", "add", [out, h])
        skip = self.skip
        return v, h, None if skip is None else add_taps(nodes, f"{name}.skip", g, skip.offsets, skip.degrees_out)


class PlainLayer(nn.Module):
    """v = vertical(u), h = horizontal(u): an input layer without gates."""

    def __init__(self, seen: Degrees, v: Degrees, h: Degrees, kernel_size: int, shifted: bool) -> None:
        super().__init__()
        rows, columns, left = _spans(kernel_size, seen, True, shifted)
        self.vertical = Taps(seen, v, rows, columns)
        self.horizontal = Taps(seen, h, range(1), left)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor, None]:
        return self.vertical(v), self.horizontal(h), None

    def add_nodes(self, nodes: Nodes, name: str, v: str, h: str) -> tuple[str, str, None]:
        """What `forward` computes, as nodes; their names."""
        vertical, horizontal = self.vertical, self.horizontal
        v = add_taps(nodes, f"{name}.vertical", v, vertical.offsets, vertical.degrees_out)
        h = add_taps(nodes, f"{name}.horizontal", h, horizontal.offsets, horizontal.degrees_out)
        return v, h, None


class Halves(nn.Module):
    """Two convolutions of the same input: what tanh reads, and what sigmoid reads."""

    def __init__(
        self,
        degrees_in: Degrees,
        degrees_out: Degrees,
        rows: range = range(1),
        columns: range = range(1),
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.tanh = Taps(degrees_in, degrees_out, rows, columns, dilation)
        self.sigmoid = Taps(degrees_in, degrees_out, rows, columns, dilation)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.tanh(x), self.sigmoid(x)

    def add_nodes(self, nodes: Nodes, name: str, source: str) -> tuple[str, str]:
        """Both, as nodes; their names."""
        tanh = add_taps(nodes, f"{name}.tanh", source, self.tanh.offsets, self.tanh.degrees_out)
        sigmoid = add_taps(nodes, f"{name}.sigmoid", source, self.sigmoid.offsets, self.sigmoid.degrees_out)
        return tanh, sigmoid


def _spans(size: int, h_in: Degrees, is_input: bool, shifted: bool) -> tuple[range, range, range]:
    """Rows and columns that the vertical convolution sees from a pixel, and columns that the horizontal one sees."""
    half = size // 2
    # The pixel itself has something to see but for an input layer of one image channel.
    own = not is_input or max(h_in) > 0
    return range(-half, 1 if shifted or not is_input else 0), range(-half, half + 1), range(-half, 1 if own else 0)


def _sums(nodes: Nodes, name: str, a: tuple[str, str], b: tuple[str, str]) -> tuple[str, str]:
    """a + b of both halves, as nodes; their names."""
    tanh, sigmoid = (add(nodes, f"{name}.{half}", "add", [a[i], b[i]]) for i, half in enumerate(("tanh", "sigmoid")))
    return tanh, sigmoid
