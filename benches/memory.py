"""What a call needs beyond its output: `python -m benches.memory N` draws N samples in a process of its own.

Linux only. Not from `getrusage`, whose maximum a process inherits from the one that started it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benches.models import fvsbn

N_DIMS = 64
SELF = Path("/proc/self")


def reset_peak() -> None:
    """Set the most memory that this process has held to what it holds now."""
    (SELF / "clear_refs").write_text("5")


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    (kibibytes,) = (line.split()[1] for line in (SELF / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(kibibytes)


def main(n: int) -> None:
    model = fvsbn(N_DIMS, ones=0.13)
    model.sample(1, rng=0, progress=False)
    reset_peak()
    before = peak_bytes()
    started = time.perf_counter()
    output = model.sample(n, rng=0, progress=False).nbytes
    seconds = time.perf_counter() - started
    print(json.dumps({"n": n, "us": seconds / n * 1e6, "output": output, "beyond": peak_bytes() - before - output}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
