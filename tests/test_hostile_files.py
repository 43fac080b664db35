"""Files made to do harm: to memory, terminals, logs, and to whoever opens a device. The rest: test_damaged_files.py."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral
from support.cases import Case, build_case
from support.families import EVERY_SMALL, NADE, PixelCNN
from support.model_file import Header, file_of, join, split

FLOATS = {"W": (5, 3), "c": (3,), "V": (5, 3), "b": (5,)}
CONFIG = NADE.config(5, 3)


def nade_tensors(dtype: Any = np.float32) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, dtype) for name, shape in FLOATS.items()}


def refused(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "attack.safetensors"
    path.write_bytes(content)
    with pytest.raises(ancestral.FormatError) as error:
        ancestral.load(path)
    return str(error.value)


# --- every bit -------------------------------------------------------------------------------------------


ONE_BIT = [name for name, (family, config) in EVERY_SMALL.items() if family.classes(config).tolist() == [2]]


@pytest.mark.parametrize("name", ONE_BIT)
def test_any_bit_of_the_file_changed(name: str, tmp_path: Path) -> None:
    """A FormatError, or a model whose answers are numbers or an OverflowError."""
    case = build_case(*EVERY_SMALL[name])
    path = tmp_path / "model.safetensors"
    case.model.save(path)
    content = path.read_bytes()
    header, size = len(content) - len(split(content)[1]), 8 * len(content)
    bits = [*range(size)]
    if len(content) > 1000:  # of a long header one bit a byte, of many weights some
        bits = [8 * byte + byte % 8 for byte in range(header)] + [*range(8 * header, size, -(-size // 8000))]
    x = case.events(2)
    n_accepted = 0
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            model = ancestral.load(path)
            n_accepted += 1
            if model.event_shape == case.model.event_shape:
                assert (model.log_prob(x) <= 0).all()
                assert model.sample(2, rng=0).max() < model.n_classes
        except (ancestral.FormatError, OverflowError):
            continue
    assert 0 < n_accepted < len(bits)


# --- memory ----------------------------------------------------------------------------------------------

PEAK = """
import os, sys
import ancestral

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

path = os.environ["MODEL"]
before = peak()
try:
    model = ancestral.load(path)
    print("loaded", model.n_dims)
except ancestral.FormatError as error:
    assert len(str(error)) < 2000
    print("refused")
print((peak() - before) / (os.path.getsize(path) + 1e6))
"""


def with_header(change: Callable[[Header], None]) -> bytes:
    header, data = split(file_of("NADE", CONFIG, nade_tensors()))
    change(header)
    return join(json.dumps(header, separators=(",", ":")), data)


def long_config(header: Header) -> None:
    config = {**CONFIG, "order": [0] * 2_000_000}
    header["__metadata__"]["config"] = json.dumps(config, separators=(",", ":"))


def many_tensors(n: int) -> bytes:
    return file_of("NADE", CONFIG, {**nade_tensors(), **{str(i): np.zeros(0, np.float32) for i in range(n)}})


def image(height: int, width: int, **sizes: int) -> bytes:
    """A PixelCNN of a small image's weights, which fit any other."""
    small = PixelCNN.config((1, 3, 4), **sizes)
    tensors = PixelCNN.random_tensors(small, np.random.default_rng(0), 1.0)
    return file_of("PixelCNN", {**small, "event_shape": [1, height, width]}, tensors)


