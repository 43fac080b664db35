"""The argument x of every call: the right answer, or an error that says what came and what was wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.cases import Case
from support.families import PixelCNN

N_DIMS = 6


CALLS = ["log_prob", "conditionals", "surprise", "features"]

# --- x: what is accepted gives the right answer ----------------------------------------------------------


def strided(x: np.ndarray) -> np.ndarray:
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), 99, x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def unaligned(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(x.shape)


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "c-order": lambda x: x,
    "fortran-order": np.asfortranarray,
    "strided": strided,
    "reversed": lambda x: x[::-1][::-1],
    "negative-strides": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "every-other-row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "read-only": read_only,
    "unaligned": unaligned,
    "memmap-like": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "subclass": lambda x: x.view(type("Subclass", (np.ndarray,), {})),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, call: str, binary: Case, image: Case) -> None:
    for case in (binary, image):
        x = case.events(13)
        kept = x.copy()
        got = getattr(case.model, call)(LAYOUTS[layout](x))
        np.testing.assert_array_equal(got, getattr(case.model, call)(kept))
        np.testing.assert_array_equal(x, kept)  # the input was not written to


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "dtype",
    [
        "u1",
        "i1",
        "<u2",
        ">u2",
        "<i4",
        ">i4",
        "<u4",
        "<i8",
        ">i8",
        "<u8",
        ">u8",
        "<f2",
        ">f2",
        "<f4",
        ">f4",
        "<f8",
        ">f8",
    ],
)
def test_dtypes(dtype: str, call: str, binary: Case, image: Case) -> None:
    for case in (binary, image):
        x = case.events(13)
        got = getattr(case.model, call)(x.astype(dtype))
        np.testing.assert_array_equal(got, getattr(case.model, call)(x))


def test_bool(binary: Case) -> None:
    x = binary.events(13)
    np.testing.assert_array_equal(binary.model.log_prob(x.astype(bool)), binary.model.log_prob(x))


def test_negative_zero_is_zero(binary: Case) -> None:
    zeros = np.zeros((3, N_DIMS))
    np.testing.assert_array_equal(binary.model.log_prob(-zeros), binary.model.log_prob(zeros))


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int64, np.float32, ">f8"])
def test_no_samples(dtype: Any, binary: Case, image: Case) -> None:
    assert binary.model.log_prob(np.zeros((0, N_DIMS), dtype)).shape == (0,)
    assert binary.model.conditionals(np.zeros((0, N_DIMS), dtype)).shape == (0, N_DIMS)
    assert image.model.log_prob(np.zeros((0, 2, 3, 4), dtype)).shape == (0,)
    assert image.model.conditionals(np.zeros((0, 2, 3, 4), dtype)).shape == (0, 2, 3, 4, 5)
    assert image.model.sample(0).shape == (0, 2, 3, 4)


# --- x: what is refused ----------------------------------------------------------------------------------

ones = np.ones((3, N_DIMS))

WRONG_SHAPE: dict[str, Any] = {
    "one-sample-unbatched": np.ones(N_DIMS),
    "too-narrow": np.ones((3, N_DIMS - 1)),
    "too-wide": np.ones((3, N_DIMS + 1)),
    "transposed": np.ones((N_DIMS, 3)),
    "three-axes": np.ones((3, N_DIMS, 1)),
    "image": np.ones((3, 2, 3)),
    "scalar": np.array(1),
    "empty": np.array([]),
    "no-dims": np.ones((3, 0)),
    "no-samples-wrong-width": np.ones((0, N_DIMS + 1)),
}

WRONG_VALUE: dict[str, Any] = {
    "two": np.full((3, N_DIMS), 2),
    "minus-one": np.full((3, N_DIMS), -1),
    "minus-one-int8": np.full((3, N_DIMS), -1, np.int8),
    "half": np.full((3, N_DIMS), 0.5),
    "nan": np.full((3, N_DIMS), np.nan),
    "nan-float16": np.full((3, N_DIMS), np.nan, np.float16),
    "inf": np.full((3, N_DIMS), np.inf),
    "minus-inf": np.full((3, N_DIMS), -np.inf, np.float32),
    "almost-one": np.full((3, N_DIMS), np.nextafter(1.0, 0.0)),
    "tiny": np.full((3, N_DIMS), 5e-324),
    "wraps-to-0-as-uint8": np.full((3, N_DIMS), 256),
    "wraps-to-1-as-uint8": np.full((3, N_DIMS), -255),
    "wraps-to-0-as-uint16": np.full((3, N_DIMS), 2**16, np.uint32),
    "wraps-to-1-as-uint32": np.full((3, N_DIMS), 2**32 + 1),
    "wraps-to-0-from-uint64": np.full((3, N_DIMS), 2**63, np.uint64),
    "float-256": np.full((3, N_DIMS), 256.0),
    "float-huge": np.full((3, N_DIMS), 1e300),
    "big-endian-one-read-wrongly": np.full((3, N_DIMS), 256, ">u2"),
    "only-the-last": np.where(np.arange(3 * N_DIMS).reshape(3, N_DIMS) == 3 * N_DIMS - 1, 7, 1),
}

WRONG_TYPE: dict[str, Any] = {
    "complex": ones.astype(complex),
    "object": ones.astype(object),
    "object-none": np.full((3, N_DIMS), None),
    "str": ones.astype(str),
    "bytes": ones.astype("S1"),
    "datetime": ones.astype("M8[s]"),
    "timedelta": ones.astype("m8[s]"),
    "void": np.zeros((3, N_DIMS), "V4"),
    "record": np.zeros((3, N_DIMS), [("a", "u1")]),
    "none": None,
    "string": "011010",
    "dict": {"x": ones},
    "function": lambda: ones,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", WRONG_SHAPE)
def test_wrong_shape(name: str, call: str, binary: Case) -> None:
    x = WRONG_SHAPE[name]
    with pytest.raises(ValueError, match=r"\bx\b") as error:
        getattr(binary.model, call)(x)
    assert str(x.shape) in str(error.value)  # what came
    assert f"{N_DIMS}" in str(error.value)  # what was wanted


@pytest.mark.parametrize("shape", [(3, 24), (2, 3, 4), (3, 4, 2, 3), (3, 2, 4, 3), (1, 3, 2, 3, 4), (3, 3, 4)])
def test_wrong_shape_of_an_image(shape: tuple[int, ...], image: Case) -> None:
    with pytest.raises(ValueError, match=r"\bx\b") as error:
        image.model.log_prob(np.zeros(shape, np.uint8))
    assert "2, 3, 4" in str(error.value)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", WRONG_VALUE)
def test_wrong_value(name: str, call: str, binary: Case) -> None:
    with pytest.raises(ValueError, match=r"\bx\b"):
        getattr(binary.model, call)(WRONG_VALUE[name])


@pytest.mark.parametrize("value", [5, 255, -1, 4.5, np.nan, 260])
def test_wrong_class(value: float, image: Case) -> None:
    x = image.events(3).astype(np.float64)
    x[-1, -1, -1, -1] = value
    with pytest.raises(ValueError, match=r"\bx\b"):
        image.model.log_prob(x)


@pytest.mark.parametrize("n_classes", [2, 255, 256])
def test_the_largest_class(n_classes: int, build: Callable[..., Case]) -> None:
    model = build(PixelCNN, PixelCNN.config((1, 1, 1), n_classes)).model
    assert np.isfinite(model.log_prob(np.full((1, 1, 1, 1), n_classes - 1))).all()
    with pytest.raises(ValueError, match=r"\bx\b"):
        model.log_prob(np.full((1, 1, 1, 1), n_classes))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", WRONG_TYPE)
def test_wrong_type(name: str, call: str, binary: Case) -> None:
    with pytest.raises(TypeError, match=r"\bx\b"):
        getattr(binary.model, call)(WRONG_TYPE[name])


@pytest.mark.parametrize("x", [[[0, 1, 0, 1, 1, 0]], ((0, 1, 0, 1, 1, 0),)])
def test_lists_are_read_as_arrays_or_refused(x: Any, binary: Case) -> None:
    with contextlib.suppress(TypeError):
        np.testing.assert_array_equal(binary.model.log_prob(x), binary.model.log_prob(np.array(x)))


@pytest.mark.parametrize("x", [[[0, 1], [0]], [], [[]], [["0"] * N_DIMS]])
def test_malformed_lists(x: Any, binary: Case) -> None:
    with pytest.raises((TypeError, ValueError), match=r"\bx\b"):
        binary.model.log_prob(x)


def test_an_error_leaves_the_model_usable(binary: Case) -> None:
    x = binary.events(5)
    before = binary.model.log_prob(x)
    with pytest.raises(ValueError, match=r"\bx\b"):
        binary.model.log_prob(x + 7)
    np.testing.assert_array_equal(binary.model.log_prob(x), before)


# --- x: torch tensors ------------------------------------------------------------------------------------


def torch_tensors(x: np.ndarray) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    t = torch.from_numpy(x)
    return {
        "uint8": t,
        "int64": t.long(),
        "int32": t.int(),
        "float32": t.float(),
        "float64": t.double(),
        "float16": t.half(),
        "bfloat16": t.bfloat16(),
        "requires-grad": t.float().requires_grad_(),
        "part-of-a-graph": t.float().requires_grad_() * 1.0,
        "parameter": torch.nn.Parameter(t.float()),
        "not-contiguous": t.flip(0).movedim(0, -1).contiguous().movedim(-1, 0).flip(0),
        "lazily-negated": torch._neg_view(-t.float()),
    }


TORCH_NAMES = [
    "uint8", "int64", "int32", "float32", "float64", "float16", "bfloat16", "requires-grad",
    "part-of-a-graph", "parameter", "not-contiguous", "lazily-negated",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", TORCH_NAMES)
def test_torch(name: str, call: str, binary: Case, image: Case) -> None:
    for case in (binary, image):
        x = case.events(13)
        got = getattr(case.model, call)(torch_tensors(x)[name])
        assert isinstance(got, np.ndarray)
        np.testing.assert_array_equal(got, getattr(case.model, call)(x))


def test_torch_bool(binary: Case) -> None:
    torch = pytest.importorskip("torch")
    x = binary.events(13)
    np.testing.assert_array_equal(binary.model.log_prob(torch.from_numpy(x).bool()), binary.model.log_prob(x))


@pytest.mark.parametrize("make", ["complex", "sparse", "meta", "wide", "half", "nan"])
def test_torch_refused(make: str, binary: Case) -> None:
    torch = pytest.importorskip("torch")
    t = torch.ones(3, N_DIMS)
    wrong = {
        "complex": lambda: t.to(torch.complex64),
        "sparse": lambda: t.to_sparse(),
        "meta": lambda: t.to("meta"),
        "wide": lambda: torch.ones(3, N_DIMS + 1),
        "half": lambda: t * 0.5,
        "nan": lambda: t * float("nan"),
    }[make]()
    expected = ValueError if make in ("wide", "half", "nan") else TypeError
    with pytest.raises(expected, match=r"\bx\b"):
        binary.model.log_prob(wrong)


# --- layouts of what goes with x -------------------------------------------------------------------------

Layout = Callable[[np.ndarray], Any]
PARTS: dict[str, Callable[[Any, np.ndarray, Layout], Any]] = {
    "complete": lambda model, x, lay: model.complete(lay(x), mask(lay, first(model, x)), rng=0).x,
    "resample": lambda model, x, lay: (
        model.complete(lay(x), mask(lay, ~first(model, x)), n_samples=2, n_proposals=2000, resample=True, rng=0).x
    ),
    "low and high": lambda model, x, lay: model.prob_range(lay(x), lay(np.minimum(x + 1, 1)), rng=0).value,
    "low": lambda model, x, lay: model.prob_range(low=lay(x), rng=0).value,
    "allowed": lambda model, x, lay: (
        model.prob_range(allowed=mask(lay, np.arange(model.n_classes) <= x[..., None]), rng=0).value
    ),
    "evidence": lambda model, x, lay: model.sample(5, evidence=lay(evidence(model, x))[0], rng=0),
    "beams": lambda model, x, lay: model.beam_search(lay(evidence(model, x))[0])[0],
    "encode": lambda model, x, lay: np.frombuffer(model.encode(lay(x)), np.uint8),
}


def mask(lay: Layout, mask: np.ndarray) -> Any:
    return mask if lay is unaligned else lay(mask)  # bytes are always aligned


def first(model: Any, x: np.ndarray) -> np.ndarray:
    """The first three dimensions in the model's order: draws given these are exact."""
    observed = np.isin(np.arange(model.n_dims), model.order[:3])
    return np.broadcast_to(observed.reshape(model.event_shape), x.shape).copy()


def evidence(model: Any, x: np.ndarray) -> np.ndarray:
    return np.where(first(model, x), x.astype(np.int8), -1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("call", PARTS)
def test_layouts_of_parts_of_events(call: str, layout: str, binary: Case, image: Case) -> None:
    """The core walks rows of bytes in C order, whatever came."""
    for case in (binary, image):
        x = case.events(4)
        expected = PARTS[call](case.model, x, lambda x: x)
        np.testing.assert_array_equal(PARTS[call](case.model, x, LAYOUTS[layout]), expected)
