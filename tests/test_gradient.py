"""Likelihoods and gradients in the core: against float64 autograd, and the promises of a torch function."""

from __future__ import annotations

import multiprocessing
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ancestral.nn import FVSBN, NADE  # noqa: E402

SHAPES = [(1, 1), (2, 3), (5, 16), (17, 17), (33, 40), (40, 70), (70, 130), (100, 257)]
KINDS = [FVSBN, NADE]


def build(kind, n_dims, n_hidden=12, order=None, **how):
    return FVSBN(n_dims, order, **how) if kind is FVSBN else NADE(n_dims, n_hidden, order, **how)


def pair(kind, n_dims, n_hidden=12, scale=1.0, order=None, seed=0):
    """A module that runs in the core, and its float64 twin in torch."""
    generator = torch.Generator().manual_seed(seed)
    module = build(kind, n_dims, n_hidden, order)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=generator) / max(1, p.shape[-1]) ** 0.5)
    oracle = build(kind, n_dims, n_hidden, order, backend="torch").double()
    oracle.load_state_dict(module.state_dict())
    return module, oracle


def rows(n, n_dims, density=0.5, seed=0):
    return torch.rand(n, n_dims, generator=torch.Generator().manual_seed(seed)) < density


def factors(n):
    return torch.linspace(-1, 2, n, dtype=torch.float64)


def gradients(module, x):
    module.zero_grad()
    log_prob = module.log_prob(x)
    (log_prob * factors(len(x)).to(log_prob.dtype)).sum().backward()
    return log_prob.detach(), {name: p.grad.clone() for name, p in module.named_parameters()}


def assert_close(module, oracle, x, rtol=2e-5):
    log_prob, got = gradients(module, x)
    want_log_prob, want = gradients(oracle, x)
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob.double(), want_log_prob, rtol=1e-5, atol=1e-5 * module.n_dims)
    for name in want:
        worst = (got[name] - want[name]).abs().max().item() if len(x) else got[name].abs().max().item()
        assert worst <= rtol * want[name].abs().max().item() + 1e-12, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_gradients_are_those_of_autograd(kind, shape, density):
    module, oracle = pair(kind, *shape)
    assert_close(module, oracle, rows(13, shape[0], density))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 200])
def test_any_number_of_rows(kind, n):
    module, oracle = pair(kind, 30, 20)
    assert_close(module, oracle, rows(n, 30))


def test_several_chunks_of_rows():
    # 200 rows of 151 segments of 512 units take 124 MB: many chunks.
    module, oracle = pair(NADE, 300, 500)
    assert_close(module, oracle, rows(200, 300))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [10.0, 100.0, 3000.0])
def test_saturated_units_and_logits(kind, scale):
    module, oracle = pair(kind, 40, 24, scale)
    assert_close(module, oracle, rows(9, 40), rtol=1e-4)
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("weight", [1e30, -1e30])
def test_a_weight_that_has_run_away(weight):
    """A unit is then 0 or 1."""
    module, oracle = pair(NADE, 20, 12)
    with torch.no_grad():
        module.W[3, 5] = weight
        oracle.W[3, 5] = weight
    x = rows(9, 20)
    x[:, 3] = x[:, 3] | (torch.arange(9) > 5)
    log_prob = module.log_prob(x)
    torch.testing.assert_close(log_prob.double(), oracle.log_prob(x), rtol=1e-5, atol=1e-4)
    log_prob.sum().backward()
    assert module.V.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_order(kind):
    order = torch.randperm(25, generator=torch.Generator().manual_seed(3)).tolist()
    module, oracle = pair(kind, 25, 10, order=order)
    assert_close(module, oracle, rows(6, 25))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["float", "bool", "uint8", "strided", "transposed", "numpy"])
