"""MADE against formulas written out in float64: its masks, its graph, its arguments."""

from __future__ import annotations

import copy
import doctest
import importlib
import math
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import ancestral  # noqa: E402
from ancestral.nn import MADE  # noqa: E402
from support.torch_modules import events, randomized  # noqa: E402

ORDER = [3, 0, 4, 1, 2]

MAKERS = {
    "one-layer": lambda: MADE(5, (7,)),
    "order": lambda: MADE(5, (7,), order=ORDER),
    "few-units": lambda: MADE(9, (3,)),
    "deep": lambda: MADE(5, (6, 8, 7), order=ORDER, degrees="random", seed=3),
    "direct": lambda: MADE(5, (4,), order=ORDER, direct=True),
    "masks": lambda: MADE(5, (6, 5), degrees="random", n_masks=3, direct=True),
    "classes": lambda: MADE(4, (9,), n_classes=3, order=[2, 0, 3, 1]),
    "classes-masks": lambda: MADE(4, (9, 8), n_classes=3, degrees="random", n_masks=2, direct=True),
    "one-dim": lambda: MADE(1, (2,)),
    "two-dims": lambda: MADE(2, (3, 2), n_classes=4, degrees="random"),
}


def make(name, scale=0.7):
    """A float64 module with random weights, those that are masked included."""
    return randomized(MAKERS[name]().double(), scale=scale)


def steps_of(module):
    return range(module.n_dims) if module.order is None else module.order


def conditionals(module, x):
    """(n_dims, n_classes) of one x, unit by unit from the definition: no matrices, no masks."""
    weights = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    K, steps = module.n_classes, list(steps_of(module))
    step_of = {dim: step for step, dim in enumerate(steps)}
    u = {(step_of[d], d): x[d] for d in range(len(x))}
    if K > 2:
        u = {(step_of[d], d * K + k): float(x[d] == k) for d in range(len(x)) for k in range(K)}

    def dense(name, inputs, degrees):
        """Units as {(degree, unit): value}, each summed over the inputs that it may see."""
        weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias", np.zeros(len(degrees)))
        return {
            (m, o): bias[o] + sum(weight[o, i] * value for (degree, i), value in inputs.items() if degree <= m)
            for o, m in enumerate(degrees)
        }

    total = np.zeros((module.n_dims, K))
    outputs = [step_of[d] - 1 for d in range(module.n_dims) for _ in range(1 if K == 2 else K)]
    for mask in range(module.n_masks):
        h = u
        for i, layer in enumerate(module.hidden):
            h = {at: max(value, 0.0) for at, value in dense(f"hidden.{i}", h, layer.degrees[mask][1]).items()}
        logits = {o: value for (_, o), value in dense("out", h, outputs).items()}
        if module.direct is not None:
            for (_, o), value in dense("direct", u, outputs).items():
                logits[o] += value
        if K == 2:
            logits = {d * 2 + k: k * logits[d] for d in range(module.n_dims) for k in range(2)}
        for d in range(module.n_dims):
            odds = [math.exp(logits[d * K + k]) for k in range(K)]
            total[d] += np.array(odds) / sum(odds)
    return total / module.n_masks


