"""Array aliases and the one protocol that the lowest floors share."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U16 = npt.NDArray[np.uint16]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

Block = TypeVar("Block")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs one function over many blocks: threads here, processes or a cluster elsewhere.

    A kernel cuts its work into blocks whose number and bounds do not depend on the executor,
    so that the result has the same bits however many workers there are.
    """

    def map(self, fn: Callable[[Block], Result], blocks: Iterable[Block]) -> list[Result]:
        """Return ``[fn(b) for b in blocks]``, computed in any order; BLAS runs single-threaded inside."""
        ...
