"""Each model, operation, size, contestant and number of threads as a case of pytest-benchmark: `pytest benches`.

Models, contestants, and what is done before the clock starts are the race's. A case is timed at a stretch and not by
turns, so it can be held against the same case of another run rather than against its neighbours.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from ancestral.demo.report import n_cores
from benches import training
from benches.check import check
from benches.contestants import CONTESTANTS, PACKAGES, Contestant, Unsupported, load
from benches.machine import versions
from benches.models import SPECS, TINY, Entrant, Spec, digits, prepare
from benches.race import FULL, LONG_SECONDS, OPERATIONS, Runner, sizes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All contestants of a model and size follow one another, smaller sizes first."""
    tiny = _tiny(metafunc.config)
    trains = _operation(metafunc.function) not in OPERATIONS
    every = sorted({n for spec in SPECS for n in sizes(spec, FULL)})
    metafunc.parametrize("model", [spec.name for spec in (TINY if tiny else SPECS)], ids=_slug)
    metafunc.parametrize("n", [2] if tiny else training.SIZES if trains else every)
    metafunc.parametrize("contestant", training.BACKENDS if trains else CONTESTANTS, ids=str.lower)
    metafunc.parametrize("threads", _threads(metafunc.config), ids="{}-threads".format)


def _threads(config: pytest.Config) -> list[int]:
    return [1] if _tiny(config) else sorted({1, n_cores()})


def _tiny(config: pytest.Config) -> bool:
    return bool(config.getoption("tiny", default=False))


def _operation(function: Callable[..., Any]) -> str:
    return function.__name__.removeprefix("test_")


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name)


@pytest.fixture
def spec(model: str, pytestconfig: pytest.Config) -> Spec:
    return next(spec for spec in (TINY if _tiny(pytestconfig) else SPECS) if spec.name == model)


@pytest.fixture(scope="session")
def entrant_of() -> Callable[[Spec], Entrant]:
    return cache(prepare)


@pytest.fixture(scope="session")
def checked(entrant_of: Callable[[Spec], Entrant]) -> Callable[[Spec, str], Contestant]:
    """Make a contestant; before it is timed it must agree with the Rust model."""

    @cache
    def make(spec: Spec, file: str) -> Contestant:
        entrant = entrant_of(spec)
        contestant = load(file)(entrant.module)
        check(entrant, contestant)
        return contestant

    return make


@pytest.fixture(scope="session")
def runner_of() -> Callable[[str, Contestant, int | None], Runner]:
    """One runner for all sizes: what the smaller ones took tells which call would take too long."""

    @cache
    def make(operation: str, contestant: Contestant, threads: int | None) -> Runner:
        return Runner(contestant, threads)

    return make


@pytest.fixture
def runner(
    request: pytest.FixtureRequest,
    spec: Spec,
    n: int,
    contestant: str,
    threads: int,
    entrant_of: Callable[[Spec], Entrant],
    checked: Callable[[Spec, str], Contestant],
    runner_of: Callable[[str, Contestant, int | None], Runner],
) -> Runner:
    """Return the contestant, compiled and warm, or skip the case and say why."""
    if not _tiny(request.config) and n not in sizes(spec, FULL):
        pytest.skip(f"{spec.name} is not raced with so many samples at once")
    if package := PACKAGES.get(contestant):
        pytest.importorskip(package, reason=f"{package} is not installed")
    try:
        side = checked(spec, contestant)
    except Unsupported as why:
        pytest.skip(str(why))
    if not side.one_thread and threads != _threads(request.config)[-1]:
        pytest.skip(f"{side.name} always uses all threads")
    operation = _operation(request.function)
    runner = runner_of(operation, side, threads if side.one_thread else None)
    runner.prepare(operation, entrant_of(spec), n, FULL)
    if runner.task is None:
        pytest.skip(runner.reason)
    if runner.task.part < 1:
        request.node.add_marker(pytest.mark.benchmark(timer=runner.task.clock))
    return runner


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: Any, model: str, contestant: str, n: int) -> Callable[..., None]:
    """Time a warm call. One that takes long is timed once."""

    def run(call: Callable[[], Any], *, threads: int, takes_long: bool, part: float = 1.0) -> None:
        operation = _operation(request.function)
        benchmark.group = f"{model}: {operation}"
        benchmark.extra_info.update(
            model=model,
            operation=operation,
            contestant=contestant,
            n=n,
            threads=threads,
            part=part,
            versions=versions(),
        )
        if takes_long:
            benchmark.pedantic(call)
        else:
            benchmark(call)

    return run


# `runner` comes before `measure`, and so before `benchmark`, whose clock it may set.
def test_sample(runner: Runner, measure: Callable[..., None]) -> None:
    _measure_task(runner, measure)


def test_log_prob(runner: Runner, measure: Callable[..., None]) -> None:
    _measure_task(runner, measure)


def _measure_task(runner: Runner, measure: Callable[..., None]) -> None:
    assert runner.task is not None
    threads = runner.threads or n_cores()
    measure(runner.task.call, threads=threads, takes_long=bool(runner.seconds), part=runner.task.part)


def test_training(spec: Spec, contestant: str, n: int, threads: int, measure: Callable[..., None]) -> None:
    try:
        step = training.stepper(spec, contestant, digits().train[:n])
    except Unsupported as why:
        pytest.skip(str(why))
    torch.set_num_threads(threads)
    with training.surroundings(contestant):
        started = time.perf_counter()
        step()
        measure(step, threads=threads, takes_long=time.perf_counter() - started > LONG_SECONDS)
