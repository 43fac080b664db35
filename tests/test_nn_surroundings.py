"""log_prob and logits amid what torch users have around them: autocast, small dtypes, odd tensors, modes, wrappers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ancestral.nn import FVSBN, NADE, GatedPixelCNN, PixelCNN  # noqa: E402
from support.torch_modules import FEW_MODULES, events, randomized  # noqa: E402

ORDER = [3, 0, 4, 1, 2, 5]
MODULES = {
    **FEW_MODULES,
    "fvsbn": lambda: FVSBN(6),
    "fvsbn-torch": lambda: FVSBN(6, backend="torch"),
    "nade": lambda: NADE(6, 4),
    "nade-order": lambda: NADE(6, 4, ORDER),
    "nade-torch": lambda: NADE(6, 4, ORDER, backend="torch"),
    "pixelcnn": lambda: PixelCNN((1, 3, 4), n_channels=4, n_blocks=1, n_head=3),
    "pixelcnn-classes": lambda: PixelCNN((3, 2, 3), n_classes=4, n_channels=6, n_blocks=1, n_head=4),
    "gated": lambda: GatedPixelCNN((1, 3, 4), n_channels=4, n_layers=2, n_head=3),
    "gated-rgb": lambda: GatedPixelCNN((3, 2, 3), n_classes=4, n_channels=6, n_layers=2, n_head=4, skip=True),
    "gated-embedding": lambda: GatedPixelCNN((1, 3, 4), n_classes=4, n_channels=4, n_layers=1, n_head=3, n_embedding=2),
}


def make(name):
    return randomized(MODULES[name](), scale=0.7)


every_module = pytest.mark.parametrize("name", MODULES)


# Autocast and small dtypes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "build",
    [
        lambda: PixelCNN((1, 28, 28), n_classes=4, n_channels=8, n_blocks=2, n_head=8),
        lambda: PixelCNN((1, 28, 28), n_channels=8, n_blocks=2, n_head=8),
        lambda: GatedPixelCNN((1, 28, 28), n_classes=4, n_channels=8, n_layers=2, n_head=8),
        lambda: NADE(784, 20),
        lambda: NADE(784, 20, backend="torch"),
        lambda: FVSBN(784, backend="torch"),
    ],
    ids=["pixelcnn-classes", "pixelcnn", "gated", "nade", "nade-torch", "fvsbn-torch"],
)
def test_autocast(build, dtype):
    """At −543 and −1087 nats bfloat16 goes in steps of 4 and 8."""
    torch.manual_seed(0)
    module = build()
    if isinstance(module, FVSBN):  # zeros at first
        torch.nn.init.normal_(module.weight, std=0.02)
    x = events(module, 3)
    want = module.log_prob(x)
    want.sum().backward()
    wanted = torch.cat([p.grad.flatten() for p in module.parameters()])
    for inside in (True, False):  # autograd goes on outside where the loss is made inside
        module.zero_grad()
        with torch.autocast("cpu", dtype=dtype):
            got = module.log_prob(x)
            logits = module.logits(x)
            if inside:
                got.sum().backward()
        if not inside:
            got.sum().backward()
        assert got.dtype == logits.dtype == torch.float32
        torch.testing.assert_close(got, want, rtol=0, atol=0.2)
        assert all(p.grad.dtype == torch.float32 for p in module.parameters())
        gradient = torch.cat([p.grad.flatten() for p in module.parameters()])
        assert (gradient - wanted).norm() <= 0.05 * wanted.norm()


@every_module
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_parameters_of_other_dtypes(name, dtype):
    module = make(name).to(dtype)
    twin = copy.deepcopy(module).double()
    x = events(module)
    got, want = module.log_prob(x), twin.log_prob(x)
    assert got.dtype == module.logits(x).dtype == dtype
    near = {"rtol": 0.02, "atol": 0.05} if dtype != torch.float64 else {}
    torch.testing.assert_close(got.double(), want, **near)
    got.sum().backward()
    assert all(p.grad.dtype == dtype for p in module.parameters())
    # The engine takes the weights as float32, so that none of them is rounded.
    assert torch.equal(module.sample(9, rng=0), copy.deepcopy(module).float().sample(9, rng=0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("build", [lambda: NADE(784, 30, backend="torch"), lambda: FVSBN(784, backend="torch")])
def test_sums_of_small_dtypes_are_made_in_float32(build, dtype):
    """Within the last rounding and that of each logit."""
    torch.manual_seed(0)
    module = build().to(dtype)
    x = events(module, 4)
    want = copy.deepcopy(module).double().log_prob(x)
    torch.testing.assert_close(module.log_prob(x).double(), want, rtol=torch.finfo(dtype).eps, atol=0.2)


# What x can be


class Tagged(torch.Tensor):
    """A subclass as users define it."""


def list_of_tensors(x):
    return list(x.float())


SAME = {
    "float8": lambda x: x.float().to(torch.float8_e4m3fn),
    "float16": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "uint16": lambda x: x.to(torch.uint16),
    "uint64": lambda x: x.to(torch.uint64),
    "int8": lambda x: x.to(torch.int8),
    "longdouble": lambda x: x.numpy().astype(np.longdouble),
    "parameter": lambda x: torch.nn.Parameter(x, requires_grad=False),
    "subclass": lambda x: x.float().as_subclass(Tagged),
    "subclass of bytes": lambda x: x.as_subclass(Tagged),
    "list of tensors": list_of_tensors,
    "tuple of tensors": lambda x: tuple(x),
    "list of bfloat16": lambda x: list(x.bfloat16()),
    "list of lists": lambda x: x.tolist(),
    "object with __array__": lambda x: Arraylike(x.numpy()),
    "expanded": lambda x: x[:, None].expand(x.shape[0], 2, *x.shape[1:])[:, 1],
    "negated view": lambda x: torch.complex(torch.zeros(x.shape), -x.float()).conj().imag,
    "unmasked array": lambda x: np.ma.array(x.numpy()),
}


class Arraylike:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


@every_module
@pytest.mark.parametrize("kind", SAME)
def test_x_of_many_kinds(name, kind):
    module = make(name)
    x = events(module)
    same = SAME[kind](x)
    torch.testing.assert_close(torch.as_tensor(module.log_prob(same)), module.log_prob(x), check_dtype=True)
    torch.testing.assert_close(torch.as_tensor(module.logits(same)), module.logits(x))


class NoArray:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("lives elsewhere")


REFUSED = {
    "sparse": (lambda x: x.float().to_sparse(), TypeError, r"x is a torch.sparse_coo tensor; .* x.to_dense\(\)"),
    "sparse bytes": (lambda x: x.to_sparse(), TypeError, r"x is a torch.sparse_coo tensor; .* x.to_dense\(\)"),
    "nested bytes": (
        lambda x: torch.nested.nested_tensor(list(x)),
        TypeError,
        r"x is a nested tensor; wanted a dense .*, such as torch.stack\(x.unbind\(\)\)",
    ),
    "compressed": (lambda x: x.float().flatten(1).to_sparse_csr(), TypeError, r"x is a torch.sparse_csr tensor"),
    "nested": (
        lambda x: torch.nested.nested_tensor(list(x.float())),
        TypeError,
        r"x is a nested tensor; wanted a dense .*, such as torch.stack\(x.unbind\(\)\)",
    ),
    "jagged": (
        lambda x: torch.nested.nested_tensor(list(x.float()), layout=torch.jagged),
        TypeError,
        "x is a nested tensor",
    ),
    "quantized": (
        lambda x: torch.quantize_per_tensor(x.float(), 0.5, 0, torch.quint8),
        TypeError,
        r"x is a quantized tensor; .* x.dequantize\(\)",
    ),
    "masked": (
        lambda x: torch.masked.masked_tensor(x.float(), x > 0),
        TypeError,
        r"x is a masked tensor; .* x.get_data\(\)",
    ),
    "meta": (lambda x: x.to("meta"), TypeError, "x is a meta tensor; wanted a dense one with values"),
    "complex": (lambda x: x.cfloat(), TypeError, "x has dtype torch.complex64; wanted bools, integers or floats"),
    "masked array": (lambda x: np.ma.array(x.numpy(), mask=x.numpy() > 0), ValueError, r"x has \d+ masked values"),
    "ragged tensors": (lambda x: [x[0], x[1][:0]], ValueError, "x is a list of tensors that cannot be stacked"),
    "ragged lists": (lambda x: [[1, 0], [1]], ValueError, "x is no array: its rows"),
    "foreign": (lambda x: NoArray(), TypeError, "x is a NoArray that cannot be read as an array"),
    "dict": (lambda x: {"x": x}, TypeError, "x is a dict; wanted an array"),
    "text": (lambda x: "0101", TypeError, "x has dtype <U4; wanted bools, integers or floats"),
    "iterator": (lambda x: iter(x), TypeError, "x is a tuple_iterator; wanted an array"),
    "huge": (lambda x: x.long() + 2**40, ValueError, r"x\[.*\] is 10995116277\d*; wanted integers from 0 to \d"),
}


@pytest.mark.filterwarnings(
    "ignore:The PyTorch API of", "ignore:Sparse CSR", "ignore:.*quantize", "ignore:.*deprecated"
)
@every_module
@pytest.mark.parametrize("kind", REFUSED)
def test_x_that_is_refused_by_name(name, kind):
    module = make(name)
    spoil, error, message = REFUSED[kind]
    x = spoil(events(module))
    for call in (module.log_prob, module.logits, module):
        with pytest.raises(error, match=message):
            call(x)


@every_module
@pytest.mark.parametrize("rows", [lambda x: x[:0], lambda x: x[:0].float(), lambda x: x[:0].numpy()])
def test_no_rows(name, rows):
    module = make(name)
    x = rows(events(module))
    log_prob = module.log_prob(x)
    assert log_prob.shape == (0,)
    log_prob.sum().backward()
    assert all(not p.grad.any() for p in module.parameters())
    assert module.logits(x).shape[:1] == (0,)


@pytest.mark.parametrize(
    ("event_shape", "shape", "hint"),
    [
        # Axes in another order: to reshape would mix the pixels.
        ((3, 4, 5), (2, 4, 5, 3), "permute(0, 3, 1, 2)"),
        ((3, 4, 5), (2, 3, 5, 4), "permute(0, 1, 3, 2)"),
        ((3, 4, 4), (2, 4, 4, 3), "its axes are those wanted in another order"),
        ((3, 4, 5), (3, 4, 5, 2), "permute(3, 0, 1, 2)"),
        ((3, 4, 5), (4, 5, 3), "permute(2, 0, 1)[None]"),
        ((1, 4, 5), (2, 5, 4), None),
        ((3, 4, 5), (2, 12, 5), None),
        # The values are in order.
        ((3, 4, 5), (2, 60), "reshape(2, 3, 4, 5)"),
        ((3, 4, 5), (60,), "reshape(1, 3, 4, 5)"),
        ((3, 4, 5), (3, 4, 5), "reshape(1, 3, 4, 5)"),
        ((1, 4, 5), (2, 4, 5), "reshape(2, 1, 4, 5)"),
        ((1, 4, 5), (2, 4, 5, 1), "reshape(2, 1, 4, 5)"),
        ((1, 4, 5), (4, 5), "reshape(1, 1, 4, 5)"),
        ((20,), (2, 4, 5), "reshape(2, 20)"),
        ((20,), (2, 1, 4, 5), "reshape(2, 20)"),
        ((20,), (20,), "reshape(1, 20)"),
        ((20,), (2, 21), None),
        ((20,), (), None),
    ],
)
def test_hints_keep_each_value_at_its_place(event_shape, shape, hint):
    module = NADE(20, 2) if len(event_shape) == 1 else PixelCNN(event_shape, n_channels=6, n_blocks=0, n_head=3)
    x = torch.zeros(shape, dtype=torch.uint8)
    for batch, words in ((x, hint), (x.numpy(), hint and hint.replace("permute", "transpose"))):
        with pytest.raises(ValueError, match=r"x has shape .*; wanted \(n, ") as caught:
            module.log_prob(batch)
        message = str(caught.value)
        if words is None:
            assert message.endswith(f"; wanted (n, {', '.join(map(str, event_shape))})")
        elif "(" not in words:
            assert message.endswith(f"; {words}")
        else:
            assert message.endswith(f"; did you mean x.{words}?")
            assert eval(f"module.log_prob(x.{words})", {"module": module, "x": batch}).ndim == 1


# Modes


@every_module
def test_x_that_was_made_in_inference_mode(name):
    module = make(name)
    with torch.inference_mode():
        x = events(module).float()
        want = module.log_prob(x)
    got = module.log_prob(x)
    torch.testing.assert_close(got, want.clone())
    got.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@every_module
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_default_dtype(name, dtype):
    module = make(name)
    x = events(module)
    want = module.log_prob(x)
    try:
        torch.set_default_dtype(dtype)
        for same in (x, x.tolist(), x.numpy()):
            assert torch.equal(module.log_prob(same), want)
        assert make(name).log_prob(x).dtype == dtype
        assert make(name).sample(3, rng=0).dtype == torch.uint8
    finally:
        torch.set_default_dtype(torch.float32)


@every_module
def test_another_default_device(name):
    module = make(name)
    x = events(module)
    want, drawn = module.log_prob(x), module.sample(3, rng=0)
    try:
        torch.set_default_device("meta")
        for same in (x, x.tolist(), x.numpy()):
            assert torch.equal(module.log_prob(same), want)
        assert drawn is None or torch.equal(module.sample(3, rng=0), drawn)
        assert torch.equal(copy.deepcopy(module).to("cpu").log_prob(x), want)
    finally:
        torch.set_default_device(None)


@every_module
def test_deterministic_algorithms(name):
    module = make(name)
    want = torch.autograd.grad(module.log_prob(events(module)).sum(), list(module.parameters()))
    try:
        torch.use_deterministic_algorithms(True)
        got = torch.autograd.grad(module.log_prob(events(module)).sum(), list(module.parameters()))
    finally:
        torch.use_deterministic_algorithms(False)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


@every_module
def test_some_parameters_are_frozen(name):
    module = make(name)
    x = events(module)
    parameters = dict(module.named_parameters())
    want = dict(zip(parameters, torch.autograd.grad(module.log_prob(x).sum(), list(parameters.values())), strict=True))
    for frozen in parameters:
        module.zero_grad()
        module.requires_grad_(True).get_parameter(frozen).requires_grad_(False)
        module.log_prob(x).sum().backward()
        for key, p in parameters.items():
            assert p.grad is None if key == frozen else torch.equal(p.grad, want[key])
    assert not module.requires_grad_(False).log_prob(x).requires_grad


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@every_module
def test_hooks(name):
    module = make(name)
    calls = []
    module.register_forward_hook(lambda module, args, out: out * 2)
    module.register_full_backward_hook(lambda module, grad_in, grad_out: calls.append("backward"))
    for p in module.parameters():
        p.register_hook(lambda gradient: 0 * gradient)
    x = events(module)
    out = module(x)
    torch.testing.assert_close(out, 2 * module.log_prob(x))
    out.sum().backward()
    assert calls == ["backward"]
    assert all(not p.grad.any() for p in module.parameters())


@every_module
def test_saved_tensors_on_the_cpu(name):
    """What torch.autograd.graph does with what is kept between the passes."""
    module = make(name)
    want = torch.autograd.grad(module.log_prob(events(module)).sum(), list(module.parameters()))
    with torch.autograd.graph.save_on_cpu():
        log_prob = module.log_prob(events(module)).sum()
    got = torch.autograd.grad(log_prob, list(module.parameters()))
    assert all(map(torch.equal, got, want))


@pytest.mark.filterwarnings("ignore:.*deprecated", "ignore::torch.jit.TracerWarning")
@every_module
def test_a_trace(name):
    module = make(name)
    x = events(module)
    traced = torch.jit.trace(module, (x,), check_trace=False)
    other = (x + 1) % module.n_classes
    torch.testing.assert_close(traced(other), module.log_prob(other))


@every_module
def test_under_compile(name):
    module = make(name)
    for x in (events(module), events(module).float()):
        module.zero_grad()
        want = torch.autograd.grad(module.log_prob(x).sum(), list(module.parameters()))
        torch.compile(module, backend="aot_eager")(x).sum().backward()
        for p, gradient in zip(module.parameters(), want, strict=True):
            torch.testing.assert_close(p.grad, gradient)


def test_sample_is_governed_by_rng_alone():
    module = make("nade")
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first = module.sample(50, rng=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(module.sample(50, rng=3), first)
    torch.manual_seed(2)
    a = module.sample(50, rng=torch.default_generator)
    torch.manual_seed(2)
    assert torch.equal(module.sample(50, rng=torch.default_generator), a)
