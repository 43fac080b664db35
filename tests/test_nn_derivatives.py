"""Derivatives in x, of derivatives, and by torch.func's transforms: those of the formulas, or a refusal by name."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from ancestral.nn import FVSBN, NADE, GatedPixelCNN, PixelCNN  # noqa: E402
from ancestral.nn.nade import _ChunkedLogits  # noqa: E402
from support.families import FEW  # noqa: E402
from support.torch_modules import events, modules_of, randomized  # noqa: E402

ORDER = [3, 0, 10, 4, 1, 9, 2, 8, 5, 7, 6]
BITS = {
    "fvsbn": lambda **how: FVSBN(11, **how),
    "fvsbn-order": lambda **how: FVSBN(11, ORDER, **how),
    "nade": lambda **how: NADE(11, 4, **how),
    "nade-order": lambda **how: NADE(11, 4, ORDER, **how),
}
# Those that are trained in torch alone.
OTHERS = {name: model for name, model in FEW.items() if model[0].core_step is None}
NETWORKS = {
    **modules_of({name: model for name, model in OTHERS.items() if model[0].n_classes(model[1]) == 2}),
    "pixelcnn": lambda: PixelCNN((1, 3, 4), n_channels=4, n_blocks=1, n_head=3),
    "pixelcnn-rgb": lambda: PixelCNN((3, 2, 2), n_channels=6, n_blocks=1, n_head=4),
    "gated": lambda: GatedPixelCNN((1, 3, 4), n_channels=4, n_layers=2, n_head=3),
    "gated-embedding": lambda: GatedPixelCNN((2, 2, 3), n_channels=4, n_layers=1, n_head=3, n_embedding=2),
}
CLASSES = {
    **modules_of({name: model for name, model in OTHERS.items() if model[0].n_classes(model[1]) != 2}),
    "pixelcnn-classes": lambda: PixelCNN((1, 3, 3), n_classes=4, n_channels=4, n_blocks=1, n_head=3),
}
ALL = BITS | NETWORKS | CLASSES


def make(name, **how):
    return randomized(ALL[name](**how), scale=0.7)


def formula(module, x):
    """log p(x) for real x of a float64 module, step by step."""
    z = x if module.order is None else x[:, list(module.order)]
    total = torch.zeros(len(x), dtype=x.dtype)
    for i in range(module.n_dims):
        if isinstance(module, FVSBN):
            logit = module.bias[i] + z[:, :i] @ module.weight[i, :i]
        else:
            logit = module.b[i] + torch.sigmoid(module.c + z[:, :i] @ module.W[:i]) @ module.V[i]
        total = total + torch.nn.functional.logsigmoid((2 * z[:, i] - 1) * logit)
    return total


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("name", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_in_x_and_in_the_weights_is_that_of_the_formula(name, backend, dtype):
    module = make(name, backend=backend)
    twin = make(name).double()
    x, y = events(module).to(dtype).requires_grad_(), events(module).double().requires_grad_()
    factors = torch.linspace(-1, 2, len(x))
    module.to(dtype)
    (module.log_prob(x) * factors).sum().backward()
    (formula(twin, y) * factors).sum().backward()
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(x.grad, y.grad, check_dtype=False, **close)
    for got, want in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, check_dtype=False, **close)


@pytest.mark.parametrize("name", BITS)
def test_the_gradient_in_what_x_is_made_of(name):
    """As of a straight-through estimator: x is bits, its gradient goes on to `source`."""
    module = make(name)
    source = torch.full((5, 11), 0.25, requires_grad=True)
    x = events(module) + (source - source.detach())
    module.log_prob(x).sum().backward()
    direct = events(module).float().requires_grad_()
    module.log_prob(direct).sum().backward()
    assert torch.equal(source.grad, direct.grad)
    assert source.grad.any()


@pytest.mark.parametrize("name", BITS | NETWORKS)
def test_gradients_in_x_against_differences(name):
    module = make(name).double()
    assert torch.autograd.gradcheck(module._log_prob_in_torch, events(module, 3).double().requires_grad_())


@pytest.mark.parametrize("chunk", [1, 3, 8, 64])
def test_chunks_against_differences(chunk):
    generator = torch.Generator().manual_seed(2)
    shapes = [(3, 10), (10, 4), (4,), (10, 4)]
    inputs = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda *args: _ChunkedLogits.apply(*args, chunk), inputs)
    assert torch.autograd.gradgradcheck(lambda *args: _ChunkedLogits.apply(*args, chunk), inputs, fast_mode=True)
    for frozen in range(4):
        some = [t.detach().requires_grad_(i != frozen) for i, t in enumerate(inputs)]
        assert torch.autograd.gradcheck(lambda *args: _ChunkedLogits.apply(*args, chunk), some, fast_mode=True)
        assert torch.autograd.gradgradcheck(lambda *args: _ChunkedLogits.apply(*args, chunk), some, fast_mode=True)
    empty = torch.empty(0, 10, dtype=torch.float64, requires_grad=True)
    _ChunkedLogits.apply(empty, *inputs[1:], chunk).sum().backward()
    assert empty.grad.shape == (0, 10)


@pytest.mark.parametrize("name", BITS | NETWORKS)
def test_no_gradient_in_x_where_none_is_asked_for(name):
    module = make(name)
    x = events(module).float().requires_grad_()
    with torch.no_grad():
        got = module.log_prob(x)
    assert not got.requires_grad
    torch.testing.assert_close(got, module.log_prob(events(module)).detach())


def test_the_log_prob_of_classes_is_no_function_of_real_x():
    module = make("pixelcnn-classes")
    x = events(module).float().requires_grad_()
    refused = pytest.raises(ValueError, match=r"x requires grad, but .* is no function of real x; pass x.detach\(\)")
    with refused:
        module.log_prob(x)
    with refused:
        module(x)
    with refused:
        torch.func.grad(lambda x: module.log_prob(x).sum())(x.detach())
    with refused:
        torch.func.jvp(module.log_prob, (x.detach(),), (x.detach(),))
    module.log_prob(x.detach())
    with torch.no_grad():
        module.log_prob(x)
    module.logits(x).sum().backward()  # which are one
    assert x.grad.any()


@pytest.mark.parametrize("name", BITS | NETWORKS)
def test_x_with_a_gradient_must_be_in_the_support(name):
    module = make(name)
    x = events(module).float()
    x.view(len(x), -1)[1, -1] = 0.5
    with pytest.raises(ValueError, match=r"x\[.*\] is 0.5; wanted integers from 0 to 1"):
        module.log_prob(x.requires_grad_())


@pytest.mark.parametrize("name", BITS)
def test_gradients_of_gradients(name):
    module = make(name, backend="torch").double()
    twin = make(name).double()
    x = events(module).double().requires_grad_()
    penalties = []
    for log_prob in (module.log_prob(x), formula(twin, x)):
        (slope,) = torch.autograd.grad(log_prob.sum(), x, create_graph=True)
        penalties.append(slope.square().sum())
        penalties[-1].backward()
    torch.testing.assert_close(*penalties)
    for got, want in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("name", ALL)
def test_transforms_of_torch_func(name, backend):
    module = make(name, backend=backend) if name in BITS else make(name)
    module.double()
    x = events(module)
    weights = {key: p.detach() for key, p in module.named_parameters()}

    def log_prob(weights, x):
        return torch.func.functional_call(module, weights, (x,))

    want = module.log_prob(x)
    gradients = [torch.autograd.grad(row, list(module.parameters()), retain_graph=True) for row in want]

    def same(got, i):
        for one, wanted in zip(got.values(), gradients[i], strict=True):
            torch.testing.assert_close(one, wanted)

    same(torch.func.grad(lambda w: log_prob(w, x)[2])(weights), 2)
    each = torch.func.vmap(torch.func.grad(lambda w, row: log_prob(w, row[None])[0]), (None, 0))(weights, x)
    for i in range(len(x)):
        same({key: value[i] for key, value in each.items()}, i)
    torch.testing.assert_close(torch.func.vmap(lambda row: module.log_prob(row[None])[0])(x.double()), want)
    stacked = {key: torch.stack([value, 2 * value]) for key, value in weights.items()}
    torch.testing.assert_close(torch.func.vmap(lambda w: log_prob(w, x))(stacked)[0], want)
    value, slope = torch.func.jvp(lambda w: log_prob(w, x), (weights,), (weights,))
    torch.testing.assert_close(value, want)
    along = [sum((g * w).sum() for g, w in zip(row, weights.values(), strict=True)) for row in gradients]
    torch.testing.assert_close(slope, torch.stack(along))


@pytest.mark.parametrize("name", ALL)
def test_what_a_transform_carries_must_be_in_the_support(name):
    module = make(name)
    x = events(module)
    x.view(-1)[3] = module.n_classes
    with pytest.raises(ValueError, match=rf"x\[.*\] is .*; wanted integers from 0 to {module.n_classes - 1}"):
        torch.func.vmap(lambda row: module.log_prob(row[None])[0])(x)


@pytest.mark.parametrize("name", BITS)
def test_float32_weights_under_a_transform_leave_the_core(name):
    module = make(name)
    x = events(module)
    weights = {key: p.detach() for key, p in module.named_parameters()}
    got = torch.func.grad(lambda w: torch.func.functional_call(module, w, (x,)).sum())(weights)
    module.log_prob(x).sum().backward()
    for key, p in module.named_parameters():
        torch.testing.assert_close(got[key], p.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fvsbn", "nade-order"])
def test_dual_numbers(name):
    from torch.autograd import forward_ad

    def slope(module, x):
        weights = dict(module.named_parameters())
        with forward_ad.dual_level():
            duals = {key: forward_ad.make_dual(p.detach(), p.detach()) for key, p in weights.items()}
            return forward_ad.unpack_dual(torch.func.functional_call(module, duals, (x,))).tangent

    x = events(make(name))
    weights = {key: p.detach() for key, p in make(name).named_parameters()}
    _, want = torch.func.jvp(lambda w: torch.func.functional_call(make(name), w, (x,)), (weights,), (weights,))
    torch.testing.assert_close(slope(make(name, backend="torch"), x), want)
    with pytest.raises(NotImplementedError, match=r'no forward-mode derivatives; use .* or backend="torch"'):
        slope(make(name), x)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.float(), torch.ones(x.shape))
        got = forward_ad.unpack_dual(make(name).log_prob(dual)).tangent
    y = x.float().requires_grad_()
    (gradient,) = torch.autograd.grad(make(name).log_prob(y).sum(), y)
    torch.testing.assert_close(got, gradient.sum(1))


@pytest.mark.parametrize("name", ALL)
def test_backward_twice(name):
    module = make(name)
    log_prob = module.log_prob(events(module)).sum()
    first = torch.autograd.grad(log_prob, list(module.parameters()), retain_graph=True)
    second = torch.autograd.grad(log_prob, list(module.parameters()))
    assert all(map(torch.equal, first, second))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        log_prob.backward()


@pytest.mark.parametrize("name", ALL)
def test_upstream_gradients_of_zero_and_nan(name):
    module = make(name)
    parameters = list(module.parameters())
    log_prob = module.log_prob(events(module))
    zero = torch.autograd.grad(log_prob, parameters, torch.zeros(5), retain_graph=True)
    assert not any(gradient.any() for gradient in zero)
    nan = torch.autograd.grad(log_prob, parameters, torch.full((5,), torch.nan))
    assert all(gradient.isnan().any() for gradient in nan)


@pytest.mark.parametrize("name", ALL)
def test_a_copy_between_the_passes(name):
    import copy

    module = make(name)
    log_prob = module.log_prob(events(module)).sum()
    other = copy.deepcopy(module)
    log_prob.backward()
    other.log_prob(events(module)).sum().backward()
    for p, q in zip(module.parameters(), other.parameters(), strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, q.grad)
