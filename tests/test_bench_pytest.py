"""`pytest benches`: a quick case of every operation and contestant, what is saved, and two runs compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest

from support.scripts import environment

pytest.importorskip("torch")

from ancestral.demo.report import n_cores
from benches import machine, training
from benches.contestants import CONTESTANTS, PACKAGES
from benches.documents import ROOT
from benches.models import TINY
from benches.race import OPERATIONS


class Run(NamedTuple):
    """What a run printed, and each of its cases with the reason why it was skipped, or None."""

    printed: str
    cases: dict[str, str | None]


def run(folder: Path, *options: str, **env: str) -> Run:
    """Run `pytest benches` on tiny models, each case for a moment, with `folder` as the current one."""
    report = folder / "cases.xml"
    moment = ["--benchmark-min-rounds=1", "--benchmark-min-time=1e-6", "--benchmark-max-time=1e-6"]
    command = [sys.executable, "-m", "pytest", str(ROOT / "benches"), "--tiny", *moment, f"--junit-xml={report}"]
    done = subprocess.run(
        [*command, *options],
        cwd=folder,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    cases: dict[str, str | None] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        cases[case.attrib["name"]] = None if skipped is None else skipped.attrib["message"]
    return Run(done.stdout, cases)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benches")


@pytest.fixture(scope="module")
def first(folder: Path) -> Run:
    """All cases, but torch.compile's of one model only: each compiles for seconds."""
    return run(folder, "-k", "NADE or not torch_compiled", "--benchmark-save=first", "--benchmark-json=first.json")


@pytest.fixture(scope="module")
def saved(folder: Path, first: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "first.json").read_text())["benchmarks"]
    return found


def test_every_model_and_operation_is_a_group(saved: list[dict[str, Any]]) -> None:
    groups = {f"{spec.name}: {operation}" for spec in TINY for operation in (*OPERATIONS, "training")}
    assert {case["group"] for case in saved} == groups


@pytest.mark.parametrize("operation", [*OPERATIONS, "training"])
def test_every_contestant_that_is_installed_runs(saved: list[dict[str, Any]], first: Run, operation: str) -> None:
    ran = {case["extra_info"]["contestant"] for case in saved if case["extra_info"]["operation"] == operation}
    expected = set(training.BACKENDS) if operation == "training" else set(CONTESTANTS)
    expected -= {file for file, package in PACKAGES.items() if find_spec(package) is None}
    if operation == "log_prob":
        expected -= {"torch_cached", "torch_forward"}  # as for torch
    if any(why and why.startswith("does not compile") for why in first.cases.values()):
        expected -= {"torch_compiled"}
    assert ran == expected


def test_a_case_says_what_was_measured(saved: list[dict[str, Any]]) -> None:
    for case in saved:
        info = case["extra_info"]
        assert case["group"] == f"{info['model']}: {info['operation']}"
        threads = n_cores() if info["contestant"] == "jax_scan" else 1
        assert (info["n"], info["threads"], info["versions"]) == (2, threads, machine.versions())
        assert (info["part"] == 1) or (info["contestant"], info["operation"]) == ("torch_usual", "sample")


def test_every_skipped_case_has_a_reason(first: Run) -> None:
    reasons = {why for why in first.cases.values() if why is not None}
    absent = {f"{package} is not installed" for package in PACKAGES.values() if find_spec(package) is None}
    assert absent <= reasons
    assert "PixelCNN is trained in torch: the core has no gradient of it" in reasons


def test_two_runs_are_compared(folder: Path, first: Run) -> None:
    second = run(folder, "-k", "rust and FVSBN", "--benchmark-save=second", "--benchmark-compare=0001")
    for name in second.cases:
        short = name.removeprefix("test_")
        assert f"{short} (NOW)" in second.printed
        assert f"{short} (0001)" in second.printed
    assert len(second.cases) == len(OPERATIONS) + 1
    assert [file.name for file in sorted((folder / ".benchmarks").glob("*/*.json"))] == [
        "0001_first.json",
        "0002_second.json",
    ]


def test_who_cannot_run_here_is_skipped_with_a_reason(tmp_path: Path) -> None:
    """JAX and Numba are made to look as if they were not there, and torch.compile is given a compiler that is not."""
    for package in PACKAGES.values():
        (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('none', name='{package}')\n")
    env = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]]),
        "CXX": str(tmp_path / "no-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "nothing-compiled"),
    }
    cases = run(tmp_path, "-k", "FVSBN and (jax or numba or compiled) and not training", **env).cases
    assert len(cases) == 3 * len(OPERATIONS)
    for name, why in cases.items():
        package = next((PACKAGES[file] for file in PACKAGES if file in name), None)
        assert why is not None, name
        assert why == f"{package} is not installed" if package else why.startswith("does not compile: ")
