"""Arrays as other libraries have them: each gives what the NumPy array gives, and what is masked or missing is seen."""

from __future__ import annotations

import array
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.cases import Case

N_DIMS = 6


class OnlyDlpack:
    def __init__(self, x: Any) -> None:
        self._x = x

    def __dlpack__(self, **keywords: Any) -> Any:
        return self._x.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self._x.__dlpack_device__()


def rows_as_objects(x: np.ndarray) -> np.ndarray:
    rows = np.empty(len(x), object)
    rows[:] = list(x)
    return rows


PLAIN: dict[str, Callable[[np.ndarray], Any]] = {
    "memoryview": memoryview,
    "list of lists": np.ndarray.tolist,
    "list of arrays": list,
    "list of memoryviews": lambda x: [memoryview(row) for row in x],
    "tuple of tuples": lambda x: tuple(map(tuple, x.tolist())),
    "list of array.array": lambda x: [array.array("B", row.tobytes()) for row in x],
    "object array of rows": rows_as_objects,
    "matrix": np.asmatrix,
    "nothing masked": np.ma.masked_array,
    "mask of False": lambda x: np.ma.masked_array(x, mask=np.zeros(x.shape, bool)),
    "list of masked arrays": lambda x: list(np.ma.masked_array(x)),
    "long double": lambda x: x.astype(np.longdouble),
    "DLPack alone": OnlyDlpack,
    "broadcast": lambda x: np.broadcast_to(x[None], (1, *x.shape))[0],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain(name: str, binary: Case) -> None:
    x = binary.events(7)
    np.testing.assert_array_equal(binary.model.log_prob(PLAIN[name](x)), binary.model.log_prob(x))


FRAMES: dict[str, Callable[[Any, np.ndarray], Any]] = {
    "uint8": lambda pd, x: pd.DataFrame(x),
    "bool": lambda pd, x: pd.DataFrame(x).astype(bool),
    "Int64": lambda pd, x: pd.DataFrame(x).astype("Int64"),
    "UInt8": lambda pd, x: pd.DataFrame(x).astype("UInt8"),
    "boolean": lambda pd, x: pd.DataFrame(x).astype("boolean"),
    "Float64": lambda pd, x: pd.DataFrame(x).astype("Float64"),
    "category": lambda pd, x: pd.DataFrame(x).astype("category"),
    "sparse": lambda pd, x: pd.DataFrame(x).astype(pd.SparseDtype("uint8", 0)),
    "unlike columns": lambda pd, x: pd.DataFrame(
        {i: x[:, i].astype([np.uint8, bool, float, np.int32][i % 4]) for i in range(N_DIMS)}
    ).astype({0: "Int64"}),
    "names twice": lambda pd, x: pd.DataFrame(x, columns=["a"] * N_DIMS).astype("Int8"),
    "Series of lists": lambda pd, x: pd.Series(x.tolist()),
}


@pytest.mark.parametrize("name", FRAMES)
def test_pandas(name: str, binary: Case) -> None:
    pd = pytest.importorskip("pandas")
    x = binary.events(7)
    np.testing.assert_array_equal(binary.model.log_prob(FRAMES[name](pd, x)), binary.model.log_prob(x))


def test_pandas_with_pyarrow(binary: Case) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    x = binary.events(7)
    frame = pd.DataFrame(x).astype("uint8[pyarrow]")
    np.testing.assert_array_equal(binary.model.log_prob(frame), binary.model.log_prob(x))


def test_pandas_refused(binary: Case) -> None:
    pd = pytest.importorskip("pandas")
    x = binary.events(7)
    frame = pd.DataFrame(x)
    for kind in ("object", "str", "string", "datetime64[ns]", "complex"):
        with pytest.raises(TypeError, match=r"\bx\b"):
            binary.model.log_prob(frame.astype(kind))
    for kind in ("Int64", "boolean", "Float64"):
        with pytest.raises(ValueError, match=r"x\[0, \d\] is nan"):
            binary.model.log_prob(frame.astype(kind).mask(frame == x[0, 0]))
    with pytest.raises(ValueError, match=r"did you mean np.asarray\(x\).reshape\(1, 6\)"):
        binary.model.log_prob(pd.Series(x[0]))


def test_pandas_missing_values_are_evidence_that_was_not_observed(binary: Case) -> None:
    pd = pytest.importorskip("pandas")
    expected = binary.model.sample(20, evidence=[1, 0, -1, -1, -1, -1], rng=0)
    for kind in ("Int64", "boolean", "Float64"):
        evidence = pd.Series([1, 0, None, None, None, None], dtype=kind)
        np.testing.assert_array_equal(binary.model.sample(20, evidence=evidence, rng=0), expected)


def test_pandas_masks(binary: Case) -> None:
    pd = pytest.importorskip("pandas")
    x = binary.events(3)
    frame, observed = pd.DataFrame(x).astype("Int64"), np.arange(N_DIMS) < 2
    expected = binary.model.complete(x, observed, rng=0)
    got = binary.model.complete(frame, pd.Series(observed).astype("boolean"), rng=0)
    np.testing.assert_array_equal(got.x, expected.x)
    with pytest.raises(TypeError, match="observed has dtype"):
        binary.model.complete(x, pd.Series([True, None] * 3, dtype="boolean"), rng=0)
    allowed = pd.DataFrame(np.ones((N_DIMS, 2), bool)).astype("boolean")
    assert binary.model.prob_range(allowed=allowed).value == 1


def test_pyarrow(binary: Case) -> None:
    pa = pytest.importorskip("pyarrow")
    x = binary.events(7)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), N_DIMS)
    columns = {str(i): x[:, i] for i in range(N_DIMS)}
    given = [pa.array(x.tolist()), fixed, pa.chunked_array([fixed[:3], fixed[3:]]), pa.Tensor.from_numpy(x)]
    for value in [*given, pa.table(columns), pa.record_batch(columns)]:
        np.testing.assert_array_equal(binary.model.log_prob(value), binary.model.log_prob(x))
    for value in (pa.array([*x.tolist(), None]), pa.array(["a"] * N_DIMS), pa.scalar(1)):
        with pytest.raises((TypeError, ValueError), match=r"\bx\b"):
            binary.model.log_prob(value)
    with pytest.raises((TypeError, ValueError), match=r"\bx\b"):
        binary.model.log_prob(pa.array([x[0].tolist(), [1]]))
    evidence = pa.array([1, 0, None, None, None, None])
    expected = binary.model.sample(20, evidence=[1, 0, -1, -1, -1, -1], rng=0)
    np.testing.assert_array_equal(binary.model.sample(20, evidence=evidence, rng=0), expected)


