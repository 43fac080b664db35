"""fit with weighted examples, and with averaged weights of the module."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, IterableDataset, TensorDataset  # noqa: E402

from ancestral import fit  # noqa: E402
from ancestral.nn import FVSBN, NADE, PixelCNN  # noqa: E402

X = np.random.default_rng(0).integers(0, 2, (120, 6), dtype=np.uint8)
VALID = np.random.default_rng(1).integers(0, 2, (50, 6), dtype=np.uint8)
COUNTS = np.random.default_rng(2).integers(0, 4, 120)


def nade() -> NADE:
    torch.manual_seed(0)
    return NADE(6, 4)


def nll(module: Any, x: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    with torch.no_grad():
        result: npt.NDArray[np.float64] = -module.log_prob(x).double().numpy()
    return result


def full_gradients(x: npt.NDArray[np.uint8], dtype: torch.dtype, weights: Any = None) -> list[torch.Tensor]:
    """Of a step on all examples together, before they are clipped."""
    module = nade().to(dtype)
    gradients: list[torch.Tensor] = []
    for parameter in module.parameters():
        parameter.register_hook(lambda gradient: gradients.append(gradient.clone()))
    fit(module, x, weights=weights, epochs=1, batch_size=len(x), progress=False)
    assert len(gradients) == 4
    return sorted(gradients, key=lambda gradient: tuple(gradient.shape))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_whole_weights_are_repetitions(dtype: torch.dtype, tolerance: float) -> None:
    weighted = full_gradients(X, dtype, COUNTS)
    repeated = full_gradients(np.repeat(X, COUNTS, axis=0), dtype)
    plain = full_gradients(X, dtype)
    for a, b, other in zip(weighted, repeated, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)
        assert (a - other).abs().max() > 100 * tolerance


@pytest.mark.parametrize("batch_size", [4, 3])
def test_the_weighted_distribution_is_learned(batch_size: int) -> None:
    """FVSBN(2) has every distribution of two bits with p > 0."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    p = np.array([0.1, 0.2, 0.3, 0.4])
    module = FVSBN(2)
    fit(module, x, weights=50 * p, epochs=2000, batch_size=batch_size, lr=0.02, progress=False)
    np.testing.assert_allclose(np.exp(-nll(module, x)), p, atol=0.01)


def test_the_train_nll_is_weighted_and_the_validation_nll_is_not() -> None:
    module = nade()
    weights = np.random.default_rng(3).random(120)
    history = fit(module, X, X, weights=weights, epochs=1, batch_size=50, lr=1e-12, progress=False)
    assert history.train_nll[0] == pytest.approx(np.average(nll(module, X), weights=weights), abs=1e-5)
    assert history.valid_nll[0] == pytest.approx(nll(module, X).mean(), abs=1e-5)
    assert abs(history.train_nll[0] - history.valid_nll[0]) > 1e-3


@pytest.mark.parametrize("factor", [1, 4, 2.0**1000, 2.0**-1000])
@pytest.mark.parametrize("kind", [np.asarray, list, torch.tensor])
def test_only_the_ratios_of_weights_matter(factor: float, kind: Any) -> None:
    want = fit(nade(), X, weights=COUNTS, epochs=2, batch_size=50, progress=False)
    assert fit(nade(), X, weights=kind(COUNTS.astype(float) * factor), epochs=2, batch_size=50, progress=False) == want
    assert fit(nade(), X, epochs=2, batch_size=50, progress=False) != want


def test_equal_weights_are_none() -> None:
    want = fit(nade(), X, epochs=2, batch_size=50, progress=False)
    assert fit(nade(), X, weights=np.full(120, 8.0), epochs=2, batch_size=50, progress=False) == want


def test_a_checkpoint_knows_the_weights(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"epochs": 1, "checkpoint": tmp_path / "run.pt", "progress": False}
    history = fit(nade(), X, weights=COUNTS, **settings)
    assert fit(nade(), X, weights=2.0 * COUNTS, **settings) == history
    for other in (COUNTS[::-1], None):
        with pytest.raises(ValueError, match=r"weights was \(120,\) "):
            fit(nade(), X, weights=other, **settings)


class Stream(IterableDataset):  # type: ignore[misc]
    def __iter__(self) -> Any:
        return iter(X)