@pytest.mark.parametrize("name", MAKERS)
def test_it_is_its_formula(name):
    module = make(name)
    x = events(module, 6)
    for row, got in zip(x.numpy(), module.log_prob(x).tolist(), strict=True):
        p = conditionals(module, row)
        assert got == pytest.approx(np.log(p[np.arange(len(row)), row]).sum(), abs=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_probabilities_sum_to_one(name):
    module = make(name)
    grid = torch.cartesian_prod(*[torch.arange(module.n_classes)] * module.n_dims).reshape(-1, module.n_dims)
    assert module.log_prob(grid).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", ["one-layer", "order", "deep", "direct", "masks"])
def test_gradients_reach_earlier_steps_only(name):
    module = make(name)
    steps = list(steps_of(module))
    n = module.n_dims
    reached = np.zeros((n, n))  # of logits, by inputs
    for x in events(module, 30).double():
        jacobian = torch.autograd.functional.jacobian(lambda x: module.logits(x[None])[0], x)
        reached += jacobian.abs().numpy()[np.ix_(steps, steps)]
    assert (np.triu(reached) == 0).all()
    assert (reached[np.tril_indices(n, -1)] > 0).mean() > 0.7


@pytest.mark.parametrize("name", MAKERS)
def test_a_logit_depends_on_earlier_steps_only(name):
    module, steps = make(name), list(steps_of(MAKERS[name]()))
    x = events(module, 20)
    before = module.logits(x).detach().reshape(20, module.n_dims, -1)
    reached = 0
    for t, dim in enumerate(steps):
        changed = x.clone()
        changed[:, dim] = (changed[:, dim] + 1) % module.n_classes
        after = module.logits(changed).detach().reshape(20, module.n_dims, -1)
        assert torch.equal(after[:, steps[: t + 1]], before[:, steps[: t + 1]])
        reached += t + 1 < module.n_dims and not torch.equal(after[:, steps[t + 1 :]], before[:, steps[t + 1 :]])
    assert reached >= (module.n_dims - 1) // 3, "conditionals hardly depend on anything"


def interpreted(module, x):
    """Logits (n, outputs) of the network that `graph` says, with all masks made of its degrees."""
    graph, tensors = module.graph(), {name: t.double().numpy() for name, t in module.tensors().items()}
    steps = list(steps_of(module))
    step = np.argsort(steps)
    values, degrees = {}, {}
    for node in graph["nodes"]:
        name, op, source = node["name"], node["op"], node.get("from")
        if op == "values":
            values[name], degrees[name] = node["scale"] * x + node["shift"], step
        elif op == "one_hot":
            values[name] = np.eye(module.n_classes)[x].reshape(len(x), -1)
            degrees[name] = np.repeat(step, module.n_classes)
        elif op == "dense":
            degrees[name] = np.array(node["degrees"])
            seen = degrees[source][None] <= degrees[name][:, None]
            bias = tensors[node["bias"]] if "bias" in node else 0
            values[name] = values[source] @ np.where(seen, tensors[node["weight"]], 0).T + bias
        elif op == "relu":
            values[name], degrees[name] = np.maximum(values[source], 0), degrees[source]
        elif op == "add":
            values[name] = values[source[0]] + values[source[1]]
            degrees[name] = np.maximum(*[degrees[name] for name in source])
        elif op == "concat":
            values[name] = np.concatenate([values[name] for name in source], 1)
        elif op == "average":
            logits = np.stack([values[name] for name in source])
            degrees[name] = np.max([degrees[name] for name in source], axis=0)
            if module.n_classes == 2:
                p = (1 / (1 + np.exp(-logits))).mean(0)
                values[name] = np.log(p) - np.log1p(-p)
            else:
                p = np.exp(logits.reshape(len(source), len(x), module.n_dims, -1))
                values[name] = np.log((p / p.sum(-1, keepdims=True)).mean(0)).reshape(len(x), -1)
        else:
            raise ValueError(op)
    per_dim = 1 if module.n_classes == 2 else module.n_classes
    assert (degrees[graph["output"]] <= np.repeat(step - 1, per_dim)).all()
    assert graph["features"] in values
    assert graph["space"] == {
        "event_shape": [module.n_dims],
        "n_classes": module.n_classes,
        "order": None if module.order is None else steps,
    }
    return values[graph["output"]].reshape(len(x), module.n_dims, -1)


@pytest.mark.parametrize("name", MAKERS)
def test_the_graph_is_the_module(name):
    module = make(name).float().double()  # tensors are float32
    x = events(module, 9)
    want = module.logits(x).detach().numpy().reshape(9, module.n_dims, -1)
    got = interpreted(module, x.numpy())
    if want.shape[-1] > 1:  # the same up to a constant
        want, got = (a - a.mean(-1, keepdims=True) for a in (want, got))
    np.testing.assert_allclose(got, want, atol=1e-12)


def hidden_degrees(module, mask=0):
    return [layer.degrees[mask][1].tolist() for layer in module.hidden]


def test_natural_degrees_are_evenly_spaced_and_rise():
    assert hidden_degrees(MADE(5, (8, 4, 3))) == [[0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3], [0, 1, 2]]
    for n_dims, n_hidden in [(784, 500), (784, 8000), (17, 16), (2, 5)]:
        degrees = np.array(hidden_degrees(MADE(n_dims, (n_hidden,)))[0])
        counts = np.bincount(degrees, minlength=n_dims - 1)
        assert len(counts) == n_dims - 1
        assert counts.max() - counts.min() <= 1
        assert (np.diff(degrees) >= 0).all()


def test_random_degrees_are_drawn_as_in_the_paper():
    module = MADE(21, (4, 50, 2000), degrees="random", seed=5)
    first, second, third = map(np.array, hidden_degrees(module))
    assert first.min() > 0  # so that the bounds below say something
    assert second.min() >= first.min()
    assert third.min() == second.min()
    counts = np.bincount(third, minlength=20)[second.min() :]
    expected = 2000 / (20 - second.min())
    assert len(counts) == 20 - second.min()
    assert (abs(counts - expected) < 5 * expected**0.5).all()
    # NumPy has frozen these streams, and states of trained modules depend on them.
    assert hidden_degrees(MADE(10, (8,), degrees="random"))[0] == [5, 0, 3, 3, 7, 3, 5, 2]
    several = MADE(21, (30,), degrees="random", seed=5, n_masks=3)
    masks = [hidden_degrees(several, mask) for mask in range(3)]
    assert masks[0] == hidden_degrees(MADE(21, (30,), degrees="random", seed=5))
    assert masks[0] != masks[1] != masks[2]
    assert hidden_degrees(MADE(21, (30,), degrees="random", seed=6)) != masks[0]


@pytest.mark.parametrize("name", MAKERS)
def test_masked_entries_get_no_gradient_and_have_no_effect(name):
    module = make(name)
    x = events(module, 5)
    before = module.log_prob(x)
    before.sum().backward()
    masked = 0
    for key, tensor in module.tensors().items():
        parameter = module.get_parameter(key)
        nowhere = (tensor == 0) & (parameter != 0)
        masked += int(nowhere.sum())
        assert (parameter.grad[nowhere] == 0).all()
        with torch.no_grad():
            parameter[nowhere] = float("nan")
    assert masked > 0
    assert torch.equal(module.log_prob(x), before)


def test_weights_that_hooks_compute():
    module = randomized(MADE(5, (6,)).double())
    torch.nn.utils.prune.random_unstructured(module.hidden[0], "weight", 0.5)
    x = events(module)
    with torch.no_grad():
        module.hidden[0].weight_orig.mul_(2)
    tensors = module.tensors()
    plain = MADE(5, (6,)).double()
    plain.load_state_dict(tensors)
    torch.testing.assert_close(plain.log_prob(x), module.log_prob(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_configs_copies_and_states(name):
    module = make(name)
    again = MADE(**module.config()).double()
    assert again.config() == module.config()
    again.load_state_dict(module.state_dict())
    assert module.tensors().keys() == module.state_dict().keys() - {"steps"}
    x = events(module)
    for other in (again, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other.log_prob(x), module.log_prob(x))
    with torch.device("meta"):
        empty = MADE(**module.config()).double()
    assert empty.log_prob(x).is_meta
    empty.to_empty(device="cpu").load_state_dict(module.state_dict())
    assert torch.equal(empty.log_prob(x), module.log_prob(x))


def test_a_state_of_another_order_is_refused():
    with pytest.raises(RuntimeError, match="the state has another order than the module: steps differs"):
        MADE(5, (4,)).load_state_dict(MADE(5, (4,), order=ORDER).state_dict())


@pytest.mark.parametrize("name", ["direct", "masks", "classes-masks"])
def test_gradients(name):
    module = make(name, scale=0.3)
    x = events(module, 3)
    names = [key for key, _ in module.named_parameters()]

    def total(*values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(total, values)


def test_large_logits_stay_finite():
    for name in ("masks", "classes-masks"):
        module = make(name, scale=30).float()
        log_prob = module.log_prob(events(module, 20))
        log_prob.sum().backward()
        assert log_prob.isfinite().all()
        assert all(p.grad.isfinite().all() for p in module.parameters())


def test_it_learns():
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 3, (600, 1), generator=generator)
    x = torch.cat([first, (first + 1) % 3, torch.zeros(600, 1, dtype=torch.long)], 1)
    torch.manual_seed(0)
    module = MADE(3, (20,), n_classes=3)
    history = ancestral.fit(module, x[:500], x[500:], epochs=30, lr=3e-2, rng=0, progress=False)
    assert min(history.valid_nll) < math.log(3) + 0.05  # the other two follow from the first


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: MADE(0), ValueError, "n_dims is 0; wanted an integer of at least 1"),
        (lambda: MADE(3, 500), TypeError, "hidden is 500; wanted a sequence of integers, one a layer"),
        (lambda: MADE(3, ()), ValueError, "hidden is empty; wanted at least one layer"),
        (lambda: MADE(3, (4, 0)), ValueError, r"hidden\[1\] is 0; wanted an integer of at least 1"),
        (lambda: MADE(3, (4.0,)), TypeError, r"hidden\[0\] is .*; wanted an integer"),
        (lambda: MADE(3, n_classes=1), ValueError, "n_classes is 1; wanted an integer from 2 to 65536"),
        (lambda: MADE(3, n_classes=65_537), ValueError, "n_classes"),
        (lambda: MADE(3, order=[0, 1, 1]), ValueError, "order has 1 numbers twice; wanted a permutation"),
        (lambda: MADE(3, degrees="even"), ValueError, 'degrees is \'even\'; wanted "natural" or "random"'),
        (lambda: MADE(3, seed=-1), ValueError, "seed is -1; wanted an integer from 0 to 4294967295"),
        (lambda: MADE(3, seed=None), TypeError, "seed"),
        (lambda: MADE(3, n_masks=0), ValueError, "n_masks is .*; wanted an integer of at least 1"),
        (lambda: MADE(3, n_masks=2), ValueError, 'n_masks is 2, but natural degrees have one mask; .*"random"'),
        (lambda: MADE(3, direct=1), TypeError, "direct is 1 .*; wanted True or False"),
    ],
)
def test_wrong_arguments(build, error, match):
    with pytest.raises(error, match=match):
        build()


def test_docstring_examples():
    result = doctest.testmod(importlib.import_module("ancestral.nn.made"))
    assert result.attempted > 0
    assert result.failed == 0
