"""What is stored in references.json comes out on this machine, by every path through the core."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

import references
from support import bits

STORED = json.loads(references.FILE.read_text())

BITS = "import references; references.main()"


def cpu_has(isa: str) -> bool:
    """Whether this CPU can run a path, by NumPy's own detection."""
    from numpy._core._multiarray_umath import __cpu_features__ as features

    needed = {"portable": [], "avx2": ["AVX2", "FMA3"], "avx512": ["AVX512F"]}
    return all(features.get(name, False) for name in needed[isa])


PATHS: dict[str, dict[str, str]] = {
    "portable": {"ANCESTRAL_ISA": "portable"},
    "avx2": {"ANCESTRAL_ISA": "avx2"},
    "avx512": {"ANCESTRAL_ISA": "avx512"},
    "three threads": {"ANCESTRAL_NUM_THREADS": "3"},
}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_gives_what_is_stored(path: str, run_python: Callable[..., str]) -> None:
    """If not: for a new operation, `make references`. For an old one, draws or likelihoods have changed: if they had
    to, CHANGELOG.md says so."""
    if not cpu_has(PATHS[path].get("ANCESTRAL_ISA", "portable")):
        pytest.skip(f"this CPU has no {path}")
    got = json.loads(run_python(BITS, **PATHS[path]))
    assert list(got) == list(STORED)
    for name in STORED:
        assert got[name] == STORED[name], name


@pytest.mark.parametrize("name", STORED)
def test_what_is_stored_is_right(name: str) -> None:
    """The stored draws have the stored log-probabilities, by the oracle too."""
    case = references.build(name)
    rows = np.array([row.split() for row in STORED[name]["sample"]], np.uint8)
    expected = case.log_prob(rows.reshape(-1, *case.model.event_shape))
    np.testing.assert_allclose(STORED[name]["log_prob"], expected, rtol=1e-4, atol=1e-6)


def test_what_is_stored_tells_models_apart() -> None:
    """Of the draws all differ; every operation is there for every family that has it."""
    digests = [STORED[name]["sha256"] for name in STORED]
    assert len({digest["sample_and_log_prob"] for digest in digests}) == len(digests)
    assert set().union(*digests) == set(bits.OPERATIONS) - set(bits.ESTIMATES)


@pytest.mark.parametrize("isa", ["sse9", "AVX-2", "neon" if cpu_has("avx2") else "avx2"])
def test_an_instruction_set_that_is_not_there_is_refused(isa: str, run_python: Callable[..., str]) -> None:
    script = """
    import ancestral, numpy as np
    try:
        model = ancestral.Model.from_tensors(
            "FVSBN", {"n_dims": 1, "order": None},
            {"weight": np.zeros((1, 1), np.float32), "bias": np.zeros(1, np.float32)},
        )
        model.sample(1, rng=0)
    except (ValueError, RuntimeError) as error:
        print(error)
    else:
        print("no error")
    """
    message = run_python(script, ANCESTRAL_ISA=isa)
    assert "ANCESTRAL_ISA" in message
    assert isa in message
