"""Events of high probability, completed from a part of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._progress import Progress, reporting
from ancestral.operations.handle import Handle

if TYPE_CHECKING:
    import torch

MAX_BEAMS = 2**16
"""Beams that are kept at most: with 256 classes their extensions take a quarter of a gigabyte."""


class Decoding(Handle):
    """Search for probable events."""

    __slots__ = ()

    def beam_search(
        self,
        evidence: ArrayLike | torch.Tensor | None = None,
        *,
        n_beams: int = 10,
        threads: int | None = None,
        progress: Progress = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Events of high probability that agree with the evidence: x, uint8 (n, *event_shape), the most probable first,
        and log p(x) in nats, float64 (n,), the same bits as `log_prob` gives. All are different; n is `n_beams`, or the
        number of events that agree with the evidence if that is smaller.

        `evidence` is one event, (*event_shape), with −1, NaN or the mask of a masked array where a value is not
        observed. None: nothing is.

        A heuristic, with no guarantee: beginnings are extended one dimension after the other in the model's order, and
        the `n_beams` most probable ones are kept. More probable events may be missed, above all where evidence comes
        late in the order, since a beginning is kept or dropped before it is held against what comes after. With one
        beam each value is the most probable one given those before it. With as many beams as there are events the
        result is exact. A most probable event need not look like a draw: `sample` is for those.

        Each dimension that is not observed takes a likelihood pass up to there. Progress is counted in these. Memory:
        the beams twice, and some numbers for each of them and of its n_classes continuations. Raises TypeError and
        ValueError for arguments that make no sense, OverflowError as `log_prob`.
        """
        width = arguments.integer("n_beams", n_beams, 1, MAX_BEAMS)
        if evidence is None:
            values, observed = np.zeros(self.event_shape, np.uint8), np.zeros(self.event_shape, np.bool_)
        else:
            values, observed = arguments.evidence("evidence", evidence, self.event_shape, self.n_classes)
        n_threads = arguments.threads(threads)
        order = self.order
        steps = np.flatnonzero(~observed.reshape(-1)[order])
        beams = values.reshape(1, -1)  # 0 where not yet decided
        with reporting(progress, len(steps), "beam_search", unit="steps") as report:
            for done, step in enumerate(steps.tolist()):
                if report is not None:
                    report(done)
                beam, value = self._best_extensions(beams, step, width, n_threads)
                beams = beams[beam]
                beams[:, order[step]] = value
            x = beams.reshape(-1, *self.event_shape)
            log_prob = np.empty(len(x))
            self._inner.score(x, n_threads, None, log_prob=log_prob)
        best_first = np.argsort(-log_prob, kind="stable")
        return x[best_first], log_prob[best_first]

    def _best_extensions(
        self, beams: NDArray[np.uint8], step: int, width: int, threads: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The most probable beginnings of one value more, at `step`, where the beams are 0: beam and value of each."""
        log_prob, conditional = np.empty(len(beams)), np.empty((len(beams), self.n_classes))
        self._inner.score(beams, threads, None, log_prob=log_prob, log_conditional=conditional, n_steps=step + 1)
        # log_prob has the conditional of a 0 in it.
        total = (log_prob - conditional[:, 0])[:, None] + conditional
        # Where sums are equal after rounding, the conditionals may still differ; the smaller value where they do not.
        best = np.lexsort((-conditional.ravel(), -total.ravel()))[:width]
        return np.divmod(best, self.n_classes)