MEMORY: dict[str, tuple[Callable[[], bytes], str]] = {
    "a long list in the config": (lambda: with_header(long_config), "refused"),
    "a long list in a shape": (lambda: with_header(lambda h: h["W"]["shape"].extend([1] * 2_000_000)), "refused"),
    "many empty tensors": (lambda: many_tensors(50_000), "refused"),
    "a long key": (lambda: file_of("NADE", {**CONFIG, "k" * 5_000_000: 0}, nade_tensors()), "refused"),
    "a long kind": (lambda: file_of("N" * 5_000_000, CONFIG, nade_tensors()), "refused"),
    "an image of 16 million pixels": (lambda: image(4096, 4096), "loaded 16777216"),
    "an image of more": (lambda: image(4096, 4097), "refused"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_a_small_multiple_of_the_file(name: str, run_python: Callable[..., str], tmp_path: Path) -> None:
    make, expected = MEMORY[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(make())
    outcome, ratio = run_python(PEAK, MODEL=str(path)).splitlines()
    assert outcome == expected
    assert float(ratio) < 32


def test_no_memory_is_an_exception(run_python: Callable[..., str], tmp_path: Path) -> None:
    """A small file can describe an image whose activations fit no machine: MemoryError, and the process lives on."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(image(1, 2**24, n_channels=32, n_blocks=2))
    script = """
    import os, resource
    import ancestral
    resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
    model = ancestral.load(os.environ["MODEL"])
    for n in (2, 100):
        try:
            model.sample(n, rng=0, threads=1)
        except MemoryError as error:
            print("no memory", error)
    """
    assert run_python(script, MODEL=str(path)).count("of activations") == 2


# --- messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["kind", "format", "version", "tensor", "key of the config"])
def test_messages_are_short_and_plain(where: str, tmp_path: Path) -> None:
    """What a file says of itself can neither fill a log nor steer a terminal."""
    evil = "\x1b[2J\x07\r\n\x9b31m" + "x" * 100_000
    header, data = split(file_of("NADE", CONFIG, nade_tensors()))
    if where == "tensor":
        header[evil] = header.pop("c")
    elif where == "key of the config":
        header["__metadata__"]["config"] = json.dumps({**CONFIG, evil: 0})
    else:
        header["__metadata__"][where] = evil
    message = refused(tmp_path, join(header, data))
    assert len(message) < 2000
    assert message.isprintable()


# --- what is no ordinary file ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/urandom", "/proc/kcore", "/dev/null", "/proc/self/maps"])
def test_devices(path: str, run_python: Callable[..., str]) -> None:
    """Refused by the first bytes: some never end."""
    if not os.access(path, os.R_OK):
        pytest.skip(f"there is no {path} here")
    script = """
    import os
    import ancestral
    try:
        ancestral.load(os.environ["MODEL"])
    except (ancestral.FormatError, OSError):
        print("refused")
    """
    assert run_python(script, MODEL=path) == "refused\n"


def test_a_pipe(tmp_path: Path) -> None:
    """A model may come through a pipe, however it is cut into pieces."""
    model = build_case(*EVERY_SMALL["nade"]).model
    model.save(tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with open(pipe, "wb", buffering=0) as file:
            for at in range(0, len(content), 5):
                file.write(content[at : at + 5])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert repr(ancestral.load(pipe)) == repr(model)
    finally:
        writer.join()


# --- parts -----------------------------------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def circular() -> dict[str, Any]:
    config: dict[str, Any] = dict(CONFIG)
    config["order"] = config
    return config


WRONG_PARTS: dict[str, tuple[str, Any, type[Exception], str]] = {
    "kind None": ("kind", None, TypeError, "kind"),
    "kind bytes": ("kind", b"NADE", TypeError, "kind"),
    "kind surrogate": ("kind", "\ud800", ValueError, "kind"),
    "kind unknown": ("kind", "\x1b[2J" * 100_000, ancestral.FormatError, "kind"),
    "config nested": ("config", {**CONFIG, "order": nested(100_000)}, ValueError, "config"),
    "config nested less": ("config", {**CONFIG, "order": nested(200)}, ancestral.FormatError, "config"),
    "config circular": ("config", circular(), ValueError, "config"),
    "config a set": ("config", {**CONFIG, "order": {1}}, TypeError, "config"),
    "config an array": ("config", {**CONFIG, "order": np.arange(5)}, TypeError, "config"),
    "config a number beyond": ("config", {**CONFIG, "n_dims": 10**5000}, ValueError, "config"),
    "config NaN": ("config", {**CONFIG, "n_dims": np.nan}, ancestral.FormatError, "config"),
    "config surrogate": ("config", {**CONFIG, "order": "\ud800"}, ancestral.FormatError, "config"),
    "config keys": ("config", {**CONFIG, (1,): 0}, TypeError, "config"),
    "config a key twice": ("config", {**CONFIG, 1: 0, "1": 0}, ancestral.FormatError, "config"),
    "config long": ("config", {**CONFIG, "order": [0] * 10**6}, ancestral.FormatError, "config"),
    "config a list": ("config", list(CONFIG.items()), TypeError, "config"),
    "tensors a list": ("tensors", list(nade_tensors().items()), TypeError, "tensors"),
    "tensor name a number": ("tensors", {**nade_tensors(), 1: np.zeros(1)}, TypeError, "tensor"),
    "tensor name surrogate": ("tensors", {**nade_tensors(), "\ud800": np.zeros(1)}, ValueError, "tensor"),
    "tensor integers": ("tensors", nade_tensors(np.int64), TypeError, "tensors"),
    "tensor bools": ("tensors", nade_tensors(bool), TypeError, "tensors"),
    "tensor ragged": ("tensors", {**nade_tensors(), "c": [[1.0], [1.0, 2.0]]}, ValueError, "tensors"),
    "tensor beyond float32": ("tensors", {**nade_tensors(), "c": np.full(3, 1e300)}, ancestral.FormatError, "tensor"),
    "tensor NaN": ("tensors", {**nade_tensors(), "V": np.full((5, 3), np.nan)}, ancestral.FormatError, "tensor"),
    "tensor larger than memory": (
        "tensors",
        {**nade_tensors(), "W": np.broadcast_to(np.float32(0), (2**22, 2**22))},
        MemoryError,
        "array",
    ),
    "tensors too large for a logit": (
        "tensors",
        {**nade_tensors(), "b": np.full(5, 3e38, np.float32)},
        ancestral.FormatError,
        "output 0",
    ),
}


@pytest.mark.parametrize("name", WRONG_PARTS)
def test_wrong_parts(name: str, tmp_path: Path) -> None:
    part, value, error, word = WRONG_PARTS[name]
    parts = {"kind": "NADE", "config": CONFIG, "tensors": nade_tensors(), part: value}
    with pytest.raises(error, match=word) as caught:
        ancestral.Model.from_tensors(**parts)
    assert len(str(caught.value)) < 2000


def test_weights_at_the_ends_of_float32() -> None:
    """Denormal and enormous weights that are accepted give probabilities."""
    for scale in (1e-45, 1e-38, 1e4, 1e18, 1e36):
        case: Case = build_case(*EVERY_SMALL["nade"], scale=1.0)
        tensors = {name: (value * np.float32(scale)).astype(np.float32) for name, value in case.tensors.items()}
        model = case.family.model(case.config, tensors)
        x, log_prob = model.sample_and_log_prob(50, rng=0)
        assert (log_prob <= 0).all()
        probs = model.conditionals(x)
        assert ((probs >= 0) & (probs <= 1)).all()
