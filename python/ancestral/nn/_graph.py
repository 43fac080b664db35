"""Networks as data: the graph that a model file holds, as dicts that become JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ancestral.nn._reparametrized import reparametrize

if TYPE_CHECKING:
    from ancestral.nn._base import Autoregressive

Nodes = list[dict[str, Any]]


def add(nodes: Nodes, name: str, op: str, source: str | list[str], **fields: Any) -> str:
    """Append a node that reads others, and return its name."""
    nodes.append({"name": name, "op": op, "from": source, **fields})
    return name


def add_taps(nodes: Nodes, name: str, source: str, offsets: Sequence[tuple[int, int]], degrees: Sequence[int]) -> str:
    """Append a convolution whose weight and bias have its name."""
    return add(
        nodes,
        name,
        "taps",
        source,
        offsets=[list(offset) for offset in offsets],
        weight=f"{name}.weight",
        bias=f"{name}.bias",
        degrees=list(degrees),
    )


def graph_of(
    module: Autoregressive, nodes: Nodes, output: str, features: str, order: Sequence[int] | None = None
) -> dict[str, Any]:
    """The graph of a module, or of one of its orders: its space, the nodes, and which of them the head and
    `Model.features` read."""
    order = module.order if order is None else order
    space = {
        "event_shape": list(module.event_shape),
        "n_classes": module.n_classes,
        "order": None if order is None else list(order),
    }
    return {"space": space, "nodes": nodes, "output": output, "features": features}


def masked_tensors(module: Autoregressive) -> dict[str, Tensor]:
    """Weight and bias of every layer that masks its weight, as they act, by the names of the module's parameters."""
    reparametrize(module)
    tensors = {}
    for name, layer in module.named_modules():
        if hasattr(layer, "masked_weight"):
            tensors[f"{name}.weight"] = layer.masked_weight()
            if layer.bias is not None:
                tensors[f"{name}.bias"] = layer.bias
    return tensors


def tap_tensors(graph: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as the nodes of a graph take them: of a kernel (out, in, height, width), whose centre is the offset
    (0, 0), the offsets of its node alone, (out, in, n_offsets)."""
    taken = dict(tensors)
    graphs = graph.get("members", [graph])
    for node in [node for member in graphs for node in member["nodes"]]:
        if node["op"] == "taps":
            weight = tensors[node["weight"]]
            if weight.ndim == 4:
                height, width = weight.shape[2:]
                rows = [height // 2 + row for row, _ in node["offsets"]]
                columns = [width // 2 + column for _, column in node["offsets"]]
                taken[node["weight"]] = weight[:, :, rows, columns].contiguous()
    return taken
