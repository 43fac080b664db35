"""fit: it learns, stops, keeps the best weights, and goes on after a stop as if nothing had happened."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ancestral import fit  # noqa: E402
from ancestral.nn import FVSBN, NADE, GatedPixelCNN, PixelCNN  # noqa: E402
from ancestral.train import History  # noqa: E402


def stripes(n, seed=0):
    """Bits that repeat those two places before with probability 0.9: (n, 16), entropy 2 ln 2 + 14 h(0.1)."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (n, 16), dtype=np.uint8)
    for i in range(2, 16):
        x[:, i] = x[:, i - 2] ^ (rng.random(n) < 0.1)
    return x


ENTROPY = 2 * math.log(2) - 14 * (0.1 * math.log(0.1) + 0.9 * math.log(0.9))
TRAIN, VALID = stripes(1000), stripes(300, seed=1)


def nade(seed=0):
    torch.manual_seed(seed)
    return NADE(16, 8)


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def nll(module, x):
    with torch.no_grad():
        return -module.log_prob(x).double().mean().item()


@pytest.mark.parametrize(
    ("build", "shape", "lr"),
    [
        (lambda: FVSBN(16), (16,), None),
        (lambda: NADE(16, 16), (16,), 0.02),
        (lambda: PixelCNN((1, 4, 4), n_channels=8, n_blocks=1, n_head=8), (1, 4, 4), 0.01),
        (lambda: GatedPixelCNN((1, 4, 4), n_channels=8, n_layers=1, n_head=8), (1, 4, 4), None),
    ],
)
def test_each_model_learns(build, shape, lr):
    torch.manual_seed(0)
    module = build()
    train, valid = TRAIN.reshape(-1, *shape), VALID.reshape(-1, *shape)
    before = nll(module, valid)
    history = fit(module, train, valid, epochs=25, batch_size=50, lr=lr, progress=False)
    after = nll(module, valid)
    assert before > ENTROPY + 3
    assert after < ENTROPY + 1.0
    assert after == pytest.approx(min(history.valid_nll), abs=1e-6)
    assert history.train_nll[-1] < history.train_nll[0]


def test_history():
    history = fit(nade(), TRAIN, VALID, epochs=3, progress=False)
    assert history.epochs == [1, 2, 3]
    for entries in (history.train_nll, history.valid_nll, history.lr, history.seconds):
        assert len(entries) == 3
        assert all(type(entry) is float and entry > 0 for entry in entries)
    assert history.lr[0] > history.lr[1] > history.lr[2]
    assert history.best_epoch == 1 + int(np.argmin(history.valid_nll))
    assert "3 epochs" in repr(history)
    assert f"{min(history.valid_nll):.2f}" in repr(history)
    assert repr(History()) == "History(no epochs)"


def test_history_plots():
    pytest.importorskip("matplotlib")
    history = fit(nade(), TRAIN, VALID, epochs=2, progress=False)
    axes = history.plot()
    assert len(axes.lines) >= 2
    assert history.plot(axes) is axes


def test_without_validation_the_last_weights_are_kept():
    history = fit(nade(), TRAIN, epochs=3, patience=1, progress=False)
    assert history.valid_nll == []
    assert history.best_epoch == 3
    assert "valid" not in repr(history)


def test_early_stopping_keeps_the_best_weights():
    # Few examples and many parameters: validation gets worse soon.
    torch.manual_seed(0)
    module = NADE(16, 64)
    history = fit(module, TRAIN[:30], VALID, epochs=200, batch_size=10, lr=0.03, patience=3, progress=False)
    n, best = len(history.epochs), history.best_epoch
    assert n < 200
    assert best == n - 3
    assert history.valid_nll[best - 1] == min(history.valid_nll)
    assert nll(module, VALID) == pytest.approx(min(history.valid_nll), abs=1e-6)
    # The same run, ended at the best epoch, has the same weights only if those of that epoch were kept.
    assert history.valid_nll[-1] > min(history.valid_nll)


def test_patience_none_never_stops():
    history = fit(FVSBN(16), TRAIN[:10], VALID, epochs=40, lr=0.3, patience=None, progress=False)
    assert len(history.epochs) == 40
    assert history.best_epoch < 30


