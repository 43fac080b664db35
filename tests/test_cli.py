"""The command line: help, version, what reaches the demo, and what is said when a package is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

typer_testing = pytest.importorskip("typer.testing")

from ancestral import cli  # noqa: E402


def _invoke(*arguments: str) -> Any:
    return typer_testing.CliRunner().invoke(cli._app(), list(arguments))


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings that the demo was called with."""
    pytest.importorskip("torch")
    from ancestral.demo import run

    calls: list[Any] = []
    monkeypatch.setattr(run, "run", calls.append)
    return calls


def test_version() -> None:
    result = _invoke("--version")
    assert result.exit_code == 0
    assert result.output == f"ancestral {version('ancestral')}\n"


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_names_the_demo_and_shows_how_to_begin(arguments: list[str]) -> None:
    output = _invoke(*arguments).output
    assert "demo" in output
    assert "ancestral.load(" in output
    assert "log_prob" in output


def test_help_of_the_demo_names_its_options() -> None:
    result = _invoke("demo", "--help")
    assert result.exit_code == 0
    for option in ("--data", "--out", "--seed", "--threads", "--quick"):
        assert option in result.output


def test_options_reach_the_demo(settings: list[Any], tmp_path: Path) -> None:
    result = _invoke(
        "demo",
        "--data",
        "binarized-mnist",
        "--out",
        str(tmp_path),
        "--seed",
        "5",
        "--threads",
        "2",
        "--quick",
    )
    assert result.exit_code == 0, result.output
    (given,) = settings
    assert (given.data, given.out, given.seed, given.threads) == ("binarized-mnist", tmp_path, 5, 2)
    assert given.share < 1
    assert _invoke("demo").exit_code == 0
    assert (settings[1].data, settings[1].threads, settings[1].share) == ("mnist-5k", None, 1.0)


@pytest.mark.parametrize(
    "arguments", [["--data", "mnist"], ["--threads", "0"], ["--seed", "-1"], ["--out", __file__], ["--fast"]]
)
def test_wrong_options_are_refused(settings: list[Any], arguments: list[str]) -> None:
    result = _invoke("demo", *arguments)
    assert result.exit_code == 2
    assert not settings


def test_an_error_of_the_demo_is_one_line(settings: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from ancestral.demo import run

    def fail(_: object) -> None:
        raise FileNotFoundError("no file there")

    monkeypatch.setattr(run, "run", fail)
    result = _invoke("demo")
    assert result.exit_code == 1
    assert result.output == "ancestral demo: no file there\n"


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [("typer", "['--version']", "ancestral[cli]"), ("torch", "['demo']", "ancestral[demo]")],
)
def test_missing_package_names_the_extra(missing: str, arguments: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {arguments}; "
        "from ancestral.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert extra in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
