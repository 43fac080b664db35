"""Answer range queries on a table with an autoregressive model, and compare them with the true counts.

    python examples/range_queries.py --out range-queries

The table: the diagnosis, which has two values, and ten measured columns of 569 tumours (breast cancer Wisconsin, which
ships with scikit-learn), each cut into 16 bins with about as many rows. A PixelCNN over a picture of one row and eleven
columns learns their joint distribution; `prob_range` then estimates how many rows lie in random boxes (Naru: Yang et
al., VLDB 2019). The q-error of an estimate is max(estimate, count) / min(estimate, count), both at least 1. Beside it:
columns taken as independent, as most databases do.

A model has the same number of values for all columns, here 16, so it gives a diagnosis of 2 to 15 a small probability.
To forbid values outside a column's domain, condition on the domains S: p(x | S) = p(x) / P(S) within them, 0 outside.
`prob_range` tells P(S), without error where the narrower columns come first, as here. Draws are kept if they lie in S
(`draw_within`): these are exact draws from p(x | S).

Writes the model, a table of 569 rows drawn from it and a picture of estimates against counts into the folder OUT.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer

import ancestral
from ancestral.nn import PixelCNN

N_MEASURED, N_BINS = 10, 16
SIZES = np.array([2] + [N_BINS] * N_MEASURED)
"""How many values each column has: its domain is 0 to SIZES - 1."""


def read_table() -> np.ndarray:
    """The diagnosis and the first ten measured columns in bins, (569, 11)."""
    data = load_breast_cancer()
    values = data.data[:, :N_MEASURED]
    cuts = np.quantile(values, np.arange(1, N_BINS) / N_BINS, axis=0)
    bins = (values[:, None] >= cuts).sum(axis=1)
    return np.column_stack([data.target, bins]).astype(np.uint8)


def random_boxes(table: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ranges around random rows of the table, in two to five of the columns; the others have their whole domain."""
    low, high = np.zeros((n, len(SIZES)), int), np.tile(SIZES - 1, (n, 1))
    for i, row in enumerate(table[rng.integers(0, len(table), n)].astype(int)):
        columns = rng.choice(len(SIZES), rng.integers(2, 6), replace=False)
        below, above = rng.integers(0, SIZES[columns] // 2, (2, len(columns)))
        low[i, columns] = np.maximum(row[columns] - below, 0)
        high[i, columns] = np.minimum(row[columns] + above, SIZES[columns] - 1)
    return low, high


def draw_within(model: ancestral.Model, sizes: np.ndarray, n: int, rng: int) -> np.ndarray:
    """The first n samples of which all values are within their columns' domains: draws from p(x | the domains).

    `sizes` has the event's shape, and each column's number of values.
    """
    rows = np.empty((0, *model.event_shape), np.uint8)
    for batch in model.sample_batches(None, n, rng=rng):
        within = (batch < sizes).reshape(len(batch), -1).all(axis=1)
        rows = np.concatenate([rows, batch[within]])
        if len(rows) >= n:
            break
    return rows[:n]


def independent(table: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The probability of each box if the columns were independent."""
    shares = (table >= low[:, None]) & (table <= high[:, None])
    return shares.mean(axis=1).prod(axis=1)


def entropy(column: np.ndarray) -> float:
    """Of a column's own distribution in the table, in nats."""
    shares = np.bincount(column) / len(column)
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log(shares)))


def q_errors(estimates: np.ndarray, counts: np.ndarray) -> np.ndarray:
    estimates, counts = np.maximum(estimates, 1), np.maximum(counts, 1)
    return np.maximum(estimates, counts) / np.minimum(estimates, counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("range-queries"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=100, help="passes over the table (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=500, help="random boxes (default: %(default)s)")
    parser.add_argument("--paths", type=int, default=1000, help="paths for each query (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    table = read_table()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # more would only wait for each other in so small a model
    shape = (1, 1, len(SIZES))
    # Each column sees all before it, as values 1 to 16: what is beyond the border is 0, and so tells where it stands.
    module = PixelCNN(shape, N_BINS, n_channels=32, n_blocks=7, n_head=32, input_scale=1.0, input_shift=1.0)
    began = time.perf_counter()
    history = ancestral.fit(module, table.reshape(-1, *shape), epochs=args.epochs, batch_size=50, rng=args.seed)
    print(
        f"trained {time.perf_counter() - began:.0f} s: {history.train_nll[-1]:.2f} nats a row, "
        f"{sum(map(entropy, table.T)):.2f} if the columns were independent"
    )
    model = ancestral.from_torch(module)
    model.save(args.out / "table.safetensors")

    sizes = SIZES.reshape(shape)
    domains = model.prob_range(high=sizes - 1, rng=args.seed)
    print(f"values outside a column's domain have probability {1 - domains.value:.6f}")
    drawn = draw_within(model, sizes, len(table), args.seed).reshape(-1, len(SIZES))
    np.savetxt(args.out / "drawn.csv", drawn, fmt="%d", delimiter=",")

    low, high = random_boxes(table, args.queries, np.random.default_rng(args.seed))
    inside = (table >= low[:, None]) & (table <= high[:, None])
    counts = inside.all(axis=2).sum(axis=1)
    began = time.perf_counter()
    found = model.prob_range(low.reshape(-1, *shape), high.reshape(-1, *shape), n_paths=args.paths, rng=args.seed)
    seconds = time.perf_counter() - began
    print(
        f"{args.queries} queries in {seconds:.1f} s, {args.paths} paths each; "
        f"median relative standard error {np.median(found.standard_error / found.value):.3f}\n"
    )

    within = found.value / domains.value  # P(x in the box | x in the domains)
    estimates = {"model": within * len(table), "independence": independent(table, low, high) * len(table)}
    print(f"{'q-error':<14}{'median':>8}{'90 %':>8}{'95 %':>8}{'99 %':>8}{'largest':>9}")
    for name, estimate in estimates.items():
        errors = q_errors(estimate, counts)
        quantiles = np.quantile(errors, [0.5, 0.9, 0.95, 0.99])
        print(f"{name:<14}" + "".join(f"{q:8.2f}" for q in quantiles) + f"{errors.max():9.2f}")
    draw(estimates, counts, args.out / "estimates.png")


def draw(estimates: dict[str, np.ndarray], counts: np.ndarray, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    colours = {"model": "#1f5fa8", "independence": "#c0504d"}
    for name, estimate in estimates.items():
        axes.plot(np.maximum(counts, 1), np.maximum(estimate, 1), ".", label=name, color=colours[name], alpha=0.6)
    axes.axline((1, 1), slope=1, color="#9aa5b1", zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="rows in the box", ylabel="estimate")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    main()
