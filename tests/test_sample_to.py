"""The files that sample_to writes, in all formats; what it refuses; that its memory stays small."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.cases import Case
from support.families import NADE
from support.interrupted import FORMATS, keywords_of
from test_streams import WRONG_DRAWS

N_DIMS = 11  # not a multiple of eight


@pytest.fixture(scope="module")
def binary(build: Callable[..., Case]) -> Case:
    return build(NADE, NADE.config(N_DIMS, 4))


def read(path: Path, format: str, case: Case) -> np.ndarray:
    """The samples in a file, as the documentation says that they can be had."""
    shape = case.model.event_shape
    if format == "npy":
        return np.load(path, mmap_mode="r")
    if format == "packed":
        return np.unpackbits(np.load(path), axis=1, count=case.model.n_dims).reshape(-1, *shape)
    pa = pytest.importorskip("pyarrow")
    if format == "arrow":
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    else:
        import pyarrow.parquet as pq

        table = pq.read_table(path)
    assert json.loads(table.schema.metadata[b"event_shape"]) == list(shape)
    assert table.column_names == ["x"]
    column = table["x"].combine_chunks()
    assert column.type.list_size == case.model.n_dims
    return column.values.to_numpy().reshape(-1, *shape)


@pytest.mark.parametrize("n", [0, 1, 50])
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_holds_the_samples(
    format: str, n: int, binary: Case, image: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords = keywords_of(format)
    monkeypatch.setattr("ancestral._sample_file.formats._GROUP_BYTES", 300)  # several groups of rows
    for case in (binary, image) if format != "packed" else (binary,):
        path = tmp_path / f"{case.family.kind}.x"
        assert case.model.sample_to(path, n, rng=1, start=2, batch_size=7, **keywords) == path
        np.testing.assert_array_equal(read(path, format, case), case.model.sample(n, rng=1, start=2))
        other = case.model.sample_to(tmp_path / "other", n, rng=1, start=2, overwrite=True, **keywords)
        assert other.read_bytes() == path.read_bytes()  # whatever the batches
        path.unlink()
    assert [file.name for file in tmp_path.iterdir()] == ["other"]


def test_the_format_is_that_of_the_suffix(binary: Case, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name, magic in [
        ("a.npy", b"\x93NUMPY"),
        ("b.NPY", b"\x93NUMPY"),
        ("c.parquet", b"PAR1"),
        ("d.arrow", b"ARROW1"),
        ("e.feather", b"ARROW1"),
    ]:
        assert binary.model.sample_to(str(tmp_path / name), 3, rng=0).read_bytes().startswith(magic)
    with pytest.raises(ValueError, match=r"x\.csv.*\.npy, \.parquet, \.arrow or \.feather"):
        binary.model.sample_to(tmp_path / "x.csv", 3)


def test_without_pyarrow(binary: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"ancestral\[arrow\]"):
        binary.model.sample_to(tmp_path / "x.parquet", 3)
    binary.model.sample_to(tmp_path / "x.npy", 3)
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]


WRONG_FILE: list[tuple[str, Any, type[Exception]]] = [
    ("n", None, TypeError),
    ("path", 3, TypeError),
    ("path", None, TypeError),
    ("path", b"x.npy", TypeError),
    ("path", "x.txt", ValueError),
    ("path", "", ValueError),
    ("format", "csv", ValueError),
    ("format", ".npy", ValueError),
    ("format", 3, TypeError),
    ("packed", 1, TypeError),
    ("packed", None, TypeError),
    ("overwrite", "no", TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), WRONG_DRAWS + WRONG_FILE, ids=str)
def test_wrong_arguments_of_sample_to(
    name: str, value: Any, error: type[Exception], binary: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    state = generator.bit_generator.state
    with pytest.raises(error, match=rf"\b{name}\b"):
        binary.model.sample_to(**{"path": "x.npy", "n": 2, "rng": generator, name: value})
    assert generator.bit_generator.state == state
    assert list(tmp_path.iterdir()) == []


def test_bits_of_five_classes(image: Case, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="packed is True for a model of 5 classes"):
        image.model.sample_to(tmp_path / "x.npy", 3, packed=True)


@pytest.mark.parametrize("path", [".", "folder"])
def test_a_folder_is_no_file(path: str, binary: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for overwrite in (False, True):
        with pytest.raises(IsADirectoryError, match="path"):
            binary.model.sample_to(path, 3, format="npy", overwrite=overwrite)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("format", FORMATS)
def test_memory_does_not_grow_with_n(format: str, run_python: Callable[..., str], tmp_path: Path) -> None:
    keywords = keywords_of(format)
    script = """
        import os
        from pathlib import Path
        import ancestral, numpy as np
        from support.families import FVSBN

        config = FVSBN.config(784)
        tensors = FVSBN.random_tensors(config, np.random.default_rng(0), 1.0)
        model = ancestral.Model.from_tensors("FVSBN", config, tensors)
        model.sample_to(os.environ["FILE"], int(os.environ["N"]), rng=0, **eval(os.environ["KEYWORDS"]))
        print(*[line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line])
        """
    peaks = [
        int(run_python(script, FILE=str(tmp_path / str(n)), N=str(n), KEYWORDS=repr(keywords)))
        for n in (20_000, 160_000)
    ]
    assert peaks[1] - peaks[0] < 40_000  # KiB, for 110 MB of samples more
