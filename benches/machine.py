"""What is measured on, and its limits: what it can do at most, and what the models need at least."""

from __future__ import annotations

import json
import os
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ancestral.demo import report
from ancestral.nn import MADE, NADE, Autoregressive
from ancestral.nn._taps import Taps
from ancestral.nn.masked_conv import MaskedConv2d
from benches.contestants import PACKAGES

ROOT = Path(__file__).parent.parent


def limits(all_threads: int) -> dict[str, Any]:
    """Measure multiply-adds and reads a second with the core's own vectors, and torch's matrix product beside them."""
    command = ["cargo", "run", "--release", "--quiet", "--package", "ancestral-core", "--example", "peak"]
    peaks = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    isa = os.environ.get("ANCESTRAL_ISA") or peaks[-1]["isa"]
    matmul = {threads: _matmul_gflops(threads) for threads in sorted({1, all_threads})}
    return {"isa": isa, "peaks": peaks, "torch_matmul_gflops": matmul}


def versions() -> str:
    """Name the versions that figures depend on."""
    found = [report.versions()]
    for package in PACKAGES.values():
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} (not installed)")
    return ", ".join(found)


def better(a: Any, b: Any) -> Any:
    """Merge two measurements of the same limits: the larger of each figure."""
    if isinstance(a, dict):
        return {name: better(a[name], b[name]) for name in a}
    if isinstance(a, list):
        return [better(*pair) for pair in zip(a, b, strict=True)]
    return max(a, b)


def _matmul_gflops(threads: int, size: int = 1536, tries: int = 7) -> float:
    torch.set_num_threads(threads)
    a = torch.rand(size, size)
    seconds = []
    for _ in range(tries):
        started = time.perf_counter()
        torch.mm(a, a)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds) / 1e9


def additions(module: Autoregressive, x: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    """Count the multiply-adds, or additions where there is nothing to multiply, that a sample like x needs at least.

    FVSBN: each one x_j adds a column of weights to the logits after it: Σ_j x_j (D − 1 − j).
    NADE: a dot product a dimension, and an addition to each hidden unit for each one: H (D + Σ_j x_j).
    MADE: each one adds to the hidden units that see it, and each unit to its logits: Σ_k (Σ_{j ≤ m_k} x_j + r_k),
    where m_k is the degree of unit k and r_k the number of logits that read it.
    PixelCNN, Gated PixelCNN: a multiply-add for each weight that is not masked, at each pixel where its tap lies within
    the image.

    Random numbers, elementary functions and comparisons are not counted: the share of the limit is a lower bound.
    """
    if module.kind in ("PixelCNN", "GatedPixelCNN"):
        layers = [layer for layer in module.modules() if isinstance(layer, MaskedConv2d | Taps)]
        return float(sum(_additions_of(layer, module.event_shape) for layer in layers))
    ones = x.mean(0)  # in the natural order: the modules of the benchmark have no other
    n_dims = module.n_dims
    if isinstance(module, NADE):
        return float(module.n_hidden * (n_dims + ones.sum()))
    if isinstance(module, MADE):
        (hidden,) = module.hidden
        return float((hidden.mask().numpy() @ ones).sum() + module.out.mask().sum())  # type: ignore[operator]
    return float(ones @ (n_dims - 1 - np.arange(n_dims)))


def _additions_of(layer: MaskedConv2d | Taps, event_shape: tuple[int, ...]) -> int:
    _, height, width = event_shape
    kernel = layer.mask if layer.mask is not None else torch.ones_like(layer.weight)
    free = kernel.sum((0, 1)).flatten().long()  # weights of each tap
    if isinstance(layer, Taps):
        offsets = layer.offsets
    else:
        half = layer.kernel_size[0] // 2
        offsets = [(row, column) for row in range(-half, half + 1) for column in range(-half, half + 1)]
    pixels = [max(height - abs(row), 0) * max(width - abs(column), 0) for row, column in offsets]
    return int(free @ free.new_tensor(pixels))
