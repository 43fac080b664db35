"""sample_to, interrupted in every way: the same call goes on, and the file has the same bytes."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ancestral
from ancestral._sample_file import part
from support import crash
from support.cases import build_case
from support.families import NADE
from support.interrupted import FORMATS, N, first_row, interrupted, keywords_of
from support.scripts import environment


@pytest.fixture(scope="module")
def model() -> ancestral.Model:
    return build_case(NADE, NADE.config(11, 4)).model


@pytest.fixture(autouse=True)
def every_batch_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "FLUSH_SECONDS", 0)


# --- interrupted, and gone on with -----------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_ctrl_c(format: str, model: ancestral.Model, tmp_path: Path) -> None:
    keywords = keywords_of(format)
    expected = model.sample_to(tmp_path / "expected", N, rng=0, **keywords).read_bytes()
    folder = interrupted(model, tmp_path / "x", rng=0, **keywords)
    assert json.loads((folder / "journal.json").read_bytes())["done"] == 16
    assert first_row(model, tmp_path / "x", rng=0, **keywords) == 16
    assert (tmp_path / "x").read_bytes() == expected
    assert not folder.exists()


def test_the_seed_of_no_rng_is_kept(model: ancestral.Model, tmp_path: Path) -> None:
    folder = interrupted(model, tmp_path / "x.npy")
    seed = json.loads((folder / "journal.json").read_bytes())["request"]["seed"]
    np.testing.assert_array_equal(np.load(model.sample_to(tmp_path / "x.npy", N)), model.sample(N, rng=seed))
    other = model.sample_to(tmp_path / "other.npy", N)
    assert other.read_bytes() != (tmp_path / "x.npy").read_bytes()


def test_rows_beyond_the_journal_are_not_trusted(model: ancestral.Model, tmp_path: Path) -> None:
    expected = model.sample_to(tmp_path / "expected", N, format="npy", rng=0).read_bytes()
    folder = interrupted(model, tmp_path / "x.npy", rng=0)
    with open(folder / "rows.npy", "ab") as file:
        file.write(b"\xff" * len(expected))
    assert model.sample_to(tmp_path / "x.npy", N, rng=0).read_bytes() == expected


def test_nothing_stays_of_a_call_that_had_done_nothing(model: ancestral.Model, tmp_path: Path) -> None:
    interrupted(model, tmp_path / "x.npy", after=0)
    assert list(tmp_path.iterdir()) == []


CHILD = """
import os, sys
import ancestral, numpy as np
from support.families import NADE
from ancestral._sample_file import part

part.FLUSH_SECONDS = 0
config = NADE.config(500, 8)
tensors = NADE.random_tensors(config, np.random.default_rng(0), 1.0)
model = ancestral.Model.from_tensors("NADE", config, tensors)

def progress(done, total):
    print(done, flush=True)
    sys.stdin.readline()

model.sample_to(sys.argv[1], 4000, batch_size=100, rng=0, format=sys.argv[2], packed=sys.argv[3] == "True",
                progress=progress)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_kill_9(format: str, tmp_path: Path) -> None:
    """At random moments, as often as it takes: each time some batches further."""
    keywords = keywords_of(format)
    model = build_case(NADE, NADE.config(500, 8), scale=1.0).model
    expected = model.sample_to(tmp_path / "expected", 4000, rng=0, **keywords).read_bytes()
    path, when = tmp_path / "x", random.Random(format)
    arguments = [str(path), keywords["format"], str(keywords.get("packed", False))]
    starts: list[int] = []
    kills = 0
    while not path.exists():
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        lines: list[bytes] = []
        for _ in range(when.randint(2, 12)):
            lines.append(process.stdout.readline())
            if lines[-1]:
                process.stdin.write(b"\n")  # it may go on
        time.sleep(when.uniform(0, 0.01))  # it gets no further than one batch
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.stdin.close()
        process.stdout.close()
        assert lines[0], "the call failed"
        starts.append(int(lines[0]) - 100)
    assert path.read_bytes() == expected
    assert kills >= 3
    assert starts == sorted(starts)
    assert all(start > 0 for start in starts[1:])


