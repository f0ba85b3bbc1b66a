"""The one way in which kernels are compiled."""

from collections.abc import Callable
from typing import Any

import numba

REASSOCIATE = ("reassoc", "contract", "nsz", "arcp")  # NaN and infinity are never assumed away


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a kernel whose sums may be added up in another order."""
    return _compile(function, fastmath=set(REASSOCIATE))


def compiled_exactly(function: Callable[..., Any]) -> Any:
    """Compile a kernel that compares and moves numbers: every operation as it is written."""
    return _compile(function)


def compiled_inline(function: Callable[..., Any]) -> Any:
    """Compile a small function into the kernels that call it, every operation as it is written."""
    return _compile(function, inline="always")


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    """Compile without the interpreter's lock, cached on disk where that can be written.

    numba refuses, while importing, to cache a function where neither the package's folder nor the user's is writable.
    """
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)
