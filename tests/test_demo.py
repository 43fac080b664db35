"""The demo: its torch samplers draw the right samples, and a tiny run writes what it names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ancestral.demo import torch_samplers  # noqa: E402
from ancestral.demo.torch_samplers import cached, usual_loop  # noqa: E402
from ancestral.nn import FVSBN, NADE, PixelCNN  # noqa: E402

MODULES = {
    "fvsbn": lambda: FVSBN(70),
    "fvsbn-1": lambda: FVSBN(1),
    "fvsbn-order": lambda: FVSBN(9, order=[3, 1, 0, 2, 8, 7, 6, 5, 4]),
    "nade": lambda: NADE(40, 7),
    "nade-1": lambda: NADE(1, 1),
    "nade-order": lambda: NADE(6, 3, order=[5, 0, 4, 1, 3, 2]),
    "pixelcnn": lambda: PixelCNN((1, 9, 11), n_channels=8, n_blocks=3, n_head=5),
    "pixelcnn-map": lambda: PixelCNN((1, 6, 5), n_channels=6, n_blocks=1, input_scale=2, input_shift=-1),
    "pixelcnn-1": lambda: PixelCNN((1, 1, 1), n_channels=2, n_blocks=0, n_head=1),
    "pixelcnn-row": lambda: PixelCNN((1, 1, 12), n_channels=4, n_blocks=2, n_head=3),
    "pixelcnn-column": lambda: PixelCNN((1, 12, 1), n_channels=4, n_blocks=2, n_head=3),
}


def _module(name: str) -> Any:
    torch.manual_seed(1)
    module = MODULES[name]()
    with torch.no_grad():
        for parameter in module.parameters():
            scale = 2 / math.sqrt(parameter[0].numel()) if parameter.ndim > 1 else 0.2
            parameter.copy_(torch.randn(parameter.shape) * scale)
    return module


def _generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """Small steps on all cores are slow while other work runs on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("n", [1, 40])
def test_cached_sampler_equals_the_usual_loop(name: str, n: int) -> None:
    module = _module(name)
    usual, quick = usual_loop(module, n, _generator()), cached(module, n, _generator())
    assert usual.shape == quick.shape == (n, *module.event_shape)
    assert set(quick.unique().tolist()) <= {0.0, 1.0}
    if n > 1 and module.n_dims > 1:
        assert 0.02 < quick.mean() < 0.98
    # Rounding may turn a value whose uniform number stands on the threshold; about one in a million does.
    assert (usual != quick).flatten(1).any(1).sum() <= 1


@pytest.mark.parametrize("name", ["fvsbn-order", "nade-order"])
@pytest.mark.parametrize("sampler", [usual_loop, cached])
def test_samplers_follow_the_distribution_of_the_module(name: str, sampler: Any) -> None:
    module = _module(name)
    d, n = module.n_dims, 20_000
    states = torch.tensor(np.indices((2,) * d).reshape(d, -1).T.copy())
    expected = n * module.log_prob(states).detach().double().exp()
    index = (sampler(module, n, _generator(4)).long() * 2 ** torch.arange(d - 1, -1, -1)).sum(1)
    counts = torch.bincount(index, minlength=2**d).double()
    large = expected >= 5
    groups = torch.cat([expected[large], expected[~large].sum()[None]]).clamp_min(1e-9)
    found = torch.cat([counts[large], counts[~large].sum()[None]])
    chi2 = ((found - groups) ** 2 / groups).sum().item()
    freedom = len(groups) - 1
    assert chi2 < freedom + 4 * math.sqrt(2 * freedom)


def test_sparse_and_dense_update_of_nade_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _module("nade")
    dense = cached(module, 50, _generator())
    monkeypatch.setattr(torch_samplers, "NADE_SPARSE_FROM", 1)
    assert torch.equal(dense, cached(module, 50, _generator()))


def test_usual_loop_stops_after_n_steps() -> None:
    module = _module("nade-order")
    x = usual_loop(module, 200, _generator(), n_steps=2)
    assert x[:, [5, 0]].any()
    assert not x[:, [4, 1, 3, 2]].any()


def test_cached_pixelcnn_refuses_what_it_cannot_draw() -> None:
    for module in (
        PixelCNN((3, 2, 2), n_channels=6, n_blocks=1),
        PixelCNN((1, 2, 2), 5, n_channels=6, n_blocks=1),
    ):
        with pytest.raises(ValueError, match="one image channel"):
            cached(module, 2)


def test_a_tiny_run_writes_what_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlxtend")
    pytest.importorskip("matplotlib")
    import ancestral
    from ancestral.demo.run import Plan, Settings, run

    plans = (
        Plan("FVSBN", lambda: FVSBN(784), 8000),
        Plan("PixelCNN, tiny", lambda: PixelCNN((1, 28, 28), n_channels=4, n_blocks=1, n_head=4), 4000),
    )
    files = run(Settings(out=tmp_path / "new" / "out", plans=plans, n_timed=2, threads=1))

    assert {file.name for file in files} == {
        "fvsbn.safetensors",
        "pixelcnn.safetensors",
        "samples.png",
        "training.png",
    }
    for file in files:
        assert file.stat().st_size > 1000
        if file.suffix == ".png":
            assert file.read_bytes().startswith(b"\x89PNG")
        else:
            assert ancestral.load(file).n_dims == 784
    printed = capsys.readouterr().out
    for file in files:
        assert str(file) in printed
    differences = re.findall(r"largest \|difference\| +(\S+)", printed)
    assert len(differences) == 2
    assert all(float(text) < 784e-5 for text in differences)
    times = re.findall(r"(Rust|cached activations|usual loop) +([\d.]+) +([\d,.]+)\n", printed)
    assert [name for name, *_ in times if name != "Rust"] == ["cached activations", "usual loop"] * 2
