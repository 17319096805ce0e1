"""How our kernels for a CPU are compiled; imports Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """A decorator like `numba.njit`: without the interpreter lock, and kept on disk if possible."""

    def decorated(function: Callable) -> Any:
        # Division by zero gives a NaN in that lane, as in NumPy; a multiply-add rounds once.
        options.update(error_model="numpy", fastmath={"contract"}, nogil=True)
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # Numba finds no folder for its cache
            return numba.njit(**options)(function)

    return decorated
