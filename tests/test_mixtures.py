"""Mixtures of orders: the mean of the joint probabilities of their members, one of which draws each sample.

What any model has is checked with all others (`support.families.MIXTURES`); here is what they alone have, and lack.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancestral
from ancestral import _core
from support import bits
from support.cases import Case, build_case, case_of
from support.families import EVERY_LARGE, EVERY_SHAPE, EVERY_SMALL, MADE, MADEOfOrders
from support.model_file import file_of
from support.oracle import Config

NAMES = [name for name, (family, _) in EVERY_SHAPE.items() if family is MADEOfOrders]
SMALL = [name for name in NAMES if name in EVERY_SMALL]


def members_of(case: Case) -> list[ancestral.Model]:
    """Each member as a model of its own."""
    graphs = MADEOfOrders.graph(case.config)["members"]
    used = [{node[key] for node in graph["nodes"] for key in ("weight", "bias") if key in node} for graph in graphs]
    return [
        ancestral.Model.from_tensors("MADE", {}, {name: case.tensors[name] for name in names}, graph)
        for names, graph in zip(used, graphs, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_mean_of_its_members(name: str) -> None:
    case = build_case(*EVERY_SHAPE[name])
    x = case.events(50)
    each = np.stack([member.log_prob(x) for member in members_of(case)])
    expected = np.logaddexp.reduce(each, axis=0) - np.log(len(each))
    np.testing.assert_allclose(case.model.log_prob(x), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("name", NAMES)
def test_each_sample_is_that_of_a_member(name: str, temperature: float) -> None:
    """The sample of this index, bit for bit; each member has its share of them, whatever the temperature."""
    case, n = build_case(*EVERY_SHAPE[name]), 400
    x = case.model.sample(n, rng=3, start=7, temperature=temperature)
    each = np.stack([member.sample(n, rng=3, start=7, temperature=temperature) for member in members_of(case)])
    is_of = (each == x).reshape(len(each), n, -1).all(axis=2)
    assert is_of.any(axis=0).all()
    shares = is_of.mean(axis=1) * len(each)
    assert (shares > 1 - 5 * np.sqrt(len(each) / n)).all()


def test_picks_are_independent_of_the_draws() -> None:
    """Of a member that gives a 1 first and one that gives a 0, with fair coins beside it."""
    config = MADEOfOrders.config(12, (3,), [list(range(12)), list(range(12))[::-1]])
    tensors = MADEOfOrders.random_tensors(config, np.random.default_rng(0), 0.0)
    tensors["out.bias"][:] = 0
    model = case_of(MADEOfOrders, config, tensors).model
    alone = MADE.model(MADE.config(12, (3,)), tensors)
    x, of_first = model.sample(40_000, rng=1), alone.sample(40_000, rng=1)
    picked_first = (x == of_first).all(axis=1)  # the others are mirrored, and equal once in 2**6
    assert abs(picked_first.mean() - (0.5 + 0.5 / 64)) < 5 * 0.5 / np.sqrt(40_000)
    for rows in (picked_first, ~picked_first):
        assert np.abs(x[rows].mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(rows.sum())


def test_samples_of_many_chunks_are_those_of_one() -> None:
    """A call goes through the members some rows at a time."""
    case = build_case(MADEOfOrders, MADEOfOrders.config(2, (3,), 3))
    x, log_prob = case.model.sample_and_log_prob(2**17 + 5, rng=0, start=11)
    last = slice(2**16 - 3, 2**16 + 40)
    again = case.model.sample_and_log_prob(last.stop - last.start, rng=0, start=11 + last.start)
    bits.assert_same_bits(again, (x[last], log_prob[last]), "from the end of a chunk on")
    np.testing.assert_array_equal(case.model.log_prob(x), log_prob)


def test_a_likelihood_is_never_above_one() -> None:
    config = MADEOfOrders.config(5, (2,), 3)
    tensors = MADEOfOrders.random_tensors(config, np.random.default_rng(0), 0.0)
    tensors["out.bias"][:] = 1e30
    model = case_of(MADEOfOrders, config, tensors).model
    x = np.ones((4, 5), np.uint8)
    log_prob = model.log_prob(x)
    assert log_prob.max() <= 0
    assert log_prob.min() > -1e-30
    np.testing.assert_array_equal(model.sample(4, rng=0), x)
    assert model.log_prob(1 - x).max() <= -1e30


def test_progress_ends_with_all_samples_and_never_falls() -> None:
    model = build_case(*EVERY_LARGE["orders"]).model
    drawn: list[int] = []
    model.sample_and_log_prob(20_000, rng=0, progress=lambda done, total: drawn.append(done))
    scored: list[int] = []
    x = np.zeros((20_000, model.n_dims), np.uint8)
    model.log_prob(x, progress=lambda done, total: scored.append(done))
    for seen in (drawn, scored):
        assert seen == sorted(seen)
        assert seen[-1] == 20_000


# --- what it lacks ---------------------------------------------------------------------------------------

X = np.zeros((2, 6), np.uint8)
KNOWN = np.array([[True] + 5 * [False]] * 2)
REFUSED: dict[str, Callable[[ancestral.Model], Any]] = {
    "conditionals": lambda model: model.conditionals(X),
    "surprise": lambda model: model.surprise(X),
    "features": lambda model: model.features(X),
    "complete": lambda model: model.complete(X, KNOWN),
    "prob_range": lambda model: model.prob_range(high=X),
    "log_prob_range": lambda model: model.log_prob_range(high=X),
    "beam_search": lambda model: model.beam_search(),
    "encode": lambda model: model.encode(X),
    "decode": lambda model: model.decode(b""),
    "evidence": lambda model: model.sample(2, evidence=[1, -1, -1, -1, -1, -1]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_takes_one_order_is_refused(what: str) -> None:
    model = build_case(*EVERY_SMALL["orders"]).model
    wanted = rf"^{what} needs the conditionals .* of one order, and this is a mixture of 3 orders"
    with pytest.raises(ValueError, match=wanted):
        REFUSED[what](model)


def test_the_core_refuses_it_too() -> None:
    inner = build_case(*EVERY_SMALL["orders"]).model._inner
    out = np.empty((2, 6), np.float32)
    log_prob = np.empty(2)
    first = np.zeros(2, np.uint64)
    for call in (
        lambda: inner.score(X, 1, None, surprise=out),
        lambda: inner.score(X, 1, None, log_prob=log_prob, conditionals=out),
        lambda: inner.score(X, 1, None, log_prob=log_prob, n_steps=3),
        lambda: inner.score(X, 1, None),
        lambda: inner.restrict(X, X, log_prob, 0, first, 1, 1, None),
        lambda: inner.encode(X, 16, 1, None),
    ):
        with pytest.raises(ValueError, match="a mixture of 3 orders has no conditionals in one order"):
            call()
    assert inner.feature_shape is None


def test_its_order_has_a_row_for_each_member() -> None:
    case = build_case(*EVERY_SMALL["orders"])
    assert case.model.order.shape == (3, 6)
    np.testing.assert_array_equal(case.model.order, case.config["orders"])
    assert "orders=(…)" in repr(case.model)


# --- files -----------------------------------------------------------------------------------------------


def parts() -> tuple[Config, dict[str, np.ndarray], dict[str, Any]]:
    config = EVERY_SMALL["orders-classes"][1]
    tensors = MADEOfOrders.random_tensors(config, np.random.default_rng(0), 1.0)
    return config, tensors, copy.deepcopy(MADEOfOrders.graph(config))


def of_other_events(graph: dict[str, Any]) -> None:
    graph["members"][1] = MADE.graph(MADE.config(3, (4,)))


def of_other_classes(graph: dict[str, Any]) -> None:
    graph["members"][1]["space"]["n_classes"] = [3, 3, 3, 2]


def leaking(graph: dict[str, Any]) -> None:
    (out,) = (node for node in graph["members"][1]["nodes"] if node["name"].startswith("out"))
    out["degrees"] = [degree + 1 for degree in out["degrees"]]


def widened(graph: dict[str, Any]) -> None:
    nodes = [{"name": f"e{i}", "op": "concat_elu", "from": f"e{i - 1}" if i else "input"} for i in range(6)]
    for member in graph["members"]:
        member["nodes"][1:1] = nodes
    graph["members"] = graph["members"] * 20


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no members": (lambda graph: graph.update(members=[]), "the graph has 0 members; wanted 2 to 64"),
    "one member": (lambda graph: graph["members"].pop(), "the graph has 1 members; wanted 2 to 64"),
    "65 members": (
        lambda graph: graph.update(members=graph["members"] * 32 + graph["members"][:1]),
        "the graph has 65 members; wanted 2 to 64",
    ),
    "members no list": (lambda graph: graph.update(members={}), "the members of the graph are no list"),
    "a member no graph": (lambda graph: graph["members"].__setitem__(1, 7), "member 1: the graph is wrong"),
    "a member null": (lambda graph: graph["members"].__setitem__(0, None), "member 0: the graph is wrong"),
    "members of members": (
        lambda graph: graph["members"].__setitem__(1, {"members": graph["members"][:]}),
        "nested too deeply",
    ),
    "an output beside": (lambda graph: graph.update(output="out"), 'the graph has members, and "output" beside them'),
    "no permutation": (
        lambda graph: graph["members"][1]["space"].update(order=[0, 1, 1, 2]),
        'member 1: "order" is not a permutation of 0 to 3',
    ),
    "an order too short": (
        lambda graph: graph["members"][0]["space"].update(order=[0, 1, 2]),
        'member 0: "order" is not a permutation',
    ),
    "another order": (lambda graph: graph["members"][1]["space"].update(order=[0, 1, 2, 3]), "member 1: "),
    "other events": (of_other_events, "member 1: "),
    "other classes": (of_other_classes, "member 1: "),
    "a leak": (leaking, "member 1: "),
    "nodes that widen": (widened, "member .*channels"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_that_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    config, tensors, graph = parts()
    damage, message = HOSTILE[name]
    damage(graph)
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_of("MADE", config, tensors, graph))
    with pytest.raises(ancestral.FormatError, match=message):
        ancestral.load(path)
    with pytest.raises(ancestral.FormatError, match=message):
        ancestral.Model.from_tensors("MADE", config, tensors, graph)


def test_members_may_be_images_and_have_weights_of_their_own() -> None:
    """A mixture is one of any networks of the same events."""
    nodes = [
        {"name": "x", "op": "values"},
        {"name": "y", "op": "taps", "from": "x", "offsets": [[-1, 0], [0, -1]], "weight": "W0", "bias": "b"},
    ]
    first = {"space": {"event_shape": [1, 3, 3], "n_classes": 2}, "nodes": nodes, "output": "y"}
    second = copy.deepcopy(first)
    second["nodes"][1]["weight"] = "W1"
    tensors = {"W0": np.float32([[[3, -2]]]), "W1": np.float32([[[-1, 1]]]), "b": np.float32([0.5])}
    model = ancestral.Model.from_tensors("Any", {}, tensors, {"members": [first, second]})
    grid = (np.arange(512)[:, None] >> np.arange(9) & 1).reshape(-1, 1, 3, 3).astype(np.uint8)
    assert np.exp(model.log_prob(grid)).sum() == pytest.approx(1, abs=1e-6)
    assert model.n_params == 5
    x, log_prob = model.sample_and_log_prob(100, rng=0)
    np.testing.assert_array_equal(model.log_prob(x), log_prob)


def test_images_of_many_members_take_no_more_memory_than_one_may() -> None:
    space = {"event_shape": [2, 2**11, 2**11], "n_classes": 2}
    nodes = [{"name": "x", "op": "values"}, {"name": "y", "op": "taps", "from": "x", "offsets": [], "weight": "W"}]
    graph = {"space": space, "nodes": nodes, "output": "y"}
    tensors = {"W": np.zeros((2, 2, 0), np.float32), "V": np.zeros(2, np.float32)}
    nodes[1] |= {"bias": "V", "degrees": [-1, 0]}
    two = ancestral.Model.from_tensors("Any", {}, tensors, {"members": [graph] * 2})
    assert two.n_dims == 2**23
    with pytest.raises(ancestral.FormatError, match="the 3 members have 25165824 dimensions; wanted at most 16777216"):
        ancestral.Model.from_tensors("Any", {}, tensors, {"members": [graph] * 3})


# --- the torch module ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_of_the_description_is_the_module_s(name: str) -> None:
    pytest.importorskip("torch")
    from test_graphs import numbered

    config = EVERY_SHAPE[name][1]
    module = MADEOfOrders.module(config)
    said, described = json.loads(json.dumps(module.graph())), MADEOfOrders.graph(config)
    assert list(map(numbered, said["members"])) == list(map(numbered, described["members"]))


def test_the_module_trains_and_refuses_logits() -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 2, (600, 1), generator=generator)
    x = torch.cat([first, 1 - first, first, torch.ones_like(first)], 1)
    module = ancestral.nn.MADE(4, (20,), orders=3)
    history = ancestral.fit(module, x[:500], x[500:], epochs=20, lr=3e-2, progress=False)
    assert min(history.valid_nll) < 1.3  # independent bits have 3 ln 2
    with pytest.raises(ValueError, match=r"logits needs the conditionals .* a mixture of 3 orders"):
        module.logits(x)
    with pytest.raises(ValueError, match="conditionals"):
        module.model().conditionals(x)


@pytest.mark.parametrize("name", SMALL)
def test_gradients(name: str) -> None:
    torch = pytest.importorskip("torch")
    from support.torch_modules import events, randomized

    module = randomized(MADEOfOrders.module(EVERY_SMALL[name][1]).double(), scale=0.3)
    x = events(module, 2)
    names = [key for key, _ in module.named_parameters()]

    def total(*values: Any) -> Any:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(total, [p.detach().clone().requires_grad_() for p in module.parameters()])


@pytest.mark.parametrize("name", SMALL)
def test_the_module_as_any_other(name: str) -> None:
    """No rows, half precision, copies, vmap, and weights that are not finite."""
    torch = pytest.importorskip("torch")
    from support.torch_modules import events, randomized

    module = randomized(MADEOfOrders.module(EVERY_SMALL[name][1]).double(), scale=0.5)
    x = events(module, 6)
    log_prob = module.log_prob(x).detach()
    assert module.log_prob(x[:0]).shape == (0,)
    assert torch.equal(copy.deepcopy(module).log_prob(x), log_prob)
    assert torch.equal(module(x), log_prob)
    torch.testing.assert_close(torch.vmap(lambda row: module.log_prob(row[None])[0])(x), log_prob)
    half = copy.deepcopy(module).bfloat16().log_prob(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), log_prob, rtol=0.1, atol=0.1)
    with torch.no_grad():
        module.out.bias[0] = float("inf")
    assert module.log_prob(x).isnan().all()


def test_orders_are_drawn_after_the_degrees() -> None:
    """Those of a seed are a promise: states of trained modules depend on them."""
    pytest.importorskip("torch")
    made = ancestral.nn.MADE
    random = np.random.RandomState(3)
    for _ in range(3):
        random.randint(0, 4, 4)
    drawn = tuple(tuple(random.permutation(5).tolist()) for _ in range(3))
    assert made(5, (4,), degrees="random", seed=3, orders=3).orders == drawn
    several, one = made(5, (4,), degrees="random", seed=3, orders=3), made(5, (4,), degrees="random", seed=3)
    assert several.hidden[0].degrees[0][1].tolist() == one.hidden[0].degrees[0][1].tolist()
    assert len(set(several.orders)) == 3
    assert (
        made(5, (4,), orders=1, seed=2).config()
        == made(5, (4,), order=made(5, (4,), orders=1, seed=2).order, seed=2).config()
    )


def test_a_state_says_its_orders() -> None:
    torch = pytest.importorskip("torch")
    made = ancestral.nn.MADE
    module = made(3, (4,), orders=[[0, 2, 1], [1, 0, 2]])
    assert module.state_dict()["steps"].tolist() == [[0, 2, 1], [1, 0, 2]]
    for other in (made(3, (4,)), made(3, (4,), order=[0, 2, 1]), made(3, (4,), orders=[[0, 2, 1], [1, 2, 0]])):
        with pytest.raises(RuntimeError, match=r"the state has other orders than the module: steps differs.*orders="):
            other.load_state_dict(module.state_dict())
        with pytest.raises(RuntimeError, match="steps"):
            module.load_state_dict(other.state_dict())
    again = made(3, (4,), orders=module.state_dict()["steps"])
    again.load_state_dict(module.state_dict())
    x = torch.zeros(2, 3)
    assert torch.equal(again.log_prob(x), module.log_prob(x))
    with torch.device("meta"):
        empty = made(**module.config())
    empty.to_empty(device="cpu").load_state_dict(module.state_dict())
    assert torch.equal(empty.log_prob(x), module.log_prob(x))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"orders": 0}, ValueError, "orders is 0; wanted an integer from 1 to 64"),
        ({"orders": 65}, ValueError, "orders is 65; wanted an integer from 1 to 64"),
        ({"orders": 2.5}, TypeError, "orders is 2.5"),
        ({"orders": "ab"}, TypeError, "orders"),
        ({"orders": []}, ValueError, r"orders has shape \(0,\); wanted a number of orders, or \(1 to 64, 3\)"),
        ({"orders": [2, 0, 1]}, ValueError, r"orders has shape \(3,\)"),
        ({"orders": [[2, 0, 1]] * 65}, ValueError, r"orders has shape \(65, 3\)"),
        ({"orders": [[2, 0, 1], [0, 1, 1]]}, ValueError, r"orders\[1\] has 1 numbers twice; wanted a permutation"),
        ({"orders": [[2, 0], [0, 1]]}, ValueError, r"orders\[0\] has shape \(2,\); wanted \(3,\)"),
        ({"orders": [[2.0, 0.0, 1.0]] * 2}, TypeError, r"orders\[0\] has dtype float64; wanted integers"),
        ({"orders": [[2, 0], [0, 1, 2]]}, ValueError, "orders"),
        ({"orders": 2, "order": [0, 1, 2]}, ValueError, "order is given, and orders too; wanted one or the other"),
        ({"orders": 2, "n_masks": 2, "degrees": "random"}, ValueError, "n_masks is 2, but with orders .*; wanted 1"),
    ],
)
def test_wrong_orders(arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(error, match=match):
        ancestral.nn.MADE(3, (4,), **arguments)


def test_as_many_orders_as_there_may_be(tmp_path: Path) -> None:
    """A file holds as many as the module takes, whatever its layers."""
    pytest.importorskip("torch")
    module = ancestral.nn.MADE(9, (20, 3), n_classes=3, direct=True, orders=64, degrees="random")
    module.model().save(tmp_path / "model.safetensors")
    model = ancestral.load(tmp_path / "model.safetensors")
    assert model.order.shape == (64, 9)
    assert isinstance(model._inner, _core.Model)
