"""Model.from_tensors is validated as a file is, and copies what it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ancestral
from support.cases import Case, build_case
from support.families import EVERY_FEW, NADE


@pytest.fixture(scope="module")
def nade() -> Case:
    return build_case(NADE, NADE.config(5, 3, [4, 2, 0, 1, 3]))


def test_from_tensors_refuses(nade: Case) -> None:
    kind, (_, config, tensors, _) = nade.family.kind, nade
    W, c = tensors["W"], tensors["c"]
    wrong: list[dict[str, Any]] = [
        {},
        {k: v for k, v in tensors.items() if k != "b"},
        {**tensors, "extra": c},
        {**tensors, "W": W.T},
        {**tensors, "W": W.ravel()},
        {**tensors, "W": W.astype(complex)},
        {**tensors, "W": W.astype(str)},
        {**tensors, "W": W.astype(object)},
        {**tensors, "W": None},
        {**tensors, 3: c},
    ]
    for case in wrong:
        with pytest.raises((ValueError, TypeError)):
            ancestral.Model.from_tensors(kind, config, case)
    for arguments in (
        ("GPT", config, tensors),
        (None, config, tensors),
        (kind, None, tensors),
        (kind, config, None),
    ):
        with pytest.raises((ValueError, TypeError)):
            ancestral.Model.from_tensors(*arguments)


def test_from_tensors_takes_any_layout_and_copies(nade: Case) -> None:
    kind, (_, config, tensors, model) = nade.family.kind, nade
    x = nade.events(10)
    expected = model.log_prob(x)
    layouts: list[Callable[[np.ndarray], np.ndarray]] = [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1].copy()[::-1],
    ]
    for layout in layouts:
        made = ancestral.Model.from_tensors(kind, config, {k: layout(v) for k, v in tensors.items()})
        np.testing.assert_array_equal(made.log_prob(x), expected)
    mine = {k: v.copy() for k, v in tensors.items()}
    made = ancestral.Model.from_tensors(kind, config, mine)
    for value in mine.values():
        value[:] = np.nan
    np.testing.assert_array_equal(made.log_prob(x), expected)


def test_the_config_is_a_copy(nade: Case) -> None:
    model = nade.model
    model.config["n_dims"] = 99
    model.config["order"].append(7)
    assert model.config == nade.config
    order = model.order
    if order.flags.writeable:
        order[:] = 0
    np.testing.assert_array_equal(model.order, nade.config["order"])


def test_entries_that_a_mask_hides(build: Callable[..., Case]) -> None:
    """A tensor that is not zero where the mask is: refused, or those entries are never read."""
    n_hidden = dict.fromkeys(EVERY_FEW, 0)
    for name in EVERY_FEW:
        case = build(*EVERY_FEW[name])
        noise = np.random.default_rng(0)
        tensors = dict(case.tensors)
        for key, value in tensors.items():
            if value.ndim > 1:
                hidden = value == 0
                n_hidden[name] += np.count_nonzero(hidden)
                tensors[key] = np.where(hidden, noise.normal(size=value.shape), value).astype(np.float32)
        try:
            model = case.family.model(case.config, tensors)
        except ValueError:
            continue
        x = case.events(50)
        np.testing.assert_allclose(model.log_prob(x), case.log_prob(x), rtol=0, atol=1e-5 * model.n_dims)
    assert min(n_hidden["fvsbn-order"], n_hidden["categorical-rgb"]) > 0
