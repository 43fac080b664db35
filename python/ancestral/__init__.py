"""Fast, exact, reproducible sampling and likelihood of autoregressive models.

Models are trained in PyTorch (`ancestral.nn`, `ancestral.fit`), then scored and sampled by a Rust core:

    model = ancestral.from_torch(module)
    x, log_prob = model.sample_and_log_prob(1000, rng=0)

Torch is needed for training and `from_torch` only.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

from ancestral._core import FormatError
from ancestral.estimate import Estimate
from ancestral.model import Model, load
from ancestral.operations.completion import Completion, LowSampleSizeWarning
from ancestral.operations.information import kl_divergence

if TYPE_CHECKING:
    from ancestral import datasets, distributions, nn, plot
    from ancestral.export import from_torch
    from ancestral.history import History
    from ancestral.train import fit

__version__: str

__all__ = [
    "Completion",
    "Estimate",
    "FormatError",
    "History",
    "LowSampleSizeWarning",
    "Model",
    "datasets",
    "distributions",
    "fit",
    "from_torch",
    "kl_divergence",
    "load",
    "nn",
    "plot",
]

# Imported when first asked for: to load and sample, none of them is needed.
_LAZY = {
    "History": "history",
    "datasets": "datasets",
    "distributions": "distributions",
    "fit": "train",
    "from_torch": "export",
    "nn": "nn",
    "plot": "plot",
}
_NEED_TORCH = {"distributions", "fit", "from_torch", "nn"}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return importlib.metadata.version("ancestral")
    if name not in _LAZY:
        raise AttributeError(f"module 'ancestral' has no attribute {name!r}")
    if name in _NEED_TORCH:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise ImportError(f"ancestral.{name} needs PyTorch: pip install 'ancestral[torch]'") from error
    module = importlib.import_module(f"ancestral.{_LAZY[name]}")
    return module if name == _LAZY[name] else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
