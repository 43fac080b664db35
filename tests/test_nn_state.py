"""The state of torch modules: the order belongs to it, modules without memory, weights that hooks compute."""

from __future__ import annotations

import copy
import io
import pickle

import pytest

torch = pytest.importorskip("torch")

import ancestral  # noqa: E402
from ancestral.nn import FVSBN, NADE, GatedPixelCNN, PixelCNN  # noqa: E402
from support.torch_modules import FEW_MODULES, events, randomized  # noqa: E402

ORDER = [3, 0, 4, 1, 2]
VECTORS = {"fvsbn": lambda order=None, **how: FVSBN(5, order, **how), "nade": lambda *a, **how: NADE(5, 4, *a, **how)}
MODULES = {
    **FEW_MODULES,
    "fvsbn": lambda: FVSBN(5),
    "fvsbn-order": lambda: FVSBN(5, ORDER),
    "nade": lambda: NADE(5, 4),
    "nade-order": lambda: NADE(5, 4, ORDER),
    "pixelcnn": lambda: PixelCNN((1, 3, 4), n_channels=4, n_blocks=1, n_head=3),
    "pixelcnn-classes": lambda: PixelCNN((3, 2, 3), n_classes=4, n_channels=6, n_blocks=1, n_head=4),
    "gated": lambda: GatedPixelCNN((1, 3, 4), n_channels=4, n_layers=2, n_head=3),
    "gated-rgb": lambda: GatedPixelCNN((3, 2, 3), n_classes=4, n_channels=6, n_layers=2, n_head=4, skip=True),
    "gated-embedding": lambda: GatedPixelCNN((1, 3, 4), n_classes=4, n_channels=4, n_layers=1, n_head=3, n_embedding=2),
}


# The order


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize("build", VECTORS.values(), ids=VECTORS)
def test_a_state_of_another_order_is_refused(build, strict, assign):
    natural, ordered, other = randomized(build()), randomized(build(ORDER)), randomized(build(ORDER[::-1]))
    for source, target, message in [
        (ordered, natural, r'another order .* order=state_dict\["steps"\].tolist\(\)'),
        (natural, ordered, r"the state has the natural order, the module another one: steps is missing"),
        (ordered, other, r'another order .* order=state_dict\["steps"\].tolist\(\)'),
    ]:
        before = {key: value.clone() for key, value in target.state_dict().items()}
        with pytest.raises(RuntimeError, match=message):
            target.load_state_dict(source.state_dict(), strict=strict, assign=assign)
        assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())
    again = build(ordered.state_dict()["steps"].tolist())
    again.load_state_dict(ordered.state_dict(), strict=strict, assign=assign)
    assert torch.equal(again.log_prob(events(again)), ordered.log_prob(events(again)))


def test_the_message_names_the_place_within_a_larger_module():
    source, target = torch.nn.ModuleList([NADE(5, 4, ORDER)]), torch.nn.ModuleList([NADE(5, 4)])
    with pytest.raises(RuntimeError, match=r"0\.steps differs"):
        target.load_state_dict(source.state_dict())


@pytest.mark.parametrize("build", VECTORS.values(), ids=VECTORS)
def test_the_natural_order_is_no_part_of_the_state(build):
    assert "steps" not in build().state_dict()
    assert "steps" not in build(range(5)).state_dict()
    assert build(ORDER).state_dict()["steps"].tolist() == ORDER


def through_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("name", MODULES)
def test_a_state_goes_through_files_copies_and_averages(name):
    module = randomized(MODULES[name]())
    x = events(module)
    want = module.log_prob(x)
    loaded = MODULES[name]()
    loaded.load_state_dict(through_file(module.state_dict()))
    for other in (loaded, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other.log_prob(x), want)
        assert other.state_dict().keys() == module.state_dict().keys()
    for use_buffers in (False, True):
        average = torch.optim.swa_utils.AveragedModel(module, use_buffers=use_buffers)
        average.update_parameters(module)
        average.update_parameters(module)
        torch.testing.assert_close(average(x), want)
        torch.testing.assert_close(average.module.sample(4, rng=0), module.sample(4, rng=0))


@pytest.mark.parametrize("build", VECTORS.values(), ids=VECTORS)
def test_a_checkpoint_of_an_ordered_module(build, tmp_path):
    x = events(build())
    module, again = build(ORDER), build(ORDER)
    ancestral.fit(module, x, epochs=3, checkpoint=tmp_path / "run", progress=False)
    ancestral.fit(again, x, epochs=3, checkpoint=tmp_path / "run", progress=False)
    assert torch.equal(again.log_prob(x), module.log_prob(x))


# Without memory


@pytest.mark.parametrize("how", ["to_empty", "assign"])
@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_is_built_without_memory(name, how):
    module = randomized(MODULES[name]())
    with torch.device("meta"):
        other = MODULES[name]()
    assert all(p.is_meta for p in other.parameters())
    with pytest.raises(ValueError, match="the module is on the meta device and has no weights yet"):
        other.sample(2)
    x = events(module)
    assert other.log_prob(x).is_meta  # its shape and dtype
    assert other.log_prob(x).shape == (len(x),)
    if how == "assign":
        other.load_state_dict(module.state_dict(), assign=True)
    else:
        try:  # so that memory that nobody writes holds NaN, and not by chance what was there
            torch.use_deterministic_algorithms(True)
            other.to_empty(device="cpu")
        finally:
            torch.use_deterministic_algorithms(False)
        other.load_state_dict(module.state_dict())
    assert torch.equal(other.log_prob(x), module.log_prob(x))
    assert torch.equal(other.sample(5, rng=0), module.sample(5, rng=0))


