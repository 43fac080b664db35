"""Training: `fit` maximises the likelihood of a torch module."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from ancestral import _arguments as arguments
from ancestral import _checkpoint as checkpoints
from ancestral._training_data import as_data, set_weights
from ancestral._training_run import Run
from ancestral._wrappers import unwrapped
from ancestral.history import History
from ancestral.nn import Autoregressive
from ancestral.nn._core_step import own_threads

BATCH_SIZE = 100


@torch.inference_mode(False)
@torch.enable_grad()
def fit(
    module: torch.nn.Module,
    train: Any,
    valid: Any = None,
    *,
    weights: Any = None,
    epochs: int = 30,
    batch_size: int | None = None,
    lr: float | None = None,
    weight_decay: float = 0.0,
    average: float | None = None,
    patience: int | None = 5,
    rng: arguments.Rng = 0,
    device: str | torch.device | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> History:
    """Train a module by maximum likelihood on mini-batches.

    AdamW; the learning rate rises linearly over the first 2 % of all steps and falls to zero along half a
    cosine; gradients are clipped. After each epoch the NLL of `valid` is taken. **However fit ends, by
    return or by exception (Ctrl-C included), the module has the weights of `History.best_epoch` so far**,
    or those it came with if no epoch had ended. It trains under `torch.no_grad` and `torch.inference_mode` too.
    Under `torch.autocast` every step casts the weights anew.

    Parameters
    ----------
    module : Autoregressive
        Trained in place, all parameters but those with `requires_grad=False`. Of DataParallel,
        DistributedDataParallel, AveragedModel or what `torch.compile` returns, the module inside is trained, by this
        process alone and as if it had not been wrapped.
    train, valid : array, tensor, Dataset or DataLoader
        Values 0 ... n_classes - 1 of any real dtype. Each may be

        - an array or tensor, shape (n, *event_shape); of a `np.memmap`, only a batch is in memory at a time;
        - a torch Dataset with a length, such as a Subset: it is read anew in each epoch, by index, so that random
          transforms such as dynamic binarization draw anew;
        - an IterableDataset, whose examples are batched as they come;
        - a DataLoader, which decides on batches and their order.

        An example of a Dataset is x, shape event_shape, and a batch of a DataLoader is x, shape (n, *event_shape);
        or either is a tuple or list that begins with x, of which the rest (labels) is ignored. Where neither the
        DataLoader nor the IterableDataset has a length, the learning rate rises over the first 100 steps of the
        first epoch and then falls from epoch to epoch, along the cosine.
    weights : array or tensor, shape (n,), optional
        How much each example of `train` counts, in the loss and in `History.train_nll`: finite, >= 0 and not all
        zero. Only their ratios matter. Not with a DataLoader or an IterableDataset.
    epochs : int
        Passes over `train`.
    batch_size : int, optional
        Examples a step. Default: 100. Not with a DataLoader as `train`.
    lr : float, optional
        Highest learning rate. Default: `module.default_lr`.
    weight_decay : float
        Of AdamW, decoupled.
    average : float, optional
        Average the weights over the steps, an exponential moving average (EMA) with this decay, between 0 and 1, such
        as 0.999: after step t, those after step k <= t count in proportion to average**(t - k). Validation, the best
        weights and the module in the end have averaged weights; steps start from the weights as they are. Buffers
        are not averaged.
    patience : int, optional
        Stop after so many epochs without a lower validation NLL; None: never.
    rng : int, NumPy's or torch's Generator, or None
        Seed of the order of the examples, which depends on it and the epoch alone; a Generator gives a
        seed, None takes one from the system. Torch's global generators are neither read nor changed, except by what a
        Dataset or a DataLoader does itself; a DataLoader shuffles with its own generator.
    device : optional
        Where to train; the module is moved there and stays. Default: where the module is.
    checkpoint : path, optional
        File with the whole state, replaced after each epoch. If it exists, the run goes on from there.
        On the CPU, with as many threads, weights and history are the same bits as without a stop; of a Dataset only
        if it gives the same examples again, and of a DataLoader or an IterableDataset not if its order changes.
        A checkpoint knows arrays and tensors by their values, and others by type and length alone.
    progress : bool, optional
        A bar on stderr. Default: if that is a terminal.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; names it. What a Dataset, a DataLoader or a `np.memmap` gives is checked when
        it is read.
    ValueError
        If all parameters of `module` are frozen, or it was made under `torch.inference_mode` or on the meta device.
    ValueError
        If `checkpoint` is of a run with another module, data or hyper-parameters, or no checkpoint.
    OSError
        If `checkpoint` cannot be written, as on a full disk; the last good one stays. The same call goes on from it.
    FloatingPointError
        If the NLL or its gradient is no longer finite.
    """
    network = unwrapped(module)
    _check_trainable(network)
    if isinstance(train, DataLoader) and batch_size is not None:
        raise ValueError(f"batch_size is {batch_size}, and train is a DataLoader, which makes the batches; wanted None")
    size = arguments.integer("batch_size", BATCH_SIZE if batch_size is None else batch_size, 1)
    settings: dict[str, Any] = {
        "epochs": arguments.integer("epochs", epochs, 1),
        "batch_size": None if isinstance(train, DataLoader) else size,
        "lr": arguments.real("lr", network.default_lr if lr is None else lr, 0, strictly=True),
        "weight_decay": arguments.real("weight_decay", weight_decay, 0),
        "average": None if average is None else arguments.real("average", average, 0, 1, strictly=True),
        "patience": None if patience is None else arguments.integer("patience", patience, 1),
    }
    where = None if device is None else _as_device(device)
    file = None if checkpoint is None else arguments.path("checkpoint", checkpoint)
    seed = arguments.seed(rng)
    train_data = as_data("train", train, network, size)
    valid_data = None if valid is None else as_data("valid", valid, network, size)
    weighting = None if weights is None else set_weights(train_data, weights, network._like().dtype)
    if where is not None:
        network.to(where)

    run = Run(network, settings, seed)
    if file is not None:
        identity: dict[str, Any] = {
            "kind": network.kind,
            "config": network.config(),
            "dtype": str(network._like().dtype),
        }
        identity |= settings | {"train": train_data.identity(), "valid": valid_data and valid_data.identity()}
        identity["weights"] = weighting
        checkpoints.clear(file)
        if file.exists():
            run.load(
                file,
                identity,
                seed_matters=rng is not None and not isinstance(rng, (np.random.Generator, torch.Generator)),
            )
        else:
            run.save(file, identity)  # also shows at once whether it can be written
    for data in filter(None, (train_data, valid_data)):
        data.to(network._like().device)
    steps = train_data.n_batches
    bar = tqdm(
        desc=network.kind,
        total=steps and settings["epochs"] * steps,
        initial=len(run.history.epochs) * (steps or 0),
        unit="step",
        dynamic_ncols=True,
        disable=None if progress is None else not progress,
    )
    try:
        with bar, own_threads() if network._in_core() else nullcontext():
            while not run.finished():
                run.epoch(train_data, valid_data, bar)
                if file is not None:
                    run.save(file, identity)
    finally:
        network.load_state_dict(run.best)
        torch.clear_autocast_cache()  # of casts of other weights
        run.optimizer.zero_grad()
    return run.history


def _check_trainable(module: Autoregressive) -> None:
    what = f"module is a {module.kind}"
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError(f"{what} whose parameters are all frozen; wanted some that train: module.requires_grad_()")
    if module._like().is_meta:
        raise ValueError(f"{what} on the meta device, where weights have no values; wanted one on another device")
    if any(tensor.is_inference() for tensor in (*module.parameters(), *module.buffers())):
        raise ValueError(
            f"{what} made under torch.inference_mode, whose tensors cannot be trained; wanted one made outside, "
            "which may load its state_dict"
        )


def _as_device(value: Any) -> torch.device:
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError) as error:
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"device is {value!r}; wanted a torch.device or its name: {error}") from None
    if device.type == "meta":
        raise ValueError("device is meta, where weights have no values; wanted another one")
    return device
