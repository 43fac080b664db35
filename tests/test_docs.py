"""The documentation: code in the README runs, links lead somewhere, what it lists exists."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTRAS = importlib.metadata.metadata("ancestral").get_all("Provides-Extra") or []
CORE = ROOT / "rust" / "core" / "src"


@pytest.fixture
def quick_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fit` on a few examples: the code is checked, not how well it trains."""
    pytest.importorskip("torch")
    pytest.importorskip("mlxtend")
    fit = ancestral.fit

    def quick(module: Any, train: Any, valid: Any) -> Any:
        return fit(module, train[:200], valid[:100], epochs=1, progress=False)

    monkeypatch.setattr(ancestral, "fit", quick, raising=False)


@pytest.mark.usefixtures("quick_fit")
@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")  # whoever copies the code sees none
def test_the_examples_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {"train_labels": rng.integers(10, size=4000), "valid_labels": rng.integers(10, size=500)}
    for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        exec(code, names)
    assert names["x"].shape == (10_000, 784)
    assert names["x"].dtype == np.uint8
    assert names["log_prob"].dtype == np.float64
    np.testing.assert_array_equal(ancestral.load("nade.safetensors").log_prob(names["x"]), names["log_prob"])
    # Exact draws given evidence, as the comments say.
    done, seen, test = names["done"], names["seen"], names["test"]
    assert done.x.shape == (500, 100, 784)
    assert (done.x[:, :, seen] == test[:, None, seen]).all()
    np.testing.assert_allclose(done.weights, 0.01)
    assert (done.log_prob_evidence.standard_error == 0).all()
    assert names["sevens"].shape == (100, 784)
    assert names["predicted"].shape == (500,)
    assert 0 < len(names["rows"]) < 1000
    assert (names["rows"] < names["sizes"]).all()
    assert (names["log_prob_within"] > names["table"].log_prob(names["rows"])).all()


@pytest.mark.usefixtures("quick_fit")
def test_the_network_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    page = (ROOT / "docs" / "networks.md").read_text()
    network, use, several = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert network.count("\n") < 60
    exec(network, names)
    exec(use, names)
    model, module, test = names["model"], names["module"], names["test"]
    np.testing.assert_allclose(model.log_prob(test), module.double().log_prob(test).detach(), rtol=1e-5)
    assert ancestral.load("residual-made.safetensors").kind == "ResidualMADE"
    exec(several, names)
    assert names["model"].order.shape == (4, 784)
    # What it says of a mistake.
    graph = module.graph()
    (out,) = (node for node in graph["nodes"] if node["name"] == "out")
    out["degrees"] = list(range(784))
    module.graph = lambda: graph
    module._export = None
    with pytest.raises(ancestral.FormatError) as refused:
        ancestral.from_torch(module)
    assert str(refused.value) in page


def test_the_extras_of_the_readme() -> None:
    """The extra that its first example names has what the example imports."""
    text, requires = README.read_text(), importlib.metadata.requires("ancestral") or []
    extras = {extra: [line for line in requires if re.search(rf"extra == ['\"]{extra}['\"]", line)] for extra in EXTRAS}
    assert set(re.findall(r"pip install '\.\[(\w+)\]'", text)) <= extras.keys()
    first = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert first
    assert "[demo]" in first[1]
    assert any(line.startswith("mlxtend") for line in extras["demo"])
    assert any(re.match(r"ancestral\[.*\btorch\b", line) for line in extras["demo"])
    assert any(line.startswith("torch") for line in extras["torch"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_the_map_of_the_tree_names_what_is_there() -> None:
    """Every file of the core that CONTRIBUTING.md names exists, and every one that exists is named."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"src/([a-z]+)(?:\.rs|/)", text)) - {"lib"}
    there = {path.stem for path in CORE.iterdir()} - {"lib"}
    assert there <= named
    assert named - there <= {"NAME"}


FILES = [
    path.relative_to(ROOT).as_posix()
    for folder in ("rust", "python", "tests", "benches", "docs", "examples")
    for path in (ROOT / folder).rglob("*.*")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_pages_name_are_there(page: Path) -> None:
    names = re.findall(r"(?<![\w./-])((?:\w+/)*\w+\.(?:rs|py|md|json|toml))\b", page.read_text())
    missing = {
        name
        for name in names
        if not (ROOT / name).exists() and not any(f"/{file}".endswith(f"/{name}") for file in FILES)
    }
    assert all("NAME" in name for name in missing)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_pages_name_of_the_core_is_there(page: Path) -> None:
    """`Type::member` and `module::function`: a file that defines the type, or is the module, has a function or field so
    called."""
    sources = {path: path.read_text() for path in CORE.rglob("*.rs")}
    for owner, member in re.findall(r"`(\w+)::(\w+)`", page.read_text()):
        definition = re.compile(rf"\b(?:struct|enum|trait) {owner}\b")
        owners = [
            source
            for path, source in sources.items()
            if definition.search(source) or owner in (path.stem, path.parent.name)
        ]
        assert any(re.search(rf"\bfn {member}\b|\b{member}:", source) for source in owners), f"{owner}::{member}"


NUMBERS = {
    "steps of NADE's turns": (
        "docs/architecture.md",
        r"NADE takes (\w+) steps",
        "models/nade/tiles.rs",
        r"TILE: usize = (\d+)",
    ),
    "samples of a block of PixelCNN": (
        "docs/reliability.md",
        r"(\d+) \(PixelCNN\)",
        "net/raster/mod.rs",
        r"BLOCK: usize = (\d+)",
    ),
    "samples of a compressed block": (
        "docs/compression.md",
        r"\((\d+) rows, unless",
        "codec/mod.rs",
        r"BLOCK_LEN: u32 = (\d+)",
    ),
    "most samples of a compressed block": (
        "SECURITY.md",
        r"can claim ([\d,]+) samples",
        "codec/container.rs",
        r"MAX_BLOCK_LEN: u32 = (\d+)",
    ),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_numbers_are_those_of_the_core(what: str) -> None:
    page, said, source, constant = NUMBERS[what]
    (number,) = re.findall(said, (ROOT / page).read_text())
    (value,) = re.findall(rf"const {constant}", (CORE / source).read_text())
    assert number.replace(",", "") == value
