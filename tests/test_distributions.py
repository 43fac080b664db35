"""distributions.Autoregressive: a torch.distributions.Distribution like any other, with the model's numbers."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
from support.argument_table import ARRAYLESS_TENSORS, NUMBERLESS
from support.cases import Case
from support.families import EVERY_SMALL

torch = pytest.importorskip("torch")
from torch.distributions import (  # noqa: E402
    Bernoulli,
    Independent,
    TransformedDistribution,
    constraints,
    kl_divergence,
)
from torch.distributions.transforms import ReshapeTransform  # noqa: E402

from ancestral.distributions import Autoregressive  # noqa: E402

SHAPES = [(), (1,), (7,), (2, 3), (0,), (2, 0, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, ...], every_small: Case) -> None:
    d = Autoregressive(every_small.model)
    assert (d.batch_shape, d.event_shape) == (torch.Size(), torch.Size(every_small.model.event_shape))
    for given in (shape, list(shape), torch.Size(shape)):
        x = d.sample(given)
        assert x.shape == shape + every_small.model.event_shape
    assert x.dtype == (torch.float32 if every_small.model.n_classes == 2 else torch.int64)
    log_prob = d.log_prob(x)
    assert log_prob.shape == shape
    assert log_prob.dtype == torch.float64
    flat = x.numpy().reshape(math.prod(shape), *every_small.model.event_shape)
    np.testing.assert_array_equal(log_prob.numpy().ravel(), every_small.model.log_prob(flat))


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
    events = binary.every_event()
    p = np.exp(binary.log_prob(events))
    observed = binary.counts(x)
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


@pytest.mark.parametrize("name", EVERY_SMALL)
def test_entropy_and_divergence(name: str, build: Callable[..., Case]) -> None:
    p_case, q_case = build(*EVERY_SMALL[name], scale=2.0), build(*EVERY_SMALL[name], scale=1.0, seed=1)
    events = p_case.every_event()
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
    """Refused whether or not torch is told to validate: these have no likelihood."""
    d = Autoregressive(binary.model, validate_args=validate_args)
    with pytest.raises(ValueError, match=r"^value\b.*wanted"):
        d.log_prob(value)


def test_wrong_values_say_where(image: Case) -> None:
    d = Autoregressive(image.model)
    x = torch.from_numpy(image.events(6).astype(np.int64)).reshape(3, 2, 2, 3, 4)
    x[2, 1, 0, 1, 3] = 5
    with pytest.raises(ValueError, match=r"value\[2, 1, 0, 1, 3\] is 5; wanted integers from 0 to 4"):
        d.log_prob(x)
    with pytest.raises(ValueError, match=r"\(\*sample_shape, 2, 3, 4\); did you mean value.permute\(0, 3, 1, 2\)\?"):
        d.log_prob(torch.zeros(5, 3, 4, 2))


@pytest.mark.parametrize("validate_args", [True, False])
@pytest.mark.parametrize("value", [*(value for value, _ in ARRAYLESS_TENSORS), [0] * 6, np.zeros(6), None])
def test_values_that_are_no_dense_tensors(value: Any, validate_args: bool, binary: Case) -> None:
    with pytest.raises(TypeError, match=r"^value (is|has)\b.*wanted"):
        Autoregressive(binary.model, validate_args=validate_args).log_prob(value)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_values_of_any_dtype(dtype: Any, binary: Case) -> None:
    x = binary.events(5)
    got = Autoregressive(binary.model).log_prob(torch.from_numpy(x).to(dtype))
    np.testing.assert_array_equal(got.numpy(), binary.model.log_prob(x))


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "mean": (lambda d: d.mean, "sample"),
    "variance": (lambda d: d.variance, "sample"),
    "stddev": (lambda d: d.stddev, "sample"),
    "mode": (lambda d: d.mode, "beam_search"),
    "rsample": (lambda d: d.rsample((2,)), "discrete"),
    "cdf": (lambda d: d.cdf(torch.zeros(6)), "prob_range"),
    "icdf": (lambda d: d.icdf(torch.zeros(6)), "order"),
    "enumerate_support": (lambda d: d.enumerate_support(), "2\\^6 events"),
    "expand": (lambda d: d.expand((3,)), "sample_shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_there(name: str, binary: Case) -> None:
    """Inside torch's wrappers as well, which ask the distribution within."""
    call, words = REFUSED[name]
    d = Autoregressive(binary.model)
    for wrapped in (d, Independent(d, 0)) if name not in ("icdf", "cdf") else (d,):
        with pytest.raises(NotImplementedError, match=f"^Autoregressive has no .*{words}"):
            call(wrapped)
    assert not d.has_rsample
    assert not d.has_enumerate_support
    assert d.arg_constraints == {}
    assert not d.log_prob(d.sample((3,)).requires_grad_()).requires_grad


