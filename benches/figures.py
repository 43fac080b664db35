"""The two figures of the documentation, from the results alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benches import tables

INK, GRID = "#1c2733", "#dfe4ea"
COLOURS = ("#9aa5b1", "#e0a030", "#c8553d", "#4f9d69", "#8a63b8")
OURS = "#1f5fa8"
MOST_COLUMNS = 5


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(wspace=0.04, hspace=0.06)  # type: ignore[union-attr, call-arg]
    return figure, figure.subplots(rows, columns, squeeze=False)


def _style(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRID)
    ax.grid(which="major", color=GRID, linewidth=0.7)
    ax.tick_params(which="both", colors=INK, labelsize=8, length=0)
    ax.set_axisbelow(True)


def _log_log(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.minorticks_off()


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No date and no random names within: the same results give the same file.
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "ancestral"}):
        figure.savefig(path, metadata={"Date": None})


def races(results: dict[str, Any], path: Path) -> None:
    """Time a sample against the batch size: a panel a model and operation, a line a contestant.

    A column is a model, and a row an operation; many models take two such pairs of rows.
    """
    names = [model["name"] for model in results["models"]]
    n_bands = 1 + (len(names) > MOST_COLUMNS)
    n_columns = math.ceil(len(names) / n_bands)
    n_rows = n_bands * len(tables.OPERATIONS)
    figure, axes = _figure(n_rows, n_columns, 2.6 * n_columns + 0.6, 2.8 * n_rows)
    others = [name for name in tables.contestants(results, "sample") if name not in (tables.OURS, tables.FORWARD)]
    colours = {**dict(zip(others, COLOURS, strict=False)), tables.FORWARD: INK, tables.OURS: OURS}
    lines: dict[str, Any] = {}
    for row, operation in enumerate(list(tables.OPERATIONS) * n_bands):
        band = row // len(tables.OPERATIONS)
        shown = names[band * n_columns : (band + 1) * n_columns]
        for ax, name in zip(axes[row], shown, strict=False):
            cases = [race for race in results["races"] if (race["model"], race["operation"]) == (name, operation)]
            for who, colour in colours.items():
                best = [(race["n"], tables.fastest(race).get(who)) for race in cases]
                points = [(n, result["median"] / n * 1e6) for n, result in best if result]
                if points:
                    (lines[who],) = ax.plot(*zip(*points, strict=True), color=colour, **_line(who))
            _log_log(ax)
            _style(ax)
            if operation == "sample":
                ax.set_title(name.replace(", ", ",\n"), fontsize=9, color=INK)
            else:
                ax.set_xlabel("samples at once", fontsize=8, color=INK)
        for ax in axes[row][len(shown) :]:
            ax.set_axis_off()
        axes[row][0].set_ylabel(f"{tables.OPERATIONS[operation].lower()}, µs a sample", fontsize=9, color=INK)
    figure.legend(
        list(lines.values()), list(lines), loc="outside upper center", ncols=len(lines), frameon=False, fontsize=9
    )
    _save(figure, path)


def _line(who: str) -> dict[str, Any]:
    if who == tables.FORWARD:
        return {"linestyle": "--", "linewidth": 1, "zorder": 2}
    ours = who == tables.OURS
    return {
        "marker": "o",
        "linewidth": 2.4 if ours else 1.4,
        "markersize": 4.5 if ours else 3,
        "zorder": 3 if ours else 2,
    }


def scaling(results: dict[str, Any], path: Path) -> None:
    """Five panels: threads, dimensions, hidden units, density, samples."""
    found = results["scaling"]
    peak = tables.additions_per_second(results) / 1e6
    figure, axes = _figure(2, 3, 10.5, 6.2)
    (threads, dims, hidden), (fvsbn, nade, samples) = axes

    for curve, colour in zip(found["threads"], (OURS, *COLOURS), strict=False):
        counts = [point["threads"] for point in curve["points"]]
        speed = [curve["points"][0]["us"] / point["us"] for point in curve["points"]]
        threads.plot(counts, speed, "o-", color=colour, markersize=4, label=curve["model"].split(",")[0])
    threads.plot(counts, counts, color=GRID, zorder=1)
    threads.set(xticks=counts, ylim=(0, None))
    _label(threads, "threads", "times as fast as one", "Threads")

    for ax, key, points, title in (
        (dims, "n_dims", found["n_dims"], "FVSBN, one thread"),
        (hidden, "n_hidden", found["n_hidden"], "NADE, 784 dimensions, one thread"),
    ):
        sizes = [point[key] for point in points]
        ax.plot(sizes, [point["us"] for point in points], "o-", color=OURS, markersize=4, label="Rust")
        ax.plot(
            sizes,
            [point["additions"] / peak for point in points],
            "--",
            color=INK,
            linewidth=1,
            label="additions at the peak",
        )
        _log_log(ax)
        _label(ax, "dimensions" if key == "n_dims" else "hidden units", "µs a sample", title)

    for ax, model in ((fvsbn, "FVSBN"), (nade, "NADE")):
        points = [point for point in found["density"] if point["model"] == model]
        ones = [100 * point["ones"] for point in points]
        ax.plot(ones, [point["rust"] for point in points], "o-", color=OURS, markersize=4, label="Rust")
        ax.plot(ones, [point["torch"] for point in points], "o-", color=COLOURS[1], markersize=4, label="torch, cached")
        dense = points[0]["dense_additions"] / peak
        ax.axhline(dense, linestyle="--", color=INK, linewidth=1, label="a dense walk at the peak")
        ax.set_yscale("log")
        ax.minorticks_off()
        _label(ax, "ones, %", "µs a sample", f"{model}, one thread, n = {points[0]['n']:,}")

    sizes = [point["n"] for point in found["n"]]
    samples.plot(sizes, [point["us"] for point in found["n"]], "o-", color=OURS, markersize=4, label="µs a sample")
    output = [point["output"] / 2**20 for point in found["n"]]
    grown = [(point["output"] + point["beyond"]) / 2**20 for point in found["n"]]
    samples.plot(sizes, grown, "o-", color=COLOURS[2], markersize=4, label="memory, MiB")
    samples.plot(sizes, output, "--", color=INK, linewidth=1, label="output, MiB")
    samples.set_xscale("log")
    samples.set_yscale("symlog", linthresh=0.01)
    samples.set_ylim(0, None)
    samples.minorticks_off()
    _label(samples, "samples at once", "", "FVSBN, 64 dimensions, all threads")
    _save(figure, path)


def _label(ax: Axes, x: str, y: str, title: str) -> None:
    _style(ax)
    ax.set_xlabel(x, fontsize=8, color=INK)
    ax.set_ylabel(y, fontsize=8, color=INK)
    ax.set_title(title, fontsize=9, color=INK)
    ax.legend(frameon=False, fontsize=8)
