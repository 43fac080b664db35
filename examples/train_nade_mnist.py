"""Train a NADE on the full static binarized MNIST, and score its test set.

    python examples/train_nade_mnist.py --out nade-mnist

Published for 500 hidden units: 88.33 nats (as reported by Germain, Gregor, Murray, Larochelle, MADE, ICML 2015).
The set is downloaded once (110 MB), or read from the folder that ANCESTRAL_DATA names. Writes the model, the curve
and samples into the folder OUT; a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import ancestral
from ancestral import plot
from ancestral.nn import NADE

PUBLISHED = 88.33


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("nade-mnist"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--hidden", type=int, default=500, help="hidden units (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the 50,000 digits (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=5e-3, help="highest learning rate (default: %(default)s)")
    parser.add_argument("--weight-decay", type=float, default=0.0, help="of AdamW (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the order (default: %(default)s)")
    parser.add_argument("--examples", type=int, help="use so many digits of each part, to try it out")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    train, valid, test = (part[: args.examples] for part in ancestral.datasets.binarized_mnist())
    torch.manual_seed(args.seed)
    module = NADE(train.shape[1], args.hidden)
    began = time.perf_counter()
    history = ancestral.fit(
        module,
        train,
        valid,
        epochs=args.epochs,
        lr=args.lr,
        weight_decay=args.weight_decay,
        rng=args.seed,
        checkpoint=args.out / "checkpoint.pt",
    )
    seconds = time.perf_counter() - began
    model = ancestral.from_torch(module)
    model.save(args.out / "nade.safetensors")

    print(f"{'epoch':>5}{'train NLL':>12}{'valid NLL':>12}{'seconds':>10}")
    for row in zip(history.epochs, history.train_nll, history.valid_nll, history.seconds, strict=True):
        print("{:5d}{:12.3f}{:12.3f}{:10.1f}".format(*row))
    log_prob = model.log_prob(test)
    error = log_prob.std() / len(test) ** 0.5
    print(f"\n{seconds:.0f} s, seed {args.seed}, {torch.get_num_threads()} threads, best epoch {history.best_epoch}")
    print(f"test NLL {-log_prob.mean():.3f} ± {error:.3f} nats (published for 500 hidden units: {PUBLISHED})")

    plot.history(history).figure.savefig(args.out / "curve.png", dpi=160)
    samples = model.sample(100, rng=args.seed).reshape(-1, 28, 28)
    plot.image_grid(samples, n_rows=10, n_cols=10, cmap="gray_r").figure.savefig(args.out / "samples.png", dpi=160)


if __name__ == "__main__":
    main()
