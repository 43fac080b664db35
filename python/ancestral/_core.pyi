"""Types of the Rust core; checked against it by stubtest."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK_LEN",
    "MAX_BLOCK_LEN",
    "MAX_THREADS",
    "FormatError",
    "Model",
    "Tape",
    "fvsbn_gradient",
    "fvsbn_score",
    "isa",
    "nade_gradient",
    "nade_score",
    "resampling_uniforms",
]

_Values = NDArray[np.uint8] | NDArray[np.uint16]

BLOCK_LEN: int
MAX_BLOCK_LEN: int
MAX_THREADS: int

class FormatError(ValueError): ...

@final
class Model:
    @staticmethod
    def from_tensors(
        kind: str, config: str, tensors: dict[str, NDArray[np.float32]], graph: str | None = None
    ) -> Model: ...
    @staticmethod
    def from_bytes(data: bytes) -> Model: ...
    def to_bytes(self) -> bytes: ...
    @property
    def kind(self) -> str: ...
    @property
    def config(self) -> str: ...
    @property
    def graph(self) -> str | None: ...
    @property
    def event_shape(self) -> list[int]: ...
    @property
    def n_classes(self) -> Any: ...  # int, or list[int] where dimensions differ
    @property
    def dtype(self) -> str: ...
    @property
    def n_params(self) -> int: ...
    @property
    def order(self) -> list[int] | None: ...
    @property
    def orders(self) -> list[list[int] | None] | None: ...
    @property
    def sha256(self) -> bytes: ...
    @property
    def feature_shape(self) -> list[int] | None: ...
    def score(
        self,
        x: _Values,
        threads: int,
        progress: Callable[[int], Any] | None,
        *,
        log_prob: NDArray[np.float64] | None = None,
        conditionals: NDArray[np.float32] | None = None,
        surprise: NDArray[np.float32] | None = None,
        log_conditional: NDArray[np.float64] | None = None,
        features: NDArray[np.float32] | None = None,
        n_steps: int | None = None,
    ) -> None: ...
    def draw(
        self,
        x: _Values,
        seed: int,
        start: int,
        threads: int,
        progress: Callable[[int], Any] | None,
        *,
        log_prob: NDArray[np.float64] | None = None,
        temperature: float = 1.0,
    ) -> None: ...
    def restrict(
        self,
        low: _Values,
        high: _Values | None,
        log_weight: NDArray[np.float64],
        seed: int,
        first: NDArray[np.uint64],
        n_paths: int,
        threads: int,
        progress: Callable[[int], Any] | None,
        *,
        x: _Values | None = None,
        log_prob: NDArray[np.float64] | None = None,
    ) -> None: ...
    def encode(self, x: _Values, block_len: int, threads: int, progress: Callable[[int], Any] | None) -> bytes: ...
    def encoded(self, blob: bytes) -> tuple[int, int]: ...
    def decode(
        self, blob: bytes, first: int, x: _Values, threads: int, progress: Callable[[int], Any] | None
    ) -> None: ...

@final
class Tape: ...

def fvsbn_score(
    weights: Sequence[NDArray[np.float32]],
    x: NDArray[np.uint8],
    threads: int,
) -> tuple[NDArray[np.float64], Tape]: ...
def fvsbn_gradient(
    weights: Sequence[NDArray[np.float32]],
    x: NDArray[np.uint8],
    tape: Tape,
    scale: NDArray[np.float32],
    gradients: Sequence[NDArray[np.float32]],
    threads: int,
) -> None: ...
def nade_score(
    weights: Sequence[NDArray[np.float32]],
    x: NDArray[np.uint8],
    threads: int,
) -> tuple[NDArray[np.float64], Tape]: ...
def nade_gradient(
    weights: Sequence[NDArray[np.float32]],
    x: NDArray[np.uint8],
    tape: Tape,
    scale: NDArray[np.float32],
    gradients: Sequence[NDArray[np.float32]],
    threads: int,
) -> None: ...
def resampling_uniforms(seed: int, row: int, n: int) -> NDArray[np.float64]: ...
def isa() -> str: ...
