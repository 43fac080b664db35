"""The examples run, from the command line, as their first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: str) -> str:
    """Run an example, and return what it prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def test_each_has_a_help():
    for path in EXAMPLES.glob("*.py"):
        assert "--out" in run(path.name, "--help")


@pytest.mark.skipif("ANCESTRAL_DATA" not in os.environ, reason="ANCESTRAL_DATA is not set")
def test_train_nade_mnist(tmp_path):
    out = tmp_path / "out"
    said = run(
        "train_nade_mnist.py",
        "--out",
        str(out),
        "--examples",
        "2000",
        "--epochs",
        "3",
        "--hidden",
        "50",
        "--lr",
        "0.02",
    )
    line = next(line for line in said.splitlines() if line.startswith("test NLL"))
    assert 100 < float(line.split()[2]) < 190  # 206 for independent pixels
    assert {path.name for path in out.iterdir()} >= {"nade.safetensors", "curve.png", "samples.png"}
