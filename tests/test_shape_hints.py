"""An array of a wrong shape: what the error advises gives the events that were meant, or nothing is advised."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ancestral._arguments.shapes import wrong_shape
from support.cases import Case
from support.families import PixelCNN

EVENT = (3, 4, 5)
MEANT = np.arange(2 * 3 * 4 * 5).reshape(2, *EVENT)


def advice(x: Any, event_shape: tuple[int, ...] = EVENT, *, one: bool = False, many: bool = True) -> str | None:
    """The expression that the error advises; None for none."""
    message = str(wrong_shape("x", x, np.shape(x), event_shape, "another", one=one, many=many))
    found = re.search(r"did you mean (.*)\?$", message)
    return found[1] if found else None


def followed(x: Any, *args: Any, **keywords: Any) -> Any:
    expression = advice(x, *args, **keywords)
    assert expression is not None
    return eval(expression, {"np": np, "x": x})


@pytest.mark.parametrize("axes", list(itertools.permutations(range(4)))[1:])
def test_axes_in_another_order(axes: tuple[int, ...]) -> None:
    """The batch axis too: all sizes differ, so that one order alone is right."""
    x = MEANT.transpose(axes)
    assert "reshape" not in str(advice(x))
    np.testing.assert_array_equal(followed(x), MEANT)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3)))[1:])
def test_one_event_with_axes_in_another_order(axes: tuple[int, ...]) -> None:
    x = MEANT[0].transpose(axes)
    np.testing.assert_array_equal(followed(x), MEANT[:1])
    np.testing.assert_array_equal(followed(x, one=True), MEANT[0])


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 4, 4, 3), (4, 4, 3, 2), (3, 4, 4, 3), (2, 4, 3, 4)])
def test_several_orders_that_fit_are_not_named(shape: tuple[int, ...]) -> None:
    message = str(wrong_shape("x", np.zeros(shape), shape, (3, 4, 4), "another", one=False, many=True))
    assert message.endswith("; its axes are those wanted in another order")


RESHAPED = {
    "flat": ((2, 60), EVENT, 2),
    "flat-and-one": ((2, 1, 60), EVENT, 2),
    "flat-event": ((60,), EVENT, 1),
    "no-batch-axis": ((3, 4, 5), EVENT, 1),
    "axis-at-the-end": ((2, 3, 4, 5, 1), EVENT, 2),
    "axis-in-front": ((1, 2, 3, 4, 5), EVENT, 2),
    "grey-channel-last": ((2, 4, 5, 1), (1, 4, 5), 2),
    "no-channel": ((2, 4, 5), (1, 4, 5), 2),
    "no-channel-no-batch-axis": ((4, 5), (1, 4, 5), 1),
    "square-grey-channel-last": ((4, 4, 4, 1), (1, 4, 4), 4),
    "images-for-flat-events": ((2, 4, 5), (20,), 2),
    "image-for-flat-events": ((4, 5), (20,), 1),
    "one-flat-event": ((20,), (20,), 1),
    "column-for-one-dimension": ((7,), (1,), 7),
    "number-for-one-dimension": ((), (1,), 1),
}


@pytest.mark.parametrize("name", RESHAPED)
def test_reshape_where_no_value_changes_its_place(name: str) -> None:
    shape, event_shape, n = RESHAPED[name]
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    expected = x.reshape(n, *event_shape)
    np.testing.assert_array_equal(followed(x, event_shape), expected)
    if n == 1:
        np.testing.assert_array_equal(followed(x, event_shape, one=True), expected[0])
        np.testing.assert_array_equal(followed(x, event_shape, one=True, many=False), expected[0])
    else:
        assert advice(x, event_shape, one=True, many=False) is None


@pytest.mark.parametrize(
    ("shape", "event_shape"),
    [
        ((2, 12, 5), EVENT),
        ((2, 3, 20), EVENT),
        ((2, 6, 2, 5), EVENT),
        ((2, 5, 5, 3), EVENT),
        ((120,), EVENT),
        ((60, 3), EVENT),
        ((2, 61), EVENT),
        ((2, 4, 5), EVENT),
        ((4, 4, 2), (16,)),
        ((0, 7), (6,)),
        ((2, 0), (6,)),
        ((), (6,)),
    ],
)
def test_nothing_is_advised(shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
    message = str(wrong_shape("x", np.zeros(shape), shape, event_shape, "another", one=False, many=True))
    assert message == f"x has shape {shape}; wanted another"


def test_advice_is_in_the_terms_of_what_came() -> None:
    assert advice(MEANT.transpose(0, 2, 3, 1)) == "x.transpose(0, 3, 1, 2)"
    assert advice(MEANT[0]) == "x.reshape(1, 3, 4, 5)"
    assert advice(MEANT.transpose(0, 2, 3, 1).tolist()) == "np.asarray(x).transpose(0, 3, 1, 2)"
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(MEANT)
    assert torch.equal(followed(x.permute(0, 2, 3, 1)), x)
    assert torch.equal(followed(x[0].permute(1, 2, 0)), x[:1])
    assert torch.equal(followed(x.flatten(1)), x)


@pytest.fixture(scope="module")
def image(build: Callable[..., Case]) -> Case:
    return build(PixelCNN, PixelCNN.config(EVENT, 5, n_channels=6, n_blocks=1, n_head=6))


def error_of(call: Callable[..., Any], *args: Any, **keywords: Any) -> str:
    with pytest.raises(ValueError, match="has shape") as error:
        call(*args, **keywords)
    return str(error.value)


def test_every_argument_that_has_an_event_shape(image: Case) -> None:
    model, x = image.model, image.events(2)
    hwc, known = x.transpose(0, 2, 3, 1), x == 1
    wanted = "wanted (n, 3, 4, 5); did you mean x.transpose(0, 3, 1, 2)?"
    for call in (model.log_prob, model.surprise, model.conditionals, model.bits_per_dim, model.encode, model.features):
        assert error_of(call, hwc) == f"x has shape (2, 4, 5, 3); {wanted}"
    either = "wanted (3, 4, 5) or (n, 3, 4, 5); did you mean"
    assert error_of(model.complete, hwc, known) == f"x has shape (2, 4, 5, 3); {either} x.transpose(0, 3, 1, 2)?"
    assert error_of(model.complete, x, known[0].transpose(1, 2, 0)).endswith("observed.transpose(2, 0, 1)?")
    assert error_of(model.prob_range, low=hwc).endswith("did you mean low.transpose(0, 3, 1, 2)?")
    assert error_of(model.prob_range, high=x.reshape(2, 60)).endswith("did you mean high.reshape(2, 3, 4, 5)?")
    marks = np.ones((*EVENT, 5), bool)
    assert error_of(model.prob_range, allowed=marks[None, None]).endswith("allowed.reshape(3, 4, 5, 5)?")
    assert error_of(model.prob_range, allowed=np.ones((*EVENT[::-1], 5), bool)).endswith("in another order")
    one = "wanted one event, (3, 4, 5); did you mean"
    assert error_of(model.sample, 1, evidence=hwc[0]).endswith(f"{one} evidence.transpose(2, 0, 1)?")
    assert error_of(model.beam_search, x[:1]).endswith(f"{one} evidence.reshape(3, 4, 5)?")
    assert "did you mean" not in error_of(model.beam_search, x)


def test_the_advice_on_a_channels_last_batch_is_taken(image: Case) -> None:
    """Reshaped as it once advised, such a batch is accepted, with the pixels mixed."""
    x = image.events(2)
    hwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    assert not np.array_equal(hwc.reshape(x.shape), x)
    message = error_of(image.model.log_prob, hwc)
    taken = eval(message.split("did you mean ")[1].rstrip("?"), {"x": hwc})
    np.testing.assert_array_equal(image.model.log_prob(taken), image.model.log_prob(x))
