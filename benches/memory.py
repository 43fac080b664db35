"""What a call needs beyond its output: `python -m benches.memory N` draws N samples in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
import time

from benches.models import fvsbn

N_DIMS = 64


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(n: int) -> None:
    model = fvsbn(N_DIMS, ones=0.13)
    model.sample(1, rng=0, progress=False)
    before = peak_bytes()
    started = time.perf_counter()
    output = model.sample(n, rng=0, progress=False).nbytes
    seconds = time.perf_counter() - started
    print(json.dumps({"n": n, "us": seconds / n * 1e6, "output": output, "beyond": peak_bytes() - before - output}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
