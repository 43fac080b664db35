"""The documentation: code in the README runs, links lead somewhere, what it lists exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def quick_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fit` on a few examples: the code is checked, not how well it trains."""
    fit = ancestral.fit

    def quick(module: Any, train: Any, valid: Any) -> Any:
        return fit(module, train[:200], valid[:100], epochs=1, progress=False)

    monkeypatch.setattr(ancestral, "fit", quick, raising=False)


@pytest.mark.usefixtures("quick_fit")
@pytest.mark.filterwarnings("ignore::ancestral.LowSampleSizeWarning")
def test_the_examples_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"np": np}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        exec(code, names)
    assert names["x"].shape == (10_000, 784)
    assert names["x"].dtype == np.uint8
    assert names["log_prob"].dtype == np.float64
    assert names["done"].x.shape == (500, 100, 784)
    np.testing.assert_array_equal(ancestral.load("nade.safetensors").log_prob(names["x"]), names["log_prob"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_the_map_of_the_tree_names_what_is_there() -> None:
    """Every file of the core that CONTRIBUTING.md names exists, and every one that exists is named."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"src/([a-z]+)(?:\.rs|/)", text)) - {"lib"}
    source = ROOT / "rust" / "core" / "src"
    there = {path.stem for path in source.iterdir()} - {"lib"}
    assert there <= named
    assert named - there <= {"NAME"}
