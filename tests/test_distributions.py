"""distributions.Autoregressive: a torch.distributions.Distribution like any other, with the model's numbers."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
import oracle
from conftest import SMALL, Case

torch = pytest.importorskip("torch")
from torch.distributions import Bernoulli, Independent, constraints, kl_divergence  # noqa: E402

from ancestral.distributions import Autoregressive  # noqa: E402


@pytest.fixture(scope="module")
def binary(build: Callable[..., Case]) -> Case:
    return build("NADE", oracle.nade_config(6, 4))


@pytest.fixture(scope="module")
def image(build: Callable[..., Case]) -> Case:
    return build("PixelCNN", oracle.pixelcnn_config((2, 3, 4), 5))


SHAPES = [(), (1,), (7,), (2, 3), (0,), (2, 0, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, ...], small: Case) -> None:
    d = Autoregressive(small.model)
    assert (d.batch_shape, d.event_shape) == (torch.Size(), torch.Size(small.model.event_shape))
    for given in (shape, list(shape), torch.Size(shape)):
        x = d.sample(given)
        assert x.shape == shape + small.model.event_shape
    assert x.dtype == (torch.float32 if small.model.n_classes == 2 else torch.int64)
    log_prob = d.log_prob(x)
    assert log_prob.shape == shape
    assert log_prob.dtype == torch.float64
    flat = x.numpy().reshape(math.prod(shape), *small.model.event_shape)
    np.testing.assert_array_equal(log_prob.numpy().ravel(), small.model.log_prob(flat))


def test_manual_seed_makes_everything_reproducible(binary: Case) -> None:
    d, other = Autoregressive(binary.model, n_samples=100), Autoregressive(binary.model)

    def everything() -> list[Any]:
        return [*d.sample((20,)).flatten().tolist(), *other.sample((20,)).flatten().tolist(), d.entropy().item()]

    torch.manual_seed(3)
    first = everything()
    torch.manual_seed(3)
    assert everything() == first
    assert everything() != first
    assert first[:120] != first[120:240]  # the generator advances: draws differ


def test_samples_follow_the_model(binary: Case) -> None:
    """One by one: each draw has a seed of its own, so it is the seeds' independence that is tested."""
    torch.manual_seed(0)
    d = Autoregressive(binary.model)
    x = torch.stack([d.sample() for _ in range(20_000)]).numpy().astype(np.uint8)
    events = oracle.enumerate_events(binary.kind, binary.config)
    p = np.exp(binary.log_prob(events))
    observed = np.bincount(oracle.event_index(binary.kind, binary.config, x), minlength=len(p))
    z = (observed - 20_000 * p) / np.sqrt(20_000 * p)
    assert (z**2).sum() < len(p) + 4 * math.sqrt(2 * len(p))


def test_dtype_follows_the_default(binary: Case, image: Case) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert Autoregressive(binary.model).sample().dtype == Bernoulli(0.5).sample().dtype == torch.float64
        assert Autoregressive(image.model).sample().dtype == torch.int64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_default_device_does_not_matter(binary: Case) -> None:
    with torch.device("meta"):
        assert Autoregressive(binary.model).sample((2,)).device.type == "cpu"


@pytest.mark.parametrize("name", SMALL)
def test_entropy_and_divergence(name: str, build: Callable[..., Case]) -> None:
    p_case, q_case = build(*SMALL[name], scale=2.0), build(*SMALL[name], scale=1.0, seed=1)
    events = oracle.enumerate_events(p_case.kind, p_case.config)
    log_p, log_q = p_case.log_prob(events), q_case.log_prob(events)
    p = np.exp(log_p)
    torch.manual_seed(1)
    d, other = (Autoregressive(case.model, n_samples=50_000) for case in (p_case, q_case))
    for estimate, values in ((d.entropy(), -log_p), (kl_divergence(d, other), log_p - log_q)):
        truth = p @ values
        assert estimate.shape == ()
        assert estimate.is_floating_point()
        assert abs(estimate.item() - truth) <= 4 * math.sqrt(p @ (values - truth) ** 2 / 50_000) + 1e-5
    torch.testing.assert_close(d.perplexity().item(), math.exp(-p @ log_p), rtol=0.1, atol=0)


