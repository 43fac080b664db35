"""Training that was killed, or whose disk was full: the same call goes on, to the bits of a run without a stop."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from support.scripts import environment

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forks of a process that has imported torch")


@pytest.mark.parametrize("kind", ["FVSBN", "NADE", "NADE, averaged"])
def test_kill_9_at_random_moments(kind: str, run_python: Callable[..., str], tmp_path: Path) -> None:
    """Until it ends by itself. The checkpoint is readable after each kill and never goes back."""
    run_python(
        f"from support import killed; import pathlib; killed.at_random({kind!r}, pathlib.Path({str(tmp_path)!r}))"
    )


def test_kill_9_at_every_step_of_writing_a_checkpoint(run_python: Callable[..., str], tmp_path: Path) -> None:
    """What is left of a write, one file at most, is removed by the next run."""
    printed = run_python(
        f"from support import killed; import pathlib; killed.at_every_step(pathlib.Path({str(tmp_path)!r}))"
    )
    steps, left_something = map(int, printed.split())
    assert steps > 20
    assert left_something > 10


FULL = """
    import os, resource, sys
    from pathlib import Path

    import torch
    from support import killed
    from ancestral import _checkpoint

    folder = Path(os.environ["FOLDER"])
    file, filler = folder / "run.pt", folder / "filler"

    def fill(room):
        if sys.argv[1] == "limit":
            return resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        with open(filler, "wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                stream.truncate(stream.tell() - room)

    def free():
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        filler.unlink(missing_ok=True)

    def write_third(file, state):
        if len(state["history"]["epochs"]) == 3:
            fill(room)
        write(file, state)

    write = _checkpoint.write
    expected = killed.train("NADE", 5)
    for room in (0, 4096, 8192):  # it takes 12 kB
        _checkpoint.write = write_third
        try:
            killed.train("NADE", 5, file)
        except OSError as error:
            print(error.strerror)
            assert error.filename == str(file)
            assert str(file) in str(error)
        else:
            raise SystemExit("no error")
        assert set(os.listdir(folder)) - {"filler"} == {"run.pt"}, os.listdir(folder)
        assert len(torch.load(file, weights_only=True)["history"]["epochs"]) == 2
        free()
        _checkpoint.write = write
        assert killed.train("NADE", 5, file) == expected
        file.unlink()
"""
# A disk of our own that goes with the process, for those who may not mount any.
SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount"]
MOUNT = 'mount -t tmpfs -o size=256k none "$FOLDER" && exec "$@"'


@pytest.mark.parametrize("disk", ["limit", "tmpfs"])
def test_a_full_disk_keeps_the_last_checkpoint(disk: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(FULL), disk]
    variables = environment(FOLDER=str(tmp_path))
    if disk == "tmpfs":
        mounted = [*SMALL_DISK, "sh", "-c", MOUNT, "sh"]
        if not shutil.which("unshare") or subprocess.run([*mounted, "true"], env=variables, check=False).returncode:
            pytest.skip("no tmpfs can be mounted here")
        command = mounted + command
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == 3 * ["File too large" if disk == "limit" else "No space left on device"]


def test_a_checkpoint_may_be_a_link_to_another_disk(run_python: Callable[..., str], tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    folder = other / f"ancestral-{os.getpid()}"
    folder.mkdir()
    try:
        (tmp_path / "run.pt").symlink_to(folder / "target.pt")
        run_python(
            f"""
            from support import killed; import pathlib
            file = pathlib.Path({str(tmp_path)!r}, "run.pt")
            assert killed.train("FVSBN", 2, file) == killed.train("FVSBN", 2) == killed.train("FVSBN", 2, file)
            """
        )
        assert (tmp_path / "run.pt").is_symlink()
        assert os.listdir(folder) == ["target.pt"]
        assert os.listdir(tmp_path) == ["run.pt"]
    finally:
        shutil.rmtree(folder)
