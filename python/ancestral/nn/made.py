"""MADE: a network of dense layers, masked so that each output sees earlier dimensions only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ancestral import _arguments as arguments
from ancestral.nn._base import as_order, as_orders
from ancestral.nn._graph import Nodes, add, graph_of, masked_tensors
from ancestral.nn._ordered import Ordered

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_CLASSES = 65_536


class MADE(Ordered):
    """Masked autoencoder for distribution estimation, a model of vectors with values 0 ... n_classes - 1.

    With u = x for two classes, else x one-hot,

        h = relu(b + W u),    once more for each further hidden layer,    logits = c + V h   (+ A u if `direct`).

    Every unit has a *degree*, the last step whose value it may see; a connection acts only where the degree does not
    fall, and the logits of step t see degrees below t. (The paper's m(k) is the degree + 1.) The head is Bernoulli for
    two classes, else a softmax over the classes. Rows and columns stand in the order of the dimensions, not of the
    steps.

    Parameters
    ----------
    n_dims : int
        Number of dimensions.
    hidden : sequence of int
        Units of each hidden layer; at least one layer.
    n_classes : int
        Number of values, 2 ... 65,536.
    order : sequence of int, optional
        A permutation: the dimension visited at each step. Default: 0, 1, 2, ...
    degrees : {"natural", "random"}
        Degrees of the hidden units of a layer: all steps but the last one, evenly spaced and rising; or drawn as in the
        paper, uniformly from the least degree of the layer before to the last step but one.
    seed : int
        Of random degrees, 0 ... 2**32 - 1.
    n_masks : int
        Draws of the degrees. With several, which share all weights, a conditional is the mean of theirs, and costs as
        much as `n_masks` networks. Needs random degrees.
    direct : bool
        Whether the logits see earlier dimensions directly too.
    orders : int or sequence of sequence of int, optional
        In place of `order`: several permutations, 64 at most, or the number of random ones (of `seed`). All share the
        weights, and each has degrees of its own; p(x) is the mean of their joint probabilities, and costs as much as
        as many networks, a sample as much as one. Such a mixture has no conditionals in one order: `log_prob`,
        `sample` and what rests on them alone are there, the rest raises ValueError. Not with `n_masks`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Notes
    -----
    In training the paper takes another mask and order for each mini-batch, and the mean in tests. Here `log_prob` is
    always that of the mean, so that what is trained is what is scored and sampled.

    References
    ----------
    Germain, Gregor, Murray and Larochelle, MADE: Masked Autoencoder for Distribution Estimation, ICML 2015.

    Examples
    --------
    >>> import torch
    >>> from ancestral.nn import MADE
    >>> model = MADE(784, hidden=(500,))
    >>> x = torch.zeros(2, 784)
    >>> model.log_prob(x).shape
    torch.Size([2])
    >>> (-model.log_prob(x).mean()).backward()
    >>> MADE(784, orders=4).model().order.shape
    (4, 784)
    """

    kind: ClassVar[str] = "MADE"
    default_lr: ClassVar[float] = 1e-3

    def __init__(
        self,
        n_dims: int,
        hidden: tuple[int, ...] = (500,),
        n_classes: int = 2,
        order: Any = None,
        degrees: str = "natural",
        seed: int = 0,
        n_masks: int = 1,
        direct: bool = False,
        orders: Any = None,
    ) -> None:
        super().__init__(n_dims, arguments.integer("n_classes", n_classes, 2, MAX_CLASSES), order)
        self.hidden_sizes = arguments.integers("hidden", hidden, 1, "layer")
        self.degrees = arguments.choice("degrees", degrees, ("natural", "random"))
        self.seed = arguments.integer("seed", seed, 0, 2**32 - 1)
        self.n_masks = arguments.integer("n_masks", n_masks, 1)
        if self.n_masks > 1 and degrees == "natural":
            raise ValueError(f'n_masks is {n_masks}, but natural degrees have one mask; wanted degrees="random"')
        direct = arguments.flag("direct", direct)
        given = None if orders is None else as_orders(orders, self.n_dims)
        if given is not None and order is not None:
            raise ValueError("order is given, and orders too; wanted one or the other")
        if given is not None and self.n_masks > 1:
            raise ValueError(f"n_masks is {n_masks}, but with orders each has one mask of its own; wanted 1")

        n_orders = 1 if given is None else given if isinstance(given, int) else len(given)
        self._orders = given if n_orders > 1 else None
        random = np.random.RandomState(self.seed)  # NumPy has frozen its streams
        masks = [
            _degrees(self.n_dims, self.hidden_sizes, random if degrees == "random" else None)
            for _ in range(n_orders * self.n_masks)
        ]
        if isinstance(given, int):
            given = tuple(tuple(random.permutation(self.n_dims).tolist()) for _ in range(given))
        if given is not None:
            if n_orders == 1:
                self._set_order(as_order(given[0], self.n_dims))
            else:
                self._set_order(None, given)
        per_input, per_output = (1, 1) if self.n_classes == 2 else (self.n_classes, self.n_classes)
        layers = []
        for visited, mask in zip(self.orders or [self.order] * self.n_masks, masks, strict=True):
            step = np.arange(self.n_dims) if visited is None else np.argsort(visited)
            layers.append([np.repeat(step, per_input), *mask, np.repeat(step - 1, per_output)])
        pairs = [[(layer[i], layer[i + 1]) for layer in layers] for i in range(len(self.hidden_sizes) + 1)]
        self.hidden = nn.ModuleList(MaskedLinear(pair) for pair in pairs[:-1])
        self.out = MaskedLinear(pairs[-1])
        self.direct = (
            MaskedLinear([(layer[0], layer[-1]) for layer in layers[:n_orders]], bias=False) if direct else None
        )

    def config(self) -> dict[str, Any]:
        several = {} if self._orders is None else {"orders": self._orders}
        return {
            "n_dims": self.n_dims,
            "hidden": list(self.hidden_sizes),
            "n_classes": self.n_classes,
            "order": None if self.order is None else list(self.order),
            "degrees": self.degrees,
            "seed": self.seed,
            "n_masks": self.n_masks,
            "direct": self.direct is not None,
            **several,
        }

    def graph(self) -> dict[str, Any]:
        """The network as a model file says it: layers, the tensors they read, and the degrees of their units."""
        if self.orders is None:
            return self._graph(self.order, range(self.n_masks))
        return {"members": [self._graph(order, [at]) for at, order in enumerate(self.orders)]}

    def _graph(self, order: tuple[int, ...] | None, masks: Sequence[int]) -> dict[str, Any]:
        """The network of some masks, which have the same order."""
        values = {"op": "values", "scale": 1.0, "shift": 0.0} if self.n_classes == 2 else {"op": "one_hot"}
        nodes: Nodes = [{"name": "input", **values}]

        def dense(name: str, source: str, tensors: str, layer: MaskedLinear, mask: int) -> str:
            bias = {} if layer.bias is None else {"bias": f"{tensors}.bias"}
            degrees = layer.degrees[mask][1].tolist()
            return add(nodes, name, "dense", source, weight=f"{tensors}.weight", **bias, degrees=degrees)

        direct = None if self.direct is None else dense("direct", "input", "direct", self.direct, masks[0])
        logits, last = [], []
        for mask in masks:
            suffix = f".{mask}" if len(masks) > 1 else ""
            h = "input"
            for i, layer in enumerate(self.hidden):
                assert isinstance(layer, MaskedLinear)
                h = dense(f"hidden.{i}{suffix}", h, f"hidden.{i}", layer, mask)
                h = add(nodes, f"relu.{i}{suffix}", "relu", h)
            last.append(h)
            logits.append(dense(f"out{suffix}", h, "out", self.out, mask))
            if direct is not None:
                logits[-1] = add(nodes, f"sum{suffix}", "add", [logits[-1], direct])
        if len(masks) == 1:
            return graph_of(self, nodes, logits[0], last[0], order)
        mean, features = add(nodes, "mean", "average", logits), add(nodes, "features", "concat", last)
        return graph_of(self, nodes, mean, features, order)

    def _effective(self) -> dict[str, Tensor]:
        return masked_tensors(self)

    def _like(self) -> Tensor:
        return self.out.weight

    def _logits(self, x: Tensor) -> Tensor:
        return _logits_of_mean(torch.stack(self._of_each_mask(x)), self.n_classes)

    def _members(self, x: Tensor) -> list[Tensor]:
        return [self._logits(x)] if self.orders is None else self._of_each_mask(x)

    def _of_each_mask(self, x: Tensor) -> list[Tensor]:
        u = x
        if self.n_classes > 2:
            u = (x.unsqueeze(-1) == torch.arange(self.n_classes, device=x.device)).to(x.dtype).flatten(1)
        direct = [] if self.direct is None else [self.direct(u, mask) for mask in range(len(self.direct.degrees))]
        per_dim = () if self.n_classes == 2 else (self.n_classes,)
        each = []
        for mask in range(len(self.out.degrees)):
            h = u
            for layer in self.hidden:
                h = layer(h, mask).relu()
            logits = self.out(h, mask)
            if direct:
                logits = logits + direct[mask % len(direct)]
            each.append(logits.reshape(-1, self.n_dims, *per_dim))
        return each

    def extra_repr(self) -> str:
        order = ", orders=..." if self.orders is not None else "" if self.order is None else ", order=..."
        return f"{self.n_dims}, {self.hidden_sizes}, n_classes={self.n_classes}{order}"


class MaskedLinear(nn.Linear):
    """A dense layer in which a connection acts only where the input's degree is at most the output's.

    Parameters
    ----------
    degrees : list of (array, array)
        For each mask the degrees of the inputs and of the outputs.
    bias : bool
        Whether there is one.
    """

    def __init__(self, degrees: list[tuple[NDArray[Any], NDArray[Any]]], *, bias: bool = True) -> None:
        super().__init__(len(degrees[0][0]), len(degrees[0][1]), bias)
        self.degrees = degrees
        self._set_degrees()
        self.register_load_state_dict_post_hook(MaskedLinear._set_degrees)  # type: ignore[no-untyped-call]

    def _set_degrees(self, *_: Any) -> None:
        """Put the degrees where the weights are."""
        device = next(self.parameters()).device  # not the weight's, which a hook may compute
        for mask, pair in enumerate(self.degrees):
            for side, degrees in zip(("inputs", "outputs"), pair, strict=True):
                tensor = torch.as_tensor(degrees, dtype=torch.int32, device=device)
                self.register_buffer(f"{side}_{mask}", tensor, persistent=False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._set_degrees()  # after `to_empty` they have no values
        return self

    def mask(self, mask: int = 0) -> Tensor:
        """Where a connection acts: bool, (outputs, inputs)."""
        inputs, outputs = self.get_buffer(f"inputs_{mask}"), self.get_buffer(f"outputs_{mask}")
        return inputs <= outputs[:, None]

    def masked_weight(self) -> Tensor:
        """The weight, zero where it acts under no mask, whatever the parameter holds there."""
        masks = self.mask()
        for mask in range(1, len(self.degrees)):
            masks = masks | self.mask(mask)
        return torch.where(masks, self.weight, 0)

    def forward(self, x: Tensor, mask: int = 0) -> Tensor:
        return F.linear(x, torch.where(self.mask(mask), self.weight, 0), self.bias)


def _degrees(n_dims: int, sizes: tuple[int, ...], random: np.random.RandomState | None) -> list[NDArray[np.int64]]:
    """The degree of each unit of the hidden layers; −1, nothing to see, where there is but one dimension."""
    degrees: list[NDArray[np.int64]] = []
    least = 0
    for size in sizes:
        if n_dims == 1:
            layer = np.full(size, -1)
        elif random is None:
            layer = np.arange(size) * (n_dims - 1) // size
        else:
            layer = random.randint(least, n_dims - 1, size)
            least = layer.min()
        degrees.append(layer)
    return degrees


def _logits_of_mean(logits: Tensor, n_classes: int) -> Tensor:
    """Logits of the mean of the distributions of logits (n_masks, n, n_dims[, n_classes])."""
    if len(logits) == 1:
        return logits[0]
    if n_classes > 2:
        return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))
    return F.logsigmoid(logits).logsumexp(0) - F.logsigmoid(-logits).logsumexp(0)
