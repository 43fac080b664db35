"""What sample_to finds beside its file: the work of other calls, damage, other calls at work."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral
from ancestral._sample_file import part
from support.cases import build_case
from support.families import NADE
from support.interrupted import N, first_row, interrupted, stopping


@pytest.fixture(scope="module")
def model() -> ancestral.Model:
    return build_case(NADE, NADE.config(11, 4)).model


@pytest.fixture(autouse=True)
def every_batch_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "FLUSH_SECONDS", 0)


def test_folders_that_cannot_be_written(model: ancestral.Model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.sample_to(tmp_path / "nowhere" / "x.npy", 3)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="file"):
        model.sample_to(tmp_path / "file" / "x.npy", 3)
    (tmp_path / "x.npy.part").write_bytes(b"of someone else")
    with pytest.raises(NotADirectoryError, match=r"x\.npy\.part"):
        model.sample_to(tmp_path / "x.npy", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.npy.part"]


def test_a_read_only_folder(model: ancestral.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o555)
    if (child := os.fork()) == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)  # root may write anywhere
            model.sample_to("x.npy", 3, threads=1)
        except PermissionError as error:
            status = 0 if "x.npy" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    tmp_path.chmod(0o755)
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_nowhere(model: ancestral.Model, tmp_path: Path) -> None:
    (tmp_path / "x.npy.part").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match=r"x\.npy\.part"):
        model.sample_to(tmp_path / "x.npy", 3)


# --- other calls, and what is not ours -------------------------------------------------------------------


OTHER: list[tuple[str, dict[str, Any]]] = [
    ("n was 40, now 41", {"n": 41}),
    ("start was 0, now 1", {"start": 1}),
    ("seed was 0, now 1", {"rng": 1}),
    ("seed was 0, now", {"rng": np.random.default_rng(0)}),
    ("packed was False, now True", {"packed": True}),
    ("format was 'npy', now 'arrow'", {"format": "arrow"}),
]


@pytest.mark.parametrize(("words", "change"), OTHER, ids=lambda value: str(value)[:20])
def test_another_call(words: str, change: dict[str, Any], model: ancestral.Model, tmp_path: Path) -> None:
    """Refused, with what differs and what can be done; overwrite begins anew."""
    if "format" in change:
        pytest.importorskip("pyarrow")
    path = tmp_path / "x.npy"
    folder = interrupted(model, path, rng=0)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    call: dict[str, Any] = {"path": path, "n": N, "rng": 0, **change}
    with pytest.raises(ValueError, match=rf"x\.npy\.part.*{words}.*overwrite=True"):
        model.sample_to(**call)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    model.sample_to(**call, overwrite=True)
    assert not folder.exists()
    if "rng" not in change:
        expected = model.sample_to(
            tmp_path / "expected", **{"format": "npy"} | {k: call[k] for k in call if k != "path"}
        )
        assert path.read_bytes() == expected.read_bytes()


def test_another_model_or_version(model: ancestral.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(model, tmp_path / "x.npy", rng=0)
    other = build_case(NADE, NADE.config(11, 4), seed=1).model
    with pytest.raises(ValueError, match=r"model was '.*', now '.*'"):
        other.sample_to(tmp_path / "x.npy", N, rng=0)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    with pytest.raises(ValueError, match=r"ancestral was '.*', now '99'"):
        model.sample_to(tmp_path / "x.npy", N, rng=0)


def journal(**changes: Any) -> bytes:
    request = {"n": N, "start": 0, "seed": 0, "format": "npy", "packed": False} | changes.pop("request", {})
    return json.dumps({"format": part.FORMAT, "request": request, "done": 16} | changes).encode()


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "cut": journal()[:-5],
    "not text": b"\xff\xfe\x00",
    "nul": b"\0" * 100,
    "nested": b"[" * 60_000,
    "too long": b" " * 10**6 + journal(),
    "a list": b"[1, 2]",
    "a number": b"1e999",
    "a long number": b"9" * 10_000,
    "null": b"null",
    "other format": journal(format="ancestral.fit 1"),
    "later format": journal(format="ancestral.sample_to 2"),
    "format of a wrong type": journal(format=[1]),
    "no request": json.dumps({"format": part.FORMAT, "done": 16}).encode(),
    "request of a wrong type": journal()[:-1] + b', "request": 7}',
    "request of pairs that are none": journal()[:-1] + b', "request": [1, 2]}',
    "no seed": journal()[:-1] + b', "request": {}}',
    "seed of a wrong type": journal(request={"seed": "0"}),
    "huge seed": journal(request={"seed": 2**64}),
    "negative seed": journal(request={"seed": -1}),
    "no done": json.dumps({"format": part.FORMAT, "request": {"seed": 0}}).encode(),
    "done of a wrong type": journal(done="16"),
    "done is true": journal(done=True),
    "fractional done": journal(done=1.5),
    "infinite done": journal(done=float("inf")),
    "negative done": journal(done=-1),
    "huge done": journal(done=10**300),
    "done beyond n": journal(done=N + 1),
    "done beyond the rows": journal(done=N),
}


@pytest.mark.parametrize("rng", [0, None])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_journal(name: str, rng: int | None, model: ancestral.Model, tmp_path: Path) -> None:
    """Refused by name, whatever is in it, and untouched; overwrite begins anew."""
    folder = interrupted(model, tmp_path / "x.npy", rng=0)
    real = json.loads((folder / "journal.json").read_bytes())["request"]
    content = DAMAGED[name]
    if b"sample_to 1" in content and b'"n": 40' in content:  # all but the damage is what the call would write
        content = content.replace(
            b'"n": 40', f'"n": 40, "model": "{real["model"]}", "ancestral": "{real["ancestral"]}"'.encode()
        )
    (folder / "journal.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npy\.part.*overwrite=True"):
        model.sample_to(tmp_path / "x.npy", N, rng=rng)
    assert (folder / "journal.json").read_bytes() == content
    model.sample_to(tmp_path / "x.npy", N, rng=0, overwrite=True)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), model.sample(N, rng=0))


@pytest.mark.parametrize("damage", ["missing", "cut", "header", "empty"])
def test_damaged_rows(damage: str, model: ancestral.Model, tmp_path: Path) -> None:
    folder = interrupted(model, tmp_path / "x.npy", rng=0)
    rows = folder / "rows.npy"
    content = rows.read_bytes()
    if damage == "missing":
        rows.unlink()
    else:
        size = 128 + 16 * 11
        rows.write_bytes({"cut": content[: size - 1], "header": b"\0" + content[1:], "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"rows\.npy.*overwrite=True"):
        model.sample_to(tmp_path / "x.npy", N, rng=0)
    model.sample_to(tmp_path / "x.npy", N, rng=0, overwrite=True)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), model.sample(N, rng=0))


def test_an_existing_file(model: ancestral.Model, tmp_path: Path) -> None:
    """Kept, unless overwrite; then kept until the new one is complete, and what is left of it is gone on with."""
    path = tmp_path / "x.npy"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.sample_to(path, N, rng=0)
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]
    with pytest.raises(KeyboardInterrupt):
        model.sample_to(path, N, rng=0, overwrite=True, batch_size=8, progress=stopping(24, KeyboardInterrupt()))
    assert path.read_bytes() == b"old"
    assert first_row(model, path, rng=0, overwrite=True) == 16
    np.testing.assert_array_equal(np.load(path), model.sample(N, rng=0))


# --- two at once -----------------------------------------------------------------------------------------


def test_a_second_call_for_the_same_file(model: ancestral.Model, tmp_path: Path) -> None:
    """Refused while the first is at work, and the first is none the worse for it."""
    path = tmp_path / "x.npy"
    refused: list[str] = []

    def progress(done: int, total: int) -> None:
        if done == 16:
            for overwrite in (False, True):
                with pytest.raises(BlockingIOError) as error:
                    model.sample_to(path, N, rng=1, overwrite=overwrite)
                refused.append(str(error.value))

    model.sample_to(path, N, rng=0, batch_size=8, progress=progress)
    assert len(refused) == 2
    assert all("another call of sample_to" in message and str(path) in message for message in refused)
    np.testing.assert_array_equal(np.load(path), model.sample(N, rng=0))


def test_many_calls_for_the_same_file(model: ancestral.Model, tmp_path: Path) -> None:
    """They come and go all the time; each ends well or is refused, and the file is always one of theirs, whole."""
    path = tmp_path / "x.npy"
    expected = [model.sample(N, rng=seed).tobytes() for seed in range(3)]
    ended: list[int] = []
    refused: list[int] = []
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        while not failures and (len(ended) < 30 or not refused):
            try:
                model.sample_to(path, N, rng=seed, batch_size=8, overwrite=True)
                ended.append(seed)
                if np.load(path).tobytes() not in expected:
                    raise AssertionError("the file is of none")
            except BlockingIOError:
                refused.append(seed)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]
