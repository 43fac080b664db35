"""Spaces of many classes, and of dimensions that differ: dtypes, checks, and every operation on a core that is a fake.

The fake draws each dimension on its own, from a table: what is true is plain, and each array that comes is looked at.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral
from ancestral import Model
from ancestral._space import Space

SIZES = {"many": ((2, 2), 300), "unlike": ((3, 2), (2, 5, 1, 3, 300, 2)), "few, unlike": ((4,), (2, 3, 2, 4))}


class Core:
    """p(x) = ∏ p_i(x_i), with the attributes and methods of `_core.Model` that operations call."""

    kind, config, n_params, order, orders, feature_shape, sha256 = "Table", "{}", 0, None, None, None, b"\0" * 32

    def __init__(self, event_shape: tuple[int, ...], n_classes: int | tuple[int, ...]) -> None:
        self.event_shape = list(event_shape)
        self.n_classes = list(n_classes) if isinstance(n_classes, tuple) else n_classes
        self.n_dims = int(np.prod(event_shape))
        self.each = np.broadcast_to(n_classes, self.n_dims).tolist()
        rng = np.random.default_rng(0)
        self.p = np.zeros((self.n_dims, max(self.each)))
        for i, k in enumerate(self.each):
            self.p[i, :k] = rng.dirichlet(np.ones(k))
        self.dtype = np.uint16 if max(self.each) > 256 else np.uint8

    def values(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        assert x.dtype == self.dtype
        assert x.flags.c_contiguous
        return x.reshape(-1, self.n_dims)

    def score(self, x: Any, threads: int, progress: Any, *, n_steps: int | None = None, **out: Any) -> None:
        x = self.values(x)
        assert (x < self.each).all()
        n_steps = self.n_dims if n_steps is None else n_steps
        with np.errstate(divide="ignore"):
            log_p = np.log(self.p)
        terms = log_p[np.arange(n_steps), x[:, :n_steps]]
        for name, array in out.items():
            if name == "log_prob":
                array[:] = terms.sum(axis=1)
            elif name == "log_conditional":
                array[:] = log_p[n_steps - 1]
                array[:, self.each[n_steps - 1] :] = 7.0  # not to be looked at
            elif name == "conditionals":
                array.reshape(len(x), *self.p.shape)[:] = self.p
            else:
                assert name == "surprise"
                array.reshape(len(x), -1)[:] = -terms

    def draw(self, x: Any, seed: int, start: int, threads: int, progress: Any, **more: Any) -> None:
        rows = self.values(x)
        for i in range(len(rows)):
            u = np.random.default_rng((seed, start + i)).random(self.n_dims)
            rows[i] = [np.searchsorted(np.cumsum(self.p[d])[: self.each[d] - 1], u[d]) for d in range(self.n_dims)]
        if more.get("log_prob") is not None:
            self.score(x, threads, None, log_prob=more["log_prob"])

    def restrict(self, low: Any, high: Any, log_weight: Any, *call: Any, x: Any = None) -> None:
        n_paths = call[2]
        if high is None:
            assert low.dtype == np.uint8
            marks = low.reshape(-1, *self.p.shape).astype(bool)
            assert not marks[:, self.p == 0].any()  # what is no value is marked by nobody
        else:
            low, high = self.values(low), self.values(high)
            assert (high < self.each).all()
            k = np.arange(self.p.shape[1])
            marks = (low[..., None] <= k) & (k <= high[..., None])
        with np.errstate(divide="ignore"):
            log_weight.reshape(len(marks), n_paths)[:] = np.log((self.p * marks).sum(2)).sum(1)[:, None]
        if x is not None:
            x = self.values(x)
            x[:] = np.repeat(np.argmax(marks, axis=2), n_paths, axis=0)

    def encode(self, x: Any, *_: Any) -> bytes:
        return self.values(x).tobytes()

    def encoded(self, blob: bytes) -> tuple[int, int]:
        return len(blob) // (self.n_dims * np.dtype(self.dtype).itemsize), 4096

    def decode(self, blob: bytes, first: int, x: Any, *_: Any) -> None:
        self.values(x)[:] = np.frombuffer(blob, self.dtype).reshape(-1, self.n_dims)


@pytest.fixture(params=SIZES)
def core(request: pytest.FixtureRequest) -> Core:
    return Core(*SIZES[request.param])


@pytest.fixture
def model(core: Core) -> Model:
    return Model._of(core)  # type: ignore[arg-type]


# --- the space -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_classes", "dtype"),
    [
        (2, "u1"),
        (255, "u1"),
        (256, "u1"),
        (257, "u2"),
        (300, "u2"),
        (65_536, "u2"),
        (65_537, "u4"),
        ((2, 257, 3), "u2"),
    ],
)
def test_the_dtype_is_the_smallest_that_holds_the_classes(n_classes: Any, dtype: str) -> None:
    space = Space((3,), n_classes)
    assert space.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(space.highest, np.max(n_classes) - 1 if np.ndim(n_classes) == 0 else [1, 256, 2])


def test_equal_dimensions_are_one_number() -> None:
    assert Space((2, 2), [5, 5, 5, 5]).n_classes == 5
    assert Space((2,), [2, 2]).is_bits
    assert not Space((2,), [2, 3]).is_bits
    assert Space((2,), [2, 3]).n_classes == (2, 3)
    np.testing.assert_array_equal(Space((2,), 3).classes, [3, 3])
    np.testing.assert_array_equal(Space((2,), (2, 3)).classes, [2, 3])


@pytest.mark.parametrize("dtype", [np.uint16, np.uint64, np.int16, np.int64, np.float16, np.float32, np.float64])
def test_check_looks_at_each_dimension(dtype: Any) -> None:
    space = Space((2, 2), (2, 300, 4, 65_536))
    highest = np.array([[[1, 299], [3, 32_767]]], dtype)
    space.check("x", highest)
    for at, wanted in (((0, 0), 1), ((0, 1), 299), ((1, 0), 3)):
        wrong = highest.copy()
        wrong[0][at] += 1
        with pytest.raises(ValueError, match=rf"^x\[7, {at[0]}, {at[1]}\] is .*; wanted integers from 0 to {wanted}$"):
            space.check("x", wrong, first=7)
        space.check("x", wrong, missing=wrong != highest)
    if np.dtype(dtype).kind == "f":
        highest[0, 0, 1] = 0.5
        with pytest.raises(ValueError, match=r"^x\[0, 0, 1\] is 0.5; wanted integers from 0 to 299$"):
            space.check("x", highest)


# --- operations ------------------------------------------------------------------------------------------


def test_what_a_model_says_of_its_space(core: Core, model: Model) -> None:
    assert model.dtype == core.dtype
    assert model.n_classes == (tuple(core.n_classes) if isinstance(core.n_classes, list) else core.n_classes)
    assert model.n_dims == core.n_dims


def test_draws_have_the_dtype(core: Core, model: Model) -> None:
    x = model.sample(20, rng=0)
    assert (x.dtype, x.shape) == (core.dtype, (20, *core.event_shape))
    out = np.empty_like(x)
    assert model.sample(20, rng=0, out=out) is out
    np.testing.assert_array_equal(out, x)
    with pytest.raises(TypeError, match="out has dtype int64; wanted a NumPy array"):
        model.sample(20, rng=0, out=out.astype(np.int64))
    batches = list(model.sample_batches(20, 7, rng=0))
    assert {batch.dtype for batch in batches} == {x.dtype}
    np.testing.assert_array_equal(np.concatenate(batches), x)
    assert model.decode(model.encode(x)).dtype == core.dtype
    np.testing.assert_array_equal(model.decode(model.encode(x.astype(np.float64)), start=3), x[3:])


@pytest.mark.parametrize("suffix", ["npy", "arrow", "parquet"])
def test_files_have_the_dtype(suffix: str, core: Core, model: Model, tmp_path: Path) -> None:
    x, path = model.sample(20, rng=0), tmp_path / f"x.{suffix}"
    if suffix == "npy":
        read = np.load(model.sample_to(path, 20, rng=0))
    else:
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        model.sample_to(path, 20, rng=0)
        table = pq.read_table(path) if suffix == "parquet" else pa.ipc.open_file(path).read_all()
        read = table["x"].combine_chunks().flatten().to_numpy().reshape(x.shape)
    assert read.dtype == core.dtype
    np.testing.assert_array_equal(read, x)
    with pytest.raises(ValueError, match=f"packed is True for a model of {max(core.each)} classes"):
        model.sample_to(tmp_path / "packed.npy", 20, packed=True)


@pytest.mark.parametrize("dtype", ["u2", "i2", "i8", "f4", "f8"])
def test_given_data_may_be_of_any_dtype(dtype: str, core: Core, model: Model) -> None:
    x = model.sample(20, rng=0)
    expected = np.log(core.p[np.arange(core.n_dims), x.reshape(20, -1)]).sum(1)
    np.testing.assert_allclose(model.log_prob(x), expected)
    np.testing.assert_array_equal(model.log_prob(x.astype(dtype)), model.log_prob(x))
    np.testing.assert_allclose(-model.surprise(x.astype(dtype)).reshape(20, -1).sum(1), expected, rtol=1e-5)
    got = model.conditionals(x.astype(dtype))
    assert got.shape == (20, *core.event_shape, max(core.each))
    np.testing.assert_allclose(got.reshape(20, *core.p.shape), np.broadcast_to(core.p, (20, *core.p.shape)), rtol=1e-6)
    wrong = x.astype(dtype)
    wrong.reshape(20, -1)[5, 0] = core.each[0]
    with pytest.raises(
        ValueError, match=rf"x\[5, 0.*\] is {core.each[0]}.*wanted integers from 0 to {core.each[0] - 1}"
    ):
        model.log_prob(np.asfortranarray(wrong))  # in C's order and of the model's dtype it is looked at by the core


def test_evidence_and_completion(core: Core, model: Model) -> None:
    last = np.array(core.each).reshape(core.event_shape) - 1
    evidence = last.astype(np.int32)
    evidence.reshape(-1)[2:] = -1
    x = model.sample(3, evidence=evidence, rng=0)
    assert x.dtype == core.dtype
    assert (x.reshape(3, -1)[:, :2] == last.reshape(-1)[:2]).all()
    done = model.complete(last.astype(np.float64), evidence >= 0, n_samples=4, rng=0)
    assert done.x.dtype == core.dtype
    np.testing.assert_allclose(done.log_prob_evidence.value, np.log(core.p[np.arange(2), last.reshape(-1)[:2]]).sum())
    evidence.reshape(-1)[1] = core.each[1]
    with pytest.raises(
        ValueError, match=rf"evidence\[.*\] is {core.each[1]}; wanted integers from 0 to {core.each[1] - 1}"
    ):
        model.sample(3, evidence=evidence)


def test_ranges(core: Core, model: Model) -> None:
    shape, each = tuple(core.event_shape), np.array(core.each)
    low, high = np.minimum(each // 2, each - 1), each - 1
    mass = [core.p[i, a : b + 1].sum() for i, (a, b) in enumerate(zip(low, high, strict=True))]
    for top in (None, high.reshape(shape), np.full(shape, 10**6)):
        got = model.prob_range(low.reshape(shape), top, n_paths=2, rng=0)
        assert got.value == pytest.approx(np.prod(mass))
    # No restriction costs no path; nor do marks beyond a dimension's own classes allow anything.
    everything = np.ones((*shape, max(core.each)), bool)
    for free in (model.prob_range(high=each.reshape(shape)), model.prob_range(allowed=everything)):
        assert (free.value, free.standard_error, free.n_samples) == (1.0, 0.0, 0)
    beyond = np.arange(max(core.each)) >= each[:, None]
    if beyond.any():
        allowed = everything.copy()
        dim = int(np.argmin(each))
        allowed.reshape(-1, max(core.each))[dim] = beyond[dim]
        assert model.prob_range(allowed=allowed).value == 0.0


def test_beam_search_knows_the_classes_of_each_dimension(core: Core, model: Model) -> None:
    x, log_prob = model.beam_search(n_beams=5)
    assert x.dtype == core.dtype
    best = [np.argsort(-core.p[i, :k])[:5].tolist() for i, k in enumerate(core.each)]
    events = np.array(list(itertools.product(*best)))
    expected = np.sort(np.log(core.p[np.arange(core.n_dims), events]).sum(1))[::-1][:5]
    np.testing.assert_allclose(log_prob, expected)


def test_divergence_is_of_equal_spaces(core: Core, model: Model) -> None:
    other = Model._of(Core(tuple(core.event_shape), 2))  # type: ignore[arg-type]
    assert ancestral.kl_divergence(model, model, 10, rng=0).value == 0.0
    with pytest.raises(ValueError, match="q has n_classes 2; wanted that of p"):
        ancestral.kl_divergence(model, other)


def test_distribution(core: Core, model: Model) -> None:
    torch = pytest.importorskip("torch")
    distribution = ancestral.distributions.Autoregressive(model)
    x = distribution.sample((4,))
    assert x.dtype == torch.int64
    assert distribution.support.check(x).all()
    assert not distribution.support.check(torch.tensor(core.each).reshape(core.event_shape)).any()
    np.testing.assert_allclose(distribution.log_prob(x), model.log_prob(x.numpy()))
    with pytest.raises(NotImplementedError, match=r"there are \d+.* events"):
        distribution.enumerate_support()


def test_torch_modules_check_each_dimension(core: Core, model: Model) -> None:
    torch = pytest.importorskip("torch")
    from ancestral.nn._events import as_events

    x = model.sample(4, rng=0)
    shape = tuple(core.event_shape)
    for events in (x, torch.from_numpy(x), torch.from_numpy(x.astype(np.float32)), x.astype(np.int64)):
        np.testing.assert_array_equal(as_events(events, shape, model.n_classes, "x").numpy(), x)
    wrong = x.astype(np.int64)
    wrong.reshape(4, -1)[2, -1] = core.each[-1]
    with pytest.raises(
        ValueError, match=rf"x\[2, .*\] is {core.each[-1]}; wanted integers from 0 to {core.each[-1] - 1}"
    ):
        as_events(wrong, shape, model.n_classes, "x")
