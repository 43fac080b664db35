"""The three models of the benchmarks, with weights as in use, and the check that both sides agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ancestral import Model, datasets, fit, from_torch
from ancestral.demo.report import n_cores
from ancestral.nn import FVSBN, NADE, Autoregressive, PixelCNN

MAKERS = {
    "FVSBN": lambda: FVSBN(784),
    "NADE": lambda: NADE(784, 500),
    "PixelCNN": lambda: PixelCNN((1, 28, 28)),
}
N_TRAIN = 2000
THREADS = n_cores()


@dataclass(frozen=True)
class Pair:
    """A torch module, the Rust model of the same weights, and real digits in its shape."""

    module: Autoregressive
    model: Model
    digits: np.ndarray[Any, np.dtype[np.uint8]]


def make(kind: str) -> Pair:
    """Train one short epoch: samples then have about as many pixels set as real digits, which NADE's time
    depends on."""
    splits = datasets.mnist_5k()
    torch.manual_seed(0)
    module = MAKERS[kind]()
    train, valid, test = (part.reshape(-1, *module.event_shape) for part in splits)
    fit(module, train[:N_TRAIN], epochs=1, rng=0, progress=False)
    pair = Pair(module, from_torch(module), np.concatenate([test, valid]))
    check(pair, pair.digits[:100])
    return pair


def check(pair: Pair, x: Any) -> None:
    """Both sides must compute the same likelihood, else their times are not comparable."""
    with torch.inference_mode():
        torch_side = pair.module.log_prob(x).double().numpy()
    np.testing.assert_allclose(pair.model.log_prob(x), torch_side, rtol=0, atol=1e-5 * pair.model.n_dims)
