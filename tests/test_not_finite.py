"""Weights that are not finite: likelihood and gradient are NaN, and training stops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import ancestral
from ancestral.nn import FVSBN, NADE, Autoregressive, GatedPixelCNN, PixelCNN
from support.torch_modules import FEW_MODULES, Modules

BAD = [math.nan, math.inf, -math.inf]

MODULES: Modules = {
    **FEW_MODULES,
    "fvsbn": lambda: FVSBN(40),
    "fvsbn-torch": lambda: FVSBN(40, backend="torch"),
    "fvsbn-order": lambda: FVSBN(5, [3, 4, 0, 1, 2]),
    "fvsbn-1": lambda: FVSBN(1),
    "nade": lambda: NADE(40, 19),
    "nade-torch": lambda: NADE(40, 19, backend="torch"),
    "nade-order": lambda: NADE(5, 3, [3, 4, 0, 1, 2]),
    "pixelcnn": lambda: PixelCNN((1, 4, 5), n_channels=8, n_blocks=1, n_head=6),
    "gated": lambda: GatedPixelCNN((2, 2, 3), n_channels=2, n_layers=1, n_head=2),
    "categorical": lambda: PixelCNN((3, 2, 3), n_classes=4, n_channels=8, n_blocks=1, n_head=6),
}


def places(module: Autoregressive) -> list[tuple[torch.nn.Parameter, int]]:
    """The first and the last place of each parameter that have an effect."""
    out = []
    for parameter, effective in zip(module.parameters(), in_use(module), strict=True):
        used = np.flatnonzero(effective)
        out += [(parameter, int(at)) for at in {*used[:1], *used[-1:]}]
    return out


def in_use(module: Autoregressive) -> list[np.ndarray]:
    """For each parameter, which of its entries have an effect."""
    for parameter in module.parameters():
        torch.nn.init.ones_(parameter)
    tensors = module.tensors()
    return [tensors[name].numpy() != 0 for name, _ in module.named_parameters()]


def zeros(module: Autoregressive, n: int = 3) -> torch.Tensor:
    """Where ones alone are looked at, a weight that is multiplied by zero is easily missed."""
    return torch.zeros(n, *module.event_shape, dtype=torch.uint8)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("bad", BAD)
def test_likelihood_and_gradient_are_nan(name: str, bad: float) -> None:
    module = MODULES[name]()
    for parameter, at in places(module):
        torch.manual_seed(0)
        for p in module.parameters():
            torch.nn.init.normal_(p, std=0.1)
        x = zeros(module)
        finite = module.log_prob(x)
        assert finite.isfinite().all()
        with torch.no_grad():
            parameter.view(-1)[at] = bad
        module.zero_grad()
        log_prob = module.log_prob(x)
        assert log_prob.isnan().all(), (at, log_prob)
        log_prob.sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        assert gradient.norm().isnan(), at
        if module._in_core():
            assert gradient.isnan().all(), at
        with torch.no_grad():
            assert module.log_prob(x).isnan().all()
        with pytest.raises(ancestral.FormatError, match=r"finite|nan|inf|NaN"):
            module.sample(1)


@pytest.mark.parametrize("name", MODULES)
def test_masked_entries_have_no_effect(name: str) -> None:
    """Whatever they hold, NaN too."""
    module = MODULES[name]()
    used = in_use(module)
    torch.manual_seed(0)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x = zeros(module)
    expected = module.log_prob(x)
    with torch.no_grad():
        for parameter, effective in zip(module.parameters(), used, strict=True):
            parameter.view(-1)[torch.from_numpy(~effective.ravel())] = math.nan
    got = module.log_prob(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    got.sum().backward()
    for parameter, effective in zip(module.parameters(), used, strict=True):
        assert parameter.grad is not None
        assert parameter.grad.view(-1)[torch.from_numpy(effective.ravel())].isfinite().all()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("bad", BAD)
def test_fit_stops(name: str, bad: float) -> None:
    module = MODULES[name]()
    parameter, at = places(module)[-1]
    with torch.no_grad():
        parameter.view(-1)[at] = bad
    x = zeros(module, 20)
    name = next(name for name, p in module.named_parameters() if p is parameter)
    with pytest.raises(
        FloatingPointError, match=rf"is nan at epoch 1, step 1 .* weights that are not finite in {name}\."
    ):
        ancestral.fit(module, x, x, epochs=1, progress=False)


@pytest.mark.parametrize("name", ["fvsbn", "nade"])
def test_weights_whose_sum_overflows(name: str) -> None:
    """Finite each, but not together."""
    module = MODULES[name]()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(3e38)
    log_prob = module.log_prob(torch.ones(2, *module.event_shape))
    assert log_prob.isnan().all()


def test_no_rows() -> None:
    module = NADE(5, 3)
    with torch.no_grad():
        module.W[0, 0] = math.nan
    log_prob = module.log_prob(torch.zeros(0, 5))
    assert log_prob.shape == (0,)
    log_prob.sum().backward()
