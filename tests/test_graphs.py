"""The graphs that torch modules say of themselves: the plain interpreter of them gives the modules' logits."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ancestral.nn import GatedPixelCNN, PixelCNN  # noqa: E402
from ancestral.nn._graph import tap_tensors  # noqa: E402
from support import graph_oracle  # noqa: E402
from support.families import SHAPES  # noqa: E402
from support.torch_modules import events, randomized  # noqa: E402

SMALL = {"n_channels": 4, "n_blocks": 2, "n_head": 3}
RGB = {"n_channels": 10, "n_blocks": 2, "n_head": 7}
GATED = {"n_channels": 5, "n_layers": 2, "n_head": 4, "input_kernel_size": 5}
MAKERS = {
    "pixelcnn": lambda: PixelCNN((1, 4, 5), **SMALL),
    "pixelcnn-classes": lambda: PixelCNN((1, 3, 3), 5, **SMALL),
    "pixelcnn-rgb": lambda: PixelCNN((3, 4, 3), 4, **RGB),
    "pixelcnn-rgb-bits": lambda: PixelCNN((3, 3, 4), **RGB),
    "pixelcnn-1": lambda: PixelCNN((1, 1, 1), n_channels=2, n_blocks=0, n_head=1),
    "pixelcnn-head": lambda: PixelCNN((1, 3, 4), **SMALL, head_layers=3),
    "pixelcnn-no-head": lambda: PixelCNN((2, 3, 4), 3, **SMALL, head_layers=0),
    "pixelcnn-kernels": lambda: PixelCNN((1, 4, 6), **SMALL, input_kernel_size=3, kernel_size=5),
    "pixelcnn-relu": lambda: PixelCNN((3, 3, 3), **RGB, relu=("input", "conv", "branch", "sum")),
    "gated": lambda: GatedPixelCNN((1, 4, 5), **GATED),
    "gated-classes": lambda: GatedPixelCNN((1, 4, 4), 5, **GATED),
    "gated-rgb": lambda: GatedPixelCNN((3, 4, 3), 4, **GATED),
    "gated-dilated": lambda: GatedPixelCNN((1, 5, 6), n_channels=4, dilations=(1, 2, 3), n_head=3),
    "gated-plain": lambda: GatedPixelCNN((2, 3, 4), **GATED, gated_input=False, activation="elu", head_layers=0),
    "gated-skip": lambda: GatedPixelCNN((1, 3, 4), 3, **GATED, skip=True, activation="gelu", head_layers=2),
    "gated-shifted": lambda: GatedPixelCNN((3, 3, 3), **GATED, shifted=True, vertical_residual=True, skip=True),
    "gated-shifted-plain": lambda: GatedPixelCNN((1, 4, 3), **GATED, shifted=True, gated_input=False, skip=True),
    "gated-embedding": lambda: GatedPixelCNN((1, 4, 3), 6, **GATED, n_embedding=3, activation_first=False),
    "gated-embedding-rgb": lambda: GatedPixelCNN((3, 3, 3), **GATED, n_embedding=2, activation="silu"),
    "gated-residual": lambda: GatedPixelCNN((1, 3, 4), **GATED, vertical_residual=True, kernel_size=5),
    "gated-1": lambda: GatedPixelCNN((1, 1, 1), 3, n_channels=1, n_layers=1, n_head=1, activation="tanh"),
}


def make(name, scale=0.5):
    return randomized(MAKERS[name]().double(), scale=scale)


def exact(module):
    """The module's graph, and its parameters in float64: those that are masked are not zero."""
    return json.loads(json.dumps(module.graph())), {k: v.detach().numpy() for k, v in module.named_parameters()}


