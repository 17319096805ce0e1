"""The one place that knows there is more than one array library.

Everything numerical is written against the Python array API standard, so that NumPy and
PyTorch run the same lines.  Apart from NumPy no array library is imported here: a caller that
passes one of its arrays has imported it already.

The matrices are the last two axes, shape (..., n, n).  In memory we allocate them the other way
round, batch innermost (`batch_innermost`): a sum over an axis of length four is then four
additions of long vectors instead of a million tiny loops.  That makes NumPy five to ten times
faster and does not touch the formulas.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""


def as_floating(x: Any, name: str) -> tuple[ModuleType, Array]:
    """`x` as a real floating-point array, with its array namespace.

    Lists and integers become NumPy float64.  An object with a method `__mhc_layers__`, such as a
    recording of a model's mappings, gives the array that the method returns, (..., L, n, n).
    Raises TypeError, naming the argument, for anything but an array of real numbers, and ValueError
    for a sequence of arrays that have more than two axes each.
    """
    if hasattr(x, "__mhc_layers__"):
        x = x.__mhc_layers__()
    elif isinstance(x, Sequence):
        _refuse_batches(x, name)
    if not array_api_compat.is_array_api_obj(x):
        try:
            x = np.asarray(x, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{name} must be an array of real numbers, not {type(x).__name__}: {error}"
            ) from None
    xp = array_api_compat.array_namespace(x)
    if xp.isdtype(x.dtype, "integral"):
        x = xp.astype(x, xp.float64)
    if not xp.isdtype(x.dtype, "real floating"):
        raise TypeError(f"{name} must hold real floating-point numbers, not {x.dtype}")
    return xp, x


def _refuse_batches(arrays: Sequence[Any], name: str) -> None:
    """ValueError for a sequence of arrays (..., n, n): one of each layer, or one of each token?

    As an array its first axis would be the sequence, and the layers are the third axis from last.
    """
    for each in arrays:
        if array_api_compat.is_array_api_obj(each) and each.ndim > 2:
            raise ValueError(
                f"{name} is a {type(arrays).__name__} of arrays of shape {tuple(each.shape)}, "
                "which does not say where the layers are. Write np.stack(arrays, axis=-3), or "
                "torch.stack(arrays, dim=-3), if each is a layer; np.stack(arrays) if each holds "
                "all layers"
            )


def square_matrices(x: Any, name: str) -> tuple[ModuleType, Array]:
    """`as_floating`, and ValueError unless `x` is (..., n, n) with n >= 1 and finite.

    A PyTorch tensor is not checked for NaN or infinity: the check would wait for the GPU, and
    neither `torch.compile` nor `vmap` can trace it.  In a tensor, NaN in gives NaN out.
    """
    xp, x = as_floating(x, name)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] < 1:
        raise ValueError(
            f"{name} must hold square matrices, shape (..., n, n) with n >= 1, "
            f"not shape {tuple(x.shape)}"
        )
    if not array_api_compat.is_torch_array(x) and not bool(xp.all(xp.isfinite(x))):
        raise ValueError(f"{name} must be finite, but holds NaN or infinity")
    return xp, x


def widened(xp: ModuleType, x: Array) -> Array:
    """`x`, in float32 if its dtype is narrower: float16 and bfloat16 are for storage only."""
    return xp.astype(x, xp.float32) if xp.finfo(x.dtype).bits < 32 else x


def batch_innermost(xp: ModuleType, x: Array) -> Array:
    """The same array, shape (..., n, n), laid out in memory as (n, n, ...)."""
    ndim = x.ndim
    matrix_first = xp.permute_dims(x, (ndim - 2, ndim - 1, *range(ndim - 2)))
    packed = xp.asarray(matrix_first, copy=True)
    if hasattr(packed, "flags") and not packed.flags.c_contiguous:
        packed = np.ascontiguousarray(packed)
    elif hasattr(packed, "contiguous"):
        packed = packed.contiguous()
    return xp.permute_dims(packed, (*range(2, ndim), 0, 1))


def scalar(x: Array) -> float:
    """A 0-d array as a float, detached first: PyTorch warns about a tensor with a gradient."""
    return float(x.detach() if hasattr(x, "detach") else x)


def choice(name: str, value: Any, allowed: Any) -> Any:
    """`value` if it is one of `allowed`; otherwise a ValueError that lists them."""
    options = list(allowed)
    if not isinstance(value, Hashable) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, not {value!r}")
    return value


def whole_number(name: str, value: Any, low: int, high: int | None = None) -> int:
    """`value` as an int within [low, high]; otherwise a TypeError or ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < low or (high is not None and value > high):
        limit = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {limit}, not {value}")
    return int(value)
