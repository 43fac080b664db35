"""Rust against the float64 oracle, and against the torch modules in float64: log_prob and conditionals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.cases import Case, build_case
from support.families import EVERY_FEW, EVERY_SHAPE, EVERY_SMALL, FAMILIES, MIXTURES, SMALL, Family, PixelCNN
from support.oracle import Config

LOG_PROB_TOLERANCE = 1e-5  # nats a dimension


def check_against_oracle(case: Case, n: int, seed: int = 0) -> None:
    x = case.events(n, seed)
    n_dims = case.model.n_dims

    log_prob = case.model.log_prob(x)
    assert log_prob.shape == (n,)
    assert log_prob.dtype == np.float64
    np.testing.assert_allclose(log_prob, case.log_prob(x), rtol=0, atol=LOG_PROB_TOLERANCE * n_dims)

    if "one order" in case.family.lacks:
        return
    conditionals = case.model.conditionals(x)
    expected = case.conditionals(x)
    assert conditionals.shape == expected.shape
    assert conditionals.dtype == np.float32
    np.testing.assert_allclose(conditionals, expected, rtol=0, atol=1e-5)
    assert conditionals.min(initial=0.0) >= 0.0
    assert conditionals.max(initial=0.0) <= 1.0
    if conditionals.ndim > x.ndim:
        np.testing.assert_allclose(conditionals.sum(axis=-1, dtype=np.float64), 1.0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 0.1, 1.0, 8.0, 50.0])
@pytest.mark.parametrize("name", EVERY_SHAPE)
def test_matches_the_oracle(name: str, scale: float, build: Callable[..., Case]) -> None:
    check_against_oracle(build(*EVERY_SHAPE[name], scale=scale, seed=1), 7)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 63, 64, 65, 1000])
def test_every_batch_size(every_small: Case, n: int) -> None:
    check_against_oracle(every_small, n, seed=n)


def test_attributes(every_small: Case) -> None:
    family, config, _, model = every_small
    assert model.kind == family.kind
    assert model.config == config
    assert model.event_shape == family.event_shape(config)
    assert model.n_dims == family.n_dims(config)
    assert model.n_classes == family.n_classes(config)
    assert model.n_params == family.n_params(config)


@pytest.mark.parametrize("magnitude", [200.0, 1e4, 1e6])
@pytest.mark.parametrize("name", EVERY_FEW)
def test_enormous_logits_stay_finite(name: str, magnitude: float, build: Callable[..., Case]) -> None:
    """ln p is taken from the logit and never as ln of a probability that became 0: no -inf, no NaN."""
    case = build(*EVERY_SMALL[name], scale=magnitude)
    x = case.events(100)
    np.testing.assert_allclose(case.model.log_prob(x), case.log_prob(x), rtol=1e-5, atol=1e-6 * magnitude)
    if "one order" not in case.family.lacks:
        assert np.isfinite(case.model.conditionals(x)).all()


@pytest.mark.parametrize("name", EVERY_FEW)
def test_activations_beyond_float32(name: str, build: Callable[..., Case]) -> None:
    """Finite weights may still lead to inf or NaN: refused at once or when it happens, never a NaN in a result."""
    case = build(*EVERY_SMALL[name])
    enormous = {
        key: np.clip(value * np.float64(1e38), -3e38, 3e38).astype(np.float32) for key, value in case.tensors.items()
    }
    try:
        model = case.family.model(case.config, enormous)
    except ValueError as error:
        assert "float32" in str(error)  # noqa: PT017 - either answer will do
        return
    x = case.events(100)
    calls = [
        lambda: model.log_prob(x),
        lambda: model.sample_and_log_prob(100, rng=0)[1],
    ]
    if "one order" not in case.family.lacks:
        calls.append(lambda: model.conditionals(x))
    for call in calls:
        try:
            result = call()
        except OverflowError:
            continue
        assert np.isfinite(result).all()


def test_no_relu_swallows_an_overflow() -> None:
    """inf - inf within a layer is NaN, and max(NaN, 0) may be 0: a finite result, and a wrong one."""
    import ancestral

    config = PixelCNN.config((1, 1, 1), n_channels=4, n_blocks=1, n_head=1)
    tensors = PixelCNN.random_tensors(config, np.random.default_rng(0), 1.0)
    tensors = {key: np.zeros_like(value) for key, value in tensors.items()}
    tensors["input.bias"][:] = 1.0
    tensors["blocks.0.down.weight"][:, :2] = np.float32([3e38, 2e38])[:, None, None, None]  # inf and inf
    tensors["blocks.0.conv.weight"][:, :, 1, 1] = [0.1, -0.1]
    tensors["blocks.0.up.weight"][:] = 1e-37
    tensors["head_hidden.weight"][:] = tensors["head_out.weight"][:] = 1.0
    x = np.zeros((1, 1, 1, 1), np.uint8)
    with pytest.raises((OverflowError, ValueError), match="float32"):
        ancestral.Model.from_tensors("PixelCNN", config, tensors).log_prob(x)


@st.composite
def models(draw: st.DrawFn) -> tuple[Family, Config]:
    family = draw(st.sampled_from(FAMILIES + MIXTURES))
    return family, family.any_config(draw, None)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(models(), st.floats(1e-3, 50.0), st.integers(0, 40), st.integers(0, 2**32))
def test_any_shape_matches_the_oracle(model: tuple[Family, Config], scale: float, n: int, seed: int) -> None:
    check_against_oracle(build_case(*model, scale=scale, seed=seed), n, seed)


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_log_prob_of_a_sample_is_log_prob_bit_for_bit(every_small: Case, n: int) -> None:
    x, log_prob = every_small.model.sample_and_log_prob(n, rng=3)
    assert x.dtype == every_small.dtype
    assert x.shape == (n, *every_small.model.event_shape)
    assert log_prob.dtype == np.float64
    np.testing.assert_array_equal(x, every_small.model.sample(n, rng=3))
    np.testing.assert_array_equal(log_prob, every_small.model.log_prob(x))


@pytest.mark.parametrize("scale", [50.0, 1e4])
@pytest.mark.parametrize("name", EVERY_SHAPE.keys() - EVERY_SMALL.keys())
def test_log_prob_of_a_sample_of_a_large_model(name: str, scale: float, build: Callable[..., Case]) -> None:
    case = build(*EVERY_SHAPE[name], scale=scale)
    x, log_prob = case.model.sample_and_log_prob(37, rng=0)
    np.testing.assert_array_equal(log_prob, case.model.log_prob(x))
    if scale <= 50.0:
        np.testing.assert_allclose(log_prob, case.log_prob(x), rtol=0, atol=LOG_PROB_TOLERANCE * case.model.n_dims)


@pytest.mark.parametrize("name", SMALL)
def test_conditionals_give_log_prob(name: str, build: Callable[..., Case]) -> None:
    """ln p(x) is the sum of the logs of the conditionals of what x is."""
    case = build(*SMALL[name], scale=2.0)
    x = case.events(50)
    p = case.model.conditionals(x).astype(np.float64)
    if p.ndim == x.ndim:
        chosen = np.where(x == 1, p, 1.0 - p)
    else:
        chosen = np.take_along_axis(p, x[..., None].astype(np.int64), axis=-1)
    log_prob = np.log(chosen).reshape(len(x), -1).sum(axis=1)
    np.testing.assert_allclose(case.model.log_prob(x), log_prob, rtol=0, atol=3e-5 * case.model.n_dims)


# --- the torch modules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.1, 50.0])
@pytest.mark.parametrize("name", EVERY_SHAPE)
def test_matches_torch_in_float64(name: str, scale: float) -> None:
    torch = pytest.importorskip("torch")
    import ancestral

    family, config = EVERY_SHAPE[name]
    tensors = family.random_tensors(config, np.random.default_rng(2), scale)
    module = family.module(config)
    state = {key: torch.from_numpy(value) for key, value in family.state(config, tensors).items()}
    module.load_state_dict(module.state_dict() | state)
    model = ancestral.from_torch(module)
    assert model.config == config
    x = family.random_events(config, 7, np.random.default_rng(0))
    with torch.no_grad():
        expected = module.double().log_prob(torch.from_numpy(x)).numpy()
    assert expected.dtype == np.float64
    np.testing.assert_allclose(expected, family.log_prob(config, tensors, x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=0, atol=LOG_PROB_TOLERANCE * model.n_dims)


@pytest.mark.parametrize("name", EVERY_FEW)
def test_from_torch_ignores_what_the_masks_hide(name: str) -> None:
    """Trained modules carry arbitrary numbers where the mask is zero; neither side may read them."""
    torch = pytest.importorskip("torch")
    import ancestral

    family, config = EVERY_SMALL[name]
    module = family.module(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    model = ancestral.from_torch(module)
    x = family.random_events(config, 50, np.random.default_rng(0))
    with torch.no_grad():
        expected = module.double().log_prob(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-6, atol=LOG_PROB_TOLERANCE * model.n_dims)


def test_from_torch_refuses_what_is_no_module_of_ours() -> None:
    torch = pytest.importorskip("torch")
    import ancestral

    with pytest.raises(TypeError, match="module"):
        ancestral.from_torch(torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match="module"):
        ancestral.from_torch(None)


def test_from_torch_refuses_weights_that_are_not_finite() -> None:
    torch = pytest.importorskip("torch")
    import ancestral

    module = ancestral.nn.FVSBN(4)
    with torch.no_grad():
        module.bias[2] = float("nan")
    with pytest.raises(ValueError, match="bias"):
        ancestral.from_torch(module)
