"""What kernels that take scores and lists check at the door: shapes, types, layout, ranges."""

import numpy as np

from recvec.errors import ValueRangeError
from recvec.kernels.compiled import compiled_exactly
from recvec.types import I32, I64, Array

Lists = tuple[Array, Array]
"""Rows of a CSR matrix without values: ``(indptr, indices)``, the indices ascending within a row."""


def check_matrix(name: str, matrix: Array) -> None:
    """Refuse what is no C-contiguous float32 matrix."""
    if not isinstance(matrix, np.ndarray) or matrix.dtype != np.float32 or matrix.ndim != 2:
        given = f"{matrix.dtype} with {matrix.ndim} axes" if isinstance(matrix, np.ndarray) else type(matrix).__name__
        raise ValueRangeError(f"{name} is {given}; allowed: a float32 array with 2 axes")
    if not matrix.flags.c_contiguous:
        raise ValueRangeError(f"{name} is not C-contiguous; use numpy.ascontiguousarray({name})")


def checked_lists(name: str, lists: Lists | None, n_rows: int) -> tuple[I64, I32]:
    """Return checked ``(indptr, indices)``, empty rows where there are none; unsorted rows would be searched in vain."""
    if lists is None:
        return np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32)
    for part, array in zip(("indptr", "indices"), lists, strict=True):
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueRangeError(f"{part} of {name} is no vector of integers; allowed: the arrays of a CSR matrix")
    indptr = np.ascontiguousarray(lists[0], np.int64)
    indices = np.ascontiguousarray(lists[1], np.int32)
    if len(indptr) != n_rows + 1:
        raise ValueRangeError(f"{name} has {len(indptr) - 1} rows; allowed: {n_rows}, one for each query")
    if indptr[0] < 0 or indptr[-1] > len(indices) or (indptr[1:] < indptr[:-1]).any():
        raise ValueRangeError(f"indptr of {name} does not ascend within 0 ... {len(indices)}, the number of indices")
    unsorted = _first_unsorted(indptr, indices)
    if unsorted >= 0:
        raise ValueRangeError(f"row {unsorted} of {name} is not sorted by column; use sort_indices() first")
    return indptr, indices


@compiled_exactly
def _first_unsorted(indptr: I64, indices: I32) -> int:
    for q in range(len(indptr) - 1):
        for p in range(indptr[q] + 1, indptr[q + 1]):
            if indices[p] < indices[p - 1]:
                return q
    return -1


def allowed_rows(candidates: I32 | None, n_items: int) -> I32:
    """Return the item rows that may be listed, ascending."""
    if candidates is None:
        return np.arange(n_items, dtype=np.int32)
    if not isinstance(candidates, np.ndarray) or candidates.ndim != 1 or candidates.dtype != np.int32:
        raise ValueRangeError("candidates is no int32 vector; allowed: distinct item rows as int32")
    rows = np.sort(candidates)
    if len(rows) and (rows[0] < 0 or rows[-1] >= n_items):
        wrong = rows[0] if rows[0] < 0 else rows[-1]
        raise ValueRangeError(f"candidates holds row {wrong}; allowed: 0 ... {n_items - 1}")
    repeated = np.flatnonzero(rows[1:] == rows[:-1])
    if len(repeated):
        raise ValueRangeError(f"candidates holds row {rows[repeated[0]]} twice; allowed: distinct rows")
    return rows
