"""fit within torch.autocast, which keeps casts of weights: none may outlive the weights that it was made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ancestral import fit  # noqa: E402
from ancestral.history import History  # noqa: E402
from ancestral.nn import FVSBN, MADE, NADE, GatedPixelCNN, PixelCNN  # noqa: E402

TRAIN = np.random.default_rng(0).integers(0, 2, (120, 16), dtype=np.uint8)
VALID = np.random.default_rng(1).integers(0, 2, (50, 16), dtype=np.uint8)
SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 60, "lr": 0.05, "progress": False}

IN_TORCH: dict[str, Callable[[], Any]] = {
    "fvsbn": lambda: FVSBN(16, backend="torch"),
    "nade": lambda: NADE(16, 4, backend="torch"),
    "made": lambda: MADE(16, (8,)),
    "pixelcnn": lambda: PixelCNN((1, 4, 4), n_channels=4, n_blocks=1, n_head=4),
    "gated": lambda: GatedPixelCNN((1, 4, 4), n_channels=4, n_layers=1, n_head=4),
}


def trained(build: Callable[[], Any], **settings: Any) -> tuple[Any, History]:
    torch.manual_seed(0)
    module = build()
    train, valid = (x.reshape(-1, *module.event_shape) for x in (TRAIN, VALID))
    return module, fit(module, train, valid, **SETTINGS | settings)


def assert_same_weights(a: Any, b: Any) -> None:
    for (name, ours), theirs in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("settings", [{}, {"average": 0.9}], ids=["plain", "averaged"])
@pytest.mark.parametrize("name", IN_TORCH)
def test_training_is_the_same_with_and_without_the_cache(name: str, settings: dict[str, Any]) -> None:
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        wanted, history = trained(IN_TORCH[name], **settings)
    with torch.autocast("cpu", torch.bfloat16):
        module, found = trained(IN_TORCH[name], **settings)
    assert found == history
    assert_same_weights(module, wanted)


def test_what_was_cast_before_and_in_training_is_forgotten() -> None:
    torch.manual_seed(0)
    module = MADE(16, (8,))
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            before = module.log_prob(TRAIN)
        fit(module, TRAIN, **SETTINGS)
        with torch.no_grad():
            found = module.log_prob(TRAIN)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        wanted = module.log_prob(TRAIN)
    assert torch.equal(found, wanted)
    assert not torch.equal(found, before)


@pytest.mark.parametrize("build", [lambda: FVSBN(16), lambda: NADE(16, 4)], ids=["fvsbn", "nade"])
def test_steps_in_the_core_are_those_outside(build: Callable[[], Any]) -> None:
    settings = {"weights": np.linspace(0.1, 1, len(TRAIN)), "average": 0.9}
    wanted, history = trained(build, **settings)
    with torch.autocast("cpu", torch.bfloat16):
        module, found = trained(build, **settings)
    assert found == history
    assert_same_weights(module, wanted)
