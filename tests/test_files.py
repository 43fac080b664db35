"""Saving and loading: what is saved comes back, and a file is replaced whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ancestral
from support.cases import Case, build_case
from support.families import EVERY_SMALL, NADE
from support.model_file import split


@pytest.fixture(scope="module")
def model() -> ancestral.Model:
    return build_case(NADE, NADE.config(5, 3, [4, 2, 0, 1, 3])).model


def test_round_trip(every_small: Case, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    every_small.model.save(path)
    loaded = ancestral.load(path)
    assert (loaded.kind, loaded.config) == (every_small.family.kind, every_small.config)
    assert repr(loaded) == repr(every_small.model)
    np.testing.assert_array_equal(loaded.order, every_small.model.order)
    x = every_small.events(20)
    np.testing.assert_array_equal(loaded.log_prob(x), every_small.model.log_prob(x))
    np.testing.assert_array_equal(loaded.sample(20, rng=0), every_small.model.sample(20, rng=0))
    again = tmp_path / "again.safetensors"
    loaded.save(str(again))
    assert again.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.safetensors", "model.safetensors"]


def test_a_file_is_plain_safetensors(every_small: Case, tmp_path: Path) -> None:
    """Any reader of safetensors finds the tensors under their names, and what they are in the metadata."""
    path = tmp_path / "model.safetensors"
    every_small.model.save(path)
    header, data = split(path.read_bytes())
    metadata = header.pop("__metadata__")
    graph = every_small.family.graph(every_small.config)
    assert set(metadata) == {"format", "version", "kind", "config", *(["graph"] if graph else [])}
    assert metadata["version"] == ("2" if graph else "1")
    assert json.loads(metadata.get("graph", "null")) == graph
    assert metadata["kind"] == every_small.family.kind
    assert json.loads(metadata["config"]) == every_small.config
    assert set(header) == set(every_small.tensors)
    for name, value in every_small.tensors.items():
        entry = header[name]
        assert (entry["dtype"], tuple(entry["shape"])) == ("F32", value.shape)
        start, end = entry["data_offsets"]
        stored = np.frombuffer(data[start:end], "<f4").reshape(value.shape)
        np.testing.assert_array_equal(stored, value)


@pytest.mark.parametrize("name", EVERY_SMALL)
def test_a_file_written_from_the_description_loads(name: str, build: Callable[..., Case], tmp_path: Path) -> None:
    case = build(*EVERY_SMALL[name])
    path = tmp_path / "model.safetensors"
    path.write_bytes(case.file())
    x = case.events(5)
    np.testing.assert_array_equal(ancestral.load(path).log_prob(x), case.model.log_prob(x))


def test_paths(model: ancestral.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model.save("relative.safetensors")
    model.save(tmp_path / "ünï cödé 日本.bin")
    assert repr(ancestral.load("relative.safetensors")) == repr(model)
    assert repr(ancestral.load(str(tmp_path / "ünï cödé 日本.bin"))) == repr(model)
    for wrong in (None, 3.5, model):
        with pytest.raises(TypeError):
            ancestral.load(wrong)
        with pytest.raises(TypeError):
            model.save(wrong)


def test_missing_files(model: ancestral.Model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        ancestral.load(tmp_path / "nothing.safetensors")
    with pytest.raises(OSError, match=r"."):
        ancestral.load(tmp_path)
    with pytest.raises(OSError, match=r"."):
        ancestral.load(tmp_path / "no" / "folder")


def test_saving_what_cannot_be_saved(model: ancestral.Model, tmp_path: Path) -> None:
    """OSError, what was there is untouched, and no temporary file stays behind."""
    with pytest.raises(OSError, match="folder"):
        model.save(tmp_path / "folder" / "model.safetensors")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        model.save(tmp_path / "taken")
    assert [p.name for p in tmp_path.rglob("*")] == ["taken"]


@pytest.mark.parametrize("path", ["", "/", "."])
def test_saving_to_what_is_no_file_name(path: str, model: ancestral.Model) -> None:
    with pytest.raises(OSError, match=r"."):
        model.save(path)


@pytest.mark.parametrize("path", ["file/model", "m" * 256, "no/folder", "/proc/model", "/proc/self/maps", "/dev/full"])
def test_saving_where_nothing_can_be_written(path: str, model: ancestral.Model, tmp_path: Path) -> None:
    """OSError that names the file, also for root, and nothing is left behind."""
    if path.startswith("/") and not Path(path).parent.exists():
        pytest.skip(f"there is no {Path(path).parent} here")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"."):
        model.save(tmp_path / path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_name_that_no_system_takes(model: ancestral.Model, tmp_path: Path) -> None:
    for call in (model.save, ancestral.load):
        with pytest.raises(ValueError, match="null"):
            call(tmp_path / "a\0b")


@pytest.mark.parametrize("path", ["/dev/null", "/dev/full"])
def test_a_device_stays_one(path: str, model: ancestral.Model) -> None:
    """Written to, and not replaced by a file, which root could."""
    if not Path(path).is_char_device():
        pytest.skip(f"there is no {path} here")
    with contextlib.suppress(OSError):
        model.save(path)
    assert Path(path).is_char_device()


def test_a_pipe_is_written_to(model: ancestral.Model, tmp_path: Path) -> None:
    pipe, copy = tmp_path / "pipe", tmp_path / "copy"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: copy.write_bytes(pipe.read_bytes()))
    reader.start()
    model.save(pipe)
    reader.join()
    assert pipe.is_fifo()
    assert repr(ancestral.load(copy)) == repr(model)


def test_a_link_stays_one(model: ancestral.Model, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder" / "model"
    link.symlink_to(target)
    for _ in range(2):  # the first time the target is not yet there
        model.save(link)
        assert link.is_symlink()
        assert repr(ancestral.load(target)) == repr(model)
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["model"]


def test_the_longest_file_name(model: ancestral.Model, tmp_path: Path) -> None:
    """Any name that `open` takes: the temporary file's must not be too long where the model's is not."""
    name = "m" * 255
    model.save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_full_disk_keeps_the_old_file(run_python: Callable[..., str], tmp_path: Path) -> None:
    """Stopped half-way through writing (here by a limit on file sizes), the old model is still there."""
    run_python(
        """
        import os, resource, signal
        from pathlib import Path
        import ancestral, numpy as np
        from support.families import NADE

        def make(n_hidden):
            config = NADE.config(100, n_hidden)
            tensors = NADE.random_tensors(config, np.random.default_rng(0), 1.0)
            return ancestral.Model.from_tensors("NADE", config, tensors)

        folder = Path(os.environ["FOLDER"])
        path = folder / "model.safetensors"
        make(2).save(path)
        before = path.read_bytes()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        try:
            make(200).save(path)
        except OSError as error:
            assert error.filename == str(path)
        else:
            raise SystemExit("no error")
        assert path.read_bytes() == before
        assert [p.name for p in folder.iterdir()] == ["model.safetensors"], list(folder.iterdir())
        """,
        FOLDER=str(tmp_path),
    )


def test_a_saved_file_has_the_usual_permissions(model: ancestral.Model, tmp_path: Path) -> None:
    """As any file the user creates, not 0600 as a temporary one."""
    umask = os.umask(0o022)
    try:
        model.save(tmp_path / "model.safetensors")
    finally:
        os.umask(umask)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """One thread replaces the file over and over; every load meanwhile finds one whole model or the other."""
    models = [build_case(NADE, NADE.config(64, h)).model for h in (8, 256)]
    path = tmp_path / "model.safetensors"
    models[0].save(path)
    stop = threading.Event()
    failures: list[BaseException] = []

    def replace() -> None:
        try:
            while not stop.is_set():
                for model in models:
                    model.save(path)
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = {ancestral.load(path).config["n_hidden"] for _ in range(200)}
    finally:
        stop.set()
        writer.join()
    assert not failures
    assert seen <= {8, 256}
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
