"""A training run: its steps, what it keeps, and its state in a checkpoint."""

from __future__ import annotations

import copy
import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ancestral import _checkpoint as checkpoints
from ancestral._averaging import Average
from ancestral._training_data import Data
from ancestral.history import History
from ancestral.nn import Autoregressive

WARMUP = 0.02  # of all steps
WARMUP_STEPS = 100  # where nobody knows how many there will be
MAX_GRAD_NORM = 1.0  # of the gradient of the NLL per dimension


class Run:
    """The state of a training run; all that changes is in `save`."""

    def __init__(self, module: Autoregressive, settings: dict[str, Any], seed: int) -> None:
        self.module = module
        self.settings = settings
        self.seed = seed
        self.history = History()
        self.best = copy.deepcopy(module.state_dict())
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=settings["lr"],
            weight_decay=settings["weight_decay"],
            # All operations in one pass over the memory: on a CPU NADE's update takes less than half as long.
            fused=module._like().device.type == "cpu" or None,  # None: torch chooses
        )
        self.average = None if settings["average"] is None else Average(self.parameters, settings["average"])

    def finished(self) -> bool:
        n, best = len(self.history.epochs), self.history.best_epoch
        patience: int | None = self.settings["patience"]
        stale = patience is not None and best is not None and n - best >= patience
        return stale or n == self.settings["epochs"]

    def epoch(self, train: Data, valid: Data | None, bar: tqdm[Any]) -> None:
        history, began = self.history, time.perf_counter()
        epoch = len(history.epochs) + 1
        bar.set_description(f"{self.module.kind} epoch {epoch}/{self.settings['epochs']}", refresh=False)
        shown = {"valid": f"{history.valid_nll[-1]:.2f}"} if history.valid_nll else {}
        total, seen = 0.0, 0
        for i, (x, weights) in enumerate(train.batches(_mix(self.seed, epoch))):
            lr = self.settings["lr"] * _schedule(epoch - 1, i, self.settings["epochs"], train.n_batches)
            total += len(x) * self._step(x, weights, lr, f"epoch {epoch}, step {i + 1}")
            seen += len(x)
            bar.set_postfix(train=f"{total / seen:.2f}", **shown, refresh=False)
            bar.update()
        with nullcontext() if self.average is None else self.average.in_place():
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
                self.best = copy.deepcopy(self.module.state_dict())
        history.seconds.append(time.perf_counter() - began)

    def _step(self, x: Tensor, weights: Tensor | None, lr: float, place: str) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        log_prob = self._log_prob(x)
        loss = -(log_prob if weights is None else weights * log_prob).mean()
        torch.autograd.backward(loss / self.module.n_dims)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        nll = loss.item()
        if not math.isfinite(nll):
            raise self._not_finite("the train NLL", nll, place, lr)
        if not math.isfinite(norm.item()):
            raise self._not_finite("the norm of the gradient", norm.item(), place, lr)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return nll

    def _log_prob(self, x: Tensor) -> Tensor:
        # Within torch.autocast: it keeps what it has cast of the weights, which have changed since.
        torch.clear_autocast_cache()
        return self.module.log_prob(x)

    def _nll(self, data: Data) -> float:
        sums, n = [], 0
        for x, _ in data.batches(None):
            with torch.inference_mode():  # around this alone: what a Dataset makes may be trained on later
                sums.append(float(self._log_prob(x).double().sum()))
            n += len(x)
        return -math.fsum(sums) / n

    def _not_finite(self, what: str, value: float, place: str, lr: float) -> FloatingPointError:
        best = self.history.best_epoch
        kept = "its initial weights" if best is None else f"the weights of epoch {best}"
        names = [name for name, weight in self.module.named_parameters() if not weight.isfinite().all()]
        where = f" with weights that are not finite in {', '.join(names)}" if names else ""
        return FloatingPointError(
            f"{what} is {value} at {place} (lr {lr:.3g}){where}. Try a lower lr than {self.settings['lr']:g}. "
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
        if self.average is not None:
            state["average"] = self.average.state_dict()
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
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.best = state["best"]


def _schedule(epoch: int, step: int, epochs: int, steps: int | None) -> float:
    """The share of the highest rate in a step of an epoch, both counted from 0; `steps` is how many an epoch has.

    Where that is not known, the cosine goes down from epoch to epoch only.
    """
    if steps is None:
        done, total = epoch, epochs
        rise = (step + 1) / WARMUP_STEPS if epoch == 0 else 1.0
    else:
        done, total = epoch * steps + min(step, steps), epochs * steps  # a DataLoader may give more than it says
        rise = (done + 1) / max(1, round(WARMUP * total))
    return min(1.0, rise) * 0.5 * (1 + math.cos(math.pi * done / total))


def _mix(seed: int, epoch: int) -> int:
    """A seed for each epoch."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
