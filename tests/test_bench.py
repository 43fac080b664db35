"""The benchmark's own code: turns, tables, counts, and that the documentation holds what was measured."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ancestral import from_torch  # noqa: E402
from ancestral.nn import FVSBN, MADE, NADE, GatedPixelCNN, PixelCNN  # noqa: E402
from benches import documents, machine, scaling, tables  # noqa: E402
from benches.check import check  # noqa: E402
from benches.contestants import CONTESTANTS, PACKAGES, Contestant, Task, Unsupported, load  # noqa: E402
from benches.models import SPECS, TINY, Entrant, digits, fvsbn, nade, prepare  # noqa: E402
from benches.race import FULL, QUICK, Pace, Runner, race, runners, sizes  # noqa: E402


def _result(name: str, threads: int | None, median: float, part: float = 1.0) -> dict[str, Any]:
    spread = {"min": median / 2, "q1": median, "q3": 2 * median}
    return {"contestant": name, "threads": threads, "median": median, "rounds": 3, "part": part, **spread}


RESULTS: dict[str, Any] = {
    "limits": {
        "isa": "avx512",
        "peaks": [{"isa": "avx512", "threads": 1, "gflops": 100.0, "read_gb_per_s": {"16 KiB": 200.0}}],
    },
    "models": [{"name": "FVSBN", "additions": {"sample": 1e6, "log_prob": 1e6}}],
    "races": [
        {
            "model": "FVSBN",
            "operation": "sample",
            "n": 10,
            "results": [
                _result("slow", 1, 5.0, part=0.25),
                _result("quick", 1, 0.003),
                _result("quick", 2, 0.002),
                {"contestant": "absent", "threads": None, "reason": "it cannot"},
                {"contestant": "long", "threads": None, "reason": "a call takes too long: about 60 s"},
                _result("Rust", 1, 0.001),
            ],
        }
    ],
}


@pytest.mark.parametrize("page", documents.SECTIONS)
def test_the_documentation_holds_what_was_measured(page: str) -> None:
    """Nothing between the marks is written by hand: `python -m benches report` puts it there."""
    results = json.loads(documents.LATEST.read_text())
    assert (documents.ROOT / page).read_text() == documents.written(page, results)


def test_a_race_table_takes_the_faster_of_one_thread_and_all() -> None:
    assert tables.races(RESULTS, "sample", [10]).splitlines() == [
        "| model | n | slow | quick | **Rust** | best other / Rust |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| FVSBN | 10 | ~500,000 | 200 | **100** | 2.00 |",
    ]


def test_a_race_table_says_how_many_forward_passes_a_draw_takes() -> None:
    """One forward pass draws nothing: it is no other to be compared with."""
    results = copy.deepcopy(RESULTS)
    results["races"][0]["results"].append(_result(tables.FORWARD, 1, 0.0005))
    assert tables.races(results, "sample", [10]).splitlines()[::2] == [
        "| model | n | slow | quick | **Rust** | torch, one pass | best other / Rust | Rust / torch, one pass |",
        "| FVSBN | 10 | ~500,000 | 200 | **100** | 50.0 | 2.00 | 2.00 |",
    ]


def test_a_race_table_of_other_sizes_is_empty() -> None:
    assert len(tables.races(RESULTS, "sample", [11]).splitlines()) == 2


def test_the_full_table_says_why_a_size_is_missing_and_the_list_why_a_contestant_is() -> None:
    full = tables.threads(RESULTS, "sample")
    assert "about 60 s" in full
    assert "it cannot" not in full
    assert tables.reasons(RESULTS) == "- absent, sampling, FVSBN: it cannot."


def test_shares_are_counted_against_the_peak() -> None:
    """A million additions at 50 G a second take 20 µs, of 100."""
    assert tables.shares(RESULTS).splitlines()[-1].endswith("| 1.00 | 20.0 | 100 | 10 | 20 % |")


def test_of_two_measurements_of_the_limits_each_figure_is_the_better() -> None:
    a = {"isa": "avx2", "peaks": [{"threads": 1, "gflops": 3.0, "read_gb_per_s": {"16 KiB": 1.0}}]}
    b = {"isa": "avx2", "peaks": [{"threads": 1, "gflops": 2.0, "read_gb_per_s": {"16 KiB": 4.0}}]}
    best = {"isa": "avx2", "peaks": [{"threads": 1, "gflops": 3.0, "read_gb_per_s": {"16 KiB": 4.0}}]}
    assert machine.better(a, b) == best


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (0.01234, "0.012"),
        (0.1234, "0.123"),
        (9.996, "10.00"),
        (12.34, "12.3"),
        (999.6, "1,000"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_about_three_digits(value: float, written: str) -> None:
    assert tables.number(value) == written


def test_a_section_must_be_there_once() -> None:
    page = "a\n<!-- bench x -->\nold\n<!-- end -->\nb\n<!-- bench y -->\n<!-- end -->\n"
    assert documents.filled(page, {"x": "new"}) == page.replace("old", "new")
    with pytest.raises(ValueError, match="'z'"):
        documents.filled(page, {"z": "new"})


def fvsbn_additions(module: Any, x: np.ndarray) -> float:
    return float(np.mean([sum(row[j] for i in range(module.n_dims) for j in range(i)) for row in x.astype(int)]))


def nade_additions(module: Any, x: np.ndarray) -> float:
    return float(np.mean([module.n_hidden * (module.n_dims + row.sum()) for row in x.astype(int)]))


def made_additions(module: Any, x: np.ndarray) -> float:
    """Ones times weights that are not masked, and hidden units times theirs."""
    hidden, out = (layer.masked_weight() != 0 for layer in (*module.hidden, module.out))
    return float(np.mean([hidden.numpy()[:, row == 1].sum() for row in x]) + out.sum())


def gated_additions(module: Any, x: np.ndarray) -> float:
    """Each convolution, of ones with ones for weights that are not masked and no bias."""
    ones = copy.deepcopy(module).requires_grad_(False)
    expected = 0.0
    for layer in ones.modules():
        if hasattr(layer, "masked_weight"):
            torch.nn.init.ones_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
            expected += float(layer(torch.ones(1, len(layer.degrees_in), *module.event_shape[1:])).sum())
    return expected


def pixelcnn_additions(module: Any, x: np.ndarray) -> float:
    """A convolution of ones counts, at each output, the weights whose taps lie within the image."""
    expected = 0
    for layer in module.modules():
        if hasattr(layer, "masked_weight"):
            ones = torch.ones(1, layer.in_channels, *module.event_shape[1:])
            expected += int(torch.nn.functional.conv2d(ones, layer.mask, padding=layer.padding).sum())
    return expected


@pytest.mark.parametrize(
    ("module", "additions"),
    [
        (FVSBN(50), fvsbn_additions),
        (NADE(20, 7), nade_additions),
        (PixelCNN((1, 5, 6), n_channels=4, n_blocks=2, n_head=3), pixelcnn_additions),
        (PixelCNN((2, 1, 3), n_channels=4), pixelcnn_additions),
        (MADE(20, (7,)), made_additions),
        (MADE(7, (20,)), made_additions),
        (GatedPixelCNN((1, 5, 6), n_channels=4, n_layers=2, n_head=3), gated_additions),
        (GatedPixelCNN((2, 3, 2), n_classes=3, n_channels=4, dilations=(1, 2), n_head=3), gated_additions),
    ],
    ids=["FVSBN", "NADE", "PixelCNN", "PixelCNN of two channels", "MADE", "MADE, wide", "Gated PixelCNN", "of two"],
)
def test_additions_are_those_of_the_walk(module: Any, additions: Callable[[Any, np.ndarray], float]) -> None:
    x = np.random.default_rng(0).integers(0, 2, (9, *module.event_shape), np.uint8)
    assert machine.additions(module, x) == pytest.approx(additions(module, x))


@pytest.mark.parametrize(("model", "density"), [(fvsbn(64, 0.13), 0.13), (nade(64, 5, 0.9), 0.9)])
def test_constant_models_draw_the_density_asked_for(model: Any, density: float) -> None:
    assert model.sample(2000, rng=0).mean() == pytest.approx(density, abs=0.01)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a stretch of time")
def test_memory_is_that_of_the_call_whatever_this_process_holds() -> None:
    held = np.ones(1 << 25)  # 256 MiB: a child's ru_maxrss would begin with them
    (point,) = scaling.by_samples([400_000])
    assert point["output"] == 64 * 400_000 < held.nbytes
    assert abs(point["beyond"]) < point["output"] / 10


class Clock:
    """Stands for the module `time`: nothing takes any time but sleep."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("benches.race.time", clock)
    return clock


