"""What models with simple weights give, to the bit: kept in references.json, which `make references` writes.

What a seed gives is a promise. If an entry of the file changes, the same commit says so in CHANGELOG.md.

Weights and events are integers of a bit generator, whose stream NumPy keeps (unlike those of its distributions), times
powers of two: the same on any machine and with any NumPy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from support import bits
from support.cases import Case, case_of
from support.families import REFERENCES
from support.oracle import Events

FILE = Path(__file__).with_suffix(".json")
N = 45
START = 2**33
SCALES = [1, 4, 16, 256]

NAMES = [f"{name} x {scale}" for name in REFERENCES for scale in SCALES]


def build(name: str) -> Case:
    """The model of this name with weights between −1 and 1, of 24 bits so that sums of them round, times a power of
    two near 1/√inputs."""
    model, scale = name.split(" x ")
    family, config = REFERENCES[model]
    raw = np.random.PCG64(0)
    tensors = {}
    for key, like in family.random_tensors(config, np.random.default_rng(0), 1.0).items():
        uniform = ((raw.random_raw(like.size) >> 40) * 2.0 + 1.0).reshape(like.shape) / 2**24 - 1.0
        n_inputs = max(1, np.count_nonzero(like) // len(like)) if like.ndim > 1 else 1
        factor = 2.0 ** -round(np.log2(n_inputs) / 2) * (float(scale) if key in family.last_layer(config) else 1.0)
        tensors[key] = np.where(like != 0, uniform * factor, 0).astype(np.float32)
    return case_of(family, config, tensors)


def events(case: Case) -> Events:
    shape = (N, *case.model.event_shape)
    raw = np.random.PCG64(1).random_raw(math.prod(shape))
    return ((raw >> 32).reshape(shape) % case.classes.astype(np.uint64)).astype(case.dtype)


def measure(name: str) -> dict[str, Any]:
    """Two draws and their log-probabilities in the clear, and digests of what each operation gives for N rows."""
    case = build(name)
    x = events(case)
    draws, log_prob = case.model.sample_and_log_prob(2, rng=bits.SEED, start=START)
    digests = {}
    for key, operation in (bits.SCORES | bits.DRAWS | bits.WHOLE).items():
        results = bits.run(operation, case, x, START)
        if results:
            shapes = " ".join(f"{array.dtype} {array.shape}" for array in results)
            data = b"".join(array.tobytes() for array in results)
            digests[key] = hashlib.sha256(shapes.encode() + data).hexdigest()[:32]
    return {
        "sample": [" ".join(map(str, row.ravel())) for row in draws],
        "log_prob": log_prob.tolist(),
        "sha256": digests,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name} instead of standard output")
    text = json.dumps({name: measure(name) for name in NAMES}, indent=1) + "\n"
    if parser.parse_args().write:
        FILE.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