@pytest.mark.parametrize("format", FORMATS)
def test_a_crash_at_every_step(
    format: str, model: ancestral.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends before the 1st, 2nd, ... step that changes what others see, and no clean-up runs."""
    keywords = keywords_of(format)
    monkeypatch.setattr("ancestral._sample_file.formats._GROUP_BYTES", 100)
    expected = model.sample_to(tmp_path / "expected", N, rng=0, **keywords).read_bytes()
    path, folder = tmp_path / "x", tmp_path / "x.part"

    def crash_before(step: int) -> bool:
        """Whether the call, in a process of its own, got so far."""
        if (child := os.fork()) == 0:
            counted = crash.before(step, lambda: os._exit(9))
            status = 1
            try:
                for owner, name in [(os, "fsync"), (os, "replace"), (Path, "unlink"), (Path, "rmdir"), (Path, "mkdir")]:
                    setattr(owner, name, counted(getattr(owner, name)))
                model.sample_to(path, N, rng=0, batch_size=16, threads=1, **keywords)
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 9)
        return status == 9

    step = 1
    named = 0
    while crash_before(step):
        if path.exists():  # it crashed while it tidied up
            named += 1
            assert path.read_bytes() == expected
            with pytest.raises(FileExistsError):
                model.sample_to(path, N, rng=0, **keywords)
        model.sample_to(path, N, rng=0, overwrite=path.exists(), **keywords)
        assert path.read_bytes() == expected
        assert not folder.exists()
        path.unlink()
        step += 1
    assert step > 15
    assert named > 3


def test_rows_are_flushed_before_the_journal_counts_them(
    model: ancestral.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, replace = os.fsync, os.replace
    flushed: dict[int, int] = {}
    journals: list[int] = []
    folders: list[int] = []

    def on_fsync(file: int) -> None:
        fsync(file)
        status = os.fstat(file)
        flushed[status.st_ino] = status.st_size
        if stat.S_ISDIR(status.st_mode):  # of the new name, while there is still something to go on from
            assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "x.npy.part"]
            assert (tmp_path / "x.npy.part" / "journal.json").exists()
            folders.append(file)

    def on_replace(source: Path, target: Path) -> None:
        assert flushed[source.stat().st_ino] == source.stat().st_size
        if target.name == "journal.json":
            done = json.loads(source.read_bytes())["done"]
            rows = (target.parent / "rows.npy").stat()
            assert flushed[rows.st_ino] == rows.st_size == 128 + 11 * done
            journals.append(done)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", on_fsync)
    monkeypatch.setattr(os, "replace", on_replace)
    model.sample_to(tmp_path / "x.npy", N, batch_size=16)
    assert journals == [16, 32, 40, 40]
    assert len(folders) == 1


def test_a_flush_is_not_made_for_every_batch(
    model: ancestral.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "FLUSH_SECONDS", 1000)
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    model.sample_to(tmp_path / "x.npy", N, batch_size=1)
    assert len(calls) == 3  # rows, journal, the folder with the new name


# --- full disks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk(format: str, model: ancestral.Model, tmp_path: Path, run_python: Callable[..., str]) -> None:
    """Here a limit on the size of files. While rows are written, or while Arrow and Parquet are made of them."""
    keywords = keywords_of(format)
    model.save(tmp_path / "model")
    expected = model.sample_to(tmp_path / "expected", 4000, rng=0, **keywords)
    limit = expected.stat().st_size * 2 // 3
    script = """
        import os, resource
        from pathlib import Path
        import ancestral
        from ancestral._sample_file import part

        part.FLUSH_SECONDS = 0
        folder = Path(os.environ["FOLDER"])
        model = ancestral.load(folder / "model")
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LIMIT"]), resource.RLIM_INFINITY))
        try:
            model.sample_to(folder / "x", 4000, batch_size=250, rng=0, **eval(os.environ["KEYWORDS"]))
        except OSError as error:
            print(type(error).__name__, error.errno)
        """
    printed = run_python(script, FOLDER=str(tmp_path), LIMIT=str(limit), KEYWORDS=repr(keywords))
    assert printed.split() == ["OSError", str(errno.EFBIG)]
    assert not (tmp_path / "x").exists()
    done = json.loads((tmp_path / "x.part" / "journal.json").read_bytes())["done"]
    assert 0 < done <= 4000
    model.sample_to(tmp_path / "x", 4000, rng=0, **keywords)
    assert (tmp_path / "x").read_bytes() == expected.read_bytes()
    assert not (tmp_path / "x.part").exists()


def test_no_room_for_the_journal(model: ancestral.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = interrupted(model, tmp_path / "x.npy", rng=0)
    fsync = os.fsync

    def full(file: int) -> None:
        if os.path.samestat(os.fstat(file), (folder / "rows.npy").stat()):
            return fsync(file)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            model.sample_to(tmp_path / "x.npy", N, rng=0)
    assert first_row(model, tmp_path / "x.npy", rng=0) == 16
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), model.sample(N, rng=0))