def test_seed_decides_the_run():
    runs = []
    for rng in (0, 0, 1, np.random.default_rng(5), np.random.default_rng(5), None):
        module = nade()
        history = fit(module, TRAIN, VALID, epochs=2, rng=rng, progress=False)
        runs.append((history, weights(module)))
    assert runs[0][0] == runs[1][0]
    assert_same_weights(runs[0][1], runs[1][1])
    assert runs[0][0] != runs[2][0]
    assert runs[3][0] == runs[4][0]
    assert runs[3][0] != runs[0][0]
    assert runs[5][0] not in (runs[0][0], runs[2][0])


def test_global_generators_are_left_alone():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    module = NADE(16, 4)
    before = torch.get_rng_state()
    legacy = np.random.get_state()[1].copy()  # noqa: NPY002
    first = fit(module, TRAIN, VALID, epochs=2, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    torch.manual_seed(3)
    module = NADE(16, 4)
    torch.rand(5)  # must not matter
    assert fit(module, TRAIN, VALID, epochs=2, progress=False) == first


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.astype(bool),
        lambda x: x.tolist(),
        lambda x: torch.from_numpy(x).long(),
        np.asfortranarray,
    ],
)
def test_kinds_of_data_train_alike(convert):
    plain, other = nade(), nade()
    want = fit(plain, TRAIN, VALID, epochs=1, progress=False)
    assert fit(other, convert(TRAIN), convert(VALID), epochs=1, progress=False) == want
    assert_same_weights(weights(plain), weights(other))


def test_data_is_not_changed_and_a_last_small_batch_counts():
    train = TRAIN[:107].copy()
    module = FVSBN(16)
    history = fit(module, train, epochs=1, batch_size=50, lr=1e-12, progress=False)
    np.testing.assert_array_equal(train, TRAIN[:107])
    assert history.train_nll[0] == pytest.approx(16 * math.log(2), abs=1e-5)


class Stop(Exception):
    pass


def interrupt_after(monkeypatch, steps, error=Stop):
    """From now on the given number of log_prob calls succeed, the next one raises."""
    left = [steps]
    original = NADE.log_prob

    def log_prob(self, x):
        left[0] -= 1
        if left[0] < 0:
            raise error
        return original(self, x)

    monkeypatch.setattr(NADE, "log_prob", log_prob)


@pytest.mark.parametrize("steps", [0, 5, 13, 30, 64])
@pytest.mark.parametrize(
    ("with_valid", "extra"),
    [(True, {}), (False, {}), (True, {"average": 0.9}), (False, {"average": 0.99, "weights": 1 + TRAIN[:, 0]})],
)
def test_resumed_is_uninterrupted(steps, with_valid, extra, tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    valid = VALID if with_valid else None
    settings = {"epochs": 5, "lr": 0.02, "weight_decay": 0.1, "patience": 2, "rng": 7, "progress": False} | extra
    whole = nade()
    want = fit(whole, TRAIN, valid, **settings)

    module = nade()
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        try:
            fit(module, TRAIN, valid, checkpoint=file, **settings)
        except Stop:
            stopped = True
        else:
            stopped = False
    assert stopped == (steps < 50 or with_valid)
    module = nade(seed=99)  # its weights must not matter now
    got = fit(module, TRAIN, valid, checkpoint=file, **settings)
    assert got == want
    assert_same_weights(weights(module), weights(whole))
    assert os.listdir(tmp_path) == ["run.pt"]

    # Finished: nothing is left to do.
    with monkeypatch.context() as patch:
        interrupt_after(patch, 0)
        again = nade(seed=98)
        assert fit(again, TRAIN, valid, checkpoint=file, **settings) == want
    assert_same_weights(weights(again), weights(whole))


def test_a_checkpoint_in_another_layout(tmp_path, monkeypatch):
    # Fused AdamW walks its averages in memory order, so they must lie as the parameters do.
    file = tmp_path / "run.pt"
    settings = {"epochs": 2, "lr": 0.02, "rng": 7, "progress": False}
    whole = nade()
    fit(whole, TRAIN, **settings)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 13)
        with pytest.raises(Stop):
            fit(nade(), TRAIN, checkpoint=file, **settings)
    state = torch.load(file)
    for averages in state["optimizer"]["state"].values():
        for name, average in averages.items():
            averages[name] = average.mT.contiguous().mT if average.ndim == 2 else average
    torch.save(state, file)
    module = nade()
    fit(module, TRAIN, checkpoint=file, **settings)
    assert_same_weights(weights(module), weights(whole))


