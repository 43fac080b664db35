"""Fast, exact, reproducible sampling and likelihood of autoregressive models.

Models are trained in PyTorch (`ancestral.nn`, `ancestral.fit`), then scored and sampled by a Rust core:

    model = ancestral.from_torch(module)
    x, log_prob = model.sample_and_log_prob(1000, rng=0)

Torch is needed for training, `from_torch` and `distributions` only. Without it `ancestral.nn` and
`ancestral.distributions` are not there, and `fit` and `from_torch` raise ImportError.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from ancestral._core import FormatError
from ancestral.completion import Completion, LowSampleSizeWarning
from ancestral.divergence import kl_divergence
from ancestral.estimate import Estimate
from ancestral.model import Model, load

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


def _has_torch() -> bool:
    try:
        return importlib.util.find_spec("torch") is not None
    except ImportError:  # hidden by an import hook
        return False


if not _has_torch():
    # What cannot be imported is not there. Functions are, and say when called what they need.
    __all__.remove("distributions")
    __all__.remove("nn")


def __getattr__(name: str) -> object:
    if name == "__version__":
        return importlib.metadata.version("ancestral")
    if name not in _LAZY:
        raise AttributeError(f"module 'ancestral' has no attribute {name!r}")
    is_module = name == _LAZY[name]
    if name in _NEED_TORCH:
        try:
            importlib.import_module("ancestral._torch")
        except ImportError as error:
            if is_module:
                raise AttributeError(str(error)) from error  # as hasattr and inspect.getmembers expect
            return _function_without_torch(name, str(error))
    module = importlib.import_module(f"ancestral.{_LAZY[name]}")
    return module if is_module else getattr(module, name)


@functools.cache  # so that it is always the same, as pickle expects
def _function_without_torch(name: str, reason: str) -> Callable[..., NoReturn]:
    def function(*_: object, **__: object) -> NoReturn:
        raise ImportError(reason)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{reason}."
    return function


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
