"""The demo's steps: data, then for each model train, export, compare and time; pictures at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ancestral import datasets, load
from ancestral.demo import report
from ancestral.demo.report import Result
from ancestral.demo.torch_samplers import cached, usual_loop
from ancestral.model import Model
from ancestral.nn import FVSBN, NADE, Autoregressive, PixelCNN
from ancestral.train import fit

N_DRAWN = 64


@dataclass(frozen=True)
class Plan:
    """A model and its training; `n_examples` is epochs times size of the training set."""

    title: str
    make: Callable[[], Autoregressive]
    n_examples: int
    batch_size: int = 100
    lr: float | None = None  # of the module


# Small batches and high rates: what goes furthest in a few minutes on two cores.
PLANS = (
    Plan("FVSBN", lambda: FVSBN(784), n_examples=80_000),
    Plan("NADE, 300 hidden units", lambda: NADE(784, 300), n_examples=44_000, batch_size=25, lr=1e-2),
    Plan(
        "PixelCNN, 12 blocks of 24 channels",
        # Shifted, paper is -1 and differs from the padding, so the network sees where the image ends.
        lambda: PixelCNN((1, 28, 28), n_channels=24, n_blocks=12, n_head=32, input_scale=2, input_shift=-1),
        n_examples=72_000,
        batch_size=16,
        lr=6e-3,
    ),
)
QUICK_SHARE = 0.1  # of the training examples, with --quick


@dataclass(frozen=True)
class Settings:
    """What a run of the demo depends on; the defaults are those of `ancestral demo`."""

    data: str = "mnist-5k"
    out: Path = Path("ancestral-demo")
    seed: int = 0
    threads: int | None = None
    plans: tuple[Plan, ...] = PLANS
    share: float = 1.0
    n_timed: int = 25


def run(settings: Settings) -> list[Path]:
    """Run the demo, print what comes out, and return the files written into `settings.out`."""
    threads = settings.threads or report.n_cores()
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _run(settings, threads)
    finally:
        torch.set_num_threads(torch_threads)


def _run(settings: Settings, threads: int) -> list[Path]:
    started = time.perf_counter()
    splits = datasets.mnist_5k() if settings.data == "mnist-5k" else datasets.binarized_mnist()
    settings.out.mkdir(parents=True, exist_ok=True)
    sizes = " / ".join(f"{len(part):,}" for part in splits)
    print("Autoregressive models of handwritten digits: trained in PyTorch, scored and sampled in Rust.\n")
    print(f"  machine    {report.machine()}")
    print(f"  versions   {report.versions()}")
    print(f"  threads    {threads}")
    print(f"  data       {settings.data}, 28 x 28 bits: {sizes} images for training / validation / test")

    files: list[Path] = []
    results: dict[str, Result] = {}
    for plan in settings.plans:
        torch.manual_seed(settings.seed)  # of the initial weights
        module = plan.make()
        print(f"\n{plan.title}")
        files.append(settings.out / f"{module.kind.lower()}.safetensors")
        results[module.kind] = _one(module, plan, splits, settings, threads, files[-1])

    drawn = {
        f"{kind}, NLL {result.nll:.1f}": result.model.sample(N_DRAWN, rng=settings.seed, threads=threads)
        for kind, result in results.items()
    }
    files.append(report.samples_picture(settings.out / "samples.png", splits.test[:N_DRAWN], drawn))
    histories = {kind: result.history for kind, result in results.items()}
    files.append(report.curves_picture(settings.out / "training.png", histories))
    print(f"\nDone in {time.perf_counter() - started:.0f} s. Files:")
    for file in files:
        print(f"  {file}")
    return files


def _one(
    module: Autoregressive,
    plan: Plan,
    splits: datasets.Splits,
    settings: Settings,
    threads: int,
    file: Path,
) -> Result:
    train, valid, test = (part.reshape(-1, *module.event_shape) for part in splits)
    epochs = max(1, round(plan.n_examples * settings.share / len(train)))
    history = fit(module, train, valid, epochs=epochs, batch_size=plan.batch_size, lr=plan.lr, rng=settings.seed)
    seconds = sum(history.seconds)
    print(f"  trained {len(history.epochs)} epochs in {seconds:.0f} s")

    module.model().save(file)
    model = load(file)
    print(f"  exported to {file} ({file.stat().st_size / 1e6:.1f} MB)")

    if isinstance(module, (FVSBN, NADE)):
        module.backend = "torch"  # it was trained in the core; from here on torch is what the core is held against
    with torch.inference_mode():
        by_torch = np.concatenate(
            [module.log_prob(test[i : i + 100]).double().numpy() for i in range(0, len(test), 100)]
        )
    by_rust = model.log_prob(test, threads=threads, progress=False)
    print(report.likelihoods(by_torch, by_rust, model.n_dims))
    _time_sampling(module, model, settings.n_timed, threads)
    return Result(model, history, nll=-float(by_rust.mean()))


def _time_sampling(module: Autoregressive, model: Model, n: int, threads: int) -> None:
    """Print each time as soon as it is known: the usual loop takes a while."""
    print(report.timing_header(n))
    rust = _seconds(lambda: model.sample(n, rng=0, threads=threads, progress=False)) / n
    print(report.timing("Rust", rust, rust))
    # Torch's small steps can be faster on one thread than on all, so it has the choice.
    seconds = min(_seconds(lambda: cached(module, n), torch_threads=t) for t in {1, threads}) / n
    print(report.timing("torch, cached activations", seconds, rust))
    best = min({1, threads}, key=lambda t: _seconds(lambda: usual_loop(module, n, n_steps=20), torch_threads=t))
    seconds = _seconds(lambda: usual_loop(module, n), torch_threads=best, repeats=1) / n
    print(report.timing("torch, the usual loop", seconds, rust))


def _seconds(call: Callable[[], object], torch_threads: int = 1, repeats: int = 3) -> float:
    """Return the shortest time of a few calls."""
    before = torch.get_num_threads()
    torch.set_num_threads(torch_threads)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    torch.set_num_threads(before)
    return min(times)
