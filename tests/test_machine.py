"""Random sequences of operations on random models: results against the oracle, and bit for bit against earlier ones.

The machine keeps books: a sample by its seed and index, a likelihood by its event, and so on, by no more than what
the documentation says that it depends on. Whichever call gives an entry once more, among other rows, with other
threads, dtypes or strides, or of the model loaded again, has to give the same bits.

The sequences are the same ones in every run; `ANCESTRAL_MACHINE_EXAMPLES=2000` tries as many others.
"""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
import warnings
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule

import ancestral
from support.cases import Case, build_case
from support.families import FAMILIES, LARGE, Family
from support.oracle import Config, Events

MAX_EVENTS = 2**12  # of a model whose events are summed over
LAST = 2**63  # one past the last index of a sample

seeds = st.sampled_from([0, 1, 2**64 - 1])
starts = st.one_of(st.integers(0, 40), st.sampled_from([2**32 - 3, 2**40, LAST - 100]))
LARGEST = {"?": 1, "u1": 255, "i1": 127}  # value of a dtype, where events may have larger ones
threads = st.sampled_from([None, 1, 2, 3, 7])
counts = st.one_of(st.integers(1, 20), st.sampled_from([0, 33, 70]))
chances = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def configs(draw: st.DrawFn) -> tuple[Family, Config]:
    """A small model of any family."""
    family = draw(st.sampled_from([*FAMILIES, None]))
    if family is None:
        return draw(st.sampled_from(list(LARGE.values())))
    return family, family.any_config(draw, MAX_EVENTS)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, str]:
    """A dtype, and how the rows lie in memory."""
    dtype = draw(st.sampled_from(["u1", "?", "i1", "<u2", ">i4", "<i8", "<f4", ">f8"]))
    return dtype, draw(st.sampled_from(["as it is", "fortran", "every other", "backwards", "read-only", "list"]))


def laid_out(x: Events, classes: npt.NDArray[np.int64], layout: tuple[str, str]) -> Any:
    """The same events in another dtype and with other strides."""
    dtype, memory = layout
    array = x.astype(dtype) if classes.max() - 1 <= LARGEST.get(dtype, 2**16 - 1) else x.copy()
    if memory == "fortran":
        return np.asfortranarray(array)
    if memory == "every other":
        return np.repeat(np.repeat(array, 2, axis=0), 2, axis=-1)[::2, ..., ::2]
    if memory == "backwards":
        return np.ascontiguousarray(np.flip(array))[tuple(slice(None, None, -1) for _ in array.shape)]
    array.flags.writeable = memory != "read-only"
    return array.tolist() if memory == "list" and array.size else array


