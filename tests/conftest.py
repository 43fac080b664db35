"""What several test files share: a small model of each sort, and running a script in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

import oracle

if TYPE_CHECKING:
    import ancestral


class Case(NamedTuple):
    """A model in Rust, and what it was made of."""

    kind: str
    config: oracle.Config
    tensors: oracle.Tensors
    model: ancestral.Model

    def log_prob(self, x: npt.ArrayLike) -> oracle.Float:
        return oracle.log_prob(self.kind, self.config, self.tensors, x)

    def conditionals(self, x: npt.ArrayLike) -> oracle.Float:
        return oracle.conditionals(self.kind, self.config, self.tensors, x)

    def surprise(self, x: npt.ArrayLike) -> oracle.Float:
        return oracle.surprise(self.kind, self.config, self.tensors, x)

    def features(self, x: npt.ArrayLike, step: int | None = None) -> oracle.Float:
        return oracle.features(self.kind, self.config, self.tensors, x, step)

    def events(self, n: int, seed: int = 0) -> npt.NDArray[np.uint8]:
        return oracle.random_events(self.kind, self.config, n, np.random.default_rng(seed))


# Every family, each with at most 2**12 events so that sums over all of them are affordable.
SMALL: dict[str, tuple[str, oracle.Config]] = {
    "fvsbn": ("FVSBN", oracle.fvsbn_config(10)),
    "fvsbn-order": ("FVSBN", oracle.fvsbn_config(7, [3, 6, 0, 5, 1, 4, 2])),
    "fvsbn-1": ("FVSBN", oracle.fvsbn_config(1)),
    "nade": ("NADE", oracle.nade_config(9, 17)),
    "nade-order": ("NADE", oracle.nade_config(6, 5, [5, 2, 4, 0, 1, 3])),
    "nade-1-hidden": ("NADE", oracle.nade_config(5, 1)),
    "nade-1": ("NADE", oracle.nade_config(1, 3)),
    "pixelcnn": ("PixelCNN", oracle.pixelcnn_config((1, 3, 4))),
    "pixelcnn-row": ("PixelCNN", oracle.pixelcnn_config((1, 1, 9), n_blocks=1)),
    "pixelcnn-column": ("PixelCNN", oracle.pixelcnn_config((1, 9, 1), n_blocks=1)),
    "pixelcnn-1x1": ("PixelCNN", oracle.pixelcnn_config((1, 1, 1))),
    "pixelcnn-no-block": ("PixelCNN", oracle.pixelcnn_config((1, 3, 3), n_blocks=0)),
    "pixelcnn-affine": ("PixelCNN", oracle.pixelcnn_config((1, 2, 3), input_scale=-1.5, input_shift=0.75)),
    "pixelcnn-rgb": ("PixelCNN", oracle.pixelcnn_config((3, 2, 2), n_channels=10, n_head=5)),
    "pixelcnn-rgb-1x1": ("PixelCNN", oracle.pixelcnn_config((3, 1, 1), 16, n_channels=14, n_head=16)),
    "categorical": ("PixelCNN", oracle.pixelcnn_config((1, 2, 2), 5)),
    "categorical-rgb": ("PixelCNN", oracle.pixelcnn_config((3, 1, 2), 3, n_channels=6, n_head=3)),
    "categorical-2-channels": ("PixelCNN", oracle.pixelcnn_config((2, 2, 1), 4, n_channels=6, n_head=5)),
    "categorical-256": ("PixelCNN", oracle.pixelcnn_config((1, 1, 1), 256)),
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes longer than a few seconds (leave out with -m 'not slow')")


def build_case(kind: str, config: oracle.Config, *, scale: float = 3.0, seed: int = 0) -> Case:
    import ancestral

    tensors = oracle.random_tensors(kind, config, np.random.default_rng(seed), scale)
    return Case(kind, config, tensors, ancestral.Model.from_tensors(kind, config, tensors))


@pytest.fixture(scope="session")
def build() -> Callable[..., Case]:
    return build_case


@pytest.fixture(scope="session", params=SMALL)
def small(request: pytest.FixtureRequest) -> Case:
    """Each of the small models in turn."""
    return build_case(*SMALL[request.param])


# So large that a few dozen samples are worth sharing among threads.
LARGE: dict[str, tuple[str, oracle.Config]] = {
    "fvsbn": ("FVSBN", oracle.fvsbn_config(500, list(range(499, -1, -1)))),
    "nade": ("NADE", oracle.nade_config(200, 150)),
    "pixelcnn": ("PixelCNN", oracle.pixelcnn_config((1, 9, 10), n_channels=18)),
    "categorical-rgb": ("PixelCNN", oracle.pixelcnn_config((3, 5, 6), 5, n_channels=18)),
}


@pytest.fixture(scope="session", params=LARGE)
def large(request: pytest.FixtureRequest) -> Case:
    """Models whose calls are spread over threads."""
    return build_case(*LARGE[request.param])


@pytest.fixture(scope="session")
def digits() -> Case:
    """A PixelCNN of the size used on MNIST."""
    return build_case("PixelCNN", oracle.pixelcnn_config((1, 28, 28), 2, 32, 4, 32))


def endless_case() -> Case:
    """A model so large that a call for `long_calls.ENDLESS` samples does not end while a test runs."""
    import ancestral

    kind, config, tensors, _ = build_case("PixelCNN", oracle.pixelcnn_config((1, 4, 4), 2, 64, 8, 64))
    config["event_shape"] = [1, 28, 28]  # the same weights, which the oracle scales sooner on small events
    return Case(kind, config, tensors, ancestral.Model.from_tensors(kind, config, tensors))


@pytest.fixture(scope="session")
def endless() -> Case:
    return endless_case()


def script_environment(**env: str) -> dict[str, str]:
    """The environment of a script that can import what the tests can."""
    path = os.pathsep.join(filter(None, [os.path.dirname(__file__), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **env}


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """Run a script in a fresh interpreter that can import `oracle`; its stdout. Fails if the script does.

    The time limit is only there for a script that hangs: a machine may be slow, or busy.
    """

    def run(script: str, *, timeout: float = 500, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env=script_environment(**env),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