@pytest.mark.parametrize("name", MAKERS)
def test_a_graph_is_its_module(name):
    module = make(name)
    graph, tensors = exact(module)
    x = events(module, 4)
    want = module.logits(x).detach().numpy()
    np.testing.assert_allclose(graph_oracle.logits(graph, tensors, x), want, rtol=1e-12, atol=1e-12)
    want = module.log_prob(x).detach().numpy()
    np.testing.assert_allclose(graph_oracle.log_prob(graph, tensors, x), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_a_graph_leaks_nothing(name):
    """A change of x_i leaves the logits of every step up to that of i as they were, and changes later ones."""
    module = make(name)
    graph, tensors = exact(module)
    assert_causal(graph, tensors, events(module, 2).numpy())


def assert_causal(graph, tensors, x):
    steps, n_classes = graph_oracle.steps(graph), graph_oracle.classes(graph)
    n, n_dims = len(x), len(steps)
    before = graph_oracle.logits(graph, tensors, x).reshape(n, n_dims, -1)
    changed = np.tile(x.reshape(1, n, n_dims), (n_dims, 1, 1))  # copy i has another x_i
    for dim in range(n_dims):
        changed[dim, :, dim] = (changed[dim, :, dim] + 1) % n_classes[dim * len(n_classes) // n_dims]
    after = graph_oracle.logits(graph, tensors, changed.reshape(-1, *x.shape[1:])).reshape(n_dims, *before.shape)
    reached = 0
    for step, dim in enumerate(steps):
        seen, unseen = steps[step + 1 :], steps[: step + 1]
        assert np.array_equal(after[dim][:, unseen], before[:, unseen]), f"step {step} leaks"
        reached += not np.array_equal(after[dim][:, seen], before[:, seen])
    assert reached >= (n_dims - 1) // 2


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("head.1", lambda node: node.update(degrees=[degree + 1 for degree in node["degrees"]])),
        ("input.horizontal.tanh", lambda node: node["offsets"].__setitem__(0, [0, 1])),
    ],
)
def test_the_leak_test_finds_leaks(name, spoil):
    """Logits that may depend on their own channel of the image, and an offset that looks ahead."""
    module = make("gated-rgb")
    graph, tensors = exact(module)
    spoil(next(node for node in graph["nodes"] if node["name"] == name))
    with pytest.raises(AssertionError, match="leaks"):
        assert_causal(graph, tensors, events(module, 2).numpy())