def test_samples_in_arrow_files_are_scored_as_they_are_read(binary: Case, tmp_path: Any) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    column = pq.read_table(binary.model.sample_to(tmp_path / "x.parquet", 20, rng=0))["x"]
    np.testing.assert_array_equal(binary.model.log_prob(column), binary.model.sample_and_log_prob(20, rng=0)[1])


def test_polars(binary: Case) -> None:
    pl = pytest.importorskip("polars")
    x = binary.events(7)
    lists = pl.Series(x.tolist())
    for value in (pl.DataFrame(x), pl.DataFrame(x.astype(bool)), lists, lists.cast(pl.Array(pl.UInt8, N_DIMS))):
        np.testing.assert_array_equal(binary.model.log_prob(value), binary.model.log_prob(x))
    with pytest.raises(TypeError, match="x is a LazyFrame"):
        binary.model.log_prob(pl.DataFrame(x).lazy())


def test_scipy_sparse(binary: Case) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for make in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array, sparse.dia_array):
        with pytest.raises(TypeError, match=r"x is a \w+; wanted an array; did you mean x.toarray\(\)\?"):
            binary.model.log_prob(make(binary.events(7)))


# --- masks -----------------------------------------------------------------------------------------------


def test_a_mask_is_not_ignored(binary: Case, image: Case) -> None:
    """The values under a mask are whatever they are: scored as if they were data, they give another answer."""
    for case in (binary, image):
        x = case.events(4)
        mask = np.zeros(x.shape, bool)
        mask[(1, *[0] * (x.ndim - 1))] = True
        for values in (x, x.astype(float)):
            for masked in (np.ma.masked_array(values, mask=mask), list(np.ma.masked_array(values, mask=mask))):
                for call in ("log_prob", "surprise", "conditionals", "encode", "typicality", "cross_entropy"):
                    with pytest.raises(ValueError, match="x has 1 masked values"):
                        getattr(case.model, call)(masked)


