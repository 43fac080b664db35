"""Range queries against exhaustive enumeration: exact ones, sampled ones, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ancestral
from ancestral._estimation import ranges
from support.cases import Case
from support.families import FVSBN, SMALL
from support.oracle import Float

Bool = npt.NDArray[np.bool_]


def truth(case: Case, allowed: Bool) -> Float:
    """The probability of sets (q, *event_shape, n_classes): a sum over all events."""
    events = case.every_event().reshape(-1, case.model.n_dims)
    p = np.exp(case.log_prob(events.reshape(-1, *case.model.event_shape)))
    marks = allowed.reshape(-1, case.model.n_dims, case.model.n_classes)
    return np.array([p[one[np.arange(case.model.n_dims), events].all(axis=1)].sum() for one in marks])


def as_sets(case: Case, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> Bool:
    values = np.arange(case.model.n_classes)
    return (low[..., None] <= values) & (values <= high[..., None])


def random_sets(case: Case, q: int, seed: int) -> Bool:
    """Sets of all sizes but none empty; a third of the dimensions is not restricted."""
    rng = np.random.default_rng(seed)
    shape = (q, *case.model.event_shape)
    allowed = rng.random((*shape, case.model.n_classes)) < rng.random((*shape, 1))
    np.put_along_axis(allowed, rng.integers(0, case.model.n_classes, (*shape, 1)), True, axis=-1)
    allowed[rng.random(shape) < 1 / 3] = True
    return allowed


def random_ranges(case: Case, q: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ranges of all lengths, some beyond the classes, one in twenty empty."""
    rng = np.random.default_rng(seed)
    shape, k = (q, *case.model.event_shape), case.model.n_classes
    low, high = np.sort(rng.integers(-k // 2, k + k // 2, (2, *shape)), axis=0)
    low, high = np.minimum(low, k - 1), np.maximum(high, 0)
    low[0], high[0] = 1, 0
    return low, high


def check(got: ancestral.Estimate, expected: Float) -> None:
    """Within 4 standard errors, and the relative precision of float32."""
    assert (np.abs(got.value - expected) <= 4 * got.standard_error + 1e-5 * expected).all()


# --- the right probability -------------------------------------------------------------------------------


def test_sets(small: Case) -> None:
    allowed = random_sets(small, 30, seed=0)
    check(small.model.prob_range(allowed=allowed, n_paths=4000, rng=0), truth(small, allowed))


def test_ranges(small: Case) -> None:
    low, high = random_ranges(small, 30, seed=1)
    expected = truth(small, as_sets(small, low, high))
    check(small.model.prob_range(low, high, n_paths=4000, rng=1), expected)
    assert expected[0] == 0


def test_an_open_side(small: Case) -> None:
    low, high = random_ranges(small, 10, seed=2)
    ends = np.zeros_like(low), np.full_like(low, small.model.n_classes - 1)
    check(small.model.prob_range(low=low, n_paths=4000, rng=1), truth(small, as_sets(small, low, ends[1])))
    check(small.model.prob_range(high=high, n_paths=4000, rng=1), truth(small, as_sets(small, ends[0], high)))


def test_exact_without_a_draw(small: Case) -> None:
    """Single values, then one set, then anything: one path, no error. All prefixes of the order in one call."""
    model, q = small.model, small.model.n_dims
    x = small.events(q, seed=3).reshape(q, q)
    allowed = np.ones((q, q, model.n_classes), bool)
    sets = random_sets(small, q, seed=4).reshape(allowed.shape)
    for i, dim in enumerate(model.order):
        before = model.order[:i]
        allowed[i, before] = np.arange(model.n_classes) == x[i, before, None]
        allowed[i, dim] = sets[i, dim]
        allowed[i, dim, 0] = False  # restricted in any case
        allowed[i, dim, -1] = True
    allowed = allowed.reshape(q, *model.event_shape, model.n_classes)
    got = model.prob_range(allowed=allowed, rng=0)
    np.testing.assert_allclose(got.value, truth(small, allowed), rtol=1e-5)
    np.testing.assert_array_equal(got.standard_error, 0.0)
    np.testing.assert_array_equal(got.n_samples, 1)


def test_no_restriction_and_no_value(small: Case) -> None:
    """Exactly 1, and exactly 0, without a path."""
    zeros = np.zeros(small.model.event_shape, int)
    assert small.model.prob_range(low=zeros, rng=0) == (1.0, 0.0, 0)
    assert small.model.prob_range(zeros - 9, zeros + 999, rng=0) == (1.0, 0.0, 0)
    assert small.model.prob_range(low=zeros + small.model.n_classes, rng=0) == (0.0, 0.0, 0)
    assert small.model.prob_range(high=zeros - 1, rng=0) == (0.0, 0.0, 0)
    empty = zeros.flatten()
    empty[-1] = small.model.n_classes
    assert small.model.prob_range(low=empty.reshape(zeros.shape), rng=0) == (0.0, 0.0, 0)
    assert small.model.log_prob_range(high=zeros - 1, rng=0) == (-np.inf, 0.0, 0)


def test_a_point_has_its_likelihood(small: Case) -> None:
    x = small.events(20)
    got = small.model.log_prob_range(x, x, rng=0)
    np.testing.assert_allclose(got.value, small.model.log_prob(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got.standard_error, 0.0)


def test_ranges_are_sets(small: Case) -> None:
    """The same bits."""
    low, high = random_ranges(small, 10, seed=5)
    got = small.model.prob_range(low, high, n_paths=50, rng=3)
    same(small.model.prob_range(allowed=as_sets(small, low, high), n_paths=50, rng=3), got)


def test_intervals_cover_as_often_as_they_say(build: Callable[..., Case]) -> None:
    """2,000 repeats in one call. The weights are bounded and 300 of them are averaged: a normal mean, fairly."""
    for name in ("nade-order", "categorical"):
        case = build(*SMALL[name], scale=1.5)
        allowed = random_sets(case, 20, seed=6)
        shares = case.model.prob_range(allowed=allowed, n_paths=2000, rng=0)
        hard = int(np.argmax(shares.standard_error / shares.value))
        expected = truth(case, allowed[hard][None])
        repeated = np.broadcast_to(allowed[hard], (2000, *allowed[hard].shape))
        low, high = case.model.prob_range(allowed=repeated, n_paths=300, rng=7).interval()
        assert 0.93 < np.mean((low < expected) & (expected < high)) < 0.97


def test_below_the_least_float(build: Callable[..., Case]) -> None:
    case = build(FVSBN, FVSBN.config(2000), scale=1.0)
    x = case.model.sample(1, rng=0)[0].astype(int)
    low, high = x.copy(), x.copy()
    low[0], high[0] = 0, 1
    both = case.model.log_prob(np.stack([low, high]))
    assert both.max() < -800
    got = case.model.log_prob_range(low, high, n_paths=20_000, rng=0)
    assert abs(got.value - np.logaddexp(*both)) < 4 * got.standard_error
    assert 0 < got.standard_error < 0.1
    assert case.model.prob_range(low, high, rng=0).value == 0.0


# --- relative_error --------------------------------------------------------------------------------------


def test_a_query_goes_on_until_it_is_precise_enough(build: Callable[..., Case]) -> None:
    case = build(*SMALL["nade"], scale=3.0)
    allowed = random_sets(case, 40, seed=8)
    got = case.model.prob_range(allowed=allowed, n_paths=100, relative_error=0.02, max_paths=6000, rng=0)
    walked = got.standard_error > 0
    reached = got.standard_error <= 0.02 * got.value
    assert set(got.n_samples[walked]) <= {100, 200, 400, 800, 1600, 3200, 6000}
    assert len(set(got.n_samples[walked])) > 3
    assert (reached | (got.n_samples == 6000)).all()
    assert reached.sum() > walked.sum() // 2
    check(got, truth(case, allowed))
    # Those that needed no more paths are what they are without the argument.
    once = case.model.prob_range(allowed=allowed, n_paths=100, rng=0)
    first = got.n_samples <= 100
    np.testing.assert_array_equal(got.value[first], once.value[first])
    default = case.model.prob_range(allowed=allowed, n_paths=10, relative_error=1e-6, rng=0)
    assert set(default.n_samples[walked]) == {1000}


def test_a_single_path_is_no_estimate_of_its_error(build: Callable[..., Case]) -> None:
    case = build(*SMALL["nade"])
    low = np.zeros(9, int)
    low[5] = 1
    assert case.model.prob_range(low, n_paths=1, rng=0).standard_error == np.inf
    assert case.model.prob_range(low, n_paths=1, relative_error=0.5, rng=0).n_samples > 1


# --- the same, always ------------------------------------------------------------------------------------


def same(a: ancestral.Estimate, b: Any) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["sets", "ranges"])
def test_a_query_depends_on_nothing_beside_it(kind: str, large: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries that end at different steps, some of which go on for more rounds than others."""
    q, d = 11, large.model.n_dims
    allowed = random_sets(large, q, seed=9).reshape(q, d, -1)
    for i, last in enumerate(np.linspace(1, min(d, 40), q).astype(int)):
        allowed[i, large.model.order[last:]] = True
    allowed = allowed.reshape(q, *large.model.event_shape, -1)
    sets = {"allowed": allowed}
    if kind == "ranges":  # from the first to the last value of each set
        sets = {"low": allowed.argmax(-1), "high": allowed.shape[-1] - 1 - allowed[..., ::-1].argmax(-1)}
    keywords: dict[str, Any] = {"n_paths": 37, "relative_error": 0.1, "max_paths": 200, "rng": 5}
    whole = large.model.prob_range(**sets, **keywords)
    assert len(set(whole.n_samples)) > 1
    for threads in (1, 2, 3):
        same(large.model.prob_range(**sets, **keywords, threads=threads), whole)
    for first, last in ((0, 1), (1, 4), (4, q)):
        part = {name: value[first:last] for name, value in sets.items()}
        got = large.model.prob_range(**part, **keywords, start=first)
        same(got, [field[first:last] for field in whole])
    one = large.model.prob_range(**{name: value[3] for name, value in sets.items()}, **keywords, start=3)
    assert one == tuple(field[3] for field in whole)
    assert [type(field) for field in one] == [float, float, int]
    monkeypatch.setattr(ranges, "_ROOM", 1)
    same(large.model.prob_range(**sets, **keywords), whole)


def test_many_paths_are_summed_in_blocks(build: Callable[..., Case], monkeypatch: pytest.MonkeyPatch) -> None:
    case = build(*SMALL["categorical"])
    allowed = random_sets(case, 5, seed=1)
    whole = case.model.prob_range(allowed=allowed, n_paths=1000, rng=0)
    monkeypatch.setattr(ranges, "_BLOCK", 64)
    cut = case.model.prob_range(allowed=allowed, n_paths=1000, rng=0)
    np.testing.assert_allclose(cut.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(cut.standard_error, whole.standard_error, rtol=1e-9)


# --- arguments -------------------------------------------------------------------------------------------


def test_one_bound_goes_with_many(build: Callable[..., Case]) -> None:
    model = build(*SMALL["categorical"]).model
    low, high = np.ones(model.event_shape, int), np.arange(3).reshape(3, 1, 1, 1) + np.ones(model.event_shape, int)
    expected = model.prob_range(np.stack([low] * 3), high, rng=0)
    same(model.prob_range(low, high, rng=0), expected)
    same(
        model.prob_range(high=model.n_classes - 1 - low, low=model.n_classes - 1 - high, rng=0),
        model.prob_range(model.n_classes - 1 - high, np.stack([model.n_classes - 1 - low] * 3), rng=0),
    )


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "u8", "i8", "f4", "f8", "?"])
def test_dtypes(dtype: str, build: Callable[..., Case]) -> None:
    model = build(*SMALL["nade"]).model
    low = (np.arange(9) % 3 == 2).astype(dtype)
    same(model.prob_range(low, rng=0), model.prob_range(low.astype(int), rng=0))


def test_bounds_beyond_all_classes(build: Callable[..., Case]) -> None:
    model = build(*SMALL["categorical-256"]).model
    low = np.full(model.event_shape, 100)
    expected = model.prob_range(low, np.full_like(low, 255), rng=0)
    for high in (np.inf, 1e300, 256, 2**62, np.uint64(2**64 - 1), None):
        same(model.prob_range(low, None if high is None else np.full(model.event_shape, high), rng=0), expected)
    everything = model.prob_range(np.full(model.event_shape, -np.inf), low, rng=0)
    same(model.prob_range(np.full(model.event_shape, -(2**63)), low, rng=0), everything)


def test_torch_tensors(build: Callable[..., Case]) -> None:
    torch = pytest.importorskip("torch")
    model = build(*SMALL["nade"]).model
    low = np.arange(9) % 2
    same(model.prob_range(torch.tensor(low), rng=0), model.prob_range(low, rng=0))


def test_no_queries(build: Callable[..., Case]) -> None:
    model = build(*SMALL["nade"]).model
    for estimate in (model.prob_range(np.zeros((0, 9)), rng=0), model.prob_range(allowed=np.zeros((0, 9, 2), bool))):
        assert [field.shape for field in estimate] == [(0,)] * 3


ZEROS = np.zeros((3, 9), int)
SETS = np.ones((3, 9, 2), bool)
WRONG: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("allowed", {"low": None}, ValueError),
    ("allowed", {"allowed": SETS}, ValueError),
    ("low", {"low": ZEROS[:, :8]}, ValueError),
    ("low", {"low": ZEROS[None]}, ValueError),
    ("low", {"low": 0}, ValueError),
    ("low", {"low": ZEROS + 0.5}, ValueError),
    ("low", {"low": ZEROS + np.nan}, ValueError),
    ("low", {"low": ZEROS.astype(complex)}, TypeError),
    ("low", {"low": ZEROS.astype(str)}, TypeError),
    ("high", {"high": ZEROS.astype(object)}, TypeError),
    ("high", {"high": ZEROS[:2]}, ValueError),
    ("high", {"high": [[0], [1, 2]]}, ValueError),
    ("allowed", {"low": None, "allowed": SETS[..., 0]}, ValueError),
    ("allowed", {"low": None, "allowed": SETS[..., :1]}, ValueError),
    ("allowed", {"low": None, "allowed": SETS.astype(np.uint8)}, TypeError),
    ("n_paths", {"n_paths": 0}, ValueError),
    ("n_paths", {"n_paths": -5}, ValueError),
    ("n_paths", {"n_paths": 2**32 + 1}, ValueError),
    ("n_paths", {"n_paths": 10.0}, TypeError),
    ("n_paths", {"n_paths": True}, TypeError),
    ("relative_error", {"relative_error": 0}, ValueError),
    ("relative_error", {"relative_error": -0.1}, ValueError),
    ("relative_error", {"relative_error": np.nan}, ValueError),
    ("relative_error", {"relative_error": "0.1"}, TypeError),
    ("max_paths", {"max_paths": 5000}, ValueError),
    ("max_paths", {"max_paths": 999, "relative_error": 0.1}, ValueError),
    ("max_paths", {"max_paths": 2.5, "relative_error": 0.1}, TypeError),
    ("rng", {"rng": -1}, ValueError),
    ("start", {"start": 2**32 - 2}, ValueError),
    ("start", {"start": -1}, ValueError),
    ("threads", {"threads": 0}, ValueError),
    ("progress", {"progress": "yes"}, TypeError),
]


@pytest.mark.parametrize("call", ["prob_range", "log_prob_range"])
@pytest.mark.parametrize(("name", "keywords", "error"), WRONG, ids=lambda v: str(v)[:24])
def test_wrong_arguments(
    name: str, keywords: dict[str, Any], error: type[Exception], call: str, build: Callable[..., Case]
) -> None:
    model = build(*SMALL["nade"]).model
    generator = np.random.default_rng(0)
    state = generator.bit_generator.state
    with pytest.raises(error, match=rf"\b{name}\b"):
        getattr(model, call)(**{"low": ZEROS, "rng": generator, **keywords})
    assert generator.bit_generator.state == state


def test_progress(digits: Case) -> None:
    calls: list[tuple[int, int]] = []
    low = np.zeros((3, 1, 28, 28), int)
    low[:, :, 20] = 1
    digits.model.prob_range(low, n_paths=50, rng=0, progress=lambda *a: calls.append(a))
    assert {total for _, total in calls} == {150}
    assert calls[-1] == (150, 150)
