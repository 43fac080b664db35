"""What fit trains on: arrays, memory-mapped files, Datasets and DataLoaders."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset  # noqa: E402

from ancestral import fit  # noqa: E402
from ancestral.history import History  # noqa: E402
from ancestral.nn import NADE, PixelCNN  # noqa: E402

RNG = np.random.default_rng(0)
TRAIN = (RNG.random((210, 6)) < [0.1, 0.3, 0.5, 0.5, 0.7, 0.9]).astype(np.uint8)
VALID = (RNG.random((70, 6)) < [0.1, 0.3, 0.5, 0.5, 0.7, 0.9]).astype(np.uint8)
Result = tuple[History, dict[str, bytes]]


def trained(train: Any, valid: Any = None, **keywords: Any) -> Result:
    """The history, and the bits of the weights."""
    torch.manual_seed(0)
    module = NADE(6, 4)
    history = fit(module, train, valid, progress=False, **({"epochs": 3, "lr": 0.02} | keywords))
    return history, {name: tensor.numpy().tobytes() for name, tensor in module.state_dict().items()}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[npt.NDArray[np.uint8]]:
    """The batches that a NADE is given from now on."""
    batches = []
    original = NADE.log_prob

    def log_prob(self: NADE, x: Any) -> Any:
        batches.append(x.numpy().copy())
        return original(self, x)

    monkeypatch.setattr(NADE, "log_prob", log_prob)
    return batches


class Labelled(Dataset):  # type: ignore[misc]
    """Items (x, label), x as `convert` makes it."""

    def __init__(self, x: npt.NDArray[Any], convert: Callable[[Any], Any] = np.asarray) -> None:
        self.x, self.convert = x, convert

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        assert type(index) is int
        return self.convert(self.x[index]), index


class Bare(Labelled):
    """Items x."""

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index)[0]


class Streamed(IterableDataset):  # type: ignore[misc]
    """Items one after the other, without a length."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class Measured(Streamed):
    """The same, with a length."""

    def __len__(self) -> int:
        return len(self.items)


def mapped(folder: Path, x: npt.NDArray[Any], order: Any = "C") -> np.memmap[Any, Any]:
    """A read-only file of x."""
    file = np.lib.format.open_memmap(folder / f"{len(x)}.npy", "w+", x.dtype, x.shape, fortran_order=order == "F")  # type: ignore[no-untyped-call]
    file[:] = x
    file.flush()
    read: np.memmap[Any, Any] = np.load(folder / f"{len(x)}.npy", mmap_mode="r")
    assert isinstance(read, np.memmap)
    return read


class Frame:
    """As of pandas: no array, but it can become one."""

    def __init__(self, x: npt.NDArray[Any]) -> None:
        self.x = x

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return np.array(self.x, dtype)


