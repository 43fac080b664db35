"""The tests' own truth, where no family exercises it yet: numbers of classes that differ, and beyond bytes."""

from __future__ import annotations

import numpy as np
import pytest

from support import oracle
from support.families import FAMILIES, FVSBN, SMALL, Family
from support.oracle import Config


class Mixed(type(FVSBN)):  # type: ignore[misc]
    """Classes that differ by dimension, independent and as likely as each other."""

    def formula(self, config: Config, tensors: dict[str, oracle.Float], x: oracle.Float) -> oracle.Float:
        classes = self.classes(config)[self.order(config)]
        logits = np.where(np.arange(classes.max()) < classes[:, None], 0.0, -np.inf)
        return np.broadcast_to(logits, (len(x), *logits.shape))


MIXED = {"n_dims": 3, "n_classes": [2, 5, 3], "order": [2, 0, 1]}


def test_events_of_classes_that_differ() -> None:
    family = Mixed()
    events = family.enumerate_events(MIXED)
    assert events.shape == (30, 3)
    assert (events.max(axis=0) == [1, 4, 2]).all()
    np.testing.assert_array_equal(family.event_index(MIXED, events), np.arange(30))
    drawn = family.random_events(MIXED, 1000, np.random.default_rng(0))
    assert (drawn.max(axis=0) == [1, 4, 2]).all()
    np.testing.assert_allclose(family.log_prob(MIXED, {}, events), -np.log(30))
    conditionals = family.conditionals(MIXED, {}, events)
    assert conditionals.shape == (30, 3, 5)
    np.testing.assert_allclose(conditionals[:, 0], [[0.5, 0.5, 0, 0, 0]] * 30)


@pytest.mark.parametrize(("n_classes", "dtype"), [(2, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), ([2, 300], "u2")])
def test_the_smallest_dtype(n_classes: int | list[int], dtype: str) -> None:
    config = {"n_dims": 2, "n_classes": n_classes}
    assert Mixed().dtype(config) == dtype
    assert Mixed().random_events(config, 3, np.random.default_rng(0)).dtype == dtype


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_small_models_can_be_enumerated(family: Family) -> None:
    for name in family.configs.few:
        assert SMALL[name][0] is family
    for name, config in family.configs.small.items():
        assert len(family.enumerate_events(config)) <= 2**12, name
