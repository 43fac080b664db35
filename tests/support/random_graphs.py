"""Networks of any layers: graphs as docs/networks.md says them, drawn at random, most of them without a leak."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[np.float32]]
POINTWISE = ["relu", "elu", "tanh", "sigmoid", "silu", "gelu", "leaky_relu", "concat_elu"]
# The pixels that a pixel may see: above it, left of it, and its own earlier channels.
OFFSETS = [(row, column) for row in (-2, -1, 0) for column in (-2, -1, 0, 1, 2) if (row, column) <= (0, 0)]


class RandomGraph:
    """A graph and its tensors: of an image, or of a vector, of which each dimension may have classes of its own."""

    def __init__(self, rng: np.random.Generator, *, image: bool) -> None:
        self.rng, self.image = rng, image
        self.nodes: list[dict[str, Any]] = []
        self.tensors: Tensors = {}
        self.degrees: dict[str, list[int]] = {}
        order = None
        if image:
            shape = [int(size) for size in rng.integers(1, [4, 5, 5])]
            n_classes = int(rng.choice([2, 2, 3, 4]))
        else:
            shape = [int(rng.integers(1, 20))]
            n_classes = [2, int(rng.integers(3, 6)), rng.integers(2, 6, shape[0]).tolist()][rng.integers(3)]
            order = None if rng.random() < 0.3 else rng.permutation(shape[0]).tolist()
        self.n_dims = shape[0]  # of a site
        classes = n_classes if isinstance(n_classes, list) else [n_classes] * self.n_dims
        steps = list(range(self.n_dims)) if order is None else np.argsort(order).tolist()
        self._input(steps, classes)
        for _ in range(rng.integers(1, 6)):
            self._layer()
        n_logits = [1] * self.n_dims if set(classes) == {2} else classes
        output = self._output([step - 1 for step, n in zip(steps, n_logits, strict=True) for _ in range(n)])
        self.graph = {
            "space": {"event_shape": shape, "n_classes": n_classes, "order": order},
            "nodes": self.nodes,
            "output": output,
            "features": None if rng.random() < 0.3 else self._any(),
        }

    def _any(self, but: int = 0) -> str:
        """A node, but none of so many last ones."""
        name: str = self.nodes[self.rng.integers(max(1, len(self.nodes) - but))]["name"]
        return name

    def _add(self, op: str, degrees: list[int], /, **fields: Any) -> str:
        name = f"{len(self.nodes)} {op}"
        self.nodes.append({"name": name, "op": op, **fields})
        self.degrees[name] = degrees
        return name

    def _input(self, steps: list[int], classes: list[int]) -> None:
        if self.rng.random() < 0.5:
            self._add("one_hot", [step for step, n in zip(steps, classes, strict=True) for _ in range(n)])
        else:
            self._add("values", steps, scale=self.rng.integers(-4, 5) / 4, shift=self.rng.integers(-4, 5) / 4)

    def _tensor(self, *shape: int) -> str:
        name = f"t{len(self.tensors)}"
        scale = max(1.0, float(np.prod(shape[1:]))) ** -0.5
        self.tensors[name] = (self.rng.normal(size=shape) * scale).astype(np.float32)
        return name

    def _sum(self, source: str, degrees: list[int]) -> str:
        sizes = len(degrees), len(self.degrees[source])
        fields: dict[str, Any] = {"from": source, "degrees": degrees}
        if self.rng.random() < 0.8:
            fields["bias"] = self._tensor(len(degrees))
        if not self.image:
            return self._add("dense", degrees, weight=self._tensor(*sizes), **fields)
        # One to the right is allowed in what sees rows above only.
        offsets = OFFSETS + [(0, 1)] * (self.rng.random() < 0.1)
        some = self.rng.permutation(len(offsets))[: self.rng.integers(1, 6)]
        fields["offsets"] = [list(offsets[i]) for i in some]
        return self._add("taps", degrees, weight=self._tensor(*sizes, len(some)), **fields)

    def _layer(self) -> None:
        last = self.n_dims - (self.rng.random() < 0.7)  # seldom units that see all of their site
        degrees = self.rng.integers(-1, max(0, last), self.rng.integers(1, 12)).tolist()
        h = self._sum(self._any(), degrees)
        kind = self.rng.choice(["none", "pointwise", "pointwise", "pair", "pair", "concat"])
        if kind == "pointwise":
            op = POINTWISE[self.rng.integers(len(POINTWISE))]
            fields = {"slope": 0.25} if op == "leaky_relu" else {}
            self._add(op, degrees * (2 if op == "concat_elu" else 1), **{"from": h}, **fields)
        elif kind == "pair":
            pair = [h, self._sum(self._any(but=1), degrees)]
            self._add(str(self.rng.choice(["gate", "add", "multiply"])), degrees, **{"from": pair})
        elif kind == "concat":
            other = self._any()
            self._add("concat", degrees + self.degrees[other], **{"from": [h, other]})

    def _output(self, degrees: list[int]) -> str:
        output = self._sum(self.nodes[-1]["name"], degrees)
        if self.rng.random() < 0.4:
            output = self._add("add", degrees, **{"from": [output, self._sum(self._any(but=1), degrees)]})
        if not self.image and self.rng.random() < 0.3:
            several = [output, *(self._sum(self._any(but=1), degrees) for _ in range(self.rng.integers(1, 3)))]
            output = self._add("average", degrees, **{"from": several})
        return output
