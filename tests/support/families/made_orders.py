"""MADE of several orders: a mixture, the mean of the joint probabilities of one MADE for each order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from support.families.family import Configs, Graph
from support.families.made import MADEFamily, drawn_numbers
from support.oracle import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn


class MADEOfOrdersFamily(MADEFamily):
    @staticmethod
    def config(
        n_dims: int, hidden: Sequence[int], orders: int | list[list[int]], n_classes: int = 2, **others: Any
    ) -> Config:
        return {**MADEFamily.config(n_dims, hidden, n_classes, **others), "orders": orders}

    configs = Configs(
        small={
            "orders": config(6, (9,), [[5, 2, 4, 0, 1, 3], [0, 1, 2, 3, 4, 5], [3, 5, 1, 0, 2, 4]]),
            "orders-drawn": config(7, (9, 11), 5, degrees="random", seed=3, direct=True),
            "orders-classes": config(4, (14,), [[2, 0, 3, 1], [1, 3, 0, 2]], 3, direct=True),
            "orders-classes-17": config(2, (12, 9), [[1, 0], [0, 1]], 17, degrees="random", seed=1),
            "orders-1": config(1, (3,), 2),
        },
        few=["orders-drawn", "orders-classes"],
        medium={
            "orders": config(37, (30, 25), 4, seed=2),
            "orders-classes": config(11, (24,), 3, 7, degrees="random", direct=True),
        },
        large={"orders": config(120, (90,), 3), "orders-classes": config(40, (60, 50), 4, 5, degrees="random")},
        shapes={
            "orders-64": config(13, (20,), 64),
            "orders-300": config(7, (31,), 3, 300, direct=True),
            "orders-odd": config(67, (45, 33), 2, degrees="random", seed=7),
        },
        references={
            "orders": config(
                29, (41,), [list(range(28, -1, -1)), list(range(29)), [(7 * i + 3) % 29 for i in range(29)]]
            ),
            "orders-classes": config(18, (53,), 4, 5, degrees="random", seed=1, direct=True),
        },
    )
    lacks = frozenset({"features", "features at a step", "one order"})

    def order(self, config: Config) -> npt.NDArray[np.int64]:
        """Of a member its own; of the mixture those of all, (members, n_dims)."""
        return super().order(config) if "mask" in config else np.array(_orders(config))

    def members(self, config: Config) -> list[Config]:
        one = {key: value for key, value in config.items() if key != "orders"}
        return [one | {"order": order, "mask": mask} for mask, order in enumerate(_orders(config))]

    def graph(self, config: Config) -> Graph:
        return {"members": [super(MADEOfOrdersFamily, self).graph(member) for member in self.members(config)]}

    def any_config(self, draw: DrawFn, max_events: int | None) -> Config:
        from hypothesis import strategies as st

        one = super().any_config(draw, max_events) | {"order": None, "n_masks": 1}
        permutations = st.permutations(range(one["n_dims"]))
        some = st.integers(2, 5) | st.lists(permutations, min_size=2, max_size=2)
        return one | {"orders": draw(some)}

    def __repr__(self) -> str:
        return "MADE of orders"


def _orders(config: Config) -> list[list[int]]:
    """As they are given; or so many, drawn after the numbers of the hidden units of all members."""
    if not isinstance(config["orders"], int):
        return config["orders"]
    random = np.random.RandomState(config["seed"])
    for _ in range(config["orders"]):
        drawn_numbers(config, random)
    return [random.permutation(config["n_dims"]).tolist() for _ in range(config["orders"])]


MADEOfOrders = MADEOfOrdersFamily()
