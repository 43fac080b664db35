"""Ancestral sampling in plain PyTorch: the loop that most repositories use, and the best that torch allows.

They are what the Rust core is compared with, so the second kind is written for speed: what a new value
changes is updated in place, nothing is computed twice, and samples stand last in memory wherever that makes
slices contiguous. Both kinds take the same uniform numbers u and set x_i = 1 where u_i < sigmoid(logit_i),
that is where logit_i > log(u_i / (1 - u_i)), so at the same seed they draw the same samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ancestral.nn import FVSBN, NADE, Autoregressive, PixelCNN

FVSBN_BLOCK = 28
NADE_SPARSE_FROM = 256


def usual_loop(
    module: Autoregressive, n: int, generator: torch.Generator | None = None, *, n_steps: int | None = None
) -> Tensor:
    """Draw n samples with a whole forward pass per dimension.

    With `n_steps` only that many dimensions are drawn, for timing: each costs the same. Returns a float
    tensor of shape (n, *event_shape), as the cached samplers do.
    """
    uniforms = _uniforms(module, n, generator)
    x = torch.zeros(n, *module.event_shape)
    flat = x.view(n, -1)
    order = module.order if module.order is not None else range(module.n_dims)
    with torch.inference_mode():
        for i, dim in enumerate(list(order)[:n_steps]):
            # Not `module.logits`: its checks of x are not part of the usual loop.
            p = module._logits(x).view(n, -1)[:, dim].sigmoid()
            flat[:, dim] = (uniforms[i] < p).float()
    return x


def cached(module: Autoregressive, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw n samples with the best torch formulation for this kind of model."""
    sampler = {"FVSBN": sample_fvsbn, "NADE": sample_nade, "PixelCNN": sample_pixelcnn}[module.kind]
    return sampler(module, n, generator)  # type: ignore[operator, no-any-return]


