"""Print the ratios of a pytest-benchmark file: python benches/table.py FILE."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(path: Path) -> None:
    report = json.loads(path.read_text())
    about = report["machine_info"]["ancestral"]
    print(f"machine    {about['machine']}\nversions   {about['versions']}\nthreads    {about['threads']}")
    times = shortest_times(report["benchmarks"])
    keys = dict.fromkeys((operation, kind, n) for operation, kind, _, n in times)

    print("\nScoring, milliseconds for all n\n")
    print(f"  {'model':<10}{'n':>6}{'torch':>14}{'Rust':>14}{'torch / Rust':>16}")
    for operation, kind, n in keys:
        if operation == "score":
            (torch, _), (rust, _) = (times[operation, kind, side, n] for side in ("torch", "rust"))
            print(f"  {kind:<10}{n:>6}{_ms(torch):>14}{_ms(rust):>14}{_ratio(torch / rust):>16}")

    print("\nSampling, milliseconds for all n\n")
    print(
        f"  {'model':<10}{'n':>6}{'usual loop':>14}{'cached torch':>14}{'Rust':>14}"
        f"{'usual / Rust':>16}{'cached / Rust':>16}"
    )
    for operation, kind, n in keys:
        if operation == "sample":
            (usual, whole), (cached, _), (rust, _) = (
                times[operation, kind, side, n] for side in ("usual", "cached", "rust")
            )
            about_ = "" if whole else "~"
            print(
                f"  {kind:<10}{n:>6}{about_ + _ms(usual):>14}{_ms(cached):>14}{_ms(rust):>14}"
                f"{about_ + _ratio(usual / rust):>16}{_ratio(cached / rust):>16}"
            )
    print(
        "\n  usual loop: a whole forward pass a dimension; ~ where some of the 784 stand for all"
        "\n  cached torch: the best torch formulation known to us"
        "\n  torch is timed on one thread and on all, and the shorter time taken"
    )


def shortest_times(benchmarks: list[dict[str, Any]]) -> dict[tuple[str, str, str, int], tuple[float, bool]]:
    """Seconds, and whether the whole was timed, by (operation, kind, side, n)."""
    times: dict[tuple[str, str, str, int], tuple[float, bool]] = {}
    for entry in benchmarks:
        info = entry["extra_info"]
        key = info["operation"], info["kind"], info["side"], info["n"]
        time = entry["stats"]["min"] * info["scale"], info["scale"] == 1.0
        times[key] = min(times.get(key, time), time)
    return times


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f}" if seconds < 1 else f"{seconds * 1e3:,.0f}"


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