class Fake(Contestant):
    """Writes down its turns."""

    name = "fake"

    def __init__(self, log: list[Any], clock: Clock | None = None, one_thread: bool = True) -> None:
        self.log, self.clock, self.one_thread = log, clock or Clock(), one_thread  # type: ignore[misc]
        self.threads: int | None = None

    def set_threads(self, threads: int) -> None:
        self.threads = threads

    def _call(self) -> None:
        self.clock.sleep(0.02)
        self.log.append((self.name, self.threads))

    def sampler(self, n: int) -> Task:
        return Task(self._call)

    def scorer(self, x: Any) -> Task:
        raise Unsupported("it cannot")


PACE = Pace((1,), fewest_rounds=3, seconds=0.0, enough=10.0, longest=0.1)


def _entrant(module: Any) -> Entrant:
    x = np.zeros((3, *module.event_shape), np.uint8)
    return Entrant("a model", module, from_torch(module), x)


def test_contestants_take_turns(clock: Clock) -> None:
    log: list[Any] = []
    field = runners([Fake(log, clock), Fake(log, clock, one_thread=False)], all_threads=2)
    assert [runner.threads for runner in field] == [1, 2, None]
    results = race(field, "sample", _entrant(FVSBN(4)), 1, PACE)
    warm, rounds = log[:3], log[3:]
    assert warm == [("fake", 1), ("fake", 2), ("fake", None)]
    assert rounds == 3 * warm
    assert all(result["rounds"] == 3 and result["median"] == 0.02 for result in results)


