"""The option of `pytest benches`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tiny", action="store_true", help="tiny models, two samples: only to see that every case runs")
