"""Training runs that are killed. torch is imported once, here, and each run is a fork: what is killed is training."""

from __future__ import annotations

import io
import os
import pickle
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch

from ancestral import _checkpoint, fit
from ancestral.history import History
from ancestral.nn import FVSBN, NADE
from support import crash

MODULES = {"FVSBN": lambda: FVSBN(16), "NADE": lambda: NADE(16, 8), "NADE, averaged": lambda: NADE(16, 8)}
X = np.random.default_rng(0).integers(0, 2, (1000, 16), dtype=np.uint8)
EPOCHS = 60
KILLS = 8
MOST_EVENTS = 2 * EPOCHS // KILLS - 2  # before a kill, so that the run does not end before the last one
Event: TypeAlias = Callable[[], None]
Result: TypeAlias = tuple[dict[str, bytes], History]

torch.set_num_threads(1)


def train(kind: str, epochs: int, checkpoint: Path | None = None) -> Result:
    """The bits of the weights, and the history."""
    torch.manual_seed(0)
    module = MODULES[kind]()
    settings: dict[str, Any] = {"lr": 0.02, "patience": None, "average": 0.9 if "averaged" in kind else None}
    history = fit(module, X, X[:200], epochs=epochs, checkpoint=checkpoint, progress=False, **settings)
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}, history


class Run:
    """A run in a process of its own, which writes what `train` gives to `result`.

    It may tell of events and wait for a permit after each: the functions that `prepare` is given.
    """

    def __init__(
        self, kind: str, epochs: int, checkpoint: Path | None, result: Path, prepare: Callable[[Event], None]
    ) -> None:
        self._events, events = os.pipe()
        permits, self._permits = os.pipe()

        def event() -> None:
            os.write(events, b".")
            os.read(permits, 1)

        if (child := os.fork()) == 0:
            try:
                os.close(self._permits)  # it ends with the parent's end
                prepare(event)
                result.write_bytes(pickle.dumps(train(kind, epochs, checkpoint)))
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(events)
        os.close(permits)
        self._child = child

    def let_through(self, events: int) -> None:
        """Wait for so many; the run goes on to the next."""
        for _ in range(events):
            assert os.read(self._events, 1), "the run has ended"
            os.write(self._permits, b".")

    def kill(self) -> None:
        os.kill(self._child, signal.SIGKILL)

    def killed(self) -> bool:
        """Whether it was, or else ended well, without waiting for permits."""
        os.close(self._permits)
        status = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        os.close(self._events)
        assert status in (0, -signal.SIGKILL), status
        return status != 0


def tell_of_writes(event: Event) -> None:
    """An event now, and before and after each checkpoint is written."""
    write = _checkpoint.write

    def told(file: Path, state: dict[str, Any]) -> None:
        event()
        write(file, state)
        event()

    _checkpoint.write = told
    event()


def die_at(step: int) -> Callable[[Event], None]:
    """SIGKILL before the 1st, 2nd, ... step that changes what others see."""
    counted = crash.before(step, lambda: os.kill(os.getpid(), signal.SIGKILL))

    def prepare(_: Event) -> None:
        replacing = _checkpoint.replacing

        @contextmanager
        def in_pieces(*arguments: Any) -> Iterator[BinaryIO]:
            with (
                replacing(*arguments) as file,
                io.BufferedWriter(Counted(file.fileno(), "w", closefd=False), 2048) as pieces,
            ):
                yield pieces

        class Counted(io.FileIO):
            write = counted(io.FileIO.write)

        _checkpoint.replacing = in_pieces
        os.fsync, os.replace, Path.unlink = counted(os.fsync), counted(os.replace), counted(Path.unlink)

    return prepare


def uninterrupted(kind: str, epochs: int, folder: Path) -> Result:
    assert not Run(kind, epochs, None, folder / "whole", lambda _: None).killed()
    return result_of(folder / "whole")


def result_of(file: Path) -> Result:
    result: Result = pickle.loads(file.read_bytes())
    return result


def epochs_done(run: Path) -> int:
    """Those in the checkpoint, which is absent or can be read, with at most one file beside it."""
    file = run / "run.pt"
    assert set(os.listdir(run)) <= {file.name, file.name + ".tmp"}, os.listdir(run)
    return len(torch.load(file, weights_only=True)["history"]["epochs"]) if file.exists() else 0


def at_random(kind: str, folder: Path) -> None:
    """Prints what was done when it was killed."""
    expected = uninterrupted(kind, EPOCHS, folder)
    run, result, when = folder / "run", folder / "result", random.Random(kind)
    run.mkdir()
    done = [0]
    for _ in range(KILLS):
        child = Run(kind, EPOCHS, run / "run.pt", result, tell_of_writes)
        child.let_through(when.randint(1, MOST_EVENTS))
        time.sleep(when.choice([0, when.uniform(0, 0.001), when.uniform(0, 0.02)]))  # or in the next event
        child.kill()
        assert child.killed()
        done.append(epochs_done(run))
    assert not Run(kind, EPOCHS, run / "run.pt", result, tell_of_writes).killed()
    assert result_of(result) == expected
    assert done == sorted(done), done
    assert os.listdir(run) == ["run.pt"]
    print(done)


def at_every_step(folder: Path) -> None:
    """Prints how many steps there are."""
    expected = uninterrupted("NADE", 2, folder)
    run, result = folder / "run", folder / "result"
    run.mkdir()
    step, left = 1, 0
    while Run("NADE", 2, run / "run.pt", result, die_at(step)).killed():
        epochs_done(run)
        left += (run / "run.pt.tmp").exists()
        assert not Run("NADE", 2, run / "run.pt", result, lambda _: None).killed()
        assert result_of(result) == expected
        assert os.listdir(run) == ["run.pt"]
        (run / "run.pt").unlink()
        step += 1
    print(step, left)
