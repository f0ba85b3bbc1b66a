"""The one way in which kernels are compiled.

numba compiles a kernel into an object of its own, and once more into the object of each kernel that calls it. Which of these copies a
call reaches is up to the linker: in the process that compiles, the kernel's own; in a later one, which reads objects from the cache on
disk, the first that was read. So copies must agree to the bit, or a fit that is stopped and resumed would differ from one that is not.
They agree where every operation is done as it is written. Where sums may be added up in another order they need not, and a kernel of
that kind that others call is compiled into each of them: no call is left.
"""

from collections.abc import Callable
from typing import Any

import numba

REASSOCIATE = ("reassoc", "contract", "nsz", "arcp")  # NaN and infinity are never assumed away


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a kernel whose sums may be added up in another order, and that no other kernel calls."""
    return _compile(function, fastmath=set(REASSOCIATE), forceinline=False)


def compiled_into_callers(function: Callable[..., Any]) -> Any:
    """Compile a kernel whose sums may be added up in another order into the kernels that call it."""
    return _compile(function, fastmath=set(REASSOCIATE), forceinline=True)


def compiled_exactly(function: Callable[..., Any]) -> Any:
    """Compile a kernel that compares and moves numbers: every operation as it is written."""
    return _compile(function, fastmath=False, forceinline=False)  # both said: numba takes them from the caller that it is compiling


def compiled_inline(function: Callable[..., Any]) -> Any:
    """Copy the statements of a small function into the kernels that call it, where they follow the rules of the caller."""
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
