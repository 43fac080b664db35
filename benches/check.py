"""Before the clock starts: all contestants must compute the same likelihood and draw from the same distribution."""

from __future__ import annotations

import numpy as np

from benches.contestants import Contestant, Unsupported
from benches.models import Entrant


def check(entrant: Entrant, contestant: Contestant) -> str:
    """Say how far a contestant is from the Rust model, or raise if that is too far.

    Likelihoods: within 1e-5 nats a dimension. Samples: their mean log-probability under the Rust model, and that of the
    Rust model's own samples, within five standard errors.
    """
    found = []
    x = entrant.drawn
    ours = entrant.model.log_prob(x)
    try:
        difference = np.abs(np.asarray(contestant.scorer(x).call()) - ours).max()
        if not difference <= 1e-5 * entrant.model.n_dims:
            raise AssertionError(f"{contestant.name} scores {entrant.name} otherwise: by up to {difference:.2g} nats")
        found.append(f"log_prob to {difference:.0e} nats")
    except Unsupported:
        pass
    try:
        task = contestant.sampler(len(x))
        if task.part == 1 and contestant.draws:
            theirs = entrant.model.log_prob(np.asarray(task.call()).astype(np.uint8))
            errors = abs(theirs.mean() - ours.mean()) / np.sqrt((theirs.var() + ours.var()) / len(x))
            if not errors < 5:
                raise AssertionError(f"{contestant.name} draws {entrant.name} otherwise: by {errors:.1f} errors")
            found.append(f"samples to {errors:.1f} standard errors")
    except Unsupported:
        pass
    return ", ".join(found) or "nothing to check"