def test_a_mask_over_what_was_not_observed(binary: Case) -> None:
    x = binary.events(4)
    observed = np.tile(np.arange(N_DIMS) < 2, (4, 1))
    expected = binary.model.complete(x, observed, rng=0)
    got = binary.model.complete(np.ma.masked_array(x, mask=~observed), observed, rng=0)
    np.testing.assert_array_equal(got.x, expected.x)
    one = binary.model.complete(np.ma.masked_array(x[0], mask=~observed[0]), observed, rng=0)
    np.testing.assert_array_equal(one.x[0], expected.x[0])
    with pytest.raises(ValueError, match=r"x\[2, 1\] is masked, and observed"):
        binary.model.complete(np.ma.masked_array(x, mask=np.eye(4, N_DIMS, -1) * [[0], [0], [1], [0]]), observed)


# --- torch -----------------------------------------------------------------------------------------------


def test_torch_tensors_of_every_sort(binary: Case) -> None:
    torch = pytest.importorskip("torch")
    x = binary.events(7)
    t = torch.from_numpy(x)
    with torch.inference_mode():
        inference = t.clone()
    given = {
        "float8": t.float().to(torch.float8_e4m3fn),
        "uint16": t.to(torch.uint16),
        "uint64": t.to(torch.uint64),
        "inference": inference,
        "subclass": t.as_subclass(type("Sub", (torch.Tensor,), {})),
        "list": list(t),
        "list with a graph": list(t.float().requires_grad_()),
        "list of lists": [list(row) for row in t],
        "storage's rows": [row.untyped_storage() for row in map(torch.clone, t)],
        "DLPack alone": OnlyDlpack(t),
        "conjugate's real part": t.to(torch.complex64).conj().real,
    }
    for name, value in given.items():
        np.testing.assert_array_equal(binary.model.log_prob(value), binary.model.log_prob(x), err_msg=name)
    with torch.inference_mode():
        np.testing.assert_array_equal(binary.model.log_prob(t.float()), binary.model.log_prob(x))


def test_the_default_device_and_dtype_of_torch_do_not_matter(binary: Case) -> None:
    torch = pytest.importorskip("torch")
    x = binary.events(7)
    t, generator = torch.from_numpy(x), torch.Generator().manual_seed(1)
    expected = binary.model.sample(5, rng=generator)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        for value in (t, t.bfloat16(), list(t.float())):
            np.testing.assert_array_equal(binary.model.log_prob(value), binary.model.log_prob(x))
        np.testing.assert_array_equal(binary.model.sample(5, rng=generator.manual_seed(1)), expected)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


def test_transforms_of_torch(binary: Case) -> None:
    """Inside torch.func a tensor stands for another one: NumPy would read what memory happened to hold."""
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(binary.events(3)).float()

    def score(x: Any) -> Any:
        return torch.from_numpy(binary.model.log_prob(x.reshape(-1, N_DIMS)))

    transforms: dict[str, Callable[[], Any]] = {
        "vmap": lambda: torch.func.vmap(score)(x),
        "grad": lambda: torch.func.grad(lambda x: score(x).sum())(x),
        "jvp": lambda: torch.func.jvp(score, (x,), (x,)),
        "jacrev": lambda: torch.func.jacrev(score)(x),
        "functionalize": lambda: torch.func.functionalize(score)(x),
    }
    for transform in transforms.values():
        with pytest.raises(TypeError, match=r"x is a torch\.func tensor; wanted a dense one with values"):
            transform()
    with pytest.raises(TypeError, match="x is a Proxy"):
        torch.fx.symbolic_trace(lambda x: binary.model.log_prob(x))
    expected = score(x)
    compiled = torch.compile(score, backend="eager")(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the result does not depend on x; that there is torch.export now
        traced = torch.jit.trace(score, (x,), check_trace=False)(x)
    assert torch.equal(compiled, expected)
    assert torch.equal(traced, expected)


# --- numbers ---------------------------------------------------------------------------------------------


def test_numbers_of_numpy_and_torch(binary: Case) -> None:
    torch = pytest.importorskip("torch")
    expected = binary.model.sample(2, rng=2, start=2, threads=2, temperature=2)
    for number in (np.int8, np.uint64, np.array, np.ma.masked_array, torch.tensor, lambda n: torch.tensor(n).byte()):
        two = number(2)
        got = binary.model.sample(two, rng=two, start=two, threads=two, temperature=two)
        np.testing.assert_array_equal(got, expected)
    for two in (np.float16(2), np.longdouble(2), np.array(2.0), torch.tensor(2.0), torch.tensor(2.0).bfloat16()):
        np.testing.assert_array_equal(binary.model.sample(2, rng=2, start=2, temperature=two), expected)