def test_a_partial_file_of_a_killed_write_is_removed(tmp_path):
    partial = tmp_path / "run.pt.tmp"
    partial.write_bytes(b"half")
    fit(nade(), TRAIN, epochs=1, checkpoint=tmp_path / "run.pt", progress=False)
    assert os.listdir(tmp_path) == ["run.pt"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    file = tmp_path / "run.pt"

    def fail(*_):
        raise OSError("disk full")

    module = nade()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            fit(module, TRAIN, epochs=2, checkpoint=file, progress=False)
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        fit(module, TRAIN, epochs=2, checkpoint=tmp_path / "missing" / "run.pt", progress=False)


BASE = {"epochs": 2, "batch_size": 100, "lr": 0.01, "weight_decay": 0.0, "patience": 5, "rng": 0}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"epochs": 3}, "epochs was 2, now 3"),
        ({"batch_size": 50}, "batch_size was 100, now 50"),
        ({"lr": 0.02}, "lr was 0.01, now 0.02"),
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"patience": None}, "patience was 5, now None"),
        ({"rng": 1}, "rng was 0, now 1"),
        ({"train": TRAIN[::-1]}, "train was"),
        ({"train": TRAIN[:-1]}, "train was"),
        ({"valid": None}, "valid was"),
        ({"weights": np.ones(1000)}, "weights was None"),
        ({"average": 0.9}, "average was None, now 0.9"),
        ({"module": lambda: NADE(16, 9)}, "config was"),
        ({"module": lambda: NADE(16, 8, order=range(15, -1, -1))}, "config was"),
        ({"module": lambda: FVSBN(16)}, "kind was NADE, now FVSBN"),
        ({"module": lambda: NADE(16, 8).double()}, "dtype was torch.float32, now torch.float64"),
    ],
)
def test_checkpoint_of_another_run_is_refused(change, match, tmp_path):
    file = tmp_path / "run.pt"
    fit(nade(), TRAIN, VALID, checkpoint=file, progress=False, **BASE)
    content = file.read_bytes()
    settings = BASE | change
    module = settings.pop("module", nade)()
    before = weights(module)
    train, valid = settings.pop("train", TRAIN), settings.pop("valid", VALID)
    with pytest.raises(ValueError, match=match):
        fit(module, train, valid, checkpoint=file, progress=False, **settings)
    assert file.read_bytes() == content
    assert_same_weights(weights(module), before)


def test_a_run_without_a_seed_of_its_own_resumes(tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 15)
        with pytest.raises(Stop):
            fit(nade(), TRAIN, VALID, epochs=3, rng=None, checkpoint=file, progress=False)
    first = fit(nade(), TRAIN, VALID, epochs=3, rng=None, checkpoint=file, progress=False)
    assert len(first.epochs) == 3
    assert fit(nade(), TRAIN, VALID, epochs=3, rng=None, checkpoint=file, progress=False) == first


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04" + bytes(100)])
def test_a_broken_checkpoint_is_refused(content, tmp_path):
    file = tmp_path / "run.pt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="checkpoint"):
        fit(nade(), TRAIN, epochs=1, checkpoint=file, progress=False)
    assert file.read_bytes() == content


def test_truncated_and_foreign_checkpoints_are_refused(tmp_path):
    file = tmp_path / "run.pt"
    fit(nade(), TRAIN, epochs=1, checkpoint=file, progress=False)
    whole = file.read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="checkpoint"):
            fit(nade(), TRAIN, epochs=1, checkpoint=file, progress=False)
    for other in ({"W": torch.zeros(2)}, {"format": "ancestral.fit 99"}, [1, 2]):
        torch.save(other, file)
        with pytest.raises(ValueError, match="checkpoint"):
            fit(nade(), TRAIN, epochs=1, checkpoint=file, progress=False)


