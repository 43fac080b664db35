"""NumPy arrays of anything array-like: lists, torch tensors, pandas frames, whatever follows a protocol of arrays.

Every error names the argument, what came and what was wanted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def as_array(name: str, value: object) -> NDArray[Any]:
    """A NumPy array of anything array-like, without a copy where its values lie in memory as NumPy can read them.

    Raises TypeError for what is no array, ValueError for rows of several shapes and for masked values.
    """
    array, masked = as_masked(name, value)
    if masked is not None:
        raise ValueError(f"{name} has {masked.sum()} masked values; wanted an array with none")
    return array


def as_masked(name: str, value: object) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """`as_array`, and the mask of a masked array if any value is masked."""
    array = _converted(name, value)
    if array.dtype.names is not None:
        raise TypeError(f"{name} is a structured array; wanted one of plain numbers")
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        return array, mask if mask.any() else None
    return array, None


def of_module(module: str, name: str) -> Any:
    """A class of a module for `isinstance`: whoever passes an instance has imported it. Else the class of nothing."""
    return getattr(sys.modules.get(module), name, ())


def is_tensor(value: object) -> bool:
    """Whether it is a torch tensor."""
    return isinstance(value, of_module("torch", "Tensor"))


def _converted(name: str, value: Any) -> NDArray[Any]:
    if is_tensor(value):
        return _from_tensor(name, value)
    if isinstance(value, (list, tuple)):
        value = _rows(name, value)
    try:
        if isinstance(value, (of_module("pandas", "DataFrame"), of_module("pandas", "Series"))):
            array = _from_pandas(value)
        else:
            array = np.asarray(value)
        if array.dtype == object and array.ndim == 0 and hasattr(value, "__dlpack__"):
            array = np.from_dlpack(value)
        elif array.dtype == object and array.ndim == 1 and array.size and all(map(_is_row, array)):
            array = np.asarray(_rows(name, array.tolist()))  # a column of lists, as pyarrow, polars and pandas have it
    except MemoryError:
        raise
    except Exception as error:  # whatever an object's own methods raise
        if isinstance(error, ValueError) and isinstance(value, list):
            raise ValueError(f"{name} is no array: its rows have different shapes") from None
        raise TypeError(f"{name} is a {type(value).__name__} that cannot be read as an array") from error
    if array.dtype == object and array.ndim == 0:
        came = "None" if value is None else f"a {type(value).__name__}"
        hint = f"; did you mean {name}.toarray()?" if hasattr(type(value), "toarray") else ""
        raise TypeError(f"{name} is {came}; wanted an array{hint}")
    return array


def _is_row(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _rows(name: str, rows: Any) -> list[Any]:
    """A list in which what NumPy would not read, or not read right, are arrays: tensors and masked arrays."""
    try:
        return [item if isinstance(item, (int, float)) else _row(name, item) for item in rows]
    except RecursionError:
        raise ValueError(f"{name} is no array: it is nested without end") from None


def _row(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return _rows(name, value)
    return as_array(name, value) if is_tensor(value) or isinstance(value, np.ma.MaskedArray) else value


def _from_pandas(value: Any) -> NDArray[Any]:
    """A DataFrame or Series; of nullable dtypes, categories and unlike columns NumPy would make objects."""
    array: NDArray[Any] = np.asarray(value)
    dtypes = value.dtypes if value.ndim == 2 else [value.dtype]
    kinds = {dtype.categories.dtype.kind if hasattr(dtype, "categories") else dtype.kind for dtype in dtypes}
    if array.dtype != object or not kinds <= set("buif"):
        return array
    if kinds == {"b"} and not np.any(value.isna()):
        array = value.to_numpy(dtype=np.bool_)
    else:
        array = value.to_numpy(dtype=np.float64, na_value=np.nan)
    return array


def _from_tensor(name: str, tensor: torch.Tensor) -> NDArray[Any]:
    import torch

    came = type(tensor).__name__
    try:
        came += f" of dtype {tensor.dtype}"
        reason = unreadable(name, tensor) or _stand_in(name, tensor)
        if reason is None:
            tensor = tensor.detach().cpu().resolve_neg().resolve_conj()
            if tensor.dtype.is_floating_point and tensor.dtype.itemsize < 4:  # NumPy has no bfloat16, nor smaller ones
                tensor = tensor.to(torch.float32)
            array: NDArray[Any] = tensor.numpy()
            return array
    except Exception as error:  # of a subclass, a mode or a dtype that NumPy has not
        raise TypeError(f"{name} is a {came} whose values NumPy cannot read; wanted a dense tensor") from error
    raise TypeError(reason)


def unreadable(name: str, tensor: torch.Tensor) -> str | None:
    """Why a tensor has no array of values of its own, for a TypeError; None for an ordinary one."""
    import torch

    if isinstance(tensor, torch.masked.MaskedTensor):
        kind, instead = "masked", f"{name}.get_data()"
    elif tensor.is_nested:
        kind, instead = "nested", f"torch.stack({name}.unbind())"
    elif tensor.is_quantized:
        kind, instead = "quantized", f"{name}.dequantize()"
    elif tensor.layout is not torch.strided:
        kind, instead = str(tensor.layout), f"{name}.to_dense()"
    elif tensor.is_meta:
        return f"{name} is a meta tensor; wanted a dense one with values"
    else:
        return None
    return f"{name} is a {kind} tensor; wanted a dense one with values, such as {instead}"


def _stand_in(name: str, tensor: torch.Tensor) -> str | None:
    """Why NumPy cannot read the values of a tensor that torch.func made; None for another one."""
    import torch

    # Such a tensor stands for another one, and has no memory, or memory that was never written. Inside torch.compile
    # there are none, and what asks for them cannot be traced.
    if not torch.compiler.is_compiling() and (
        torch._C._functorch.is_functorch_wrapped_tensor(tensor) or torch._is_functional_tensor(tensor)
    ):
        return f"{name} is a torch.func tensor; wanted a dense one with values"
    return None