def test_inputs_of_all_forms(kind, form):
    module, oracle = pair(kind, 20)
    x = rows(10, 20)
    same = {
        "float": x.float(),
        "bool": x,
        "uint8": x.to(torch.uint8),
        "strided": x.repeat_interleave(2, 0)[::2],
        "transposed": x.T.contiguous().T,
        "numpy": x.numpy(),
    }[form]
    want, got = gradients(oracle, x), gradients(module, same)
    torch.testing.assert_close(got[0].double(), want[0], rtol=1e-5, atol=1e-4)
    for name in want[1]:
        torch.testing.assert_close(got[1][name].double(), want[1][name], rtol=1e-4, atol=1e-4)


def test_weights_in_another_layout():
    module, oracle = pair(NADE, 20)
    assert module.W.is_contiguous()
    for name in ("W", "V"):
        setattr(module, name, torch.nn.Parameter(getattr(module, name).detach().T.contiguous().T))
    assert_close(module, oracle, rows(10, 20))
    module, oracle = pair(FVSBN, 20)
    module.weight = torch.nn.Parameter(module.weight.detach().T.contiguous().T)
    assert_close(module, oracle, rows(10, 20))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_on_any_number_of_threads(kind):
    module, _ = pair(kind, 300, 200)
    x = rows(150, 300, 0.3)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            results.append(gradients(module, x))
    finally:
        torch.set_num_threads(before)
    for log_prob, got in results[1:]:
        assert torch.equal(log_prob, results[0][0])
        for name in got:
            assert torch.equal(got[name], results[0][1][name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_log_prob_has_the_bits_of_the_model(kind):
    module, _ = pair(kind, 50, 30)
    x = rows(40, 50)
    expected = module.model().log_prob(x).astype(np.float32)
    assert np.array_equal(module.log_prob(x).detach().numpy(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_backend_torch_does_not_run_in_the_core(kind, monkeypatch):
    from ancestral.nn import _core_step

    def refuse(*args):
        raise AssertionError("in the core")

    monkeypatch.setattr(_core_step, "log_prob", refuse)
    x = rows(3, 10)
    build(kind, 10, backend="torch").log_prob(x)
    build(kind, 10).double().log_prob(x)
    with pytest.raises(AssertionError, match="in the core"):
        build(kind, 10).log_prob(x)
    with pytest.raises(ValueError, match='backend is \'gpu\'; wanted "auto" or "torch"'):
        build(kind, 10, backend="gpu")


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_is_asked_for(kind):
    module, _ = pair(kind, 20)
    x = rows(5, 20)
    want = module.log_prob(x).detach()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            got = module.log_prob(x)
        assert not got.requires_grad
        assert torch.equal(got, want)


def test_some_parameters_are_frozen():
    module, _ = pair(NADE, 20)
    _, want = gradients(module, rows(5, 20))
    module.zero_grad()
    module.W.requires_grad_(False)
    module.b.requires_grad_(False)
    (module.log_prob(rows(5, 20)) * factors(5).float()).sum().backward()
    assert module.W.grad is None
    assert module.b.grad is None
    assert torch.equal(module.V.grad, want["V"])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_accumulate(kind):
    module, _ = pair(kind, 20)
    x = rows(5, 20)
    module.log_prob(x).sum().backward()
    once = [p.grad.clone() for p in module.parameters()]
    module.log_prob(x).sum().backward()
    for p, grad in zip(module.parameters(), once, strict=True):
        assert torch.equal(p.grad, grad + grad)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_change_between_the_passes(kind):
    """Torch refuses: the gradient would be that of other weights than gave the likelihood."""
    module, _ = pair(kind, 20)
    loss = module.log_prob(rows(5, 20)).sum()
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("order", [None, [2, 0, 1, 5, 4, 3]])
@pytest.mark.parametrize("form", ["uint8", "strided", "numpy", "out"])
def test_a_buffer_of_batches_that_is_filled_again_between_the_passes(kind, backend, order, form):
    """The gradient is that of the batch whose likelihood was taken."""
    module = build(kind, 6, order=order, backend=backend)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(generator=torch.Generator().manual_seed(0))
    x = rows(4, 6).to(torch.uint8)
    _, want = gradients(module, x.clone())
    array = x.numpy().copy()
    buffer = {
        "uint8": x.clone(),
        "strided": x.repeat_interleave(2, 0)[::2],
        "numpy": torch.from_numpy(array),
        "out": torch.from_numpy(array),
    }[form]
    module.zero_grad()
    loss = (module.log_prob(buffer) * factors(4).float()).sum()
    if form == "numpy":
        array[:] = 1 - array
    elif form == "out":
        module.sample(4, rng=1, out=array)
    else:
        buffer.zero_()
    assert not torch.equal(buffer, x)
    loss.backward()
    for name, p in module.named_parameters():
        assert torch.equal(p.grad, want[name]), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_buffer_of_floats_that_is_filled_again(kind, backend):
    """As in torch: the right gradient, or its error where it kept the buffer itself."""
    module = build(kind, 6, backend=backend)
    x = rows(4, 6).float()
    _, want = gradients(module, x.clone())
    module.zero_grad()
    loss = (module.log_prob(x) * factors(4).float()).sum()
    x.zero_()
    if backend == "torch":
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    else:
        loss.backward()
        assert all(torch.equal(p.grad, want[name]) for name, p in module.named_parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_double_backward_is_refused(kind):
    module, _ = pair(kind, 10)
    log_prob = module.log_prob(rows(3, 10)).sum()
    with pytest.raises(NotImplementedError, match="no gradients of gradients"):
        torch.autograd.grad(log_prob, list(module.parameters()), create_graph=True)


def test_fvsbn_has_gradients_of_gradients_in_torch():
    """The likelihood is concave: its Hessian has no positive eigenvalue."""
    module = FVSBN(4, backend="torch")
    x = rows(20, 4)

    def log_prob(bias):
        return torch.func.functional_call(module, {"bias": bias}, (x,)).sum()

    hessian = torch.autograd.functional.hessian(log_prob, module.bias.detach())
    assert torch.linalg.eigvalsh(hessian).max() < 0


@pytest.mark.parametrize("kind", KINDS)
def test_functional_call(kind):
    module, _ = pair(kind, 10)
    x = rows(3, 10)
    doubled = {name: (2 * p).detach().requires_grad_() for name, p in module.named_parameters()}
    got = torch.func.functional_call(module, doubled, (x,))
    got.sum().backward()
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(2)
    module.log_prob(x).sum().backward()
    for name, p in module.named_parameters():
        assert torch.equal(doubled[name].grad, p.grad), name


@pytest.mark.parametrize("kind", KINDS)
def test_several_python_threads(kind):
    modules = [pair(kind, 60, 30, seed=seed)[0] for seed in range(6)]
    x = rows(50, 60)
    want = [gradients(module, x)[1] for module in modules]
    got = [None] * 6

    def run(i):
        got[i] = gradients(modules[i], x)[1]

    for _ in range(5):
        threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(6):
            assert all(torch.equal(got[i][name], want[i][name]) for name in want[i])


class Scored(torch.utils.data.Dataset):
    """Each item is computed by the module, in a worker."""

    def __init__(self, module, x):
        self.module, self.x = module, x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        _, grad = gradients(self.module, self.x[i : i + 1])
        return grad["V"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_workers(method, run_python):
    """In a process of their own: where autograd has started threads before, torch refuses gradients after a fork."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    run_python(f"import test_gradient; test_gradient.score_in_workers({method!r})")


def score_in_workers(method):
    module, _ = pair(NADE, 12, 6)
    x = rows(6, 12)
    data = Scored(module, x)
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=method)
    got = torch.cat(list(loader))
    assert torch.equal(got, torch.stack([data[i] for i in range(6)]))


@pytest.mark.parametrize("kind", KINDS)
def test_under_compile(kind):
    module, _ = pair(kind, 20)
    x = rows(5, 20)
    want = gradients(module, x)
    module.zero_grad()
    compiled = torch.compile(lambda x: (module.log_prob(x * 1) * factors(5).float()).sum(), backend="eager")
    compiled(x.float()).backward()
    for name, p in module.named_parameters():
        assert torch.equal(p.grad, want[1][name]), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_what_is_no_bit_is_named_where_it_stands(kind, dtype):
    module, _ = pair(kind, 20, order=np.arange(20)[::-1].copy())
    x = rows(5, 20).to(dtype)
    x[3, 17] = 2
    with pytest.raises(ValueError, match=r"x\[3, 17\] is 2(\.0)?; wanted integers from 0 to 1"):
        module.log_prob(x)


def test_arguments_of_the_core():
    from ancestral._core import fvsbn_gradient, fvsbn_score, nade_gradient, nade_score

    w, c, b = np.zeros((3, 2), np.float32), np.zeros(2, np.float32), np.zeros(3, np.float32)
    x, scale = np.zeros((4, 3), np.uint8), np.zeros(4, np.float32)
    out = [w.copy(), c.copy(), w.copy(), b.copy()]
    _, tape = nade_score([w, c, w, b], x, 1)
    for weights, message in [
        ([w[:2], c, w, b], "w has 4 values; wanted 6"),
        ([w[:0], c, w[:0], b[:0]], "w is empty"),
        ([w, c, np.zeros((2, 3), np.float32).T, b], "v is not an aligned array in C order"),
    ]:
        with pytest.raises(ValueError, match=message):
            nade_score(weights, x, 1)
        with pytest.raises(ValueError, match=message):
            nade_gradient(weights, x, tape, scale, out, 1)
    with pytest.raises(ValueError, match="x has 12 values; wanted 9"):
        nade_score([w, c, w, b], x.reshape(3, 4), 1)
    with pytest.raises(ValueError, match="x has 9 values; wanted 12"):
        nade_gradient([w, c, w, b], x[:3], tape, scale, out, 1)
    with pytest.raises(ValueError, match="tape is not of 3 samples and this model"):
        nade_gradient([w, c, w, b], x, tape, scale[:3], out, 1)
    with pytest.raises(ValueError, match="v has 4 values; wanted 6"):
        nade_gradient([w, c, w, b], x, tape, scale, [w.copy(), c.copy(), w[:2].copy(), b.copy()], 1)
    with pytest.raises(ValueError, match=r"w: .*borrowed"):  # where it reads it would write
        nade_gradient([w, c, w, b], x, tape, scale, [w, *out[1:]], 1)
    with pytest.raises(ValueError, match="2"):
        nade_score([w, c, w, b], x + 2, 1)

    weight = np.zeros((3, 3), np.float32)
    _, own = fvsbn_score([weight, b], x, 1)
    for weights, message in [
        ([weight[:2], b], "weight has 6 values; wanted 9"),
        ([weight[:0], b[:0]], "weight is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            fvsbn_score(weights, x, 1)
        with pytest.raises(ValueError, match=message):
            fvsbn_gradient(weights, x, own, scale, [weight.copy(), b.copy()], 1)
    with pytest.raises(ValueError, match="x has 12 values; wanted 9"):
        fvsbn_score([weight, b], x.reshape(3, 4), 1)
    with pytest.raises(ValueError, match="x has 9 values; wanted 12"):
        fvsbn_gradient([weight, b], x[:3], own, scale, [weight.copy(), b.copy()], 1)
    for other, n in [(own, 3), (tape, 4)]:
        with pytest.raises(ValueError, match=f"tape is not of {n} samples and this model"):
            fvsbn_gradient([weight, b], x[:n], other, scale[:n], [weight.copy(), b.copy()], 1)
    with pytest.raises(ValueError, match="weight has 6 values; wanted 9"):
        fvsbn_gradient([weight, b], x, own, scale, [weight[:2].copy(), b.copy()], 1)
