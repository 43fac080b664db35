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
from ancestral.model import Model
from ancestral.train import History


@dataclass(frozen=True)
class Result:
    """What was found out about one model; times are seconds a sample."""

    model: Model
    history: History
    log_prob_torch: NDArray[np.float64]
    log_prob_rust: NDArray[np.float64]
    n_timed: int
    seconds_usual: float
    seconds_cached: float
    seconds_rust: float

    @property
    def nll(self) -> float:
        """Test NLL by the Rust core, nats per image."""
        return -float(self.log_prob_rust.mean())


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


def likelihoods(result: Result) -> str:
    """Write the test NLL from both sides, and how far they are apart at most."""
    rows = [("torch", result.log_prob_torch), ("Rust", result.log_prob_rust)]
    lines = [f"  test set, {len(result.log_prob_rust):,} images    NLL (nats)    bits/dim"]
    for name, log_prob in rows:
        nll = -log_prob.mean()
        lines.append(f"    {name:<26} {nll:>10.5f}   {nll / (result.model.n_dims * math.log(2)):>9.6f}")
    largest = np.abs(result.log_prob_torch - result.log_prob_rust).max()
    lines.append(f"    largest |difference|       {largest:>10.1e}   nats, of any image")
    return "\n".join(lines)


def timings(result: Result) -> str:
    """Write the time a sample for both torch formulations and for Rust, with the ratios."""
    lines = [f"  sampling, {result.n_timed} at once       ms a sample   Rust is"]
    for name, seconds in [
        ("torch, the usual loop", result.seconds_usual),
        ("torch, cached activations", result.seconds_cached),
    ]:
        ratio = seconds / result.seconds_rust
        lines.append(f"    {name:<26} {seconds * 1e3:>10.3f}   {_ratio(ratio):>9} times faster")
    lines.append(f"    {'Rust':<26} {result.seconds_rust * 1e3:>10.3f}")
    return "\n".join(lines)


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


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
    except ImportError as error:
        raise ImportError("the demo draws with matplotlib: pip install 'ancestral[demo]'") from error
    figure = Figure(figsize=(size * n_panels, size + 0.3), layout="constrained")
    return figure, list(figure.subplots(1, n_panels, squeeze=False)[0])
