"""FVSBN: logistic regression of each bit on those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from support.families.family import Configs, CoreStep, Family, Float64Tensors, any_n_dims, any_order
from support.oracle import Config, Float

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn


class FVSBNFamily(Family):
    @staticmethod
    def config(n_dims: int, order: list[int] | None = None) -> Config:
        return {"n_dims": n_dims, "order": order}

    kind = "FVSBN"
    configs = Configs(
        small={
            "fvsbn": config(10),
            "fvsbn-order": config(7, [3, 6, 0, 5, 1, 4, 2]),
            "fvsbn-1": config(1),
        },
        few=["fvsbn-order"],
        medium={"fvsbn": config(40, [(7 * i + 3) % 40 for i in range(40)])},
        large={"fvsbn": config(500, list(range(499, -1, -1)))},
        shapes={
            "fvsbn-2": config(2),
            "fvsbn-784": config(784),
            "fvsbn-65": config(65, list(range(64, -1, -1))),
        },
        references={"fvsbn": config(61)},
    )
    lacks = frozenset({"features", "features at a step"})
    core_step = CoreStep("fvsbn_score", "fvsbn_gradient", ["weight", "bias"])

    def formula(self, config: Config, tensors: Float64Tensors, x: Float) -> Float:
        """logit_i = bias_i + sum_{j<i} weight_ij z_j."""
        z = x[:, self.order(config)]
        out = np.empty_like(z)
        for i in range(z.shape[1]):
            out[:, i] = tensors["bias"][i] + z[:, :i] @ tensors["weight"][i, :i]
        return out[:, :, None]

    def weights(self, config: Config, rng: np.random.Generator) -> Float64Tensors:
        d = config["n_dims"]
        return {"weight": np.tril(rng.normal(size=(d, d)), -1), "bias": rng.normal(size=d)}

    def last_layer(self, config: Config) -> tuple[str, ...]:
        return ("weight", "bias")

    def n_params(self, config: Config) -> int:
        return int(config["n_dims"] * (config["n_dims"] + 1) // 2)

    def of_bits(self, n_dims: int) -> Config:
        return self.config(n_dims, list(range(n_dims - 1, -1, -1)))

    def any_config(self, draw: DrawFn, max_events: int | None) -> Config:
        n_dims = any_n_dims(draw, max_events)
        return self.config(n_dims, any_order(draw, n_dims))


FVSBN = FVSBNFamily()
