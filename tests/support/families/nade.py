"""NADE: a layer of hidden units for each bit, which share their weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from support.families.family import Configs, CoreStep, Family, Float64Tensors, any_n_dims, any_order
from support.oracle import Config, Float, sigmoid

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn


class NADEFamily(Family):
    @staticmethod
    def config(n_dims: int, n_hidden: int, order: list[int] | None = None) -> Config:
        return {"n_dims": n_dims, "n_hidden": n_hidden, "order": order}

    kind = "NADE"
    configs = Configs(
        small={
            "nade": config(9, 17),
            "nade-order": config(6, 5, [5, 2, 4, 0, 1, 3]),
            "nade-1-hidden": config(5, 1),
            "nade-1": config(1, 3),
        },
        few=["nade-order"],
        medium={"nade": config(37, 20, list(range(36, -1, -1)))},
        large={"nade": config(200, 150)},
        shapes={
            "nade-784": config(784, 100),
            "nade-wide": config(33, 259, [(7 * i + 3) % 33 for i in range(33)]),
            "nade-odd": config(67, 45, [(7 * i + 3) % 67 for i in range(67)]),
        },
        references={"nade": config(200, 150), "nade-order": config(37, 83, list(range(36, -1, -1)))},
    )
    revision = 3
    core_step = CoreStep("nade_score", "nade_gradient", ["W", "c", "V", "b"])

    def formula(self, config: Config, tensors: Float64Tensors, x: Float) -> Float:
        """h_i = sigmoid(c + z_{<i} W[:i]), logit_i = b_i + V_i . h_i."""
        z = x[:, self.order(config)]
        out = np.empty_like(z)
        a = np.tile(tensors["c"], (len(z), 1))
        for i in range(z.shape[1]):
            out[:, i] = tensors["b"][i] + sigmoid(a) @ tensors["V"][i]
            a += np.outer(z[:, i], tensors["W"][i])
        return out[:, :, None]

    def hidden(self, config: Config, tensors: Float64Tensors, x: Float, step: int | None) -> Float:
        """h_step, after all of x if there is no step."""
        z = x[:, self.order(config)][:, :step]
        return sigmoid(tensors["c"] + z @ tensors["W"][: z.shape[1]])

    def weights(self, config: Config, rng: np.random.Generator) -> Float64Tensors:
        d, h = config["n_dims"], config["n_hidden"]
        return {
            "W": rng.normal(size=(d, h)) * 3.0 / math.sqrt(d),
            "c": rng.normal(size=h),
            "V": rng.normal(size=(d, h)),
            "b": rng.normal(size=d),
        }

    def last_layer(self, config: Config) -> tuple[str, ...]:
        return ("V", "b")

    def n_params(self, config: Config) -> int:
        d, h = config["n_dims"], config["n_hidden"]
        return int(2 * d * h + d + h)

    def of_bits(self, n_dims: int) -> Config:
        return self.config(n_dims, 3, list(range(n_dims - 1, -1, -1)))

    def any_config(self, draw: DrawFn, max_events: int | None) -> Config:
        from hypothesis import strategies as st

        n_dims = any_n_dims(draw, max_events)
        return self.config(n_dims, draw(st.integers(1, 70)), any_order(draw, n_dims))


NADE = NADEFamily()