def test_divergence_from_other_distributions(binary: Case) -> None:
    """No formula, but an estimate that the error spells out."""
    d, bernoulli = Autoregressive(binary.model), Independent(Bernoulli(torch.full((6,), 0.5)), 1)
    for p, q in ((d, bernoulli), (bernoulli, d), (Independent(d, 0), d), (d, torch.distributions.Normal(0.0, 1.0))):
        names = rf"p type {type(p).__name__} and q type {type(q).__name__}"
        with pytest.raises(NotImplementedError, match=rf"No KL.*{names}.*ancestral\.kl_divergence"):
            kl_divergence(p, q)
    torch.manual_seed(0)
    x = d.sample((100_000,))
    estimate = (d.log_prob(x) - bernoulli.log_prob(x)).mean().item()
    events = binary.every_event()
    log_p = binary.log_prob(events)
    assert estimate == pytest.approx(np.exp(log_p) @ log_p + 6 * math.log(2), abs=0.02)


def test_divergence_from_itself_and_in_wrappers(binary: Case) -> None:
    d = Autoregressive(binary.model, n_samples=50)
    assert kl_divergence(d, d).item() == 0
    assert kl_divergence(Independent(d, 0), Independent(d, 0)).item() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as torch warns where two of its rules fit
        kl_divergence(d, d)


def test_in_wrappers_of_torch(binary: Case, image: Case) -> None:
    for case in (binary, image):
        d = Autoregressive(case.model)
        x = d.sample((4,))
        independent = Independent(d, 0)
        assert torch.equal(independent.log_prob(x), d.log_prob(x))
        assert independent.event_shape == d.event_shape
        assert independent.support.check(x).all()
        assert (independent.has_rsample, independent.has_enumerate_support) == (False, False)
        assert repr(independent) == f"Independent({d!r}, 0)"
        reshaped = TransformedDistribution(d, [ReshapeTransform(d.event_shape, (d.model.n_dims,))])
        assert reshaped.sample((4,)).shape == (4, d.model.n_dims)
        assert torch.equal(reshaped.log_prob(x.flatten(1)), d.log_prob(x))
        for empty in ((), [], torch.Size()):
            assert torch.equal(d.expand(empty).log_prob(x), d.log_prob(x))
            assert torch.equal(independent.expand(empty).log_prob(x), d.log_prob(x))
        with pytest.raises(NotImplementedError, match="no batch to expand"):
            independent.expand((2,))
        with pytest.raises(ValueError, match="reinterpreted_batch_ndims"):
            Independent(d, 1)


@pytest.mark.parametrize("call", ["sample", "expand"])
@pytest.mark.parametrize(
    ("wrong", "error"), [(3, TypeError), (None, TypeError), ("ab", TypeError), ((-1,), ValueError), (([2],), TypeError)]
)
def test_wrong_shapes(wrong: Any, error: type[Exception], call: str, binary: Case) -> None:
    with pytest.raises(error, match="_shape is"):
        getattr(Autoregressive(binary.model), call)(wrong)


@pytest.mark.parametrize("at", range(len(NUMBERLESS)))
def test_wrong_sizes(at: int, binary: Case) -> None:
    wrong, error = NUMBERLESS[at]
    with pytest.raises(error, match="sample_shape"):
        Autoregressive(binary.model).sample((wrong,))


def test_more_samples_than_can_be(binary: Case) -> None:
    with pytest.raises(ValueError, match="number of samples in sample_shape"):
        Autoregressive(binary.model).sample((2**40, 2**40))
    with pytest.raises(MemoryError):
        Autoregressive(binary.model).sample((2**30, 2**30))


def test_all_is_on_the_cpu_and_in_doubles_whatever_the_defaults(binary: Case) -> None:
    d = Autoregressive(binary.model, n_samples=50)
    x = d.sample((3,))
    torch.set_default_device("meta")
    try:
        for result in (d.sample(), d.entropy(), d.perplexity(), kl_divergence(d, d), d.log_prob(x)):
            assert result.device.type == "cpu"
    finally:
        torch.set_default_device(None)


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
