"""The torch modules against formulas written out in float64, their masks, arguments and sampling."""

from __future__ import annotations

import copy
import doctest
import importlib
import io
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ancestral.nn import FVSBN, NADE, Autoregressive, GatedPixelCNN, MaskedConv2d, PixelCNN  # noqa: E402
from support.torch_modules import SMALL_MODULES, events, randomized  # noqa: E402

ORDER = [3, 0, 4, 1, 2]

MAKERS = {
    **SMALL_MODULES,
    "fvsbn": lambda: FVSBN(5),
    "fvsbn-order": lambda: FVSBN(5, order=ORDER),
    "fvsbn-1": lambda: FVSBN(1),
    "nade": lambda: NADE(19, 3),
    "nade-order": lambda: NADE(5, 4, order=ORDER),
    "nade-1": lambda: NADE(1, 1),
    "pixelcnn": lambda: PixelCNN((1, 4, 5), n_channels=4, n_blocks=2, n_head=3),
    "pixelcnn-classes": lambda: PixelCNN((1, 3, 3), n_classes=5, n_channels=4, n_blocks=1, n_head=3),
    "pixelcnn-rgb": lambda: PixelCNN((3, 4, 3), n_classes=4, n_channels=10, n_blocks=2, n_head=7),
    "pixelcnn-rgb-bits": lambda: PixelCNN((3, 3, 4), n_channels=6, n_blocks=1, n_head=3),
    "pixelcnn-1": lambda: PixelCNN((1, 1, 1), n_channels=2, n_blocks=0, n_head=1),
    "pixelcnn-other": lambda: PixelCNN(
        (3, 3, 4),
        n_classes=3,
        n_channels=6,
        n_blocks=2,
        n_head=4,
        head_layers=2,
        input_kernel_size=3,
        kernel_size=5,
        relu=("input", "conv", "branch", "sum"),
    ),
    "gated": lambda: GatedPixelCNN((1, 4, 5), n_channels=4, n_layers=2, n_head=3),
    "gated-classes": lambda: GatedPixelCNN((1, 3, 3), n_classes=5, n_channels=4, n_layers=1, n_head=3),
    "gated-rgb": lambda: GatedPixelCNN((3, 4, 3), n_classes=4, n_channels=7, n_layers=2, n_head=4, skip=True),
    "gated-shifted": lambda: GatedPixelCNN(
        (2, 4, 3), n_channels=4, n_layers=2, n_head=4, shifted=True, vertical_residual=True, gated_input=False
    ),
    "gated-embedding": lambda: GatedPixelCNN(
        (2, 3, 3), n_classes=3, n_channels=4, dilations=(1, 2), n_embedding=3, head_layers=0, activation="elu"
    ),
    "gated-1": lambda: GatedPixelCNN((1, 1, 1), n_channels=1, n_layers=1, n_head=1),
}


def make(name, seed=0, scale=1.0):
    """A float64 module with random weights, those that are masked included."""
    return randomized(MAKERS[name]().double(), seed, scale)


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def bernoulli(logit, bit):
    return math.log(sigmoid(logit) if bit else sigmoid(-logit))


@pytest.mark.parametrize("name", ["fvsbn", "fvsbn-order", "fvsbn-1"])
def test_fvsbn_is_its_formula(name):
    module = make(name)
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    x = events(module, 7)
    for row, got in zip(x.numpy(), module.log_prob(x).tolist(), strict=True):
        z = row if module.order is None else row[list(module.order)]
        want = 0.0
        for i in range(len(z)):
            want += bernoulli(bias[i] + sum(weight[i, j] * z[j] for j in range(i)), z[i])
        assert got == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("name", ["nade", "nade-order", "nade-1"])
