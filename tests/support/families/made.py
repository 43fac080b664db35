"""MADE: a network of dense layers whose masks let each output see earlier dimensions only."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from support import oracle
from support.families.family import Configs, Family, Float64Tensors, Graph, any_order
from support.oracle import Config, Float, relu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

Numbers = npt.NDArray[np.int64]


class MADEFamily(Family):
    @staticmethod
    def config(
        n_dims: int,
        hidden: Sequence[int],
        n_classes: int = 2,
        order: list[int] | None = None,
        degrees: str = "natural",
        seed: int = 0,
        n_masks: int = 1,
        direct: bool = False,
    ) -> Config:
        return {
            "n_dims": n_dims,
            "hidden": list(hidden),
            "n_classes": n_classes,
            "order": order,
            "degrees": degrees,
            "seed": seed,
            "n_masks": n_masks,
            "direct": direct,
        }

    kind = "MADE"
    configs = Configs(
        small={
            "made": config(10, (13,)),
            "made-order": config(6, (9,), order=[5, 2, 4, 0, 1, 3]),
            "made-2-layers": config(7, (9, 11), degrees="random", seed=3),
            "made-3-layers": config(6, (8, 7, 10), order=[2, 0, 5, 3, 1, 4], degrees="random", seed=1, direct=True),
            "made-masks": config(6, (9, 7), order=[5, 2, 4, 0, 1, 3], degrees="random", n_masks=3, direct=True),
            "made-classes": config(4, (14,), 3, order=[2, 0, 3, 1]),
            "made-classes-17": config(2, (12, 9), 17, direct=True),
            "made-classes-masks": config(4, (12,), 5, degrees="random", seed=2, n_masks=3),
            "made-1": config(1, (3,)),
            "made-1-classes": config(1, (2, 3), 4, degrees="random", direct=True),
        },
        few=["made-order", "made-masks", "made-classes"],
        medium={
            "made": config(37, (30, 25), order=[(7 * i + 3) % 37 for i in range(37)]),
            "made-classes": config(11, (24,), 7, direct=True),
        },
        large={
            "made": config(200, (150,), order=list(range(199, -1, -1))),
            "made-classes": config(60, (90, 70), 5, degrees="random", direct=True),
        },
        shapes={
            "made-2": config(2, (1,)),
            "made-784": config(784, (100,)),
            "made-few-units": config(33, (5,), direct=True),
            "made-wide": config(65, (259, 131), order=[(7 * i + 3) % 65 for i in range(65)]),
            "made-odd-masks": config(67, (45,), degrees="random", n_masks=3),
            "made-classes-300": config(9, (43,), 300, order=[8, 0, 7, 1, 6, 2, 5, 3, 4]),
        },
        references={
            "made": config(83, (130,), order=list(range(82, -1, -1))),
            "made-2-layers": config(37, (83, 61), degrees="random", direct=True),
            "made-masks": config(29, (41,), degrees="random", n_masks=3),
            "made-classes": config(18, (53,), 5, order=[(7 * i + 3) % 18 for i in range(18)]),
        },
    )

    def formula(self, config: Config, tensors: Float64Tensors, x: Float) -> Float:
        """logits = (V ⊙ M^V) h + c + (A ⊙ M^A) u; of several masks, those of the mean of the distributions."""
        order, n_logits = self.order(config), _n_logits(config)
        each = []
        for mask in _which(config):
            h = _layers(config, tensors, x, mask)[-1]
            z = h @ (tensors["out.weight"] * _masks(config, mask)[-1]).T + tensors["out.bias"]
            if config["direct"]:
                z += _inputs(config, x) @ (tensors["direct.weight"] * _direct_mask(config)).T
            each.append(z.reshape(len(x), config["n_dims"], n_logits)[:, order])
        if len(each) == 1:
            return each[0]
        log_p = np.stack([oracle.log_conditionals(z) for z in each])
        largest = log_p.max(axis=0)
        log_mean: Float = largest + np.log(np.exp(log_p - largest).mean(axis=0))
        return log_mean[:, :, 1:] - log_mean[:, :, :1] if n_logits == 1 else log_mean

    def hidden(self, config: Config, tensors: Float64Tensors, x: Float, step: int | None) -> Float:
        """The last hidden layer, of one mask after the other; with a step, 0 in units that may see later values."""
        n_steps = config["n_dims"] if step is None else step
        each = []
        for mask in _which(config):
            known = _numbers(config, mask)[-2] <= n_steps  # m(k) is the last step, counted from 1, that unit k sees
            each.append(np.where(known, _layers(config, tensors, x, mask)[-1], 0.0))
        return np.concatenate(each, axis=1)

    def graph(self, config: Config) -> Graph:
        one_hot = config["n_classes"] > 2
        nodes: list[dict[str, Any]] = [{"name": "input", "op": "one_hot" if one_hot else "values"}]

        def dense(name: str, source: str, layer: str, numbers: Numbers) -> str:
            tensors = {"weight": f"{layer}.weight"} | ({} if layer == "direct" else {"bias": f"{layer}.bias"})
            nodes.append(
                {"name": name, "op": "dense", "from": source, **tensors, "degrees": [int(m) - 1 for m in numbers]}
            )
            return name

        def combine(name: str, op: str, source: str | list[str]) -> str:
            nodes.append({"name": name, "op": op, "from": source})
            return name

        if config["direct"]:
            dense("direct", "input", "direct", _numbers(config, 0)[-1])
        last, logits = [], []
        for mask in _which(config):
            *_, outputs = numbers = _numbers(config, mask)
            h = "input"
            for i, m in enumerate(numbers[1:-1]):
                h = dense(f"hidden.{i} mask {mask}", h, f"hidden.{i}", m)
                h = combine(f"relu.{i} mask {mask}", "relu", h)
            last.append(h)
            logits.append(dense(f"out mask {mask}", h, "out", outputs))
            if config["direct"]:
                logits[-1] = combine(f"sum mask {mask}", "add", [logits[-1], "direct"])
        several = len(_which(config)) > 1
        return {
            "space": {"event_shape": [config["n_dims"]], "n_classes": config["n_classes"], "order": config["order"]},
            "nodes": nodes,
            "output": combine("mean", "average", logits) if several else logits[0],
            "features": combine("features", "concat", last) if several else last[0],
        }

    def weights(self, config: Config, rng: np.random.Generator) -> Float64Tensors:
        tensors: Float64Tensors = {}
        for name, mask in _acting(self.members(config)).items():
            n_inputs = max(1, np.count_nonzero(mask) // len(mask))
            tensors[f"{name}.weight"] = rng.normal(size=mask.shape) * mask * math.sqrt(4.0 / n_inputs)
            if name != "direct":
                tensors[f"{name}.bias"] = rng.normal(size=len(mask)) * 0.5
        return tensors

    def last_layer(self, config: Config) -> tuple[str, ...]:
        return ("out.weight", "out.bias", *(["direct.weight"] if config["direct"] else []))

    def last_bias(self, config: Config, logits: Float) -> Float:
        bias = np.empty_like(logits)
        bias[self.order(config)] = logits  # outputs stand in the order of the dimensions
        return bias

    def n_params(self, config: Config) -> int:
        """Weights that act under some mask, and biases."""
        acting = _acting(self.members(config)).items()
        return sum(np.count_nonzero(mask) + (0 if name == "direct" else len(mask)) for name, mask in acting)

    def of_bits(self, n_dims: int) -> Config:
        return self.config(n_dims, (4,), order=list(range(n_dims - 1, -1, -1)))

    def any_config(self, draw: DrawFn, max_events: int | None) -> Config:
        from hypothesis import strategies as st

        n_classes = draw(st.sampled_from([2, 2, 2, 3, 5, 17, 300]))
        most = 24 if max_events is None else max(1, int(math.log(max_events) / math.log(n_classes)))
        n_dims = draw(st.integers(1, most))
        degrees = draw(st.sampled_from(["natural", "random"]))
        return MADEFamily.config(
            n_dims,
            draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)),
            n_classes,
            any_order(draw, n_dims),
            degrees,
            seed=draw(st.integers(0, 9)),
            n_masks=1 if degrees == "natural" else draw(st.integers(1, 3)),
            direct=draw(st.booleans()),
        )


def _which(config: Config) -> list[int]:
    """The draws of m(k) that a model has: the first ones; as a member of a mixture, one that it says."""
    return [config["mask"]] if "mask" in config else list(range(config["n_masks"]))


def _n_logits(config: Config) -> int:
    """Of a dimension: also the number of its inputs."""
    return 1 if config["n_classes"] == 2 else int(config["n_classes"])


def _inputs(config: Config, x: Float) -> Float:
    """x, or a one for the class of each dimension."""
    if config["n_classes"] == 2:
        return x
    ones = x[:, :, None] == np.arange(config["n_classes"])
    return ones.reshape(len(x), config["n_dims"] * config["n_classes"]).astype(np.float64)


def _layers(config: Config, tensors: Float64Tensors, x: Float, mask: int) -> list[Float]:
    """h^l = relu(b^l + (W^l ⊙ M^l) h^{l-1}) from h^0 = u."""
    layers = [_inputs(config, x)]
    for i, m in enumerate(_masks(config, mask)[:-1]):
        layers.append(relu(layers[-1] @ (tensors[f"hidden.{i}.weight"] * m).T + tensors[f"hidden.{i}.bias"]))
    return layers


def _numbers(config: Config, mask: int) -> list[Numbers]:
    """m(k) of the units of each layer, as the paper numbers them.

    An input of the dimension visited d-th has d, and a hidden unit the last d that it may see, 1 ... D - 1. An output
    has d - 1, since the paper compares strictly there. A later mask goes on drawing where the one before ended.
    """
    n_dims, n_logits = config["n_dims"], _n_logits(config)
    place = np.arange(n_dims) if config["order"] is None else np.argsort(config["order"])
    d = np.repeat(place + 1, n_logits)
    random = np.random.RandomState(config["seed"])
    for _ in range(mask + 1):
        hidden = drawn_numbers(config, random)
    return [d, *hidden, d - 1]


def drawn_numbers(config: Config, random: np.random.RandomState) -> list[Numbers]:
    """m(k) of the hidden units of each layer: the next ones that are drawn, if they are."""
    n_dims, least, hidden = config["n_dims"], 1, []
    for size in config["hidden"]:
        if n_dims == 1:
            m = np.zeros(size, np.int64)  # there is nothing to see
        elif config["degrees"] == "natural":
            m = 1 + np.arange(size) * (n_dims - 1) // size
        else:
            m = random.randint(least, n_dims, size)
            least = m.min()
        hidden.append(m)
    return hidden


def _masks(config: Config, mask: int) -> list[npt.NDArray[np.bool_]]:
    """Of each layer, (outputs, inputs): a unit sees those whose number is at most its own."""
    numbers = _numbers(config, mask)
    return [inputs <= outputs[:, None] for inputs, outputs in pairwise(numbers)]


def _direct_mask(config: Config) -> npt.NDArray[np.bool_]:
    inputs, *_, outputs = _numbers(config, 0)
    mask: npt.NDArray[np.bool_] = inputs <= outputs[:, None]
    return mask


def _acting(members: list[Config]) -> dict[str, npt.NDArray[np.bool_]]:
    """Where the weights of each layer act under some mask."""
    layers = zip(*(_masks(config, mask) for config in members for mask in _which(config)), strict=True)
    *hidden, out = (np.any(masks, axis=0) for masks in layers)
    direct_masks = [_direct_mask(config) for config in members if config["direct"]]
    direct = {"direct": np.any(direct_masks, axis=0)} if direct_masks else {}
    return {f"hidden.{i}": mask for i, mask in enumerate(hidden)} | {"out": out} | direct


MADE = MADEFamily()
