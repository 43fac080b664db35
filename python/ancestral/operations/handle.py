"""What every operation knows of its model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral import _core

LAST_INDEX = 2**63
"""One past the largest index that a sample can have."""


_BATCH_VALUES = 2**22
_BATCH_SAMPLES = 2**16


class Handle:
    """A model of the core, and its properties."""

    __slots__ = ("__weakref__", "_inner")
    _inner: _core.Model

    @property
    def _batch_size(self) -> int:
        """Samples that a long call takes at a time, where memory is to stay small: enough to be worth a call."""
        return max(1, min(_BATCH_VALUES // self.n_dims, _BATCH_SAMPLES))

    @property
    def kind(self) -> str:
        """The family: "FVSBN", "NADE" or "PixelCNN"."""
        return self._inner.kind

    @property
    def config(self) -> dict[str, Any]:
        """The family's settings."""
        config: dict[str, Any] = json.loads(self._inner.config)
        return config

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self._inner.event_shape)

    @property
    def n_dims(self) -> int:
        """Dimensions of one sample."""
        return int(np.prod(self._inner.event_shape))

    @property
    def n_classes(self) -> int:
        """Values that a dimension can take: 0 to n_classes − 1."""
        return self._inner.n_classes

    @property
    def n_params(self) -> int:
        """Parameters that have an effect: masked weights are not counted."""
        return self._inner.n_params

    @property
    def order(self) -> NDArray[np.int64]:
        """The flat dimension of an event that is visited at each step, (n_dims,)."""
        order = self._inner.order
        return np.arange(self.n_dims) if order is None else np.array(order, np.int64)

    def _is_prefix(self, observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether the dimensions marked in each row (n, n_dims) are the first ones in the model's order."""
        steps = observed[:, self.order]
        prefix: NDArray[np.bool_] = np.all(steps[:, :-1] >= steps[:, 1:], axis=1)
        return prefix