SHUFFLED = np.random.default_rng(1).permutation(70).tolist()
KINDS: dict[str, Callable[[Path, npt.NDArray[np.uint8]], Any]] = {
    "memmap": mapped,
    "memmap of big-endian integers": lambda folder, x: mapped(folder, x.astype(">i2")),
    "memmap of floats, Fortran order": lambda folder, x: mapped(folder, x.astype(np.float32), "F"),
    "memmap of bools": lambda folder, x: mapped(folder, x.astype(bool)),
    "TensorDataset": lambda _, x: TensorDataset(torch.tensor(x).float(), torch.zeros(len(x))),
    "Dataset": lambda _, x: Labelled(x),
    "Dataset of float tensors": lambda _, x: Bare(x, lambda row: torch.tensor(row, dtype=torch.float32)),
    "Dataset of bfloat16": lambda _, x: Bare(x, lambda row: torch.tensor(row, dtype=torch.bfloat16)),
    "Dataset of tuples": lambda _, x: Labelled(x, lambda row: tuple(row.tolist())),
    "Subset": lambda _, x: Subset(TensorDataset(torch.tensor(np.concatenate([1 - x, x]))), range(len(x), 2 * len(x))),
    "list of tensors": lambda _, x: [torch.tensor(row) for row in x],
    "list of arrays": lambda _, x: list(x),
    "list of lists": lambda _, x: x.tolist(),
    "a data frame": lambda _, x: Frame(x),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_by_index_trains_to_the_bits_of_an_array(kind: str, tmp_path: Path) -> None:
    convert = KINDS[kind]
    for keywords in ({"batch_size": 32}, {"batch_size": 64, "weights": 1 + TRAIN[:, 2]}):
        got = trained(convert(tmp_path, TRAIN), convert(tmp_path, VALID), **keywords)
        assert got == trained(TRAIN, VALID, **keywords)


def test_a_data_frame_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    assert trained(pandas.DataFrame(TRAIN), pandas.DataFrame(VALID)) == trained(TRAIN, VALID)
    with pytest.raises(TypeError, match="train is a DataFrame of dtype object; wanted an array"):
        trained(pandas.DataFrame(TRAIN.astype(str)))


def test_images() -> None:
    x = RNG.integers(0, 4, (30, 2, 3, 3))
    histories = []
    for train in (x, Labelled(x), DataLoader(Labelled(x), batch_size=10)):
        torch.manual_seed(0)
        module = PixelCNN((2, 3, 3), 4, n_channels=8, n_blocks=1, n_head=8)
        size = None if isinstance(train, DataLoader) else 10
        histories.append(fit(module, train, epochs=1, lr=1e-9, batch_size=size, progress=False))
    assert histories[0] == histories[1]
    # Hardly anything is learned, so the order is no matter.
    assert histories[2].train_nll == pytest.approx(histories[0].train_nll, abs=1e-4)


def test_no_more_than_a_batch_of_a_mapped_file_is_in_memory(tmp_path: Path) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, (20_000, 400))  # type: ignore[no-untyped-call]
    x[::3] = 1
    module = NADE(400, 2)
    tracemalloc.start()
    try:
        fit(module, x, x, epochs=1, batch_size=500, checkpoint=tmp_path / "run.pt", progress=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 4  # 16 MB, where a batch takes 1.6 MB; as uint8 alone the file would take 8 MB
    assert peak > 500 * 400 * 8  # it is NumPy's memory that was measured


def test_a_dataset_is_read_anew_in_each_epoch(seen: list[npt.NDArray[np.uint8]]) -> None:
    """As for dynamic binarization."""
    draws = np.random.default_rng(3)
    grey = np.full((50, 6), 0.5)
    trained(Bare(grey, lambda row: draws.random(6) < row), epochs=2, batch_size=10)
    first, second = np.concatenate(seen[:5]), np.concatenate(seen[5:])
    assert first.shape == second.shape == (50, 6)
    assert {tuple(row) for row in first} != {tuple(row) for row in second}
    assert 0.3 < first.mean() < 0.7


def test_every_example_once_an_epoch_in_a_new_order(seen: list[npt.NDArray[np.uint8]]) -> None:
    x = (np.arange(60)[:, None] >> np.arange(6)) & 1
    trained(Labelled(x), epochs=2, batch_size=25)
    assert [len(batch) for batch in seen] == 2 * [25, 25, 10]
    orders = [np.concatenate(seen[part]) @ (1 << np.arange(6)) for part in (slice(3), slice(3, 6))]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(60))
    assert orders[0].tolist() != orders[1].tolist() != list(range(60))


@pytest.mark.parametrize("labels", [False, True])
def test_a_loader_decides_on_batches_and_order(labels: bool, seen: list[npt.NDArray[np.uint8]]) -> None:
    dataset = TensorDataset(*map(torch.tensor, (TRAIN, np.arange(210)) if labels else (TRAIN,)))
    loader = DataLoader(dataset, batch_size=50, shuffle=True, generator=torch.Generator().manual_seed(5))
    history, _ = trained(loader, epochs=2)
    expected = DataLoader(dataset, batch_size=50, shuffle=True, generator=torch.Generator().manual_seed(5))
    batches = [batch[0].numpy() for _ in range(2) for batch in expected]
    assert len(seen) == len(batches) == 10
    for got, want in zip(seen, batches, strict=True):
        np.testing.assert_array_equal(got, want)
    assert history.lr == trained(TRAIN, epochs=2, batch_size=50)[0].lr