def test_nan_stops_with_a_clear_error(monkeypatch):
    original = NADE.log_prob
    calls = [0]

    def log_prob(self, x):
        calls[0] += 1
        # Ten steps and a validation of three batches an epoch; step 5 of epoch 2 is call 18.
        return original(self, x) * (math.nan if calls[0] == 18 else 1)

    monkeypatch.setattr(NADE, "log_prob", log_prob)
    module = nade()
    with pytest.raises(FloatingPointError, match=r"train NLL is nan at epoch 2, step 5 .*lower lr than 0.01.*epoch 1"):
        fit(module, TRAIN, VALID, epochs=4, lr=0.01, progress=False)
    monkeypatch.undo()
    fresh = nade()
    with monkeypatch.context() as patch:
        interrupt_after(patch, 13)
        with pytest.raises(Stop):
            fit(fresh, TRAIN, VALID, epochs=4, lr=0.01, progress=False)
    assert_same_weights(weights(module), weights(fresh))  # those after the first epoch
    assert not any(torch.equal(a, b) for a, b in zip(module.parameters(), nade().parameters(), strict=True))


def test_nan_at_once_leaves_the_initial_weights():
    module = nade()
    module.b.data[3] = math.inf
    before = weights(module)
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 1 .*initial weights"):
        fit(module, TRAIN, epochs=1, progress=False)
    assert_same_weights(weights(module), before)


def test_a_gradient_that_is_not_finite_stops(monkeypatch):
    original = NADE.log_prob

    def log_prob(self, x):
        return original(self, x) + (self.b.sum() * 0).sqrt()  # value 0, gradient 0 * inf

    monkeypatch.setattr(NADE, "log_prob", log_prob)
    module = nade()
    before = weights(module)
    with pytest.raises(FloatingPointError, match="gradient is nan at epoch 1, step 1"):
        fit(module, TRAIN, epochs=1, progress=False)
    assert_same_weights(weights(module), before)