@pytest.mark.parametrize("name", MODULES)
def test_memory_that_is_filled_without_a_state(name):
    module = randomized(MODULES[name]())
    other = MODULES[name]().to("meta").to_empty(device="cpu")
    assert torch.equal(randomized(other).log_prob(events(module)), module.log_prob(events(module)))


@pytest.mark.parametrize("name", MODULES)
def test_a_replica_as_data_parallel_makes_it(name):
    """Its weights are attributes, and `parameters()` is empty."""
    module = randomized(MODULES[name]())

    def replica(module):
        other = module._replicate_for_data_parallel()
        for key, child in module._modules.items():
            other._modules[key] = replica(child)
        for key, p in module._parameters.items():
            setattr(other, key, None if p is None else p.detach().clone())
        return other

    other = replica(module)
    assert not list(other.parameters())
    assert torch.equal(other(events(module)), module(events(module)))


# Weights that are computed


class Doubled(torch.nn.Module):
    def forward(self, weight):
        return 2 * weight


def old_weight_norm(layer, name):
    with pytest.warns(FutureWarning):
        torch.nn.utils.weight_norm(layer, name)


def unstructured(layer, name):
    torch.nn.utils.prune.random_unstructured(layer, name, 0.4)


REPARAMETRIZE = {
    "weight_norm": lambda layer, name: torch.nn.utils.parametrizations.weight_norm(layer, name),
    "spectral_norm": lambda layer, name: torch.nn.utils.parametrizations.spectral_norm(layer, name),
    "own": lambda layer, name: torch.nn.utils.parametrize.register_parametrization(layer, name, Doubled()),
    "old weight_norm": old_weight_norm,
    "old spectral_norm": lambda layer, name: torch.nn.utils.spectral_norm(layer, name),
    "prune": unstructured,
}
PLACES = {
    "fvsbn": (lambda **how: FVSBN(5, ORDER, **how), lambda m: m, ["weight"]),
    "nade": (lambda **how: NADE(5, 4, ORDER, **how), lambda m: m, ["W", "V"]),
    "pixelcnn": (lambda: PixelCNN((1, 3, 4), n_channels=4, n_blocks=1, n_head=3), lambda m: m.head_hidden, ["weight"]),
    "gated": (
        lambda: GatedPixelCNN((2, 2, 3), n_channels=4, n_layers=1, n_head=3),
        lambda m: m.layers[0].horizontal.tanh,
        ["weight"],
    ),
}


def computed(name, kind, **how):
    build, layer_of, names = PLACES[name]
    torch.manual_seed(0)
    module = randomized(build(**how))
    for weight in names:
        REPARAMETRIZE[kind](layer_of(module), weight)
    return module.eval()  # in training a spectral norm takes a step at each use


def plain(name, module):
    """A module whose parameters are the computed weights."""
    build, _, _ = PLACES[name]
    other = build()
    other.load_state_dict(other.state_dict() | module.tensors())
    return other


@pytest.mark.parametrize("call", ["log_prob", "__call__"])
@pytest.mark.parametrize("kind", REPARAMETRIZE)
@pytest.mark.parametrize("name", PLACES)
def test_computed_weights(name, kind, call):
    module = computed(name, kind)
    x = events(module)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = -getattr(module, call)(x).sum()
        loss.backward()
        assert all(p.grad is not None for p in module.parameters())
        optimizer.step()
        twin = plain(name, module)
        # After a step, and before the next `forward`: the weights are the present ones.
        assert torch.equal(module.sample(20, rng=1), twin.sample(20, rng=1))
        torch.testing.assert_close(ancestral.from_torch(module).log_prob(x), twin.model().log_prob(x))
        assert all(torch.equal(weight, twin.tensors()[key]) for key, weight in module.tensors().items())
        torch.testing.assert_close(getattr(module, call)(x), twin.log_prob(x))
        torch.testing.assert_close(module.logits(x), twin.logits(x))


@pytest.mark.parametrize("kind", REPARAMETRIZE)
@pytest.mark.parametrize("name", ["fvsbn", "nade"])
def test_computed_weights_in_the_core_and_in_torch(name, kind):
    core, torch_ = computed(name, kind), computed(name, kind, backend="torch")
    torch_.load_state_dict(core.state_dict())
    x = events(core)
    want, got = torch_.log_prob(x), core.log_prob(x)
    torch.testing.assert_close(got, want)
    assert core._in_core()
    got.sum().backward()
    want.sum().backward()
    for (key, p), q in zip(core.named_parameters(), torch_.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", PLACES)
def test_pruning_that_is_made_permanent(name):
    module = computed(name, "prune")
    x = events(module)
    want = module.log_prob(x)
    _, layer_of, names = PLACES[name]
    for weight in names:
        torch.nn.utils.prune.remove(layer_of(module), weight)
    torch.testing.assert_close(module.log_prob(x), want)
    assert torch.equal(module.sample(9, rng=0), plain(name, module).sample(9, rng=0))
