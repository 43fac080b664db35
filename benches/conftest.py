"""A fixture for each model, made once, and what the results say about the machine."""

from __future__ import annotations

from typing import Any

import pytest

from ancestral.demo.report import machine, versions
from models import MAKERS, THREADS, Pair, make


@pytest.fixture(scope="session", params=MAKERS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return make(request.param)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["ancestral"] = {"machine": machine(), "versions": versions(), "threads": THREADS}
