"""Training: `fit` maximises the likelihood of a torch module."""

from __future__ import annotations

import math
import os
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ancestral import _arguments as arguments
from ancestral import _checkpoint as checkpoints
from ancestral.history import History
from ancestral.nn._base import Autoregressive, as_events, as_size
from ancestral.nn._core_step import own_threads

WARMUP = 0.02  # of all steps
MAX_GRAD_NORM = 1.0  # of the gradient of the NLL per dimension


def fit(
    module: Autoregressive,
    train: Any,
    valid: Any = None,
    *,
    epochs: int = 30,
    batch_size: int = 100,
    lr: float | None = None,
    weight_decay: float = 0.0,
    patience: int | None = 5,
    rng: int | np.random.Generator | None = 0,
    device: str | torch.device | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> History:
    """Train a module by maximum likelihood on mini-batches.

    AdamW; the learning rate rises linearly over the first 2 % of all steps and falls to zero along half a
    cosine; gradients are clipped. After each epoch the NLL of `valid` is taken. **However fit ends, by
    return or by exception (Ctrl-C included), the module has the weights of `History.best_epoch` so far**,
    or those it came with if no epoch had ended.

    Parameters
    ----------
    module : Autoregressive
        Trained in place.
    train, valid : array or tensor, shape (n, *event_shape)
        Values 0 ... n_classes - 1 of any real dtype.
    epochs : int
        Passes over `train`.
    batch_size : int
        Examples a step.
    lr : float, optional
        Highest learning rate. Default: `module.default_lr`.
    weight_decay : float
        Of AdamW, decoupled.
    patience : int, optional
        Stop after so many epochs without a lower validation NLL; None: never.
    rng : int, Generator or None
        Seed of the order of the examples, which depends on it and the epoch alone; a Generator gives a
        seed, None takes one from the system. Torch's global generators are neither read nor changed.
    device : optional
        Where to train; the module is moved there and stays. Default: where the module is.
    checkpoint : path, optional
        File with the whole state, replaced after each epoch. If it exists, the run goes on from there.
        On the CPU, with as many threads, weights and history are the same bits as without a stop.
    progress : bool, optional
        A bar on stderr. Default: if that is a terminal.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; names it.
    ValueError
        If `checkpoint` is of a run with another module, data or hyper-parameters, or no checkpoint.
    OSError
        If `checkpoint` cannot be written, as on a full disk; the last good one stays. The same call goes on from it.
    FloatingPointError
        If the NLL or its gradient is no longer finite.
    """
    if not isinstance(module, Autoregressive):
        raise TypeError(f"module must be an ancestral.nn module, got {type(module).__name__}")
    settings: dict[str, Any] = {
        "epochs": as_size(epochs, "epochs"),
        "batch_size": as_size(batch_size, "batch_size"),
        "lr": _as_rate(module.default_lr if lr is None else lr, "lr", zero=False),
        "weight_decay": _as_rate(weight_decay, "weight_decay", zero=True),
        "patience": None if patience is None else as_size(patience, "patience"),
    }
    seed = arguments.seed(rng)
    train_x = _as_data(module, train, "train")
    valid_x = None if valid is None else _as_data(module, valid, "valid")
    if device is not None:
        module.to(device)

    run = _Run(module, settings, seed)
    file = None if checkpoint is None else Path(checkpoint)
    if file is not None:
        identity = {"kind": module.kind, "config": module.config(), "dtype": str(module._like().dtype)}
        identity |= settings | {"train": checkpoints.fingerprint(train_x), "valid": checkpoints.fingerprint(valid_x)}
        checkpoints.clear(file)
        if file.exists():
            run.load(file, identity, seed_matters=isinstance(rng, (int, np.integer)))
        else:
            run.save(file, identity)  # also shows at once whether it can be written
    where = module._like().device
    train_x, valid_x = train_x.to(where), None if valid_x is None else valid_x.to(where)
    steps = math.ceil(len(train_x) / settings["batch_size"])
    done = len(run.history.epochs)
    bar = tqdm(
        desc=module.kind,
        total=settings["epochs"] * steps,
        initial=done * steps,
        unit="step",
        dynamic_ncols=True,
        disable=None if progress is None else not progress,
    )
    try:
        with bar, own_threads() if module._in_core() else nullcontext():
            while not run.finished():
                run.epoch(train_x, valid_x, bar)
                if file is not None:
                    run.save(file, identity)
    finally:
        module.load_state_dict(run.best)
        run.optimizer.zero_grad()
    return run.history


class _Run:
    """The state of a training run; all that changes is in `save`."""

    def __init__(self, module: Autoregressive, settings: dict[str, Any], seed: int) -> None:
        self.module = module
        self.settings = settings
        self.seed = seed
        self.history = History()
        self.best = _snapshot(module)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=settings["lr"],
            weight_decay=settings["weight_decay"],
            # All operations in one pass over the memory: on a CPU NADE's update takes less than half as long.
            fused=module._like().device.type == "cpu" or None,  # None: torch chooses
        )

    def finished(self) -> bool:
        n, best = len(self.history.epochs), self.history.best_epoch
        patience: int | None = self.settings["patience"]
        stale = patience is not None and best is not None and n - best >= patience
        return stale or n == self.settings["epochs"]

    def epoch(self, train: Tensor, valid: Tensor | None, bar: tqdm[Any]) -> None:
        history, began = self.history, time.perf_counter()
        epoch = len(history.epochs) + 1
        bar.set_description(f"{self.module.kind} epoch {epoch}/{self.settings['epochs']}", refresh=False)
        shown = {"valid": f"{history.valid_nll[-1]:.2f}"} if history.valid_nll else {}
        generator = torch.Generator().manual_seed(_mix(self.seed, epoch))
        shuffled = torch.randperm(len(train), generator=generator).to(train.device)
        batches = torch.split(shuffled, self.settings["batch_size"])
        total, seen = 0.0, 0
        for i, batch in enumerate(batches):
            lr = self.settings["lr"] * _schedule((epoch - 1) * len(batches) + i, self.settings["epochs"] * len(batches))
            total += len(batch) * self._step(train[batch], lr, f"epoch {epoch}, step {i + 1}")
            seen += len(batch)
            bar.set_postfix(train=f"{total / seen:.2f}", **shown, refresh=False)
            bar.update()
        if valid is not None:
            nll = self._nll(valid)
            if not math.isfinite(nll):
                raise self._not_finite("the validation NLL", nll, f"the end of epoch {epoch}", lr)
            history.valid_nll.append(nll)
            bar.set_postfix(train=f"{total / seen:.2f}", valid=f"{nll:.2f}")
        history.epochs.append(epoch)
        history.train_nll.append(total / seen)
        history.lr.append(lr)
        if valid is None or history.best_epoch is None or nll < history.valid_nll[history.best_epoch - 1]:
            history.best_epoch = epoch
            self.best = _snapshot(self.module)
        history.seconds.append(time.perf_counter() - began)

    def _step(self, x: Tensor, lr: float, place: str) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        loss = -self.module.log_prob(x).mean()
        torch.autograd.backward(loss / self.module.n_dims)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        nll = loss.item()
        if not math.isfinite(nll):
            raise self._not_finite("the train NLL", nll, place, lr)
        if not math.isfinite(norm.item()):
            raise self._not_finite("the norm of the gradient", norm.item(), place, lr)
        self.optimizer.step()
        return nll

    @torch.inference_mode()
    def _nll(self, x: Tensor) -> float:
        batches = torch.split(x, self.settings["batch_size"])
        return -math.fsum(float(self.module.log_prob(batch).double().sum()) for batch in batches) / len(x)

    def _not_finite(self, what: str, value: float, place: str, lr: float) -> FloatingPointError:
        best = self.history.best_epoch
        kept = "its initial weights" if best is None else f"the weights of epoch {best}"
        return FloatingPointError(
            f"{what} is {value} at {place} (lr {lr:.3g}). Try a lower lr than {self.settings['lr']:g}. "
            f"The module has {kept}."
        )

    def save(self, file: Path, identity: dict[str, Any]) -> None:
        state = {
            "identity": identity,
            "rng": self.seed,
            "history": asdict(self.history),
            "module": self.module.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
        }
        checkpoints.write(file, state)

    def load(self, file: Path, identity: dict[str, Any], seed_matters: bool) -> None:
        state = checkpoints.read(file, identity | ({"rng": self.seed} if seed_matters else {}))
        self.seed = state["rng"]
        self.history = History(**state["history"])
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, averages in self.optimizer.state.items():
            for name, average in averages.items():
                if average.shape == parameter.shape:
                    # Fused AdamW walks both in memory order, whatever their strides.
                    averages[name] = torch.empty_like(parameter).copy_(average)
        self.best = state["best"]


def _schedule(step: int, steps: int) -> float:
    warmup = max(1, round(WARMUP * steps))
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _mix(seed: int, epoch: int) -> int:
    """A seed for each epoch."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])


def _snapshot(module: Autoregressive) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _as_data(module: Autoregressive, x: Any, name: str) -> Tensor:
    data = as_events(x, module.event_shape, module.n_classes, name)
    if len(data) == 0:
        raise ValueError(f"{name} must hold at least one example")
    return data.to(torch.uint8).contiguous()


def _as_rate(value: Any, name: str, zero: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} must be finite and {'>= 0' if zero else '> 0'}, got {value}")
    return float(value)
