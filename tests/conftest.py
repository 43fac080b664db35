"""The fixtures that several test files share: models, and running a script in a fresh interpreter."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support import scripts
from support.cases import Case, build_case, endless_case
from support.families import EVERY_LARGE, EVERY_SMALL, LARGE, NADE, SMALL, PixelCNN


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes longer than a few seconds (leave out with -m 'not slow')")


@pytest.fixture(scope="session")
def build() -> Callable[..., Case]:
    return build_case


@pytest.fixture(scope="session", params=SMALL)
def small(request: pytest.FixtureRequest) -> Case:
    """Each of the small models in turn."""
    return build_case(*SMALL[request.param])


@pytest.fixture(scope="session", params=EVERY_SMALL)
def every_small(request: pytest.FixtureRequest) -> Case:
    """The small models and mixtures."""
    return build_case(*EVERY_SMALL[request.param])


@pytest.fixture(scope="session", params=LARGE)
def large(request: pytest.FixtureRequest) -> Case:
    """Models whose calls are spread over threads."""
    return build_case(*LARGE[request.param])


@pytest.fixture(scope="session", params=EVERY_LARGE)
def every_large(request: pytest.FixtureRequest) -> Case:
    """The large models and mixtures."""
    return build_case(*EVERY_LARGE[request.param])


@pytest.fixture(scope="session")
def binary() -> Case:
    """Six bits."""
    return build_case(NADE, NADE.config(6, 4))


@pytest.fixture(scope="session")
def image() -> Case:
    """Five classes in a (2, 3, 4) event: three axes to get wrong."""
    return build_case(PixelCNN, PixelCNN.config((2, 3, 4), 5))


@pytest.fixture(scope="session")
def digits() -> Case:
    """A PixelCNN of the size used on MNIST."""
    return build_case(PixelCNN, PixelCNN.config((1, 28, 28), 2, 32, 4, 32))


@pytest.fixture(scope="session")
def endless() -> Case:
    return endless_case()


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    return scripts.run_python
