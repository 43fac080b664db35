"""Where torch is not installed: import, load, log_prob, sample, save; from this tree and from the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.cases import Case
from support.families import NADE

REPOSITORY = Path(__file__).parent.parent

EVERYTHING = """
import os, sys
import numpy as np
import ancestral

folder = os.environ["FOLDER"]
model = ancestral.load(os.path.join(folder, "model.safetensors"))
x, log_prob = model.sample_and_log_prob(20, rng=0)
assert (model.sample(20, rng=0) == x).all()
assert (model.log_prob(x) == log_prob).all()
assert model.conditionals(x).shape == x.shape
assert model.entropy(20, rng=0).value == -log_prob.mean()
assert ancestral.kl_divergence(model, model, 20).value == 0
model.save(os.path.join(folder, "again.safetensors"))
again = ancestral.load(os.path.join(folder, "again.safetensors"))
assert (again.log_prob(x) == log_prob).all()
made = ancestral.Model.from_tensors(
    "FVSBN", {"n_dims": 2, "order": None},
    {"weight": np.zeros((2, 2), np.float32), "bias": np.zeros(2, np.float32)},
)
assert np.allclose(made.log_prob(np.eye(2)), 2 * np.log(0.5))
assert not [name for name in sys.modules if name.split(".")[0] == "torch"]
import ancestral.datasets, ancestral.plot
assert not [name for name in sys.modules if name.split(".")[0] == "torch"]
for call in (ancestral.fit, ancestral.from_torch):
    try:
        call(object())
    except ImportError as error:
        assert "PyTorch" in str(error) and "ancestral[torch]" in str(error), error
    else:
        raise SystemExit(f"{call} without torch")
for name in ("nn", "distributions"):
    assert not hasattr(ancestral, name)
    try:
        getattr(ancestral, name)
    except AttributeError as error:
        assert "PyTorch" in str(error) and "ancestral[torch]" in str(error), error
np.save(os.path.join(folder, "x.npy"), x)
print(ancestral.__file__)
"""

BLOCK_TORCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError(f"{name} is blocked for this test", name=name)
        return None

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def saved(build: Callable[..., Case], tmp_path: Path) -> Case:
    case = build(NADE, NADE.config(12, 5))
    case.model.save(tmp_path / "model.safetensors")
    return case


def test_without_torch(saved: Case, run_python: Callable[..., str], tmp_path: Path) -> None:
    run_python(BLOCK_TORCH + EVERYTHING, FOLDER=str(tmp_path))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), saved.model.sample(20, rng=0))


def test_import_loads_nothing_but_numpy(run_python: Callable[..., str]) -> None:
    """Not torch, which takes seconds, nor anything else that is installed beside the standard library."""
    script = """
    import sys
    import numpy
    before = set(sys.modules)
    import ancestral
    loaded = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
    assert loaded <= {"ancestral", "numpy"}, loaded
    """
    run_python(script)


def test_names(run_python: Callable[..., str]) -> None:
    """`dir` and `__all__` list what is public, lazy names included; an unknown name is an AttributeError."""
    script = """
    import importlib.util
    import ancestral
    public = {"load", "from_torch", "Model", "FormatError", "fit", "History", "nn", "datasets", "plot"}
    public |= {"kl_divergence", "distributions"}
    if importlib.util.find_spec("torch") is None:
        public -= {"nn", "distributions"}
    assert public <= set(dir(ancestral)), public - set(dir(ancestral))
    assert public <= set(ancestral.__all__), public - set(ancestral.__all__)
    assert isinstance(ancestral.__version__, str)
    try:
        ancestral.nonsense
    except AttributeError as error:
        assert "nonsense" in str(error)
    else:
        raise SystemExit("no error")
    """
    run_python(script)


def run(*command: str | Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_wheel_in_a_fresh_environment(saved: Case, tmp_path: Path) -> None:
    """Build the wheel, install it with nothing but what it depends on, and do everything again."""
    pytest.importorskip("maturin")
    if shutil.which("cargo") is None:
        pytest.skip("no Rust compiler to build the wheel with")
    run(sys.executable, "-m", "maturin", "build", "--release", "--out", tmp_path / "wheels")
    (wheel,) = (tmp_path / "wheels").glob("ancestral-*.whl")
    assert "-abi3-" in wheel.name

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    try:
        run(*pip, "install", "--quiet", "--only-binary=:all:", "numpy", "tqdm")
    except AssertionError as error:
        pytest.skip(f"no package index to install numpy and tqdm from: {error}")
    run(*pip, "install", "--quiet", wheel)
    installed = run(*pip, "list", "--format=freeze").lower()
    names = {line.split("==")[0] for line in installed.splitlines()}
    assert names <= {"ancestral", "numpy", "tqdm", "pip", "setuptools"}, names

    environment = {**os.environ, "FOLDER": str(tmp_path)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(python), "-c", EVERYTHING],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path / "venv") in done.stdout  # the installed one, not this tree
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), saved.model.sample(20, rng=0))
