"""from_torch and fit on modules inside the wrappers that torch has: what is inside is exported and trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import DataParallel, Linear, Sequential  # noqa: E402
from torch.optim.swa_utils import AveragedModel  # noqa: E402

import ancestral  # noqa: E402
from ancestral.nn import NADE, PixelCNN  # noqa: E402

X = np.random.default_rng(0).integers(0, 2, (200, 5), dtype=np.uint8)


def nade() -> NADE:
    torch.manual_seed(0)
    return NADE(5, 3)


def compiled(module: torch.nn.Module) -> Any:
    try:
        return torch.compile(module, backend="eager")
    except RuntimeError as error:
        pytest.skip(f"torch cannot compile here: {error}")


@pytest.fixture
def process_group() -> Iterator[None]:
    """A group of this process alone, which DistributedDataParallel asks for."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def assert_works(wrap: Callable[[torch.nn.Module], Any]) -> None:
    """As with the bare module: the same model, and to the bit the same training, in place."""
    inner, bare = nade(), nade()
    wrapped = wrap(inner)
    np.testing.assert_array_equal(ancestral.from_torch(wrapped).log_prob(X), ancestral.from_torch(bare).log_prob(X))
    history = ancestral.fit(wrapped, X, epochs=2, progress=False)
    assert history == ancestral.fit(bare, X, epochs=2, progress=False)
    trained = ancestral.from_torch(wrapped).log_prob(X)
    np.testing.assert_array_equal(trained, ancestral.from_torch(bare).log_prob(X))
    assert not np.array_equal(trained, ancestral.from_torch(nade()).log_prob(X))


WRAPS: dict[str, Callable[[torch.nn.Module], Any]] = {
    "DataParallel": DataParallel,
    "compiled": compiled,
    "AveragedModel": AveragedModel,
    "compiled DataParallel": lambda module: compiled(DataParallel(module)),
    "DataParallel of compiled": lambda module: DataParallel(compiled(module)),
    "AveragedModel of DataParallel": lambda module: AveragedModel(DataParallel(module)),
}


@pytest.mark.parametrize("name", WRAPS)
def test_wrapped(name: str) -> None:
    assert_works(WRAPS[name])


@pytest.mark.usefixtures("process_group")
def test_distributed() -> None:
    assert_works(torch.nn.parallel.DistributedDataParallel)
    assert_works(lambda module: compiled(torch.nn.parallel.DistributedDataParallel(module)))


def test_averaged_weights_are_exported() -> None:
    module = nade()
    averaged = AveragedModel(module)
    for bias in (1.0, 3.0):
        with torch.no_grad():
            module.b.fill_(bias)
        averaged.update_parameters(module)
    expected = nade()
    with torch.no_grad():
        expected.b.fill_(2.0)
    np.testing.assert_array_equal(
        ancestral.from_torch(averaged).log_prob(X), ancestral.from_torch(expected).log_prob(X)
    )


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, "module is a NoneType; wanted a module of ancestral.nn"),
        (NADE, "module is the class NADE; wanted a module of ancestral.nn"),
        (Linear(2, 2), "module is a Linear; wanted a module of ancestral.nn"),
        (DataParallel(Linear(2, 2)), "module is a DataParallel around a Linear; wanted a module of ancestral.nn"),
        (
            Sequential(Linear(5, 5), NADE(5, 3)),
            "module is a Sequential; wanted a module of ancestral.nn, such as the NADE that it holds: "
            "module.get_submodule('1')",
        ),
        (
            AveragedModel(Sequential(DataParallel(PixelCNN((1, 2, 2), n_channels=2, n_blocks=0, n_head=1)))),
            "module is a AveragedModel around a Sequential; wanted a module of ancestral.nn, such as the PixelCNN that "
            "it holds: module.get_submodule('module.0.module')",
        ),
    ],
)
def test_what_is_no_module_of_ours(module: Any, message: str) -> None:
    for call in (ancestral.from_torch, lambda module: ancestral.fit(module, X, progress=False)):
        with pytest.raises(TypeError) as caught:
            call(module)
        assert str(caught.value) == message
    if "get_submodule" in message:
        ancestral.from_torch(eval(message.rpartition(": ")[2]))  # as it says