def test_support_and_validation(binary: Case, image: Case) -> None:
    zeros_and_ones, classes = (Autoregressive(case.model) for case in (binary, image))
    assert isinstance(zeros_and_ones.support, constraints.independent)
    assert zeros_and_ones.support.event_dim == 1
    assert classes.support.event_dim == 3
    x = torch.tensor([[0.0, 1, 0, 1, 0, 1], [0, 1, 0, 2, 0, 1]])
    assert zeros_and_ones.support.check(x).tolist() == [True, False]
    assert classes.support.check(torch.full((2, 3, 4), 4)).item()
    assert not classes.support.check(torch.full((2, 3, 4), 5)).item()


@pytest.mark.parametrize("validate_args", [True, False, None])
@pytest.mark.parametrize(
    "value",
    [
        torch.full((6,), 2.0),
        torch.full((6,), 0.5),
        torch.full((3, 6), -1),
        torch.zeros(5),
        torch.zeros(3, 7),
        torch.tensor(1.0),
    ],
    ids=["two", "half", "minus-one", "too-narrow", "too-wide", "scalar"],
)
def test_wrong_values(value: Any, validate_args: bool | None, binary: Case) -> None:
    """torch's own check, or that of the model."""
    d = Autoregressive(binary.model, validate_args=validate_args)
    with pytest.raises(ValueError, match=r"\bx\b" if validate_args is False else r"value|Value|size"):
        d.log_prob(value)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_values_of_any_dtype(dtype: Any, binary: Case) -> None:
    x = binary.events(5)
    got = Autoregressive(binary.model).log_prob(torch.from_numpy(x).to(dtype))
    np.testing.assert_array_equal(got.numpy(), binary.model.log_prob(x))


def test_what_is_not_there(binary: Case) -> None:
    d = Autoregressive(binary.model)
    assert not d.has_rsample
    assert not d.has_enumerate_support
    with pytest.raises(NotImplementedError, match="sample_shape"):
        d.expand((3,))
    for call in (d.rsample, d.enumerate_support, lambda: d.mean, lambda: d.variance):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(NotImplementedError, match="No KL"):
        kl_divergence(d, Independent(Bernoulli(torch.full((6,), 0.5)), 1))
    assert not d.log_prob(d.sample((3,)).requires_grad_()).requires_grad


def test_code_written_for_torch_distributions(binary: Case) -> None:
    """Importance sampling of the partition function of an unnormalized target, for any proposal."""

    def log_mean_weight(proposal: torch.distributions.Distribution, n: int) -> float:
        x = proposal.sample((n,))
        log_weight = -0.3 * x.sum(-1) - proposal.log_prob(x)
        return (torch.logsumexp(log_weight, 0) - math.log(n)).item()

    torch.manual_seed(0)
    truth = 6 * math.log(1 + math.exp(-0.3))
    for proposal in (
        Independent(Bernoulli(torch.full((6,), 0.4)), 1),
        Autoregressive(binary.model),
        Independent(Autoregressive(binary.model), 0),
    ):
        assert log_mean_weight(proposal, 200_000) == pytest.approx(truth, abs=0.05)


def test_copies(binary: Case) -> None:
    d = Autoregressive(binary.model, n_samples=50)
    x = d.sample((4,))
    for again in (copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
        assert again.n_samples == 50
        assert torch.equal(again.log_prob(x), d.log_prob(x))
    assert repr(d) == f"Autoregressive({binary.model!r})"


@pytest.mark.parametrize(
    ("n_samples", "error"), [(1, ValueError), (0, ValueError), (True, TypeError), (2.0, TypeError)]
)
def test_wrong_n_samples(n_samples: Any, error: type[Exception], binary: Case) -> None:
    with pytest.raises(error, match="n_samples"):
        Autoregressive(binary.model, n_samples=n_samples)


def test_wrong_models(binary: Case) -> None:
    for wrong in (None, ancestral.nn.FVSBN(3), binary.model._inner):
        with pytest.raises(TypeError, match=rf"model is a {type(wrong).__name__}; wanted an ancestral.Model"):
            Autoregressive(wrong)
    with pytest.raises(ValueError, match="q has event_shape"):
        kl_divergence(Autoregressive(binary.model), Autoregressive(ancestral.from_torch(ancestral.nn.FVSBN(3))))