def changed(at: int, value: float) -> npt.NDArray[np.float64]:
    weights = np.ones(120)
    weights[at] = value
    return weights


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(119), ValueError, "weights has shape (119,); wanted (120,), one for each example of train"),
        (np.ones((120, 1)), ValueError, "weights has shape (120, 1); wanted (120,)"),
        (2.0, ValueError, "weights has shape (); wanted (120,)"),
        (changed(7, -1), ValueError, "weights[7] is -1.0; wanted finite numbers >= 0"),
        (changed(7, math.nan), ValueError, "weights[7] is nan; wanted finite numbers >= 0"),
        (changed(7, math.inf), ValueError, "weights[7] is inf; wanted finite numbers >= 0"),
        (np.zeros(120), ValueError, "weights are all 0; wanted at least one > 0"),
        (np.ones(120, complex), TypeError, "weights has dtype complex128; wanted numbers"),
        (["1"] * 120, TypeError, "weights has dtype <U1; wanted numbers"),
    ],
)
def test_wrong_weights(weights: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        fit(nade(), X, weights=weights, epochs=1, progress=False)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("train", [DataLoader(TensorDataset(torch.tensor(X))), Stream()])
def test_weights_need_an_index(train: Any) -> None:
    with pytest.raises(ValueError, match="weights go by the index of an example, and train gives batches in an order"):
        fit(nade(), train, weights=np.ones(120), epochs=1, progress=False)


def raw_weights(module: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The weights after each step that is made from now on, in float64."""
    after: list[dict[str, torch.Tensor]] = []
    original = torch.optim.AdamW.step

    def step(self: Any) -> None:
        original(self)
        after.append({name: p.detach().double().clone() for name, p in module.named_parameters()})

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    return after


MODULES = {
    "NADE": (nade, (6,)),
    "FVSBN": (lambda: FVSBN(6), (6,)),
    "PixelCNN": (lambda: PixelCNN((1, 2, 3), n_channels=4, n_blocks=1, n_head=2), (1, 2, 3)),
}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
def test_the_average_is_that_of_the_formula(kind: str, decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    build, shape = MODULES[kind]
    torch.manual_seed(0)
    module: Any = build()
    frozen = next(module.parameters()).requires_grad_(False)
    at_first = frozen.clone()
    after = raw_weights(module, monkeypatch)
    x = X.reshape(-1, *shape)
    history = fit(module, x, x, average=decay, epochs=3, batch_size=50, patience=None, progress=False)
    assert len(after) == 9
    t = 3 * history.best_epoch  # type: ignore[operator]
    share = decay ** np.arange(t - 1, -1, -1.0)
    for name, parameter in module.named_parameters():
        mean = sum(w * weights[name] for w, weights in zip(share / share.sum(), after[:t], strict=True))
        torch.testing.assert_close(parameter.detach().double(), mean, rtol=0, atol=1e-6)
    assert torch.equal(frozen, at_first)
    assert min(history.valid_nll) == pytest.approx(nll(module, x).mean(), abs=1e-5)
    last = after[t - 1]
    assert any((parameter - last[name]).abs().max() > 1e-4 for name, parameter in module.named_parameters())


def test_steps_go_on_from_the_weights_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, averaged = nade(), nade()
    steps = []
    for module, average in ((plain, None), (averaged, 0.9)):
        with monkeypatch.context() as patch:
            steps.append(raw_weights(module, patch))
            fit(module, X, VALID, average=average, epochs=3, patience=None, batch_size=50, progress=False)
    assert len(steps[0]) == len(steps[1]) == 9
    for a, b in zip(*steps, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(plain.W, averaged.W)


def test_an_error_while_the_averaged_weights_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module has the averaged weights of the best epoch, here the first."""
    settings: dict[str, Any] = {"average": 0.9, "lr": 1e-2, "batch_size": 50, "progress": False}
    module, calls, original = nade(), [0], NADE.log_prob

    def log_prob(self: NADE, x: Any) -> Any:
        calls[0] += 1
        return original(self, x) * (math.nan if calls[0] == 8 else 1)  # of the second validation

    with monkeypatch.context() as patch:
        patch.setattr(NADE, "log_prob", log_prob)
        with pytest.raises(
            FloatingPointError, match=r"validation NLL is nan at the end of epoch 2.*weights of epoch 1"
        ):
            fit(module, X, VALID, epochs=4, **settings)
    first, calls[0] = nade(), -100

    def stop(self: NADE, x: Any) -> Any:
        calls[0] += 1
        if calls[0] == -95:  # in the second epoch
            raise KeyboardInterrupt
        return original(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(NADE, "log_prob", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(first, X, VALID, epochs=4, **settings)
    for a, b in zip(module.parameters(), first.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(module.W, nade().W)
