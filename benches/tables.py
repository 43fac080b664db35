"""Tables in Markdown, from the results alone: nothing here is measured or typed in by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

OPERATIONS = {"sample": "Sampling", "log_prob": "Likelihood"}
NONE = "–"
OURS = "Rust"
FORWARD = "torch, one pass"  # what draws are measured against; it draws none


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Write a table whose first `left` columns are words, the others figures."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def number(value: float) -> str:
    """Three digits: 0.012, 0.123, 12.3, 1,230."""
    digits = min(max(2 - math.floor(math.log10(value)), 0), 3) if value > 0 else 0
    return f"{value:,.{digits}f}"


def fastest(race: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each contestant's result on one thread or on all, whichever was faster; none of those that have no time."""
    best: dict[str, dict[str, Any]] = {}
    for result in race["results"]:
        name = result["contestant"]
        if "median" in result and (name not in best or result["median"] < best[name]["median"]):
            best[name] = result
    return best


def contestants(results: dict[str, Any], operation: str) -> list[str]:
    """Name those that have a time, in the order of the race."""
    names = [r["contestant"] for race in results["races"] for r in race["results"]]
    timed = {name for race in results["races"] if race["operation"] == operation for name in fastest(race)}
    return [name for name in dict.fromkeys(names) if name in timed]


def microseconds(result: dict[str, Any] | None, n: int) -> str:
    """A sample's time; ~ where a part of the work stands for all of it."""
    if result is None:
        return NONE
    return ("" if result["part"] == 1 else "~") + number(result["median"] / n * 1e6)


def against(race: dict[str, Any]) -> str:
    """How many times longer the best of the others takes."""
    best = fastest(race)
    others = [result["median"] for name, result in best.items() if name not in (OURS, FORWARD)]
    return number(min(others) / best[OURS]["median"]) if others and OURS in best else NONE


def in_passes(race: dict[str, Any]) -> str:
    """How many of torch's forward passes take as long."""
    best = fastest(race)
    return number(best[OURS]["median"] / best[FORWARD]["median"]) if {OURS, FORWARD} <= best.keys() else NONE


def races(results: dict[str, Any], operation: str, sizes: Sequence[int]) -> str:
    """µs a sample of all contestants, each on one thread or all, whichever was faster."""
    names = contestants(results, operation)
    passes = FORWARD in names
    rows, above = [], None
    for race in results["races"]:
        if race["operation"] != operation or race["n"] not in sizes:
            continue
        best, n = fastest(race), race["n"]
        times = [_bold(name, microseconds(best.get(name), n)) for name in names]
        ratios = [against(race), in_passes(race)] if passes else [against(race)]
        rows.append(["" if race["model"] == above else race["model"], f"{n:,}", *times, *ratios])
        above = race["model"]
    ratio_names = ["best other / Rust", f"Rust / {FORWARD}"] if passes else ["best other / Rust"]
    return table(["model", "n", *(_bold(name, name) for name in names), *ratio_names], rows)


def _bold(contestant: str, text: str) -> str:
    return f"**{text}**" if contestant == OURS and text != NONE else text


def threads(results: dict[str, Any], operation: str) -> str:
    """Every result: median and quartiles on one thread and on all."""
    rows = []
    for race in results["races"]:
        if race["operation"] != operation:
            continue
        for result in race["results"]:
            count = "all" if result["threads"] is None else str(result["threads"])
            about = [race["model"], f"{race['n']:,}", result["contestant"], count]
            if "reason" in result:
                if _only_here(result):
                    rows.append([*about, NONE, result["reason"]])
            else:
                low, high = (number(result[name] / race["n"] * 1e6) for name in ("q1", "q3"))
                rows.append([*about, microseconds(result, race["n"]), f"{low} to {high}, {result['rounds']} rounds"])
    return table(["model", "n", "contestant", "threads", "µs a sample", "middle half"], rows, left=4)


def training(results: dict[str, Any]) -> str:
    """A step of training on one thread and on all, and how many times longer torch takes."""
    found = results["training"]["results"]
    rows: list[list[str]] = []
    for result in found:
        model, median = result["model"], result["median"]
        ratio = NONE
        if result["contestant"] == OURS:
            best = min(other["median"] for other in found if other["model"] == model and other["contestant"] != OURS)
            ratio = number(best / median)
        low, middle, high = (number(seconds * 1e3) for seconds in (result["q1"], median, result["q3"]))
        name = "" if any(row[0] == model for row in rows) else model
        rows.append([name, result["contestant"], str(result["threads"]), middle, f"{low} to {high}", ratio])
    return table(["model", "", "threads", "ms a step", "middle half", "best torch / Rust"], rows)


def limits(results: dict[str, Any]) -> str:
    """What the machine can do."""
    peaks = results["limits"]["peaks"]
    caches = list(peaks[0]["read_gb_per_s"])
    rows = [
        [peak["isa"], str(peak["threads"]), number(peak["gflops"]), *(number(peak["read_gb_per_s"][c]) for c in caches)]
        for peak in peaks
    ]
    head = [
        "instruction set",
        "threads",
        "multiply-adds, GFLOP/s",
        *(f"read {cache} a thread, GB/s" for cache in caches),
    ]
    return table(head, rows)


def additions_per_second(results: dict[str, Any]) -> float:
    """Return the most additions or multiply-adds a second on one thread; both take the same units equally long."""
    found = results["limits"]
    (gflops,) = (peak["gflops"] for peak in found["peaks"] if (peak["isa"], peak["threads"]) == (found["isa"], 1))
    return float(gflops) * 1e9 / 2


def shares(results: dict[str, Any]) -> str:
    """What the models need at least, and the share of the machine's multiply-adds that they reach on one thread."""
    peak = additions_per_second(results)
    rows = []
    for model in results["models"]:
        for operation, title in OPERATIONS.items():
            timed = [
                (result["median"] / race["n"], race["n"])
                for race in results["races"]
                if race["model"] == model["name"] and race["operation"] == operation
                for result in race["results"]
                if result["contestant"] == OURS and result["threads"] == 1 and "median" in result
            ]
            if not timed:
                continue
            seconds, n = min(timed)
            additions = model["additions"][operation]
            least = additions / peak
            figures = [additions / 1e6, least * 1e6, seconds * 1e6]
            rows.append(
                [model["name"], title.lower(), *map(number, figures), f"{n:,}", f"{100 * least / seconds:.0f} %"]
            )
    head = ["model", "", "additions, millions", "at the peak, µs", "Rust, µs", "at n", "share of the peak"]
    return table(head, rows, left=2)


def _only_here(result: dict[str, Any]) -> bool:
    """Whether a contestant is missing at this size alone."""
    return " takes " in result["reason"]


def reasons(results: dict[str, Any]) -> str:
    """Why some did not take part at all."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for race in results["races"]:
        for result in race["results"]:
            if "reason" in result and not _only_here(result):
                key = result["contestant"], OPERATIONS[race["operation"]].lower(), result["reason"]
                found.setdefault(key, []).append(race["model"].split(",")[0])
    lines = (f"- {who}, {what}, {', '.join(dict.fromkeys(of))}: {why}." for (who, what, why), of in found.items())
    return "\n".join(lines)


def about(results: dict[str, Any]) -> str:
    """The machine, the versions and the day."""
    info = results["about"]
    caution = " **A quick run: for orientation only.**" if info["quick"] else ""
    return f"{info['machine']}; {info['versions']}; {info['date']}.{caution}"
