"""What the demo tells: machine and versions, a table a model, and two pictures."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancestral import plot
from ancestral.history import History
from ancestral.model import Model


@dataclass(frozen=True)
class Result:
    """A trained model as the pictures show it; `nll` is of the test set, nats per image."""

    model: Model
    history: History
    nll: float


def machine() -> str:
    """Name this machine's processor and the number of cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {n_cores()} cores, {platform.system()} {platform.machine()}"


def n_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> str:
    """Name the versions that figures depend on."""
    found = [f"Python {platform.python_version()}"]
    for package in ("ancestral", "torch", "numpy"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} (not installed)")
    return ", ".join(found)


def likelihoods(by_torch: NDArray[np.float64], by_rust: NDArray[np.float64], n_dims: int) -> str:
    """Write the test NLL from both sides' log_prob of each image, and how far these are apart at most."""
    lines = [f"  {f'test set, {len(by_rust):,} images':<28}{'NLL (nats)':>12}{'bits/dim':>14}"]
    for name, log_prob in (("torch", by_torch), ("Rust", by_rust)):
        nll = -log_prob.mean()
        lines.append(f"    {name:<26}{nll:>12.5f}{nll / (n_dims * math.log(2)):>14.6f}")
    largest = np.abs(by_torch - by_rust).max()
    lines.append(f"    {'largest |difference|':<26}{largest:>12.1e}  of any image")
    return "\n".join(lines)


def timing_header(n: int) -> str:
    """Write the head of the columns of `timing`."""
    return f"  {f'sampling, {n} at once':<28}{'ms a sample':>12}{'times Rust':>14}"


def timing(name: str, seconds: float, rust: float) -> str:
    """Write a time a sample, and its ratio to that of Rust."""
    ratio = seconds / rust
    digits = 0 if ratio >= 20 else 1
    return f"    {name:<26}{seconds * 1e3:>12.3f}{ratio:>14,.{digits}f}"


def samples_picture(path: Path, real: NDArray[np.uint8], drawn: dict[str, NDArray[np.uint8]]) -> Path:
    """Draw real digits beside the samples of each model, 8 x 8 of each."""
    figure, axes = _figure(1 + len(drawn), size=3.2)
    for ax, (title, images) in zip(axes, {"real digits": real, **drawn}.items(), strict=True):
        plot.image_grid(images.reshape(-1, 28, 28), n_rows=8, n_cols=8, cmap="gray_r", title=title, ax=ax)
    figure.savefig(path, dpi=160)
    return path


def curves_picture(path: Path, histories: dict[str, History]) -> Path:
    """Draw the training of each model."""
    figure, axes = _figure(len(histories), size=4.0)
    for ax, (title, history) in zip(axes, histories.items(), strict=True):
        plot.history(history, ax=ax).set_title(title)
    figure.savefig(path, dpi=160)
    return path


def _figure(n_panels: int, size: float) -> tuple[Any, list[Any]]:
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError("the demo draws with matplotlib: pip install 'ancestral[demo]'") from error
    figure = Figure(figsize=(size * n_panels, size + 0.3), layout=ConstrainedLayoutEngine(wspace=0.05))
    return figure, list(figure.subplots(1, n_panels, squeeze=False)[0])
