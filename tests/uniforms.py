"""The random numbers as the samplers use them, seen through `sample`: models without weights, whose values are plain.

python tests/uniforms.py check                             what `make statistics` runs
python tests/uniforms.py stream bits | RNG_test stdin32    for batteries that read a stream: PractRand, dieharder
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats
from tqdm import tqdm

import ancestral
from support import battery
from support.families import FVSBN, Family, PixelCNN
from support.oracle import Config

# Neighbours, and seeds that differ in one bit of their upper half.
SEEDS = [*range(32), *(2**k for k in range(32, 64))]


def without_weights(family: Family, config: Config) -> ancestral.Model:
    weights = family.weights(config, np.random.default_rng(0))
    return family.model(config, {name: np.zeros(value.shape, np.float32) for name, value in weights.items()})


def coins() -> ancestral.Model:
    """256 fair bits: the top bit of each uniform."""
    return without_weights(FVSBN, FVSBN.config(256))


def bytes_() -> ancestral.Model:
    """256 values of 256 classes: the top byte of each uniform."""
    return without_weights(PixelCNN, PixelCNN.config((1, 16, 16), 256, n_channels=2, n_blocks=0, n_head=1))


SOURCES: dict[str, Callable[[], ancestral.Model]] = {"bits": coins, "bytes": bytes_}


def values(model: ancestral.Model, seeds: Sequence[int], n: int, start: int = 0) -> npt.NDArray[np.uint8]:
    """(seed, sample, dimension)."""
    return np.stack([model.sample(n, rng=seed, start=start).reshape(n, -1) for seed in seeds])


def orders(x: npt.NDArray[np.uint8], n_classes: int) -> Iterator[tuple[str, battery.Bits]]:
    """The same values as three streams of bits: neighbours are dimensions, samples, or seeds."""
    for axis, name in [(2, "dimensions"), (1, "samples"), (0, "seeds")]:
        stream = np.moveaxis(x, axis, -1).reshape(-1)
        yield name, stream if n_classes == 2 else np.unpackbits(stream)


def check(source: str, n_values: int) -> dict[str, list[float]]:
    """The p-values of every test in every order, one for each chunk of values."""
    model = SOURCES[source]()
    n = 2048 if source == "bits" else 256
    per_chunk = len(SEEDS) * n * model.n_dims
    found: dict[str, list[float]] = {}
    for chunk in tqdm(range(-(-n_values // per_chunk)), desc=source):
        for order, stream in orders(values(model, SEEDS, n, chunk * n), model.n_classes):
            for test, p in battery.p_values(stream).items():
                found.setdefault(f"{source}, neighbours are {order}: {test}", []).append(p)
    return found


def report(found: dict[str, list[float]]) -> bool:
    """Prints what is strangest; whether fair bits would give it. Over the chunks, p-values should be uniform."""
    uniform = {name: float(stats.kstest(p, "uniform").pvalue) for name, p in found.items()}
    for name in sorted(uniform, key=lambda name: uniform[name])[:5]:
        print(
            f"{name}: {len(found[name])} p-values from {min(found[name]):.1e} to 1 - {1 - max(found[name]):.1e}, "
            f"which are uniform: p = {uniform[name]:.1e}"
        )
    everything = np.concatenate(list(found.values()))
    extreme = min(1.0, 2 * len(everything) * min(everything.min(), 1 - everything.max()))
    uneven = min(1.0, len(uniform) * min(uniform.values()))
    print(f"The most extreme of {len(everything)} p-values: p = {extreme:.3f} when corrected for their number.")
    print(f"The least uniform of {len(uniform)} tests: p = {uneven:.3f} when corrected for their number.")
    return min(extreme, uneven) > 0.001


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("check", help="the package's own battery")
    run.add_argument("--bits", type=float, default=1e9, help="how many fair bits")
    run.add_argument("--bytes", type=float, default=1e8, help="how many bytes")
    stream = commands.add_parser("stream", help="raw bytes to standard output, without end")
    stream.add_argument("source", choices=SOURCES)
    arguments = parser.parse_args()
    if arguments.command == "stream":
        write(arguments.source)
    elif not report(check("bits", int(arguments.bits)) | check("bytes", int(arguments.bytes))):
        sys.exit("not what fair bits would give")


def write(source: str) -> None:
    model, n = SOURCES[source](), 4096
    for i in itertools.count():
        x = model.sample(n, rng=0, start=i * n)
        sys.stdout.buffer.write((np.packbits(x) if model.n_classes == 2 else x).tobytes())


if __name__ == "__main__":
    main()