def test_a_race_says_why_one_is_missing() -> None:
    field = runners([Fake([])], all_threads=1)
    (result,) = race(field, "log_prob", _entrant(FVSBN(4)), 2, PACE)
    assert result == {"contestant": "fake", "threads": 1, "reason": "it cannot"}


def test_a_call_that_would_take_too_long_is_not_made(clock: Clock) -> None:
    log: list[Any] = []
    field = runners([Fake(log, clock)], all_threads=1)
    race(field, "sample", _entrant(FVSBN(4)), 100, PACE)
    before = len(log)
    (result,) = race(field, "sample", _entrant(FVSBN(4)), 1000, PACE)
    assert "takes too long" in result["reason"]
    assert len(log) == before


def test_one_call_tells_whether_a_larger_one_would_take_too_long(clock: Clock) -> None:
    """A Runner that nobody asks for a record: so pytest-benchmark uses it."""
    runner, entrant = Runner(Fake([], clock), threads=1), _entrant(FVSBN(4))
    runner.prepare("sample", entrant, 100, PACE)
    assert runner.task is not None
    runner.prepare("sample", entrant, 1000, PACE)
    assert runner.task is None
    assert "takes too long" in runner.reason


def test_the_clock_of_a_part_stands_for_the_whole() -> None:
    before = time.perf_counter()
    read = Task(lambda: None, part=0.25).clock()
    assert before <= read / 4 <= time.perf_counter()