@torch.inference_mode()
def sample_fvsbn(module: FVSBN, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Keep the logits of all later dimensions up to date: logits += weight[:, i] x_i.

    That is a product of rank one a step; beyond the current block of dimensions it waits, and is then done
    for the whole block by one matrix product.
    """
    tensors, n_dims = module.tensors(), module.n_dims
    weight, columns = tensors["weight"], tensors["weight"].T.contiguous()
    logits = tensors["bias"][:, None] - _uniforms(module, n, generator).logit_()  # minus the threshold
    z = torch.empty(n_dims, n)
    for start in range(0, n_dims, FVSBN_BLOCK):
        stop = min(start + FVSBN_BLOCK, n_dims)
        for i in range(start, stop):
            torch.gt(logits[i], 0, out=z[i])
            if i + 1 < stop:
                logits[i + 1 : stop].addr_(columns[i, i + 1 : stop], z[i])
        if stop < n_dims:
            logits[stop:].addmm_(weight[stop:, start:stop], z[start:stop])
    return _in_place(module, z)


@torch.inference_mode()
def sample_nade(module: NADE, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Keep the activation c + z_{<i} W[:i] of the hidden units: O(n_dims n_hidden) a sample.

    A value of 0 leaves it as it is. With many samples it pays to update those with a 1 only, and to keep
    sigmoid(activation) of the others.
    """
    tensors, n_dims = module.tensors(), module.n_dims
    thresholds = _uniforms(module, n, generator).logit_().sub_(tensors["b"][:, None])
    activation = tensors["c"].repeat(n, 1)
    hidden = activation.sigmoid()
    logit, z = torch.empty(n), torch.empty(n_dims, n)
    steps = zip(z.unbind(), tensors["W"].unbind(), tensors["V"].unbind(), thresholds.unbind(), strict=True)
    for z_i, w_i, v_i, threshold in steps:
        torch.mv(hidden, v_i, out=logit)
        torch.gt(logit, threshold, out=z_i)
        if n < NADE_SPARSE_FROM:
            activation.addr_(z_i, w_i)
            torch.sigmoid(activation, out=hidden)
        else:
            ones = z_i.nonzero().view(-1)
            updated = activation.index_select(0, ones).add_(w_i)
            activation.index_copy_(0, ones, updated)
            hidden.index_copy_(0, ones, updated.sigmoid_())
    return _in_place(module, z)


@torch.inference_mode()
def sample_pixelcnn(module: PixelCNN, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Keep what each convolution has seen, as fast-pixel-cnn does (Ramachandran et al. 2017).

    What the rows above add to a convolution is computed a row at a time, by one product over all its pixels;
    a pixel then needs the taps at its left and centre alone. A row is stored as (columns, channels, n), so
    that the inputs of a window are one contiguous matrix.
    """
    config, tensors = module.config(), module.tensors()
    channels, height, width = module.event_shape
    if channels != 1 or config["n_classes"] != 2:
        raise ValueError(f"module is {module!r}; wanted one image channel with values 0 and 1")
    scale, shift = config["input_scale"], config["input_shift"]
    blocks = [_Block.of(tensors, k) for k in range(config["n_blocks"])]
    half = config["n_channels"] // 2
    first, first_bias = tensors["input.weight"][:, 0], tensors["input.bias"][:, None]
    above, left = first[:, :3].transpose(1, 2).flatten(1), first[:, 3, :3].contiguous()
    hidden, hidden_bias = tensors["head_hidden.weight"].flatten(1), tensors["head_hidden.bias"][:, None]
    output = tensors["head_out.weight"].flatten(1)
    thresholds = _uniforms(module, n, generator).logit_().sub_(tensors["head_out.bias"])

    image = torch.empty(height * width, 1, n)
    rows_above = torch.zeros(width + 6, 3, n)
    row = torch.zeros(width + 3, n)
    previous, current = _Rows(len(blocks), width, half, n), _Rows(len(blocks), width, half, n)
    rectified, head = torch.empty(len(first), n), torch.empty(len(hidden), n)
    inner_and_one = torch.ones(half + 1, n)  # the one takes the bias into the product
    inner = inner_and_one[:half]
    for y in range(height):
        from_above = torch.matmul(above, _windows(rows_above, 7)).add_(first_bias).unbind()
        per_block = [
            torch.matmul(block.above, _windows(rows, 3)).add_(block.bias).unbind()
            for block, rows in zip(blocks, previous.rows, strict=True)
        ]
        for x in range(width):
            a = torch.addmm(from_above[x], left, row[x : x + 3])
            for k, block in enumerate(blocks):
                torch.clamp_min(a, 0, out=rectified)
                torch.addmm(block.down_bias, block.down, rectified, out=current.centre[k][x]).relu_()
                torch.addmm(per_block[k][x], block.row, current.window[k][x], out=inner).relu_()
                a.addmm_(block.up_and_bias, inner_and_one)
            torch.addmm(hidden_bias, hidden, a.relu_(), out=head).relu_()
            pixel = image[y * width + x]
            torch.gt(torch.mm(output, head), thresholds[y * width + x], out=pixel)
            torch.add(pixel[0] * scale, shift, out=row[x + 3])
        rows_above[:, :2] = rows_above[:, 1:].clone()
        rows_above[3:-3, 2] = row[3:]
        previous, current = current, previous
    return image.view(1, height, width, n).permute(3, 0, 1, 2).contiguous()


class _Block(NamedTuple):
    """A residual block's weights as matrices; a window's columns stand one after another."""

    down: Tensor
    down_bias: Tensor
    above: Tensor  # the 3x3 convolution's taps in the row above: (out, 3 columns * in)
    row: Tensor  # those at the left and centre: (out, 2 columns * in)
    bias: Tensor
    up_and_bias: Tensor

    @classmethod
    def of(cls, tensors: dict[str, Tensor], k: int) -> _Block:
        down, conv, up = (tensors[f"blocks.{k}.{name}.weight"] for name in ("down", "conv", "up"))
        biases = [tensors[f"blocks.{k}.{name}.bias"][:, None] for name in ("down", "conv", "up")]
        above, row = (taps.transpose(1, 2).flatten(1) for taps in (conv[:, :, 0], conv[:, :, 1, :2]))
        return cls(down.flatten(1), biases[0], above, row, biases[1], torch.cat([up.flatten(1), biases[2]], 1))


class _Rows:
    """One row of inputs of each block's convolution, a column of zeros at both ends, and views of it."""

    def __init__(self, n_blocks: int, width: int, n_channels: int, n: int) -> None:
        self.rows = [torch.zeros(width + 2, n_channels, n) for _ in range(n_blocks)]
        self.centre = [row.unbind()[1:-1] for row in self.rows]
        self.window = [[row[x : x + 2].view(-1, n) for x in range(width)] for row in self.rows]


def _windows(row: Tensor, size: int) -> Tensor:
    """View (columns, channels, n) as its overlapping windows, (columns - size + 1, size * channels, n)."""
    columns, channels, n = row.shape
    return row.as_strided((columns - size + 1, size * channels, n), (channels * n, n, 1))


def _uniforms(module: Autoregressive, n: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(module.n_dims, n, generator=generator)


def _in_place(module: Autoregressive, z: Tensor) -> Tensor:
    """Turn the values of each step, (n_dims, n), into samples, each dimension in its place."""
    x = torch.empty(z.shape[1], module.n_dims)
    x[:, list(module.order) if module.order is not None else slice(None)] = z.T
    return x.view(-1, *module.event_shape)
