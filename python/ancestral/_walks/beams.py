"""Beam search: beginnings of events, extended one dimension after the other, of which the most probable are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ancestral._progress import Progress, reporting
from ancestral._space import Values

if TYPE_CHECKING:
    from ancestral.model import Model

MAX_BEAMS = 2**16
"""Beams that are kept at most: with 256 classes their extensions take a quarter of a gigabyte."""


def search(
    model: Model, evidence: tuple[Values, NDArray[np.bool_]], width: int, threads: int, progress: Progress
) -> tuple[Values, NDArray[np.float64]]:
    """`Model.beam_search`, given the values of one event, 0 where they are not known, and which are known."""
    values, observed = evidence
    order, classes = model.order, model._space.classes
    steps = np.flatnonzero(~observed.reshape(-1)[order])
    beams = values.reshape(1, -1)  # 0 where not yet decided
    with reporting(progress, len(steps), "beam_search", unit="steps") as report:
        for done, step in enumerate(steps.tolist()):
            if report is not None:
                report(done)
            beam, value = _best_extensions(model, beams, (step, classes[order[step]]), width, threads)
            beams = beams[beam]
            beams[:, order[step]] = value
        x = beams.reshape(-1, *model.event_shape)
        log_prob = np.empty(len(x))
        model._inner.score(x, threads, None, log_prob=log_prob)
    best_first = np.argsort(-log_prob, kind="stable")
    return x[best_first], log_prob[best_first]


def _best_extensions(
    model: Model, beams: Values, at: tuple[int, int], width: int, threads: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The most probable beginnings of one value more, at a step with so many classes, where the beams are 0: beam and
    value of each."""
    step, n_classes = at
    log_prob, conditional = np.empty(len(beams)), np.empty((len(beams), model._space.most_classes))
    model._inner.score(beams, threads, None, log_prob=log_prob, log_conditional=conditional, n_steps=step + 1)
    conditional = conditional[:, :n_classes]
    # log_prob has the conditional of a 0 in it.
    total = (log_prob - conditional[:, 0])[:, None] + conditional
    # Where sums are equal after rounding, the conditionals may still differ; the smaller value where they do not.
    best = np.lexsort((-conditional.ravel(), -total.ravel()))[:width]
    return np.divmod(best, n_classes)