@pytest.mark.parametrize("name", MAKERS)
def test_the_tensors_are_those_that_the_nodes_name(name):
    module = make(name)
    graph, tensors = module.graph(), module.tensors()
    nodes = {node["name"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"])
    read = {node[part] for node in nodes.values() for part in ("weight", "bias") if part in node}
    assert read == tensors.keys()
    assert {graph["output"], graph["features"]} <= nodes.keys()
    taken = tap_tensors(graph, tensors)
    for node in nodes.values():
        if node["op"] == "taps":
            offsets = [tuple(offset) for offset in node["offsets"]]
            weight = taken[node["weight"]]
            assert len(set(offsets)) == len(offsets) == weight.shape[2]
            assert len(node["degrees"]) == len(weight) == len(taken[node["bias"]])
            assert weight.is_contiguous()
    x = events(module, 2)
    values = graph_oracle.run(graph, tensors, x)
    for node in nodes.values():
        if node["op"] in ("add", "gate"):
            first, second = (values[name] for name in node["from"])
            assert first.degrees == second.degrees
    want = graph_oracle.logits(graph, tensors, x)
    np.testing.assert_array_equal(graph_oracle.logits(graph, taken, x), want)


# Families: their graphs are written from docs/networks.md, their formulas from the papers.

NETWORKS = [name for name, (family, config) in SHAPES.items() if family.graph(config) is not None]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_is_the_formula_of_its_family(name):
    family, config = SHAPES[name]
    rng = np.random.default_rng(0)
    graph, tensors = family.graph(config), family.random_tensors(config, rng, 3.0)
    x = family.random_events(config, 3, rng)
    got = graph_oracle.log_prob(graph, tensors, x)
    np.testing.assert_allclose(got, family.log_prob(config, tensors, x), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(graph_oracle.steps(graph), family.order(config))
    shown = graph_oracle.run(graph, tensors, x)[graph["features"]].array
    want = family.features(config, tensors, x)
    np.testing.assert_allclose(shown.reshape(want.shape), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_of_the_description_is_the_module_s(name):
    family, config = SHAPES[name]
    module = family.module(config)
    assert numbered(family.graph(config)) == numbered(json.loads(json.dumps(module.graph())))
    assert family.state(config, family.random_tensors(config, np.random.default_rng(0), 1.0)).keys() == {
        name for name, _ in module.named_parameters()
    }


def numbered(graph):
    """The same graph, with the places of nodes for their names, and what they have by default."""
    place = {node["name"]: i for i, node in enumerate(graph["nodes"])}
    nodes = []
    for node in graph["nodes"]:
        node = {"scale": 1.0, "shift": 0.0, **node} if node["op"] == "values" else dict(node)
        if "from" in node:
            sources = node["from"]
            node["from"] = place[sources] if isinstance(sources, str) else [place[source] for source in sources]
        nodes.append({key: value for key, value in node.items() if key != "name"})
    return {**graph, "nodes": nodes, "output": place[graph["output"]], "features": place[graph["features"]]}


# A vector: hidden units of MADE, as its paper masks them.


@pytest.mark.parametrize("n_classes", [2, 3, [3, 2, 4, 2]])
def test_a_network_of_dense_layers(n_classes):
    """Against masks and products written out: degrees m(k) of Germain et al. are those of the graph plus 1."""
    rng = np.random.default_rng(0)
    order, n_dims = [2, 0, 3, 1], 4
    per_dim = n_classes if isinstance(n_classes, list) else [n_classes] * n_dims
    bits = n_classes == 2
    n_logits = [1 if bits else k for k in per_dim]
    m_in = [1 + order.index(d) for d in range(n_dims) for _ in range(1 if bits else per_dim[d])]
    m_hidden = [1, 2, 3, 1, 2, 3, 2]
    m_out = [order.index(d) for d in range(n_dims) for _ in range(n_logits[d])]
    shapes = {"W": (7, len(m_in)), "b": 7, "V": (len(m_out), 7), "c": len(m_out), "A": (len(m_out), len(m_in))}
    t = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    t["zero"] = np.zeros(len(m_out))

    def dense(name, source, weight, bias, m):
        degrees = [degree - 1 for degree in m]
        return {"name": name, "op": "dense", "from": source, "weight": weight, "bias": bias, "degrees": degrees}

    graph = {
        "space": {"event_shape": [n_dims], "n_classes": n_classes, "order": order},
        "nodes": [
            {"name": "x", "op": "values"} if bits else {"name": "x", "op": "one_hot"},
            dense("h", "x", "W", "b", m_hidden),
            {"name": "relu", "op": "relu", "from": "h"},
            dense("out", "relu", "V", "c", m_out),
            dense("direct", "x", "A", "zero", m_out),
            {"name": "logits", "op": "add", "from": ["out", "direct"]},
            {"name": "mean", "op": "average", "from": ["logits", "out"]},
        ],
        "output": "logits",
        "features": "relu",
    }
    x = np.stack([rng.integers(k, size=20) for k in per_dim], 1)
    u = x if bits else np.concatenate([np.eye(k)[x[:, d]] for d, k in enumerate(per_dim)], 1)

    def mask(m_from, m_to):
        return np.array([[a <= b for a in m_from] for b in m_to])

    h = np.maximum(u @ (t["W"] * mask(m_in, m_hidden)).T + t["b"], 0)
    hidden_only = h @ (t["V"] * mask(m_hidden, m_out)).T + t["c"]
    logits = hidden_only + u @ (t["A"] * mask(m_in, m_out)).T

    def log_probs(logits):
        """Of each dimension, (n, n_dims)."""
        if bits:
            return -np.logaddexp(0, np.where(x == 1, -logits, logits))
        each = np.split(logits, np.cumsum(n_logits)[:-1], 1)
        return np.stack([(e - np.log(np.exp(e).sum(1))[:, None])[range(20), x[:, d]] for d, e in enumerate(each)], 1)

    np.testing.assert_allclose(graph_oracle.log_prob(graph, t, x), log_probs(logits).sum(1), rtol=1e-12)
    assert_causal(graph, t, x)
    mean = graph | {"output": "mean"}
    want = np.log((np.exp(log_probs(logits)) + np.exp(log_probs(hidden_only))) / 2).sum(1)
    np.testing.assert_allclose(graph_oracle.log_prob(mean, t, x), want, rtol=1e-12)
    grid = np.stack(np.meshgrid(*map(range, per_dim), indexing="ij"), -1).reshape(-1, n_dims)
    for each in (graph, mean):
        assert np.exp(graph_oracle.log_prob(each, t, grid)).sum() == pytest.approx(1, abs=1e-12)


def test_layers_without_weights():
    """Each pointwise function against torch, and what has two sources."""
    a, b = np.random.default_rng(1).normal(size=(2, 50, 3)) * 2
    ones = torch.tensor(a), torch.tensor(b)
    cases = {
        "relu": torch.relu,
        "elu": torch.nn.functional.elu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "silu": torch.nn.functional.silu,
        "gelu": torch.nn.functional.gelu,
        "leaky_relu": lambda t: torch.nn.functional.leaky_relu(t, 0.25),
        "concat_elu": lambda t: torch.nn.functional.elu(torch.cat([t, -t], 1)),
        "gate": lambda t, u: torch.tanh(t) * torch.sigmoid(u),
        "add": torch.add,
        "multiply": torch.mul,
        "concat": lambda t, u: torch.cat([t, u], 1),
    }
    for op, function in cases.items():
        two = op in ("gate", "add", "multiply", "concat")
        nodes = [
            {"name": "a", "op": "values"},
            {"name": "b", "op": "leaky_relu", "from": "a", "slope": -0.5},
            {"name": "y", "op": op, "from": ["a", "b"] if two else "a", "slope": 0.25},
        ]
        graph = {"space": {"event_shape": [3], "n_classes": 2, "order": None}, "nodes": nodes, "output": "y"}
        got = graph_oracle.run(graph, {}, a)["y"]
        other = torch.where(ones[0] > 0, ones[0], -0.5 * ones[0])
        want = function(ones[0], other) if two else function(ones[0])
        np.testing.assert_allclose(got.array[:, :, 0, 0], want, rtol=1e-12, atol=1e-15)
        assert got.degrees == [0, 1, 2] * (want.shape[1] // 3)