def test_nade_is_its_formula(name):
    module = make(name)
    W, c, V, b = (p.detach().numpy() for p in (module.W, module.c, module.V, module.b))
    x = events(module, 7)
    for row, got in zip(x.numpy(), module.log_prob(x).tolist(), strict=True):
        z = row if module.order is None else row[list(module.order)]
        want = 0.0
        for i in range(len(z)):
            h = 1 / (1 + np.exp(-(c + z[:i] @ W[:i])))
            want += bernoulli(b[i] + V[i] @ h, z[i])
        assert got == pytest.approx(want, abs=1e-12)


def pixelcnn_logits(module, x):
    """Step by step from the definition: sums over taps, no convolution. (n, C, H, W, K') of one image."""
    C, H, W = module.event_shape
    tensors = {name: parameter.detach().numpy() for name, parameter in module.state_dict().items()}

    def conv(a, name, mask_a=False):
        weight, bias = tensors[name + ".weight"], tensors[name + ".bias"]
        n_out, n_in, size, _ = weight.shape
        half = size // 2
        out = np.tile(bias[:, None, None], (1, H, W))
        for o in range(n_out):
            for i in range(n_in):
                go, gi = o * C // n_out, i * C // n_in
                for dy in range(-half, half + 1):
                    for dx in range(-half, half + 1):
                        seen_here = gi < go if mask_a else gi <= go
                        if (dy, dx) > (0, 0) or ((dy, dx) == (0, 0) and not seen_here):
                            continue
                        for y in range(max(0, -dy), min(H, H - dy)):
                            for xx in range(max(0, -dx), min(W, W - dx)):
                                out[o, y, xx] += weight[o, i, dy + half, dx + half] * a[i, y + dy, xx + dx]
        return out

    def relu(position, a):
        return np.maximum(a, 0) if position in module.relu else a

    K = module.n_classes
    config = module.config()
    a = relu("input", conv(x * config["input_scale"] + config["input_shift"], "input", mask_a=True))
    for i in range(module.n_blocks):
        h = conv(relu("down", a), f"blocks.{i}.down")
        h = conv(relu("up", conv(relu("conv", h), f"blocks.{i}.conv")), f"blocks.{i}.up")
        a = relu("sum", a + relu("branch", h))
    a = relu("head", a)
    for i in range(module.head_layers):
        a = np.maximum(conv(a, f"head_hidden_{i + 1}" if i else "head_hidden"), 0)
    out = conv(a, "head_out")
    return out if K == 2 else out.reshape(C, K, H, W).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith("pixelcnn")])
def test_pixelcnn_is_its_formula(name):
    module = make(name, scale=0.4)
    x = events(module, 2)
    logits = module.logits(x).detach().numpy()
    log_probs = module.log_prob(x).tolist()
    for image, got, log_prob in zip(x.numpy(), logits, log_probs, strict=True):
        want = pixelcnn_logits(module, image)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
        if module.n_classes == 2:
            total = sum(bernoulli(t, bit) for t, bit in zip(want.ravel(), image.ravel(), strict=True))
        else:
            flat = want.reshape(-1, module.n_classes)
            total = sum(
                t[k] - math.log(np.exp(t - t.max()).sum()) - t.max() for t, k in zip(flat, image.ravel(), strict=True)
            )
        assert log_prob == pytest.approx(total, abs=1e-9)


def steps_of(module):
    """The flat dimension of each step."""
    if module.order is not None:
        return list(module.order)
    if len(module.event_shape) == 1:
        return list(range(module.n_dims))
    C, H, W = module.event_shape
    return [c * H * W + y * W + x for y in range(H) for x in range(W) for c in range(C)]