def test_a_loader_of_bare_batches() -> None:
    assert trained(DataLoader(Bare(TRAIN), batch_size=50)) == trained(DataLoader(Labelled(TRAIN), batch_size=50))


@pytest.mark.parametrize("make", [Streamed, Measured])
def test_a_stream_is_batched_as_it_comes(make: Any, seen: list[npt.NDArray[np.uint8]]) -> None:
    trained(make(list(zip(TRAIN, range(210), strict=True))), epochs=2, batch_size=64)
    assert [len(batch) for batch in seen] == 2 * [64, 64, 64, 18]
    for part in (seen[:4], seen[4:]):
        np.testing.assert_array_equal(np.concatenate(part), TRAIN)


def test_the_learning_rate_without_a_length() -> None:
    """Up over 100 steps of the first epoch, then along the cosine from epoch to epoch."""
    streams = Streamed(TRAIN), DataLoader(Streamed(TRAIN), batch_size=10)
    for stream, size in zip(streams, (10, None), strict=True):
        history, _ = trained(stream, epochs=4, batch_size=size, lr=0.5)
        cosine = [0.5 * 0.5 * (1 + math.cos(math.pi * epoch / 4)) for epoch in (1, 2, 3)]
        assert history.lr == pytest.approx([0.5 * 21 / 100, *cosine])
    long = Streamed(np.repeat(TRAIN, 6, axis=0))
    assert trained(long, epochs=1, batch_size=10, lr=0.5)[0].lr == [0.5]


def test_the_learning_rate_with_a_length() -> None:
    want = trained(TRAIN, batch_size=10)[0].lr
    assert trained(Measured(TRAIN), batch_size=10)[0].lr == want
    assert trained(DataLoader(Measured(TRAIN), batch_size=10))[0].lr == want


@pytest.mark.filterwarnings("ignore:Length of IterableDataset")  # that is the point
def test_a_loader_that_gives_more_than_it_says() -> None:
    class Short(Streamed):
        def __len__(self) -> int:
            return 100

    history, _ = trained(DataLoader(Short(TRAIN), batch_size=10), epochs=2, lr=0.5)
    assert history.lr == pytest.approx([0.25, 0.0])


def test_validation_on_every_kind() -> None:
    want = trained(TRAIN, VALID)[0].valid_nll
    loader = DataLoader(TensorDataset(torch.tensor(VALID)), batch_size=13, shuffle=True)
    for valid in (loader, Streamed(VALID), Labelled(VALID)):
        assert trained(TRAIN, valid)[0].valid_nll == pytest.approx(want, abs=1e-5)
    assert trained(TRAIN, loader, batch_size=50)[0].epochs == [1, 2, 3]


def test_what_a_dataset_keeps_can_be_trained_on() -> None:
    """Validation makes no inference tensors out of what it reads."""
    kept: dict[int, Any] = {}

    def keep(row: npt.NDArray[np.uint8]) -> Any:
        return kept.setdefault(int(row @ (1 << np.arange(6))), torch.tensor(row).float())

    trained(Bare(TRAIN, keep), Bare(VALID, keep))
    assert kept
    assert not any(tensor.is_inference() for tensor in kept.values())


