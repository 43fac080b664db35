"""The core takes arrays in C order alone: one in another order would be read transposed, or written so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ancestral
from ancestral import _core
from support.cases import build_case
from support.families import FVSBN, NADE, PixelCNN

N, D, H = 4, 6, 3
OF_NADE = build_case(NADE, NADE.config(D, H))
OF_FVSBN = build_case(FVSBN, FVSBN.config(D))
OF_PIXELCNN = build_case(PixelCNN, PixelCNN.config((1, 2, 3), 5))

Array = npt.NDArray[Any]


def zeros(*shape: int, dtype: Any = np.uint8) -> Array:
    return np.zeros(shape, dtype)


def floats(*shape: int) -> Array:
    return zeros(*shape, dtype=np.float32)


def score(**outputs: Array) -> None:
    x = outputs.pop("x", zeros(N, D))
    OF_NADE.model._inner.score(x, 1, None, **outputs)


def log_conditional(log_conditional: Array) -> None:
    OF_PIXELCNN.model._inner.score(zeros(N, 1, 2, 3), 1, None, log_conditional=log_conditional, n_steps=2)


X, ONES = zeros(N, D), zeros(N, D) + np.uint8(1)


def restrict(low: Array = X, high: Array | None = ONES, **outputs: Array) -> None:
    weights, first = zeros(N, dtype=np.float64), zeros(N, dtype=np.uint64)
    OF_NADE.model._inner.restrict(low, high, weights, 0, first, 1, 1, None, **outputs)


def nade_step(
    W: Array = OF_NADE.tensors["W"],
    V: Array = OF_NADE.tensors["V"],
    x: Array = X,
    gradients: list[Array] | None = None,
) -> None:
    weights = [W, OF_NADE.tensors["c"], V, OF_NADE.tensors["b"]]
    _, tape = _core.nade_score(weights, x, 1)
    if gradients is not None:
        _core.nade_gradient(weights, x, tape, floats(N), gradients, 1)


def fvsbn_step(weight: Array = OF_FVSBN.tensors["weight"], x: Array = X, out: Array | None = None) -> None:
    weights = [weight, OF_FVSBN.tensors["bias"]]
    _, tape = _core.fvsbn_score(weights, x, 1)
    if out is not None:
        _core.fvsbn_gradient(weights, x, tape, floats(N), [out, floats(D)], 1)


CALLS: dict[str, tuple[Array, Callable[[Array], Any]]] = {
    "from_tensors": (
        OF_FVSBN.tensors["weight"],
        lambda a: _core.Model.from_tensors(
            "FVSBN", f'{{"n_dims": {D}, "order": null}}', {"weight": a, "bias": floats(D)}
        ),
    ),
    "score: x": (zeros(N, D), lambda a: score(x=a)),
    "score: conditionals": (floats(N, D), lambda a: score(conditionals=a)),
    "score: surprise": (floats(N, D), lambda a: score(surprise=a)),
    "score: features": (floats(N, H), lambda a: score(features=a)),
    "score: log_conditional": (zeros(N, 5, dtype=np.float64), log_conditional),
    "draw": (zeros(N, D), lambda a: OF_NADE.model._inner.draw(a, 0, 0, 1, None)),
    "restrict: low": (zeros(N, D), lambda a: restrict(low=a)),
    "restrict: high": (zeros(N, D) + np.uint8(1), lambda a: restrict(high=a)),
    "restrict: sets": (np.ones((N, D, 2), np.uint8), lambda a: restrict(low=a, high=None)),
    "restrict: x": (zeros(N, D), lambda a: restrict(x=a)),
    "encode": (zeros(N, D), lambda a: OF_NADE.model._inner.encode(a, 2, 1, None)),
    "decode": (
        zeros(N, D),
        lambda a: OF_NADE.model._inner.decode(OF_NADE.model.encode(zeros(N, D), block_len=2), 0, a, 1, None),
    ),
    "nade_score: W": (OF_NADE.tensors["W"], lambda a: nade_step(W=a)),
    "nade_score: V": (OF_NADE.tensors["V"], lambda a: nade_step(V=a)),
    "nade_score: x": (zeros(N, D), lambda a: nade_step(x=a)),
    "nade_gradient: w": (floats(D, H), lambda a: nade_step(gradients=[a, floats(H), floats(D, H), floats(D)])),
    "nade_gradient: v": (floats(D, H), lambda a: nade_step(gradients=[floats(D, H), floats(H), a, floats(D)])),
    "fvsbn_score: weight": (OF_FVSBN.tensors["weight"], lambda a: fvsbn_step(weight=a)),
    "fvsbn_score: x": (zeros(N, D), lambda a: fvsbn_step(x=a)),
    "fvsbn_gradient: weight": (floats(D, D), lambda a: fvsbn_step(out=a)),
}


@pytest.mark.parametrize("call", CALLS)
def test_other_orders_are_refused(call: str) -> None:
    array, use = CALLS[call]
    use(array.copy())
    wide = np.repeat(array, 2, axis=-1)
    for other in (np.asfortranarray(array), wide[..., ::2], array[::-1].copy()[::-1]):
        assert not other.flags.c_contiguous
        with pytest.raises(ValueError, match="is not an aligned array in C order"):
            use(other)


@pytest.mark.parametrize("order", ["C", "F", "strided", "reversed"])
def test_from_tensors_takes_any_order(order: str) -> None:
    """The wrapper copies."""
    weight = OF_FVSBN.tensors["weight"]
    other = {
        "C": weight,
        "F": np.asfortranarray(weight),
        "strided": np.repeat(weight, 2, axis=1)[:, ::2],
        "reversed": weight[::-1, ::-1].copy()[::-1, ::-1],
    }[order]
    model = ancestral.Model.from_tensors("FVSBN", OF_FVSBN.config, OF_FVSBN.tensors | {"weight": other})
    assert model._inner.sha256 == OF_FVSBN.model._inner.sha256


def test_rows_that_change_while_they_are_looked_at() -> None:
    """Another thread writes to x: an error or some likelihood, and no panic."""
    x = zeros(2000, 500)
    model = build_case(FVSBN, FVSBN.config(500)).model
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            x[-1, -1] = 5
            x[-1, -1] = 0

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            try:
                model._inner.score(x, 1, None)
            except ValueError as error:
                assert "wanted integers from 0 to 1" in str(error)  # noqa: PT017
    finally:
        done.set()
        thread.join()
