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

import math
import sys
from collections.abc import Hashable, Sequence
from numbers import Real
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
    Raises TypeError, naming the argument, for anything but an array of real numbers in at most 64
    bits, and ValueError for a sequence of arrays that have more than two axes each.
    """
    if hasattr(x, "__mhc_layers__"):
        x = x.__mhc_layers__()
    elif isinstance(x, Sequence):
        _refuse_batches(x, name)
    if not array_api_compat.is_array_api_obj(x):
        x = _from_python(x, name)
    xp = array_api_compat.array_namespace(x)
    if _is_narrow_numpy(x.dtype):
        return xp, x
    if _is_dtype(xp, x.dtype, "integral"):
        x = xp.astype(x, xp.float64)
    if not _is_dtype(xp, x.dtype, "real floating"):
        raise TypeError(f"{name} must hold real floating-point numbers, not {x.dtype}")
    if xp.finfo(x.dtype).bits > 64:  # NumPy's longdouble, for which there is no linear algebra
        raise TypeError(
            f"{name} must hold numbers of at most 64 bits, such as float64, not {x.dtype}"
        )
    return xp, x


def _from_python(x: Any, name: str) -> Array:
    """Numbers, or lists of them, as NumPy float64: no text, although NumPy would read it."""
    try:
        given = np.asarray(x)
        if given.dtype.kind == "O" and all(_is_number(each) for each in given.flat):
            given = given.astype(np.float64)  # whole numbers beyond 64 bits, and fractions
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"{name} must be an array of real numbers, not {type(x).__name__}: {error}"
        ) from None
    if given.dtype.kind not in "iuf":
        what = {"U": "text", "S": "text", "b": "bool", "c": "complex"}.get(given.dtype.kind)
        raise TypeError(
            f"{name} must be an array of real numbers, not {type(x).__name__}"
            + (f" of {what}" if what else "")
        )
    return given.astype(np.float64)


def _is_number(x: Any) -> bool:
    return isinstance(x, Real) and not isinstance(x, bool)


def _is_dtype(xp: ModuleType, dtype: Any, kind: str) -> bool:
    try:
        return xp.isdtype(dtype, kind)
    except TypeError:  # of a dtype that another package added to NumPy
        return False


def _is_narrow_numpy(dtype: Any) -> bool:
    """Whether it is bfloat16, or one of its like that the package ml_dtypes adds to NumPy.

    NumPy itself knows neither their kind nor their size.
    """
    if not isinstance(dtype, np.dtype) or dtype.kind != "V" or "ml_dtypes" not in sys.modules:
        return False
    try:
        sys.modules["ml_dtypes"].finfo(dtype)
    except ValueError:
        return False
    return True


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


def square_matrices(x: Any, name: str, masks: bool = False) -> tuple[ModuleType, Array]:
    """`as_floating`, and ValueError unless `x` is (..., n, n) with n >= 1 and finite.

    With `masks` an entry may be -inf, but not a whole row or column.

    A PyTorch tensor is not checked for NaN or +infinity, and nothing is where numbers cannot be
    read (`known`), or not without a wait for a GPU.  There, NaN in gives NaN out.
    """
    xp, x = as_floating(x, name)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] < 1:
        raise ValueError(
            f"{name} must hold square matrices, shape (..., n, n) with n >= 1, "
            f"not shape {tuple(x.shape)}"
        )
    if math.prod(x.shape) and known(xp, x):
        if not is_torch(xp):
            _check_finite(xp, widened(xp, x), name, masks)
        elif masks and x.device.type == "cpu" and bool(x.min() == -math.inf):
            _check_masks(xp, x, name)
    return xp, x


def _check_finite(xp: ModuleType, x: Array, name: str, masks: bool) -> None:
    if bool(xp.all(xp.isfinite(x))):
        return
    if not masks:
        raise ValueError(f"{name} must be finite, but holds NaN or infinity")
    if not bool(xp.all(xp.isfinite(x) | (x == -math.inf))):
        raise ValueError(
            f"{name} must be finite, or -inf where an entry is masked, but holds NaN or infinity"
        )
    _check_masks(xp, x, name)


def has_masks(xp: ModuleType, x: Array) -> bool:
    """Whether an entry is -inf; no, where that cannot be told, or not without a wait for a GPU."""
    if not math.prod(x.shape) or not known(xp, x) or (is_torch(xp) and x.device.type != "cpu"):
        return False
    return bool(xp.min(widened(xp, x)) == -math.inf)


def _check_masks(xp: ModuleType, x: Array, name: str) -> None:
    for axis, line in ((-1, "row"), (-2, "column")):
        masked = xp.max(x, axis=axis) == -math.inf
        if bool(xp.any(masked)):
            *matrix, index = (int(found[0]) for found in xp.nonzero(masked))
            of = f" of matrix {tuple(matrix)}" if matrix else ""
            raise ValueError(
                f"{name} must leave an entry of every row and column that is not masked (-inf), "
                f"but all of {line} {index}{of} is masked"
            )


def is_torch(xp: ModuleType) -> bool:
    """Whether an array namespace is PyTorch's."""
    # By name: array-api-compat's own check has a cache, which torch.compile warns about.
    return xp.__name__.endswith("torch")


def known(xp: ModuleType, x: Array) -> bool:
    """Whether the numbers of `x` are there to decide by.

    They are not while `jax.jit`, `grad` or `vmap`, `torch.compile` or another tool traces what is
    done with them.
    """
    if is_torch(xp):
        from . import _torch  # imports PyTorch, as the caller has already done

        return _torch.known(x)
    jax = sys.modules.get("jax")
    return jax is None or not isinstance(x, jax.core.Tracer)


def widened(xp: ModuleType, x: Array) -> Array:
    """`x`, in float32 if its dtype is narrower: float16 and bfloat16 are for storage only."""
    narrow = _is_narrow_numpy(x.dtype) or xp.finfo(x.dtype).bits < 32
    return xp.astype(x, xp.float32) if narrow else x


def doubled(xp: ModuleType, x: Array) -> Array:
    """`x` in float64; in JAX as it is, which has float64 only where it was asked for."""
    return x if "jax" in xp.__name__ else xp.astype(x, xp.float64, copy=False)


def frozen(xp: ModuleType, x: Array) -> Array:
    """`x` as a constant, through which no gradient passes."""
    if is_torch(xp):
        return x.detach()
    if "jax" in xp.__name__:
        return sys.modules["jax"].lax.stop_gradient(x)
    return x


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


def real_number(name: str, value: Any) -> float:
    """`value` as a float, infinite or NaN too; a TypeError that names it if it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        return float(value)
    except OverflowError:  # a whole number beyond any float
        return math.inf


def nonnegative(name: str, value: float) -> float:
    """`value` as a finite float >= 0; otherwise a TypeError or ValueError that names it."""
    number = real_number(name, value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} must be finite and at least 0, not {value}")
    return number
