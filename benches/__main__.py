"""The benchmark's command line: `run` measures and writes a file, `report` writes the documentation from it."""

from __future__ import annotations

import datetime
import json
import os
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from benches import documents, tables

CACHE = documents.ROOT / ".benchmarks"

app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode="markdown", no_args_is_help=True)


@app.command()
def run(
    out: Annotated[Path, typer.Option(help="Where the results go, as JSON.")] = Path(".benchmarks/latest.json"),
    quick: Annotated[
        bool, typer.Option(help="Fewer models, sizes and rounds, no torch.compile, no scaling: two minutes.")
    ] = False,
    only: Annotated[
        str, typer.Option(help="Only models whose name this is found in, a regular expression such as 'NADE|MADE'.")
    ] = "",
    scaling: Annotated[
        bool | None, typer.Option(help="Measure how the time grows, too.", show_default="not with --quick")
    ] = None,
) -> None:
    """Race this package against torch, torch.compile, JAX and Numba, and print the tables.

    On each model, operation and batch size all take turns, so that whatever else the machine does hits all alike.
    Before that, all must give the same likelihoods, and draw from the same distribution.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE / "inductor"))
    started = time.monotonic()
    results = measure(quick=quick, only=only, scaling=not quick if scaling is None else scaling)
    results["about"]["minutes"] = round((time.monotonic() - started) / 60, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    show(results)
    typer.echo(f"\n{results['about']['minutes']} minutes; all results: {out}")


@app.command()
def report(path: Annotated[Path, typer.Argument(help="Results of `run`.")] = documents.LATEST) -> None:
    """Rewrite the tables of README.md and docs/performance.md, and draw their figures."""
    documents.update(json.loads(path.read_text()))


def measure(*, quick: bool, only: str, scaling: bool) -> dict[str, Any]:
    """All measurements, in one dictionary."""
    # Late, so that `--help` and `report` are quick and need neither JAX nor Numba.
    from ancestral.demo.report import machine as machine_name
    from ancestral.demo.report import n_cores
    from benches import contestants, machine, models, training
    from benches.check import check
    from benches.race import FULL, OPERATIONS, QUICK, race, runners, sizes

    threads, pace = n_cores(), QUICK if quick else FULL
    named = [spec for spec in models.SPECS if re.search(only, spec.name, re.IGNORECASE)]
    specs = named[: 3 if quick else None]
    files = [file for file in contestants.CONTESTANTS if not (quick and file == "torch_compiled")]
    results: dict[str, Any] = {
        "about": {
            "machine": machine_name(),
            "versions": machine.versions(),
            "threads": threads,
            "date": datetime.date.today().isoformat(),
            "quick": quick,
        },
        "limits": machine.limits(threads),
        "models": [],
        "races": [],
    }
    cases = len(OPERATIONS) * sum(len(sizes(spec, pace)) for spec in specs)
    entrants = [models.prepare(spec) for spec in tqdm(specs, desc="training", unit="model")]
    # Before the race: threads that its contestants leave behind would take part in what follows.
    results["training"] = training.measure(threads)
    if scaling:
        results["scaling"] = grow(entrants, threads)
    with tqdm(total=cases, unit="case", smoothing=0) as progress:
        for spec, entrant in zip(specs, entrants, strict=True):
            known = [contestants.load(file) for file in files]
            sides = [side for kind in known if (side := _enter(kind, entrant)) is not None]
            about = {
                "name": spec.name,
                "ones drawn": round(float((entrant.drawn == 1).mean()), 4),
                "additions": {
                    "sample": machine.additions(entrant.module, entrant.drawn),
                    "log_prob": machine.additions(entrant.module, entrant.digits),
                },
                "checks": {},
            }
            for side in sides:
                progress.set_description(f"{spec.name}: checking {side.name}")
                about["checks"][side.name] = check(entrant, side)
            results["models"].append(about)
            for operation in OPERATIONS:
                field = runners(sides, threads)
                for n in sizes(spec, pace):
                    progress.set_description(f"{spec.name}: {operation}, n = {n:,}")
                    found = race(field, operation, entrant, n, pace)
                    results["races"].append({"model": spec.name, "operation": operation, "n": n, "results": found})
                    progress.update()
    # Once more: other work on the machine only takes away, so the better figure is nearer to the limit.
    results["limits"] = machine.better(results["limits"], machine.limits(threads))
    return results


def _enter(kind: Any, entrant: Any) -> Any:
    from benches.contestants import Unsupported

    try:
        return kind(entrant.module)
    except Unsupported:
        return None


def grow(entrants: list[Any], threads: int) -> dict[str, Any]:
    """How the time grows with everything."""
    from benches import scaling

    n_by_kind = {"FVSBN": 10_000, "NADE": 2_000, "PixelCNN": 200, "MADE": 5_000, "GatedPixelCNN": 64}
    chosen = {entrant.model.kind: entrant for entrant in reversed(entrants)}
    steps = {
        "threads": lambda: [scaling.by_threads(e, n_by_kind[kind], threads) for kind, e in chosen.items()],
        "n_dims": lambda: scaling.by_dimensions([2**k for k in range(6, 15)]),
        "n_hidden": lambda: scaling.by_hidden_units([2**k for k in range(4, 13)]),
        "density": lambda: scaling.by_density(1000),
        "n": lambda: scaling.by_samples([10**k for k in range(8)]),
    }
    return {name: step() for name, step in tqdm(steps.items(), desc="scaling")}


def show(results: dict[str, Any]) -> None:
    """Print everything."""
    sizes = sorted({race["n"] for race in results["races"]})
    print(f"\n{tables.about(results)}")
    for model in results["models"]:
        print(f"\n{model['name']}: {100 * model['ones drawn']:.1f} % ones drawn")
        for who, found in model["checks"].items():
            print(f"  {who}: {found}")
    for operation, title in tables.OPERATIONS.items():
        print(f"\n{title}, every result\n\n{tables.threads(results, operation)}")
    for operation, title in tables.OPERATIONS.items():
        print(f"\n{title}, µs a sample, on one thread or all\n\n{tables.races(results, operation, sizes)}")
    print(f"\nTraining\n\n{tables.training(results)}")
    print(f"\nLimits of the machine\n\n{tables.limits(results)}")
    print(f"\nShare of the limit on one thread\n\n{tables.shares(results)}")
    print(f"\n{tables.reasons(results)}")


if __name__ == "__main__":
    app()