@pytest.mark.parametrize("name", MAKERS)
def test_a_logit_depends_on_earlier_steps_only(name):
    module = make(name, scale=0.5)
    steps = steps_of(module)
    x = events(module, 3)
    before = module.logits(x).detach().reshape(3, module.n_dims, -1)
    reached = 0
    for t, dim in enumerate(steps):
        changed = x.to(torch.int64, copy=True).reshape(3, -1)
        changed[:, dim] = (changed[:, dim] + 1) % module.n_classes
        after = module.logits(changed.reshape(x.shape)).detach().reshape(3, module.n_dims, -1)
        unseen = steps[: t + 1]
        assert torch.equal(after[:, unseen], before[:, unseen]), f"step {t} reaches back"
        later = steps[t + 1 :]
        reached += bool(later) and not torch.equal(after[:, later], before[:, later])
    assert reached >= (module.n_dims - 1) // 2, "conditionals hardly depend on anything"


@pytest.mark.parametrize(
    "build",
    [
        lambda: FVSBN(5, order=ORDER),
        lambda: NADE(1, 1),
        lambda: NADE(11, 3),
        lambda: PixelCNN((1, 3, 4), n_channels=4, n_blocks=2, n_head=3),
        lambda: PixelCNN((1, 1, 3), n_classes=16, n_channels=4, n_blocks=1, n_head=3),
        lambda: PixelCNN((3, 1, 2), n_classes=4, n_channels=6, n_blocks=1, n_head=4),
        lambda: PixelCNN((2, 2, 3), n_channels=6, n_blocks=1, head_layers=2, relu=["sum"]),
        lambda: GatedPixelCNN((1, 3, 4), n_channels=4, n_layers=2, n_head=3, skip=True),
        lambda: GatedPixelCNN((1, 1, 3), n_classes=16, n_channels=4, n_layers=1, n_head=3, n_embedding=2),
        lambda: GatedPixelCNN((3, 1, 2), n_classes=4, n_channels=6, dilations=[2], n_head=4, shifted=True),
    ],
)
def test_probabilities_sum_to_one(build):
    module = randomized(build().double(), scale=0.7)
    n_states = module.n_classes**module.n_dims
    grid = torch.cartesian_prod(*[torch.arange(module.n_classes)] * module.n_dims)
    log_probs = module.log_prob(grid.reshape(n_states, *module.event_shape))
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize(
    "name", ["fvsbn-order", "nade", "nade-order", "nade-1", "pixelcnn", "pixelcnn-rgb", "gated", "gated-rgb"]
)
def test_gradients(name):
    module = make(name, scale=0.3)
    x = events(module, 3)
    names = [key for key, _ in module.named_parameters()]

    def total(*values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(total, values, fast_mode=name.startswith(("pixelcnn", "gated")))


@pytest.mark.parametrize("n_dims", [1, 7, 8, 9, 40])
def test_nade_is_the_same_for_any_chunk(n_dims, monkeypatch):
    nade = importlib.import_module("ancestral.nn.nade")
    torch.manual_seed(0)
    module = NADE(n_dims, 6).double()
    x = events(module, 11)
    results = []
    for chunk in (1, 3, 8, 64):
        monkeypatch.setattr(nade, "CHUNK", chunk)
        module.zero_grad()
        log_prob = module.log_prob(x)
        log_prob.sum().backward()
        results.append([log_prob.detach(), *(p.grad.clone() for p in module.parameters())])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_nade_trains_at_full_size_in_little_memory():
    # The h of all steps would be 100 x 784 x 500 floats, 157 MB, and as much again for their gradients.
    code = """if True:
        import resource, torch
        from ancestral.nn import NADE
        torch.set_num_threads(1)
        def step(module, n):
            (-module.log_prob((torch.rand(n, 784) < 0.2)).mean()).backward()
        module = NADE(784, 500)
        step(module, 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step(module, 100)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 80, f"{run.stdout} MiB"


@pytest.mark.parametrize("name", MAKERS)
def test_no_grad_and_inference_mode(name):
    module = make(name)
    x = events(module, 4)
    want = module.log_prob(x)
    assert want.requires_grad
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            got = module.log_prob(x)
        assert not got.requires_grad
        assert torch.equal(got, want.detach())
    assert module.log_prob(x[:0]).shape == (0,)
    torch.testing.assert_close(module(x), want)


@pytest.mark.parametrize("name", ["fvsbn", "nade", "pixelcnn-rgb", "gated-rgb"])
def test_large_logits_stay_finite(name):
    module = make(name, scale=30).float()
    log_prob = module.log_prob(events(module, 20))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_order_permutes_the_dimensions():
    plain, ordered = NADE(5, 4).double(), NADE(5, 4, order=ORDER).double()
    ordered.load_state_dict({**plain.state_dict(), "steps": ordered.steps})
    x = events(plain, 6)
    torch.testing.assert_close(ordered.log_prob(x), plain.log_prob(x[:, ORDER]))
    torch.testing.assert_close(ordered.logits(x)[:, ORDER], plain.logits(x[:, ORDER]))
    assert ordered.order == tuple(ORDER)
    assert ordered.config()["order"] == ORDER
    natural = FVSBN(5, order=range(5))
    assert natural.order is None
    assert natural.config() == {"n_dims": 5, "order": None}


def test_masks():
    a = MaskedConv2d(3, 6, 3, mask="A", groups=3).mask
    b = MaskedConv2d(3, 6, 3, mask="B", groups=3).mask
    for mask in (a, b):
        assert (mask[:, :, 0] == 1).all()
        assert (mask[:, :, 1, 0] == 1).all()
        assert (mask[:, :, 1, 2] == 0).all()
        assert (mask[:, :, 2] == 0).all()
    assert a[:, :, 1, 1].tolist() == [[0, 0, 0]] * 2 + [[1, 0, 0]] * 2 + [[1, 1, 0]] * 2
    assert b[:, :, 1, 1].tolist() == [[1, 0, 0]] * 2 + [[1, 1, 0]] * 2 + [[1, 1, 1]] * 2
    # Channel j of N is in group floor(j C / N): 0 0 1 1 2 for five channels.
    uneven = MaskedConv2d(5, 3, 1, mask="B", groups=3).mask[:, :, 0, 0]
    assert uneven.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize("name", MAKERS)
def test_masked_entries_get_no_gradient_and_have_no_effect(name):
    module = make(name, scale=0.5)
    x = events(module, 5)
    before = module.log_prob(x)
    before.sum().backward()
    for key, tensor in module.tensors().items():
        parameter = module.get_parameter(key)
        masked = (tensor == 0) & (parameter != 0)
        assert (parameter.grad[masked] == 0).all()
        with torch.no_grad():
            parameter[masked] = float("nan")
    if "fvsbn" in name:
        assert module.weight.isnan().sum() == module.n_dims * (module.n_dims + 1) // 2
    torch.testing.assert_close(module.log_prob(x), before)


@pytest.mark.parametrize("name", MAKERS)
def test_tensors_are_the_effective_weights(name):
    module = make(name)
    tensors = module.tensors()
    assert tensors.keys() == module.state_dict().keys() - {"steps"}
    for key, tensor in tensors.items():
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert not tensor.requires_grad
        assert tensor.shape == module.get_parameter(key).shape
    other = MAKERS[name]()
    other.load_state_dict({**other.state_dict(), **tensors})
    x = events(module, 3)
    torch.testing.assert_close(other.double().log_prob(x), module.float().double().log_prob(x))


def test_configs_build_the_module_again():
    for name, build in MAKERS.items():
        module = build()
        again = type(module)(**module.config())
        assert again.config() == module.config(), name
        again.load_state_dict(module.state_dict())
    config = PixelCNN((3, 2, 2), n_classes=256, n_channels=6, n_head=3, n_blocks=1).config()
    assert config["input_scale"] == 2 / 255
    assert config["input_shift"] == -1
    assert PixelCNN((1, 2, 2), input_scale=3, input_shift=0.5).config()["input_scale"] == 3.0
    assert set(config) == {"event_shape", "n_classes", "n_channels", "n_blocks", "n_head", "input_scale", "input_shift"}
    assert GatedPixelCNN((1, 2, 2), n_layers=2, dilations=[1, 4]).dilations == (1, 4)


@pytest.mark.parametrize("name", ["nade-order", "pixelcnn-rgb", "gated-rgb"])
def test_copies_and_pickles(name):
    module = make(name)
    x = events(module, 3)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(buffer, weights_only=False),
    ]
    for other in copies:
        assert torch.equal(other.log_prob(x), module.log_prob(x))
        assert other.tensors().keys() == module.tensors().keys()


KINDS_OF_INPUT = {
    "uint8": lambda x: x.to(torch.uint8),
    "bool": lambda x: x.bool(),
    "float32": lambda x: x.float(),
    "float16": lambda x: x.half(),
    "strided": lambda x: x.repeat_interleave(2, 0)[::2],
    "numpy": lambda x: x.numpy(),
    "numpy-bool": lambda x: x.numpy().astype(bool),
    "numpy-uint16": lambda x: x.numpy().astype(np.uint16),
    "big-endian": lambda x: x.numpy().astype(">f8"),
    "fortran": lambda x: np.asfortranarray(x.numpy()),
    "negative-stride": lambda x: x.numpy()[::-1].copy()[::-1],
    "list": lambda x: x.tolist(),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS_OF_INPUT)
def test_inputs(kind):
    module = make("pixelcnn-classes" if kind == "numpy-uint16" else "pixelcnn")
    x = events(module, 4)
    assert torch.equal(module.log_prob(KINDS_OF_INPUT[kind](x)), module.log_prob(x))


@pytest.mark.filterwarnings("error")
def test_read_only_input():
    module = make("fvsbn")
    x = events(module, 4).numpy()
    x.flags.writeable = False
    assert module.log_prob(x).shape == (4,)


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (
            np.zeros((2, 784)),
            ValueError,
            r"x has shape \(2, 784\); wanted \(n, 1, 28, 28\); did you mean .*x.*.reshape\(2, 1",
        ),
        (np.zeros((28, 28)), ValueError, r"x has shape \(28, 28\); wanted \(n, 1, 28, 28\)"),
        (np.zeros((1, 28, 28)), ValueError, r"did you mean x.reshape\(1, 1, 28, 28\)"),
        (np.zeros(()), ValueError, r"x has shape \(\); wanted"),
        (
            np.full((2, 1, 28, 28), 2),
            ValueError,
            r"x\[0, 0, 0, 0\] is 2; wanted integers from 0 to 1",
        ),
        (np.full((2, 1, 28, 28), -1), ValueError, "is -1; wanted"),
        (np.full((2, 1, 28, 28), 0.5), ValueError, "is 0.5; wanted"),
        (np.full((2, 1, 28, 28), np.nan), ValueError, "is nan; wanted"),
        (np.full((2, 1, 28, 28), np.inf), ValueError, "is inf; wanted"),
        (np.zeros((2, 1, 28, 28), complex), TypeError, "x has dtype complex128; wanted bools"),
        (torch.zeros((2, 1, 28, 28), dtype=torch.complex64), TypeError, "complex64"),
        (np.full((2, 1, 28, 28), "a"), TypeError, "x has dtype <U1; wanted"),
        (None, TypeError, "x is None; wanted an array"),
        ([[1, 0], [1]], ValueError, "x is no array: its rows"),
    ],
)
def test_wrong_inputs(x, error, match):
    module = PixelCNN((1, 28, 28), n_channels=2, n_blocks=0, n_head=1)
    for call in (module.log_prob, module.logits):
        with pytest.raises(error, match=match):
            call(x)


def test_support_of_classes():
    module = make("pixelcnn-classes")
    x = events(module, 2)
    assert module.log_prob(x.double()).shape == (2,)
    x[1, 0, 2, 1] = 5
    with pytest.raises(ValueError, match=r"x\[1, 0, 2, 1\] is 5; wanted integers from 0 to 4"):
        module.log_prob(x)
    with pytest.raises(ValueError, match=r"is 1.5; wanted"):
        module.log_prob(torch.full((1, 1, 3, 3), 1.5))


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: FVSBN(0), ValueError, "n_dims is 0; wanted an integer of at least 1"),
        (lambda: FVSBN(2.0), TypeError, r"n_dims is 2.0 \(float\); wanted an integer"),
        (lambda: FVSBN(True), TypeError, "n_dims"),
        (lambda: FVSBN(3, order=[0, 1]), ValueError, r"order has shape \(2,\); wanted \(3,\), a perm"),
        (lambda: FVSBN(3, order=[0, 1, 1]), ValueError, "order has 1 numbers twice; wanted a permutation"),
        (lambda: FVSBN(3, order=[1, 2, 3]), ValueError, "order has numbers from 1 to 3; wanted a permutation"),
        (lambda: FVSBN(3, order=[0.0, 1.0, 2.0]), TypeError, "order has dtype float64; wanted integers"),
        (lambda: NADE(3, 0), ValueError, "n_hidden"),
        (lambda: NADE(3, "4"), TypeError, "n_hidden"),
        (lambda: PixelCNN(784), TypeError, "event_shape"),
        (lambda: PixelCNN((28, 28)), ValueError, "event_shape"),
        (lambda: PixelCNN((1, 28, 0)), ValueError, r"event_shape\[2\]"),
        (lambda: PixelCNN((1, 2, 2), n_classes=1), ValueError, "n_classes is 1; wanted an integer from 2 to 256"),
        (lambda: PixelCNN((1, 2, 2), n_classes=257), ValueError, "n_classes"),
        (lambda: PixelCNN((1, 2, 2), n_channels=5), ValueError, "n_channels is 5; wanted an even integer"),
        (lambda: PixelCNN((3, 2, 2), n_channels=4), ValueError, "n_channels is 4; wanted an integer of at least 6"),
        (lambda: PixelCNN((3, 2, 2), n_head=2), ValueError, "n_head is 2; wanted an integer of at least 3"),
        (lambda: PixelCNN((1, 2, 2), n_blocks=-1), ValueError, "n_blocks"),
        (lambda: PixelCNN((1, 2, 2), input_scale=math.nan), ValueError, "input_scale is nan; wanted a finite number"),
        (lambda: PixelCNN((1, 2, 2), input_shift="0"), TypeError, "input_shift"),
        (lambda: PixelCNN((1, 2, 2), head_layers=-1), ValueError, "head_layers is -1; wanted an integer of at least 0"),
        (lambda: PixelCNN((1, 2, 2), kernel_size=4), ValueError, r"kernel_size is \d; wanted an odd integer"),
        (lambda: PixelCNN((1, 2, 2), input_kernel_size=7.0), TypeError, "input_kernel_size is .*; wanted an integer"),
        (lambda: PixelCNN((1, 2, 2), relu="head"), TypeError, "relu is 'head'; wanted a sequence of names"),
        (lambda: PixelCNN((1, 2, 2), relu=["after"]), ValueError, r"relu\[0\] is 'after'; wanted .*input"),
        (lambda: GatedPixelCNN((28, 28)), ValueError, "event_shape"),
        (
            lambda: GatedPixelCNN((1, 2, 2), n_classes=65_537),
            ValueError,
            "n_classes is 65537; wanted .* 2 to 65536",
        ),
        (
            lambda: GatedPixelCNN((3, 2, 2), n_channels=2),
            ValueError,
            "n_channels is 2; wanted .* at least 3",
        ),
        (lambda: GatedPixelCNN((1, 2, 2), n_layers=0), ValueError, "n_layers is 0; wanted an integer of at least 1"),
        (lambda: GatedPixelCNN((1, 2, 2), dilations=[]), ValueError, "dilations is empty; wanted at least one layer"),
        (
            lambda: GatedPixelCNN((1, 2, 2), dilations=2),
            TypeError,
            "dilations is 2; wanted a sequence",
        ),
        (
            lambda: GatedPixelCNN((1, 2, 2), dilations=[1, 0]),
            ValueError,
            r"dilations\[1\] is 0; wanted an integer",
        ),
        (lambda: GatedPixelCNN((1, 2, 2), n_layers=3, dilations=[1]), ValueError, "n_layers is 3, but dilations has 1"),
        (
            lambda: GatedPixelCNN((1, 2, 2), kernel_size=1),
            ValueError,
            "kernel_size is 1; wanted .* at least 3",
        ),
        (
            lambda: GatedPixelCNN((1, 2, 2), input_kernel_size=4),
            ValueError,
            r"input_kernel_size is 4; wanted an odd",
        ),
        (lambda: GatedPixelCNN((1, 2, 2), skip=1), TypeError, "skip is 1 .*; wanted True or False"),
        (lambda: GatedPixelCNN((1, 2, 2), shifted="no"), TypeError, "shifted is 'no' .*; wanted True or False"),
        (
            lambda: GatedPixelCNN((1, 2, 2), activation="softmax"),
            ValueError,
            "activation is 'softmax'; wanted .*relu",
        ),
        (
            lambda: GatedPixelCNN((1, 2, 2), n_embedding=0),
            ValueError,
            "n_embedding is 0; wanted .* at least 1",
        ),
        (lambda: GatedPixelCNN((1, 2, 2), n_embedding=2, input_shift=1.0), ValueError, "n_embedding has none"),
        (lambda: MaskedConv2d(1, 1, 2, mask="A"), ValueError, r"kernel_size is \d; wanted an odd integer"),
        (lambda: MaskedConv2d(1, 1, 3, mask="C"), ValueError, "mask"),
        (lambda: MaskedConv2d(1, 3, 3, mask="A", groups=2), ValueError, "in_channels"),
    ],
)
def test_wrong_arguments(build, error, match):
    with pytest.raises(error, match=match):
        build()


@pytest.mark.parametrize("name", ["fvsbn", "gated_pixelcnn", "masked_conv", "nade", "pixelcnn"])
def test_docstring_examples(name):
    module = importlib.import_module(f"ancestral.nn.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", MAKERS)
def test_sample(name):
    module = make(name, scale=0.5).float()
    x = module.sample(50, rng=1)
    assert x.dtype == torch.uint8
    assert x.shape == (50, *module.event_shape)
    assert int(x.max()) < module.n_classes
    assert torch.equal(x, module.sample(50, rng=1))
    assert torch.equal(x[20:], module.sample(30, rng=1, start=20))
    out = np.empty((50, *module.event_shape), np.uint8)
    assert torch.equal(module.sample(50, rng=1, out=out), torch.from_numpy(out))
    np.testing.assert_array_equal(out, x)


def test_sample_notices_changed_parameters():
    module = FVSBN(6)
    assert module.model() is module.model()
    assert 0 < module.sample(100, rng=0).float().mean() < 1
    first = module.model()
    module.bias.data.fill_(50)  # in place, behind autograd's back
    assert (module.sample(100, rng=0) == 1).all()
    assert module.model() is not first
    module.load_state_dict({"weight": torch.zeros(6, 6), "bias": torch.full((6,), -50.0)})
    assert (module.sample(100, rng=0) == 0).all()
    module.bias = torch.nn.Parameter(torch.full((6,), 50.0))
    assert (copy.deepcopy(module).sample(100, rng=0) == 1).all()
    again = pickle.loads(pickle.dumps(module))
    assert torch.equal(again.sample(100, rng=0), module.sample(100, rng=0))
    kept = module.model()
    module.weight.data[0, 5] = 7.0  # masked: nothing has changed
    assert module.model() is kept


def test_base_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Autoregressive((3,))