class Machine(RuleBasedStateMachine):
    events = Bundle("events")
    blobs = Bundle("blobs")

    @initialize(config=configs(), scale=st.sampled_from([0.1, 1.0, 3.0, 8.0]), seed=st.integers(0, 99))
    def build(self, config: tuple[Family, Config], scale: float, seed: int) -> None:
        self.case: Case = build_case(*config, scale=scale, seed=seed)
        self.model: ancestral.Model = self.case.model
        self.books: dict[Hashable, bytes] = {}
        self.enumerable = self.case.n_events <= MAX_EVENTS
        # A logit that is small because large terms cancel keeps the rounding of these.
        family, config, tensors, _ = self.case
        terms = np.abs(tensors[family.last_layer(config)[0]])
        self.per_dim = 1e-5 + 2**-23 * float(terms.reshape(len(terms), -1).sum(axis=1).max())
        self.tolerance = self.per_dim * self.model.n_dims

    def enter(self, keys: Iterable[Hashable], rows: npt.NDArray[Any]) -> list[int]:
        """Compares each row with the entry under its key, and returns those that are new."""
        new = []
        for i, (key, row) in enumerate(zip(keys, rows, strict=True)):
            if key not in self.books:
                new.append(i)
            assert self.books.setdefault(key, row.tobytes()) == row.tobytes(), key
        return new

    # --- events ------------------------------------------------------------------------------------------

    @rule(target=events, n=counts, seed=st.integers(0, 3))
    def any_events(self, n: int, seed: int) -> Events:
        return self.case.events(n, seed)

    @rule(target=events, a=events, b=events, chance=chances)
    def mixed(self, a: Events, b: Events, chance: np.random.Generator) -> Events:
        return chance.permutation(np.concatenate([a, b]))[:80]

    @rule(
        target=events,
        n=counts,
        seed=seeds,
        start=starts,
        temperature=st.sampled_from([1.0, 1.0, 0.0, 0.5, 4.0]),
        threads=threads,
        how=st.sampled_from(["sample", "out", "log_prob", 1, 7, None]),
    )
    def drawn(self, n: int, seed: int, start: int, temperature: float, threads: int | None, how: Any) -> Events:
        if how in (1, 7, None):
            temperature = 1.0  # batches have no other
            batches = self.model.sample_batches(n, how, rng=seed, start=start, threads=threads)
            x = np.concatenate([self.case.events(0), *batches])
        elif how == "log_prob":
            x, log_prob = self.model.sample_and_log_prob(
                n, rng=seed, start=start, temperature=temperature, threads=threads
            )
            self.enter((("log_prob", row.tobytes()) for row in x), log_prob)
        else:
            out = np.full((n, *self.model.event_shape), 255, self.case.dtype) if how == "out" else None
            x = self.model.sample(n, rng=seed, start=start, temperature=temperature, threads=threads, out=out)
        assert x.shape == (n, *self.model.event_shape)
        # Greedy samples are all the same one, whatever the seed.
        self.enter((("sample", temperature, temperature and (seed, start + i)) for i in range(n)), x)
        return x

    # --- scores of given events --------------------------------------------------------------------------

    @rule(x=events, layout=layouts(), threads=threads, chance=chances)
    def log_prob(self, x: Events, layout: tuple[str, str], threads: int | None, chance: np.random.Generator) -> None:
        given = laid_out(x, self.case.classes, layout)
        if chance.random() < 0.3:
            cuts = np.sort(chance.integers(0, len(x) + 1, 3))
            batches = [x[:0], *np.split(np.asarray(given), cuts)]
            log_prob = np.concatenate(list(self.model.log_prob_batches(batches, threads=threads)))
        else:
            log_prob = self.model.log_prob(given, threads=threads)
        self.enter((("log_prob", row.tobytes()) for row in x), log_prob)
        np.testing.assert_allclose(log_prob, self.case.log_prob(x), rtol=0, atol=self.tolerance)

    @rule(x=events, layout=layouts(), threads=threads, what=st.sampled_from(["surprise", "conditionals"]))
    def score(self, x: Events, layout: tuple[str, str], threads: int | None, what: str) -> None:
        got = getattr(self.model, what)(laid_out(x, self.case.classes, layout), threads=threads)
        self.enter(((what, row.tobytes()) for row in x), got)
        np.testing.assert_allclose(got, getattr(self.case, what)(x), rtol=1e-5, atol=self.per_dim)

    @precondition(lambda self: "features" not in self.case.family.lacks)
    @rule(x=events, layout=layouts(), threads=threads, chance=chances)
    def features(self, x: Events, layout: tuple[str, str], threads: int | None, chance: np.random.Generator) -> None:
        by_step = "features at a step" not in self.case.family.lacks
        step = int(chance.integers(0, self.model.n_dims + 1)) if by_step else None
        got = self.model.features(laid_out(x, self.case.classes, layout), step=step, threads=threads)
        self.enter((("features", step, row.tobytes()) for row in x), got)
        np.testing.assert_allclose(got, self.case.features(x, step), rtol=1e-5, atol=1e-5)

    # --- given a part ------------------------------------------------------------------------------------

    @rule(
        target=events,
        x=events,
        k=st.integers(1, 4),
        resample=st.booleans(),
        seed=seeds,
        start=st.integers(0, 9),
        threads=threads,
        chance=chances,
    )
    def completed(
        self,
        x: Events,
        k: int,
        resample: bool,
        seed: int,
        start: int,
        threads: int | None,
        chance: np.random.Generator,
    ) -> Events:
        x = x[:12]
        observed = chance.random(x.shape) < chance.choice([0.0, 0.2, 0.5, 0.9, 1.0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ancestral.LowSampleSizeWarning)
            done = self.model.complete(
                x, observed, n_samples=k, resample=resample, rng=seed, start=start, threads=threads
            )
        assert (done.x == x[:, None])[observed[:, None].repeat(k, axis=1)].all()
        flat = done.x.reshape(len(x) * k, *self.model.event_shape)
        for i, (row, seen) in enumerate(zip(x, observed, strict=True)):
            given = np.where(seen, row.astype(int), -1)
            # The number of samples matters only where some of many are chosen.
            key = "complete", seed, start + i, given.tobytes(), k if resample else None
            self.enter(((key, j) for j in range(k)), done.x[i])
            if not resample:
                self.enter(((key, j, "weight") for j in range(k)), done.log_weights[i])
            if self.is_prefix(seen):
                drawn = self.model.sample(k, evidence=given, rng=seed, start=(start + i) << 32, threads=threads)
                np.testing.assert_array_equal(drawn, done.x[i])
        if not resample:
            surprise = self.case.surprise(flat).reshape(done.x.shape)
            weights = np.where(observed[:, None], -surprise, 0.0).reshape(len(x), k, self.model.n_dims).sum(axis=2)
            np.testing.assert_allclose(done.log_weights, weights, rtol=0, atol=self.tolerance)
        return flat

    def is_prefix(self, seen: npt.NDArray[np.bool_]) -> bool:
        steps = seen.ravel()[self.case.order]
        return bool((steps[:-1] >= steps[1:]).all())

    @rule(target=events, x=events, n=counts, seed=seeds, start=starts, threads=threads, chance=chances)
    def drawn_given(
        self, x: Events, n: int, seed: int, start: int, threads: int | None, chance: np.random.Generator
    ) -> Events:
        if not len(x):
            return x
        n_seen = int(chance.integers(0, self.model.n_dims + 1))
        evidence = np.full(self.model.n_dims, -1)
        seen = self.case.order[:n_seen]
        evidence[seen] = x[0].ravel()[seen]
        drawn = self.model.sample(
            n, evidence=evidence.reshape(self.model.event_shape), rng=seed, start=start, threads=threads
        )
        assert (drawn.reshape(n, self.model.n_dims)[:, seen] == evidence[seen]).all()
        # With no evidence it is a sample.
        key: Hashable = ("sample", 1.0) if n_seen == 0 else ("given", evidence.tobytes())
        self.enter(((*key, (seed, start + i)) for i in range(n)), drawn)  # type: ignore[misc]
        return drawn

    @rule(x=events, seed=seeds, start=st.integers(0, 9), threads=threads, chance=chances)
    def prob_range(self, x: Events, seed: int, start: int, threads: int | None, chance: np.random.Generator) -> None:
        if not len(x):
            return
        n_paths = 2000 if self.enumerable else 20
        low, high = np.sort(x[chance.integers(0, len(x), (2, 3))], axis=0)  # boxes between two events
        free = chance.random(low.shape) < 0.5
        low, high = np.where(free, 0, low), np.where(free, self.case.classes - 1, high)
        got = self.model.prob_range(low, high, n_paths=n_paths, rng=seed, start=start, threads=threads)
        keys = [(n_paths, seed, start + i, low[i].tobytes(), high[i].tobytes()) for i in range(len(low))]
        self.enter((("prob_range", key) for key in keys), np.stack([got.value, got.standard_error], axis=1))
        if self.enumerable:
            every = self.case.every_event()
            p = np.exp(self.case.log_prob(every))
            inside = ((low[:, None] <= every) & (every <= high[:, None])).reshape(len(low), len(every), -1).all(axis=2)
            # Weights are between 0 and 1, so that their mean is off by 0.08 once in 10^11 (Hoeffding).
            off = np.where(got.standard_error == 0, 1e-5, 0.08)
            assert (np.abs(got.value - inside @ p) <= np.where(got.n_samples > 1, 0.08, off)).all()

    @rule(x=events, seed=seeds, threads=threads)
    def prob_of_a_point(self, x: Events, seed: int, threads: int | None) -> None:
        got = self.model.log_prob_range(x, x, rng=seed, threads=threads)
        assert (np.asarray(got.standard_error) == 0).all()
        np.testing.assert_allclose(got.value, self.case.log_prob(x), rtol=0, atol=self.tolerance)

    # --- files and bytes ---------------------------------------------------------------------------------

    @rule(target=blobs, x=events, layout=layouts(), block_len=st.sampled_from([1, 3, 16, 256]), threads=threads)
    def encoded(self, x: Events, layout: tuple[str, str], block_len: int, threads: int | None) -> tuple[bytes, Events]:
        blob = self.model.encode(laid_out(x, self.case.classes, layout), block_len=block_len, threads=threads)
        self.enter([("encode", block_len, x.tobytes())], np.frombuffer(blob, np.uint8)[None])
        bits = -self.case.log_prob(x).sum() / np.log(2)
        assert len(blob) <= 1.01 * bits / 8 + 16 * -(-len(x) // block_len) + 100
        return blob, x

    @rule(pair=blobs, threads=threads, chance=chances)
    def decoded(self, pair: tuple[bytes, Events], threads: int | None, chance: np.random.Generator) -> None:
        blob, x = pair
        start, stop = np.sort(chance.integers(0, len(x) + 2, 2))
        np.testing.assert_array_equal(self.model.decode(blob, start=start, stop=stop, threads=threads), x[start:stop])
        np.testing.assert_array_equal(self.model.decode(blob, threads=threads), x)

    @rule(how=st.sampled_from(["file", "pickle", "copy", "deepcopy"]))
    def again(self, how: str) -> None:
        before = self.model
        if how == "file":
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                before.save(path)
                self.model = ancestral.load(path)
                self.enter([("file",)], np.frombuffer(path.read_bytes(), np.uint8)[None])
        elif how == "pickle":
            self.model = pickle.loads(pickle.dumps(before))
        else:
            self.model = getattr(copy, how)(before)
        assert repr(self.model) == repr(before)
        assert self.model.config == before.config == self.case.model.config


EXAMPLES = os.environ.get("ANCESTRAL_MACHINE_EXAMPLES")
TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=int(EXAMPLES or 150),
    stateful_step_count=30,
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
