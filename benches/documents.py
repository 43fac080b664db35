"""README.md and docs/performance.md: what stands between the marks is written from the results."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches import tables

ROOT = Path(__file__).parent.parent
LATEST = ROOT / "benches" / "results" / "latest.json"
README_SIZES = (1, 64, 1000)  # 64: Gated PixelCNN
RESULTS = dict[str, Any]


def _sizes(results: RESULTS) -> list[int]:
    return sorted({race["n"] for race in results["races"]})


def _scaling_samples(results: RESULTS) -> str:
    rows = [
        [f"{p['n']:,}", tables.number(p["us"]), f"{p['output'] / 2**20:.2f}", f"{p['beyond'] / 2**20:+.2f}"]
        for p in results["scaling"]["n"]
    ]
    return tables.table(["samples", "µs a sample", "output, MiB", "memory beyond it, MiB"], rows)


SECTIONS: dict[str, dict[str, Callable[[RESULTS], str]]] = {
    "README.md": {
        "sample": lambda results: tables.races(results, "sample", README_SIZES),
        "log_prob": lambda results: tables.races(results, "log_prob", README_SIZES),
        "training": tables.training,
        "about": tables.about,
    },
    "docs/performance.md": {
        "about": tables.about,
        "reasons": tables.reasons,
        "sample": lambda results: tables.races(results, "sample", _sizes(results)),
        "log_prob": lambda results: tables.races(results, "log_prob", _sizes(results)),
        "training": tables.training,
        "limits": tables.limits,
        "shares": tables.shares,
        "samples": _scaling_samples,
    },
}


def filled(text: str, sections: dict[str, str]) -> str:
    """Put each section between its marks, `<!-- bench NAME -->` and `<!-- end -->`, of which there must be one pair."""
    for name, content in sections.items():
        pattern = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, content=content: f"{match[1]}{content}\n{match[2]}", text)
        if count != 1:
            raise ValueError(f"expected one section {name!r}, found {count}")
    return text


def written(page: str, results: RESULTS) -> str:
    """Return the page as it must be for these results."""
    sections = {name: write(results) for name, write in SECTIONS[page].items()}
    return filled((ROOT / page).read_text(), sections)


def update(results: RESULTS) -> None:
    """Rewrite both pages and draw both figures."""
    from benches import figures

    for page in SECTIONS:
        (ROOT / page).write_text(written(page, results))
    figures.races(results, ROOT / "docs" / "images" / "bench.svg")
    figures.scaling(results, ROOT / "docs" / "images" / "scaling.svg")
