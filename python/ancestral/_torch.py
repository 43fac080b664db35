"""Imported before torch by what needs it: says how to get it where it is missing."""

from __future__ import annotations

try:
    import torch  # noqa: F401
except (ImportError, OSError) as error:  # OSError: a library that torch loads is missing
    raise ImportError(
        "ancestral's nn, fit, from_torch and distributions need PyTorch: pip install 'ancestral[torch]'"
    ) from error
