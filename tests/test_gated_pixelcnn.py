"""Gated PixelCNN: the layer from its formula, what logits depend on, and weights of other implementations.

The other implementations are written out here as their formulas, with tensors shaped and named as in their state dicts;
docs/pixelcnn.md says the same in words.
"""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from ancestral.nn import GatedPixelCNN  # noqa: E402
from support.torch_modules import events, randomized  # noqa: E402


def fill(taps, weight, bias=0.0):
    """Copy a kernel (out, in, height, width) into taps that see the same rectangle."""
    with torch.no_grad():
        assert taps.weight.shape == weight.flatten(2).shape
        taps.weight.copy_(weight.flatten(2))
        taps.bias.fill_(bias) if isinstance(bias, float) else taps.bias.copy_(bias)


def fill_halves(pair, weight, bias):
    """Copy a kernel of 2 p outputs: p for tanh, then p for sigmoid."""
    for taps, w, b in zip((pair.tanh, pair.sigmoid), weight.chunk(2), bias.chunk(2), strict=True):
        fill(taps, w, b)


def gate(a):
    first, second = a.chunk(2, dim=1)
    return torch.tanh(first) * torch.sigmoid(second)


class Weights(dict):
    """Tensors of another implementation, made as they are first asked for."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)

    def conv(self, name, *shape):
        """A kernel and its bias."""
        if f"{name}.weight" not in self:
            scale = math.prod(shape[1:]) ** -0.5
            for part, size in (("weight", shape), ("bias", shape[:1])):
                self[f"{name}.{part}"] = scale * torch.randn(size, generator=self.generator, dtype=torch.float64)
        return self[f"{name}.weight"], self[f"{name}.bias"]


# Masked square kernels, dilation and an ELU at the end, as in the tutorial of the University of Amsterdam


def dilated_logits(w, x, p, dilations, n_classes):
    u = x / (n_classes - 1) * 2 - 1

    def conv(name, a, n_out, height, width, rows=1, columns=1, dilation=1):
        """Kernels of full size, of which so many rows and columns count."""
        weight, bias = w.conv(name, n_out, a.shape[1], height, width)
        mask = torch.zeros(height, width, dtype=torch.float64)
        mask[:rows, :columns] = 1
        padding = (dilation * (height // 2), dilation * (width // 2))
        return F.conv2d(a, weight * mask, bias, padding=padding, dilation=dilation)

    v = conv("conv_vstack.conv", u, p, 3, 3, 1, 3)
    h = conv("conv_hstack.conv", u, p, 1, 3, 1, 1)
    for i, dilation in enumerate(dilations):
        name = f"conv_layers.{i}"
        a = conv(f"{name}.conv_vert.conv", v, 2 * p, 3, 3, 2, 3, dilation)
        b = conv(f"{name}.conv_horiz.conv", h, 2 * p, 1, 3, 1, 2, dilation)
        b = b + conv(f"{name}.conv_vert_to_horiz", a, 2 * p, 1, 1)
        h = conv(f"{name}.conv_horiz_1x1", gate(b), p, 1, 1) + h
        v = gate(a)
    return conv("conv_out", F.elu(h), n_classes, 1, 1).movedim(1, -1).unsqueeze(1)


def test_weights_of_the_dilated_implementation():
    p, dilations, n_classes = 4, (1, 2, 1, 4), 5
    module = GatedPixelCNN(
        (1, 7, 6),
        n_classes,
        n_channels=p,
        dilations=dilations,
        input_kernel_size=3,
        gated_input=False,
        head_layers=0,
        activation="elu",
    ).double()
    w, x = Weights(), events(module)
    want = dilated_logits(w, x.double(), p, dilations, n_classes)

    fill(module.input.vertical, w["conv_vstack.conv.weight"][:, :, :1], w["conv_vstack.conv.bias"])
    fill(module.input.horizontal, w["conv_hstack.conv.weight"][:, :, :, :1], w["conv_hstack.conv.bias"])
    for i, layer in enumerate(module.layers):
        name = f"conv_layers.{i}"
        fill_halves(layer.vertical, w[f"{name}.conv_vert.conv.weight"][:, :, :2], w[f"{name}.conv_vert.conv.bias"])
        fill_halves(
            layer.horizontal, w[f"{name}.conv_horiz.conv.weight"][:, :, :, :2], w[f"{name}.conv_horiz.conv.bias"]
        )
        fill_halves(layer.link, w[f"{name}.conv_vert_to_horiz.weight"], w[f"{name}.conv_vert_to_horiz.bias"])
        fill(layer.out, w[f"{name}.conv_horiz_1x1.weight"], w[f"{name}.conv_horiz_1x1.bias"])
    fill(module.head[0], w["conv_out.weight"], w["conv_out.bias"])
    torch.testing.assert_close(module.logits(x), want, rtol=1e-12, atol=1e-12)


# Kernels cut to what they see, and an embedding, as priors of VQ-VAEs have them


def embedded_logits(w, x, p, n_layers, n_classes):
    table, _ = w.conv("embedding", n_classes, p)
    v = h = table[x.squeeze(1).long()].movedim(-1, 1)
    height, width = x.shape[2:]
    for i in range(n_layers + 1):
        name, half = f"layers.{i}", 3 if i == 0 else 1
        weight, bias = w.conv(f"{name}.vert_stack", 2 * p, p, half + 1, 2 * half + 1)
        if i == 0:  # the last row is the pixel's own
            weight[:, :, -1] = 0
        a = F.conv2d(v, weight, bias, padding=half)[:, :, :height]
        weight, bias = w.conv(f"{name}.horiz_stack", 2 * p, p, 1, half + 1)
        if i == 0:
            weight[:, :, :, -1] = 0
        b = F.conv2d(h, weight, bias, padding=(0, half))[:, :, :, :width]
        g = gate(b + F.conv2d(a, *w.conv(f"{name}.vert_to_horiz", 2 * p, 2 * p, 1, 1)))
        out = F.conv2d(g, *w.conv(f"{name}.horiz_resid", p, p, 1, 1))
        v, h = gate(a), out if i == 0 else out + h
    hidden = F.conv2d(h, *w.conv("output_conv.0", 7, p, 1, 1)).relu()
    return F.conv2d(hidden, *w.conv("output_conv.2", n_classes, 7, 1, 1)).movedim(1, -1).unsqueeze(1)


def test_weights_of_the_embedded_implementation():
    p, n_layers, n_classes = 4, 3, 6
    module = GatedPixelCNN(
        (1, 6, 7), n_classes, n_channels=p, n_layers=n_layers, n_head=7, n_embedding=p, activation_first=False
    ).double()
    w, x = Weights(), events(module)
    want = embedded_logits(w, x, p, n_layers, n_classes)

    fill(module.embedding, w["embedding.weight"].T[:, :, None, None])
    for i, layer in enumerate([module.input, *module.layers]):
        vertical, horizontal = w[f"layers.{i}.vert_stack.weight"], w[f"layers.{i}.horiz_stack.weight"]
        if i == 0:
            vertical, horizontal = vertical[:, :, :-1], horizontal[:, :, :, :-1]
        fill_halves(layer.vertical, vertical, w[f"layers.{i}.vert_stack.bias"])
        fill_halves(layer.horizontal, horizontal, w[f"layers.{i}.horiz_stack.bias"])
        fill_halves(layer.link, w[f"layers.{i}.vert_to_horiz.weight"], w[f"layers.{i}.vert_to_horiz.bias"])
        fill(layer.out, w[f"layers.{i}.horiz_resid.weight"], w[f"layers.{i}.horiz_resid.bias"])
    fill(module.head[0], w["output_conv.0.weight"], w["output_conv.0.bias"])
    fill(module.head[1], w["output_conv.2.weight"], w["output_conv.2.bias"])
    torch.testing.assert_close(module.logits(x), want, rtol=1e-12, atol=1e-12)


# A vertical stack that sees its own row and is shifted, a residual connection in it, and skips


def shifted_logits(w, x, p, n_layers, n_classes, input_size, size):
    v = h = x / (n_classes - 1)
    skips = 0
    for i in range(n_layers + 1):
        name = "causal_conv" if i == 0 else f"hidden_conv.{i - 1}"
        half = (input_size if i == 0 else size) // 2
        # The kernel's last row is the pixel's own in `a`, and the row above it in `above`: one row further down.
        weight, bias = w.conv(f"{name}.v_conv", 2 * p, v.shape[1], half + 1, 2 * half + 1)
        both = F.conv2d(F.pad(v, (half, half, half + 1, 0)), weight, bias)
        above, a = both[:, :, :-1], both[:, :, 1:]
        a = a + F.conv2d(v, *w.conv(f"{name}.v_fc", 2 * p, v.shape[1], 1, 1))
        weight, bias = w.conv(f"{name}.h_conv", 2 * p, h.shape[1], 1, 2 * half + 1)
        mask = torch.arange(2 * half + 1) < (half if i == 0 else half + 1)
        b = F.conv2d(h, weight * mask, bias, padding=(0, half))
        g = gate(b + F.conv2d(above, *w.conv(f"{name}.v_to_h", 2 * p, 2 * p, 1, 1)))
        out = F.conv2d(g, *w.conv(f"{name}.h_fc", p, p, 1, 1))
        v, h = gate(a), out if i == 0 else out + h
        if i > 0:
            skips = skips + F.conv2d(g, *w.conv(f"{name}.h_skip", p, p, 1, 1))
    hidden = F.conv2d(skips.relu(), *w.conv("out_hidden_conv", 6, p, 1, 1)).relu()
    return F.conv2d(hidden, *w.conv("out_conv", n_classes, 6, 1, 1)).movedim(1, -1).unsqueeze(1)


def test_weights_of_the_shifted_implementation():
    p, n_layers, n_classes, input_size, size = 3, 3, 4, 7, 5
    module = GatedPixelCNN(
        (1, 6, 7),
        n_classes,
        n_channels=p,
        n_layers=n_layers,
        n_head=6,
        input_kernel_size=input_size,
        kernel_size=size,
        shifted=True,
        vertical_residual=True,
        skip=True,
        input_scale=1 / (n_classes - 1),
        input_shift=0,
    ).double()
    w, x = Weights(), events(module)
    want = shifted_logits(w, x.double(), p, n_layers, n_classes, input_size, size)

    for i, layer in enumerate([module.input, *module.layers]):
        name = "causal_conv" if i == 0 else f"hidden_conv.{i - 1}"
        half = (input_size if i == 0 else size) // 2
        # Above the image their vertical convolution is its bias, ours is zero: the bias goes to those that read it.
        bias, link = w[f"{name}.v_conv.bias"], w[f"{name}.v_to_h.weight"]
        fill_halves(layer.vertical, w[f"{name}.v_conv.weight"], torch.zeros_like(bias))
        fill_halves(layer.link, link, w[f"{name}.v_to_h.bias"] + link.flatten(1) @ bias)
        if layer.vertical_residual is not None:
            fill_halves(layer.vertical_residual, w[f"{name}.v_fc.weight"], w[f"{name}.v_fc.bias"] + bias)
        left = w[f"{name}.h_conv.weight"][:, :, :, : half if i == 0 else half + 1]
        fill_halves(layer.horizontal, left, w[f"{name}.h_conv.bias"])
        if layer.out is not None:
            fill(layer.out, w[f"{name}.h_fc.weight"], w[f"{name}.h_fc.bias"])
        if i > 0:
            fill(layer.skip, w[f"{name}.h_skip.weight"], w[f"{name}.h_skip.bias"])
        else:
            fill(layer.skip, torch.zeros(p, p, 1, 1))
    fill(module.head[0], w["out_hidden_conv.weight"], w["out_hidden_conv.bias"])
    fill(module.head[1], w["out_conv.weight"], w["out_conv.bias"])
    torch.testing.assert_close(module.logits(x), want, rtol=1e-12, atol=1e-12)


# What logits depend on


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 3, 3)])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"gated_input": False},
        {"shifted": True, "vertical_residual": True},
        {"skip": True, "n_embedding": 3},
    ],
    ids=str,
)
def test_logits_have_gradients_in_all_earlier_dimensions_and_no_others(shape, how):
    """There is no blind spot: with layers enough a pixel sees all rows above, and all pixels left of it."""
    module = GatedPixelCNN(shape, n_channels=6, n_layers=5, n_head=6, activation="elu", **how)  # a ReLU has zeros
    module = randomized(module.double(), scale=0.4)
    x = events(module, 1).double()
    channels, height, width = shape
    pixels = [(c * height + y) * width + z for y in range(height) for z in range(width) for c in range(channels)]
    jacobian = torch.autograd.functional.jacobian(module.logits, x).reshape(module.n_dims, module.n_dims)
    depends = (jacobian != 0)[pixels][:, pixels]
    assert not depends.triu().any()
    assert torch.equal(depends, torch.ones_like(depends).tril(-1))


def test_what_is_never_read_is_not_there():
    """Every parameter gets a gradient, whatever the config."""
    for how in ({}, {"skip": True}, {"shifted": True, "vertical_residual": True, "skip": True}, {"n_embedding": 2}):
        module = GatedPixelCNN((2, 3, 3), 3, n_channels=4, n_layers=2, n_head=4, activation="elu", **how)
        module.log_prob(events(module)).sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