MODULES: dict[str, Callable[[], Any]] = {
    "FVSBN": lambda: FVSBN(30),
    "NADE": lambda: NADE(30, 5),
    "PixelCNN": lambda: PixelCNN((1, 5, 6), n_channels=6, n_blocks=2, n_head=4),
    "MADE": lambda: MADE(30, (17,)),
    "MADE, many units a step": lambda: MADE(30, (90,)),
    "MADE, random degrees": lambda: MADE(30, (40,), degrees="random"),
    "Gated PixelCNN": lambda: GatedPixelCNN((1, 5, 6), 5, n_channels=6, n_layers=2, n_head=4),
    "Gated PixelCNN, kernels of 5": lambda: GatedPixelCNN(
        (1, 6, 5), 3, n_channels=4, n_layers=3, n_head=4, input_kernel_size=5, kernel_size=5
    ),
}


# torch.compile takes a minute for each: tests/test_bench_pytest.py checks one of its models.
@pytest.mark.parametrize("file", [file for file in CONTESTANTS if file != "torch_compiled"])
@pytest.mark.parametrize("name", MODULES)
def test_contestants_agree(file: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large random weights: near those that modules begin with, all that is drawn is nearly a fair coin."""
    if package := PACKAGES.get(file):
        pytest.importorskip(package)
    for limit in ("PART_SECONDS", "LONGEST_STEP"):  # whole samples, however busy the machine is
        monkeypatch.setattr(f"benches.contestants.torch_usual.{limit}", math.inf)
    torch.manual_seed(0)
    module = MODULES[name]()
    for parameter in module.requires_grad_(False).parameters():
        parameter.normal_(std=0.5)
    try:
        contestant = load(file)(module)
    except Unsupported as why:
        assert (file, str(why)) == ("numba_events", "a convolution has no events to be driven by")  # noqa: PT017
        return
    found = check(_entrant(module), contestant)
    assert ("samples" in found) == contestant.draws


@pytest.mark.parametrize(
    "module",
    [
        MADE(6, (4, 4)),
        MADE(6, (4,), n_classes=3),
        MADE(6, (4,), order=range(5, -1, -1)),
        MADE(6, (4,), direct=True),
        GatedPixelCNN((1, 3, 4), n_channels=4, n_layers=1, n_head=3),
        GatedPixelCNN((3, 3, 4), 4, n_channels=4, n_layers=1, n_head=3),
        GatedPixelCNN((1, 3, 4), 4, n_channels=4, dilations=(2,), n_head=3),
        GatedPixelCNN((1, 3, 4), 4, n_channels=4, n_layers=1, n_head=3, skip=True),
    ],
    ids=str,
)
def test_contestants_say_for_which_networks_they_are_not_written(module: Any) -> None:
    with pytest.raises(Unsupported, match="written for"):
        load("torch_cached")(module)


def test_one_forward_pass_gives_the_modules_logits() -> None:
    """`check` looks at what contestants draw and score: it does neither."""
    from benches.contestants._torch import forward_of

    for make in MODULES.values():
        module = make()
        x = torch.randint(0, module.n_classes, (3, *module.event_shape)).float()
        with torch.inference_mode():
            torch.testing.assert_close(forward_of(module)(x), module._logits(x))


def test_a_contestant_with_another_likelihood_is_found() -> None:
    class Wrong(Fake):
        def scorer(self, x: Any) -> Task:
            return Task(lambda: np.zeros(len(x)))

    with pytest.raises(AssertionError, match="scores a model otherwise"):
        check(_entrant(FVSBN(4)), Wrong([]))


def test_models_are_prepared_with_digits_in_their_shape() -> None:
    for spec, black in ((TINY[2], 1), (TINY[4], 3)):
        entrant = prepare(spec)
        assert entrant.batch(5001).shape == (5001, 1, 28, 28)
        np.testing.assert_array_equal(entrant.batch(1)[0].ravel(), black * digits().test[0])


def test_a_model_may_have_sizes_of_its_own() -> None:
    by_kind = {spec.kind: spec for spec in SPECS}
    assert sizes(by_kind[NADE], FULL) == FULL.sizes
    assert sizes(by_kind[MADE], FULL) == (1, 100, 1000)
    assert sizes(by_kind[MADE], QUICK) == (1, 1000)
    assert sizes(by_kind[GatedPixelCNN], QUICK) == (1, 64)