def test_interrupt_keeps_the_best_weights(monkeypatch):
    module = nade()
    with monkeypatch.context() as patch:
        interrupt_after(patch, 30, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(module, TRAIN, VALID, epochs=20, lr=0.01, progress=False)
    other = nade()
    with monkeypatch.context() as patch:
        interrupt_after(patch, 26)  # two epochs of ten steps and three batches of validation
        with pytest.raises(Stop):
            fit(other, TRAIN, VALID, epochs=20, lr=0.01, progress=False)
    assert_same_weights(weights(module), weights(other))
    assert all(p.grad is None for p in module.parameters())


def test_progress(capfd):
    fit(nade(), TRAIN, VALID, epochs=2, progress=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    history = fit(nade(), TRAIN, VALID, epochs=2, progress=False)
    for part in (
        "NADE epoch 2/2",
        "20/20",
        f"train={history.train_nll[-1]:.2f}",
        f"valid={history.valid_nll[-1]:.2f}",
    ):
        assert part in shown.err
    for progress in (False, None):  # stderr is no terminal here
        fit(nade(), TRAIN, VALID, epochs=1, progress=progress)
    assert capfd.readouterr() == ("", "")


def test_device():
    module = nade()
    fit(module, TRAIN, epochs=1, device="cpu", progress=False)
    assert module.W.device.type == "cpu"
    module = nade()
    for device, error in (("nonsense", ValueError), ("meta", ValueError), (1.5, TypeError), ([], TypeError)):
        with pytest.raises(error, match="device is"):
            fit(module, TRAIN, epochs=1, device=device, progress=False)
    assert_same_weights(weights(module), weights(nade()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("order", [None, list(range(15, -1, -1))])
def test_cuda(order, tmp_path):
    torch.manual_seed(0)
    module = NADE(16, 8, order=order)
    settings = {"epochs": 6, "lr": 0.02, "progress": False, "checkpoint": tmp_path / "run.pt"}
    history = fit(module, TRAIN, VALID, device="cuda", **settings)
    assert module.W.is_cuda
    assert history.valid_nll[-1] < history.valid_nll[0]
    assert fit(module, TRAIN, VALID, **settings) == history
    assert module.log_prob(VALID).is_cuda
    assert nll(module.cpu(), VALID) == pytest.approx(min(history.valid_nll), abs=1e-3)


def test_frozen_parameters_stay():
    module = nade()
    module.c.requires_grad_(False).fill_(0.25)
    fit(module, TRAIN, epochs=1, weight_decay=0.1, progress=False)
    assert (module.c == 0.25).all()


def test_a_module_that_is_frozen_is_refused():
    module = nade().requires_grad_(False)
    message = r"module is a NADE whose parameters are all frozen; wanted some that train: module.requires_grad_\(\)"
    with pytest.raises(ValueError, match=message):
        fit(module, TRAIN, epochs=1, progress=False)
    module.requires_grad_()  # as it says
    fit(module, TRAIN, epochs=1, progress=False)


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "set_grad_enabled(False)": lambda: torch.set_grad_enabled(False),
    "a default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_trains_alike_in_every_mode(mode, backend):
    torch.manual_seed(0)
    plain, module = (NADE(16, 8, backend=backend) for _ in range(2))
    module.load_state_dict(plain.state_dict())
    want = fit(plain, TRAIN, VALID, epochs=2, average=0.9, progress=False)
    with MODES[mode]():
        state = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert fit(module, TRAIN, VALID, epochs=2, average=0.9, progress=False) == want
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == state
    assert_same_weights(weights(module), weights(plain))
    assert all(p.requires_grad and not p.is_inference() for p in module.parameters())


def test_a_module_on_the_meta_device_is_refused():
    with pytest.raises(ValueError, match="module is a NADE on the meta device"):
        fit(nade().to("meta"), TRAIN, epochs=1, progress=False)


def test_data_made_under_inference_mode():
    with torch.inference_mode():
        made = [torch.tensor(x) for x in (TRAIN, VALID)]
    for backend in ("auto", "torch"):
        assert fit(NADE(16, 8, backend=backend), *made, epochs=1, batch_size=1000, progress=False).train_nll


def test_a_module_made_under_inference_mode_is_refused():
    with torch.inference_mode():
        module = nade()
    with pytest.raises(ValueError, match=r"module is a NADE made under torch\.inference_mode"):
        fit(module, TRAIN, epochs=1, progress=False)
    other = NADE(16, 8)
    other.load_state_dict(module.state_dict())  # as it says
    fit(other, TRAIN, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("keywords", "error", "match"),
    [
        (
            {"train": TRAIN.reshape(-1, 4, 4)},
            ValueError,
            r"train has shape .*; wanted \(n, 16\); did you mean train.reshape",
        ),
        ({"train": TRAIN[:0]}, ValueError, "train has no examples; wanted at least one"),
        ({"train": TRAIN + 1}, ValueError, r"train\[0, .*\] is [12]; wanted integers from 0 to 1"),
        ({"train": TRAIN.astype(complex)}, TypeError, "train"),
        ({"valid": TRAIN[0]}, ValueError, r"valid has shape \(16,\); wanted \(n, 16\)"),
        ({"valid": TRAIN[:0]}, ValueError, "valid"),
        ({"module": torch.nn.Linear(2, 2)}, TypeError, "module is a Linear; wanted a module of ancestral.nn"),
        ({"epochs": 0}, ValueError, "epochs is 0; wanted an integer of at least 1"),
        ({"epochs": 2.0}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"lr": 0}, ValueError, "lr is 0.0; wanted a finite number above 0"),
        ({"lr": "fast"}, TypeError, "lr"),
        ({"lr": math.inf}, ValueError, "lr"),
        ({"weight_decay": -1}, ValueError, "weight_decay"),
        ({"patience": 0}, ValueError, "patience"),
        ({"average": 0}, ValueError, "average is 0.0; wanted a number between 0 and 1"),
        ({"average": 1.0}, ValueError, "average is 1.0; wanted a number between 0 and 1"),
        ({"average": math.nan}, ValueError, "average"),
        ({"average": True}, TypeError, "average"),
        ({"checkpoint": 3}, TypeError, r"checkpoint is 3 \(int\); wanted a str or a path"),
        ({"lr": 10**400}, ValueError, "lr is inf; wanted a finite number above 0"),
        ({"rng": -1}, ValueError, "rng"),
        ({"rng": 2**64}, ValueError, "rng"),
        ({"rng": "seed"}, TypeError, "rng"),
    ],
)
def test_wrong_arguments(keywords, error, match):
    call = {"module": nade(), "train": TRAIN, "valid": None, "progress": False} | keywords
    with pytest.raises(error, match=match):
        fit(call.pop("module"), call.pop("train"), call.pop("valid"), **call)
