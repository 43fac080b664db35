"""What a model says of its distribution as a whole, and of events that are known in part: mostly by sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancestral import _arguments as arguments
from ancestral._estimation import completion, ranges
from ancestral._progress import Progress, after, reporting
from ancestral._space import Values
from ancestral._walks import beams, draws
from ancestral._walks.given import fill
from ancestral._walks.paths import Keywords
from ancestral.completion import Completion
from ancestral.estimate import Estimate, mean, only

if TYPE_CHECKING:
    import torch

    from ancestral.model import Model


def entropy(
    self: Model,
    n_samples: int = 10_000,
    *,
    rng: arguments.Rng = None,
    start: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> Estimate:
    """The entropy H(p) = −E_p log p(x) in nats, estimated without bias: the mean of −log p over n_samples samples.

    The standard error is the samples' own standard deviation / √n_samples. Memory: 8 bytes a sample.

    Raises TypeError and ValueError for arguments that make no sense (n_samples is at least 2), OverflowError as
    `log_prob`.
    """
    n_samples, start = draws.counts(n_samples, start)
    n_threads = arguments.threads(threads)
    with reporting(progress, n_samples, "entropy") as report:
        (log_prob,) = draws.log_probs([self], n_samples, rng, start, n_threads, report)
    return mean(np.subtract(0.0, log_prob, out=log_prob))


def typicality(
    self: Model,
    x: ArrayLike | torch.Tensor,
    *,
    reference: ArrayLike | torch.Tensor | None = None,
    n_samples: int = 1000,
    rng: arguments.Rng = None,
    start: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.float64]:
    """|−log p(x) − H| / s, float64 (n,): by how many standard deviations −log p(x) is unusual. High is anomalous.

    An event far *more* probable than is usual is as atypical as one far less probable; `log_prob` alone misses it.
    This is the test of Nalisnick, Matsukawa, Teh, Lakshminarayanan (2019), "Detecting out-of-distribution inputs to
    deep generative models using typicality", for single events; dividing by s gives it a unit.

    H and s are the mean and standard deviation of −log p over `reference`: log-probabilities in nats, (m,), such as
    `model.log_prob(valid)`. Without one they are those of `n_samples` samples of the model, drawn with `rng` and
    `start`; with one these three are not used.

    s is at least the resolution of float32, 2⁻²³ max(1, |H|) nats. So scores are finite even for a model that gives
    one log-probability to all that it draws: about 0 for these, large for the rest.

    `x` and errors are as for `log_prob`; TypeError and ValueError also for a reference that is not two
    log-probabilities or more, or an n_samples below 2.
    """
    values = arguments.events(x, self._space)
    score = np.empty(len(values))
    n_threads = arguments.threads(threads)
    if reference is not None:
        usual, n_samples = arguments.log_probs("reference", reference), 0
    else:
        n_samples, start = draws.counts(n_samples, start)
    with reporting(progress, n_samples + len(values), "typicality") as report:
        # First, so that a Generator does not advance where x has a wrong value.
        fill(self, "log_prob", values, score, n_threads, report)
        if reference is None:
            (usual,) = draws.log_probs([self], n_samples, rng, start, n_threads, after(len(values), report))
    centre = usual.mean()
    score -= centre
    np.abs(score, out=score)
    score /= max(usual.std(ddof=1), np.finfo(np.float32).eps * max(1.0, abs(centre)))
    return score


def complete(
    self: Model,
    x: ArrayLike | torch.Tensor,
    observed: ArrayLike | torch.Tensor,
    *,
    n_samples: int = 1,
    resample: bool = False,
    n_proposals: int | None = None,
    rng: arguments.Rng = None,
    start: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> Completion:
    """Completes events of which only the dimensions marked in `observed` are known, `n_samples` (k) times each.

    `x` and the boolean `observed` are each one event (event_shape) or one a row (n, *event_shape); one event goes
    with every row of the other, and if both are one event the results have no axis of rows. What `x` holds where
    nothing was observed is ignored, whatever it is.

    **Exact** where the evidence is a prefix of the model's order (`order`; each row is judged on its own; no
    evidence is one too): the samples are independent draws from p(x | evidence). Their weights are equal, and
    `log_prob_evidence` is exact with a standard error of 0.

    **Weighted** elsewhere (likelihood weighting: Fung, Chang, 1989; Shachter, Peot, 1989): the unobserved
    dimensions are drawn in turn given those before them, and so in ignorance of the evidence to come; the weight ∏
    p(x_i | x_<i) over the observed i makes up for it. **These samples are not draws from p(x | evidence)**: only
    averages that take the weights into account tend to those under p(x | evidence) as k grows. A single one, or a
    picture of a few, is no conditional sample. The mean weight is an unbiased estimate of p(evidence);
    `log_prob_evidence` is its logarithm, with a standard error by the delta method (inf for k = 1).

    **Resampled**, with `resample=True`: for a row that is not exact `n_proposals` weighted samples are made
    (default: 10 k, at least 100), and k of them drawn by weight, systematically: sampling-importance-resampling
    (Rubin 1988). These k count equally, are near draws from p(x | evidence) where the effective sample size of the
    proposals is well above k, and repeat where it is not. `log_weights` then holds the logarithm of the proposals'
    mean weight; `effective_sample_size` and `log_prob_evidence` are the proposals'.

    If the effective sample size of a row that is not exact is below 10 (as it is for k < 10 without resampling), a
    `LowSampleSizeWarning` says so: more samples help, or a model whose order has the evidence first.

    Row i is a pure function of (weights, seed, `start` + i, its evidence, the numbers of samples), whatever the
    batch: `complete(x[4:], ..., start=4)` equals the rows from 4 on of `complete(x, ...)`. Without resampling, its
    first samples do not depend on how many are asked for.

    Memory: the results and a fixed block, or, if that is more, what one row takes: about 16 bytes a sample; if
    resampled 24 a proposal, and 2 n_dims + 24 a sample.

    Raises TypeError and ValueError for arguments that make no sense, among them evidence of probability 0;
    OverflowError as `log_prob`.
    """
    self._need_order("complete")
    events = arguments.partial_events(x, observed, self._space)
    k = arguments.integer("n_samples", n_samples, 1, arguments.LAST_ROW)
    if not arguments.flag("resample", resample):
        if n_proposals is not None:
            raise ValueError(
                f"n_proposals is {arguments.brief(n_proposals)}, but resample is False: proposals are what is resampled"
            )
        n_drawn = 0
    else:
        n_drawn = max(100, 10 * k) if n_proposals is None else n_proposals
        n_drawn = arguments.integer("n_proposals", n_drawn, 1, arguments.LAST_ROW)
    start = arguments.integer("start", start, 0, arguments.LAST_ROW - len(events[0]))
    keywords = Keywords(rng, start, arguments.threads(threads), progress)
    return completion.complete(self, events, k, n_drawn, keywords)


def prob_range(
    self: Model,
    low: ArrayLike | torch.Tensor | None = None,
    high: ArrayLike | torch.Tensor | None = None,
    *,
    allowed: ArrayLike | torch.Tensor | None = None,
    n_paths: int = 1000,
    relative_error: float | None = None,
    max_paths: int | None = None,
    rng: arguments.Rng = None,
    start: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> Estimate:
    """P(low_i ≤ x_i ≤ high_i for all i), estimated by progressive sampling (Yang et al., VLDB 2019).

    A query is two arrays of integers (event_shape), bounds that are themselves allowed; without one of them that
    side is open, and bounds beyond the classes are as good as none. Or it is `allowed`, booleans (*event_shape,
    n_classes) that mark any sets of values. Many queries (q, ...) give an Estimate of arrays (q,); one gives one
    of plain numbers. A single `low` goes with every `high`, and the other way round.

    Each of `n_paths` paths draws the dimensions in turn from p(x_i | x_<i, x_i in its set), up to the last
    restricted one, and has the weight ∏ p(set_i | x_<i). The mean weight is unbiased, whatever the sets. With
    `relative_error` a query whose standard error is more than that part of its value goes on, with twice the paths
    each time, until it is not or `max_paths` (default 100 `n_paths`) are reached: `n_samples` tells. Whether to
    stop is judged by the paths so far, which costs a little of the unbiasedness: `n_paths` should not be below a
    hundred.

    Exact, with a standard error of 0, where nothing has to be drawn before the last restricted dimension: an empty
    range (0) and no restriction (1) with no path at all, otherwise with one. Elsewhere an error of 0 says that no
    two of the paths differed, and a single path has the error inf.

    Query i is a pure function of (weights, seed, `start` + i, its sets, the numbers of paths), whatever the batch.
    Memory: the results and a fixed block, for any number of queries and paths.

    Raises TypeError and ValueError for arguments that make no sense, OverflowError as `log_prob`.
    """
    self._need_order("prob_range")
    queries = ranges.given(self, low, high, allowed)
    budget = ranges.budget(n_paths, relative_error, max_paths)
    start = arguments.integer("start", start, 0, arguments.LAST_ROW - len(queries.low))
    keywords = Keywords(rng, start, arguments.threads(threads), progress)
    log, relative, n = ranges.estimated(self, queries, budget, keywords)
    prob = np.exp(log, out=log)
    estimate = Estimate(prob, np.multiply(relative, prob, out=relative, where=np.isfinite(relative)), n)
    return estimate if queries.batched else only(estimate)


def log_prob_range(
    self: Model,
    low: ArrayLike | torch.Tensor | None = None,
    high: ArrayLike | torch.Tensor | None = None,
    *,
    allowed: ArrayLike | torch.Tensor | None = None,
    n_paths: int = 1000,
    relative_error: float | None = None,
    max_paths: int | None = None,
    rng: arguments.Rng = None,
    start: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> Estimate:
    """The logarithm of `prob_range`, in nats, for probabilities that no float can hold (below 1e-308).

    The standard error is the relative one of the probability (delta method). An empty range has −inf.
    """
    self._need_order("log_prob_range")
    queries = ranges.given(self, low, high, allowed)
    budget = ranges.budget(n_paths, relative_error, max_paths)
    start = arguments.integer("start", start, 0, arguments.LAST_ROW - len(queries.low))
    keywords = Keywords(rng, start, arguments.threads(threads), progress)
    estimate = Estimate(*ranges.estimated(self, queries, budget, keywords))
    return estimate if queries.batched else only(estimate)


def beam_search(
    self: Model,
    evidence: ArrayLike | torch.Tensor | None = None,
    *,
    n_beams: int = 10,
    threads: int | None = None,
    progress: Progress = None,
) -> tuple[Values, NDArray[np.float64]]:
    """Events of high probability that agree with the evidence: x, (n, *event_shape), the most probable first,
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
    self._need_order("beam_search")
    width = arguments.integer("n_beams", n_beams, 1, beams.MAX_BEAMS)
    if evidence is None:
        values, observed = np.zeros(self.event_shape, self.dtype), np.zeros(self.event_shape, np.bool_)
    else:
        values, observed = arguments.evidence("evidence", evidence, self._space)
    return beams.search(self, (values, observed), width, arguments.threads(threads), progress)