def test_progress_without_a_length(capfd: pytest.CaptureFixture[str]) -> None:
    fit(NADE(6, 4), Streamed(TRAIN), epochs=2, batch_size=100, progress=True)
    assert "6step" in capfd.readouterr().err


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", ["Dataset", "memmap", "Streamed", "DataLoader"])
def test_resumed_is_uninterrupted(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the examples are the same again."""
    train = {
        "Dataset": lambda: Labelled(TRAIN),
        "memmap": lambda: mapped(tmp_path, TRAIN),
        "Streamed": lambda: Streamed(TRAIN),
        "DataLoader": lambda: DataLoader(Labelled(TRAIN), batch_size=50),
    }[kind]()
    want = trained(train, Labelled(VALID), average=0.9)
    file, steps, original = tmp_path / "run.pt", [0], NADE.log_prob

    def log_prob(self: NADE, x: Any) -> Any:
        steps[0] += 1
        if steps[0] == 8:
            raise Stop
        return original(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(NADE, "log_prob", log_prob)
        with pytest.raises(Stop):
            trained(train, Labelled(VALID), average=0.9, checkpoint=file)
    assert len(torch.load(file)["history"]["epochs"]) >= 1
    assert trained(train, Labelled(VALID), average=0.9, checkpoint=file) == want


@pytest.mark.parametrize(
    ("was", "now", "match"),
    [
        (Labelled(TRAIN), Labelled(TRAIN[1:]), "train was Labelled of 210 examples, now Labelled of 209 examples"),
        (Labelled(TRAIN), Bare(TRAIN), "train was Labelled of 210 examples, now Bare of 210 examples"),
        (DataLoader(Labelled(TRAIN)), DataLoader(Labelled(TRAIN), 2), "was DataLoader of length 210, now .* 105"),
        (Streamed(TRAIN), TRAIN, r"train was Streamed, now \(210, 6\) "),
        (TensorDataset(torch.tensor(TRAIN)), TensorDataset(torch.tensor(1 - TRAIN)), r"train was \(210, 6\) "),
    ],
)
def test_a_checkpoint_of_other_data_is_refused(was: Any, now: Any, match: str, tmp_path: Path) -> None:
    trained(was, epochs=1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=match):
        trained(now, epochs=1, checkpoint=tmp_path / "run.pt")


def test_the_kind_of_an_array_is_no_matter_to_a_checkpoint(tmp_path: Path) -> None:
    want = trained(TRAIN, VALID, checkpoint=tmp_path / "run.pt")
    same = mapped(tmp_path, TRAIN.astype(np.float32)), TensorDataset(torch.tensor(VALID))
    assert trained(*same, checkpoint=tmp_path / "run.pt") == want


BAD = TRAIN.astype(np.float64)
BAD[17, 3] = 0.5
WANTED = "wanted an array or tensor (n, 6), a Dataset or a DataLoader"
ITEM = "wanted an array or tensor (6,), or a tuple that begins with one"


class Nameless(Dataset):  # type: ignore[misc]
    """A Dataset without a length."""

    def __getitem__(self, index: int) -> Any:
        return TRAIN[index]


@pytest.mark.parametrize(
    ("train", "error", "message"),
    [
        (
            (torch.tensor(TRAIN), torch.zeros(210)),
            TypeError,
            f"train is a tuple whose entry 0 has shape (210, 6); {WANTED}; labels are left out",
        ),
        ([TRAIN[0], TRAIN[1][:3]], TypeError, f"train is a list whose entry 1 has shape (3,); {WANTED}; labels are le"),
        ({"x": TRAIN}, TypeError, f"train is a dict; {WANTED}"),
        (iter(TRAIN), TypeError, f"train is a iterator; {WANTED}"),
        (None, TypeError, f"train is a NoneType; {WANTED}"),
        (NADE(6, 4), TypeError, f"train is a NADE; {WANTED}"),
        ([TRAIN[0], [[0], [1, 1]]], ValueError, "train[1] is no array: its rows have different shapes"),
        (torch.tensor(TRAIN).to_sparse(), TypeError, "train is a torch.sparse_coo tensor; wanted a dense one"),
        (torch.tensor(TRAIN, device="meta"), TypeError, "train is a meta tensor; wanted a dense one with values"),
        (np.ma.masked_array(TRAIN, TRAIN), ValueError, "train has "),
        (Nameless(), TypeError, "train is a Nameless, a Dataset without a length; wanted one with len()"),
        (Labelled(TRAIN[:0]), ValueError, "train has no examples; wanted at least one"),
        (TensorDataset(torch.tensor(TRAIN[:, :5])), ValueError, "train has shape (210, 5); wanted (n, 6)"),
        (Labelled(BAD), ValueError, "train[17] has the value 0.5 at [3]; wanted integers from 0 to 1"),
        (Labelled(TRAIN[:1, :4]), ValueError, "the first entry of train[0] has shape (4,); wanted (6,)"),
        (Bare(TRAIN[:1], dict.fromkeys), TypeError, f"train[0] is a dict; {ITEM}"),
        (Bare(TRAIN[:1], lambda row: None), TypeError, f"train[0] is a NoneType; {ITEM}"),
        (Bare(TRAIN[:1], str), TypeError, f"train[0] is a str; {ITEM}"),
        (Bare(TRAIN[:1], lambda row: set(row)), TypeError, f"train[0] is a set; {ITEM}"),
        (Bare(TRAIN[:1], lambda row: [row[0]]), ValueError, "the first entry of train[0] has shape (); wanted (6,)"),
        (Streamed([]), ValueError, "train is a Streamed that gave nothing; wanted examples each time it is iterated"),
        (Streamed([*TRAIN[:7], TRAIN[0, :2]]), ValueError, "example 7 of train has shape (2,); wanted (6,)"),
        (Streamed(BAD), ValueError, "example 17 of train has the value 0.5 at [3]; wanted integers from 0 to 1"),
        (DataLoader(Labelled(BAD), 5), ValueError, "row 2 of batch 3 of train has the value 0.5 at [3]; wanted int"),
        (
            DataLoader(Labelled(TRAIN), batch_size=None),
            ValueError,
            "the first entry of batch 0 of train has shape (6,); wanted (n, 6), n >= 1",
        ),
        (
            DataLoader(Bare(TRAIN, lambda row: {"x": row})),
            TypeError,
            "batch 0 of train is a dict; wanted an array or tensor (n, 6), or a tuple that begins with one",
        ),
    ],
)
def test_wrong_data(train: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        trained(train)
    assert str(caught.value).startswith(message)
    if train is not None:
        with pytest.raises(error) as caught:
            trained(TRAIN, train)
        assert str(caught.value).startswith(message.replace("train", "valid"))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (BAD, ValueError, "train[17] has the value 0.5 at [3]; wanted integers from 0 to 1"),
        (TRAIN + 250, ValueError, "wanted integers from 0 to 1"),
        (np.where(TRAIN, np.nan, 0), ValueError, "has the value nan"),
        (TRAIN[:, :5], ValueError, "train has shape (210, 5); wanted (n, 6)"),
        (TRAIN.astype(complex), TypeError, "train has dtype complex128; wanted integers from 0 to 1"),
    ],
)
def test_wrong_files(x: npt.NDArray[Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    for checkpoint in (None, tmp_path / "run.pt"):
        with pytest.raises(error) as caught:
            trained(mapped(tmp_path, x), checkpoint=checkpoint)
        assert message in str(caught.value)


def test_batch_size_is_for_what_is_no_loader() -> None:
    loader = DataLoader(TensorDataset(torch.tensor(TRAIN)), batch_size=50)
    with pytest.raises(ValueError, match="batch_size is 100, and train is a DataLoader, which makes the batches"):
        trained(loader, batch_size=100)
    assert trained(TRAIN) == trained(TRAIN, batch_size=100)


def test_a_stream_that_ends_for_good() -> None:
    with pytest.raises(ValueError, match="train is a Streamed that gave nothing"):
        trained(Streamed(iter(TRAIN)), epochs=2)
