"""Products of two sparse matrices: as dense rows, or the best entries of each row as a sparse matrix again.

The product of the transposed interactions with themselves counts how often two items meet; most ways of relating items
are such a product of scaled matrices. It is made row by row: each entry of the left row adds its multiple of a right
row. So every number is one sum in the order of the left row's entries, whatever the block and the number of threads.
"""

import numpy as np
import scipy.sparse as sp

from recvec.kernels.blocks import balanced_blocks
from recvec.kernels.compiled import compiled_exactly
from recvec.kernels.shortlist import keep_largest, key_of, score_of
from recvec.types import F32, I32, I64, Bool, Executor


def sparse_sparse(left: sp.csr_array, right: sp.csr_array, *, out: F32 | None = None, executor: Executor | None = None) -> F32:
    """Return ``left @ right`` as a dense matrix, shape (n, p).

    Parameters
    ----------
    left : csr_array, float32, shape (n, m)
    right : csr_array, float32, shape (m, p)
    out : F32, shape (n, p), optional
        Where to write it; what was there is lost.
    executor : Executor, optional
        Runs blocks of rows; without one the calling thread does it all, as it must inside another block.

    Notes
    -----
    Cost: two operations for each pair of a left entry and an entry of the right row that it meets, and n p zeros.
    """
    dense = np.empty((left.shape[0], right.shape[1]), np.float32) if out is None else out
    indptr, right_indptr = left.indptr.astype(np.int64, copy=False), right.indptr.astype(np.int64, copy=False)

    def one(bound: tuple[int, int]) -> None:
        rows = dense[bound[0] : bound[1]]
        rows[:] = 0
        _add_products(indptr[bound[0] : bound[1] + 1], left.indices, left.data, right_indptr, right.indices, right.data, rows)

    if executor is None:
        one((0, len(dense)))
    else:
        executor.map(one, balanced_blocks(_work(left, right), per_entry=1, per_row=right.shape[1] // 8 + 1))
    return dense


@compiled_exactly
def _add_products(indptr: I64, indices: I32, data: F32, right_indptr: I64, right_indices: I32, right_data: F32, out: F32) -> None:
    for i in range(len(out)):
        row = out[i]
        for e in range(indptr[i], indptr[i + 1]):
            for f in range(right_indptr[indices[e]], right_indptr[indices[e] + 1]):
                row[right_indices[f]] += data[e] * right_data[f]


def _work(left: sp.csr_array, right: sp.csr_array) -> I64:
    """Return how many products the rows before each row of `left` take, shape (n + 1,)."""
    of_entries = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(right.indptr).astype(np.int64)[left.indices])])
    work: I64 = of_entries[left.indptr]
    return work


def best_of_products(
    left: sp.csr_array,
    right: sp.csr_array,
    k: int,
    *,
    column_scale: F32,
    row_scale: F32 | None = None,
    shrink: float = 0.0,
    executor: Executor,
) -> sp.csr_array:
    """Return the `k` largest entries of each row of a scaled product without its diagonal.

    ::

        v_ij = (left @ right)_ij / (row_scale_i column_scale_j + shrink),   i != j

    Parameters
    ----------
    left : csr_array, float32, shape (n, m)
        No entry is negative.
    right : csr_array, float32, shape (m, n)
        As `left`.
    k : int
        Entries kept of each row, at least 1; of equal ones those in smaller columns. Only positive entries are kept.
    column_scale, row_scale : F32, shape (n,)
        Divisors, positive where a column or row has an entry; of the rows 1 by default.
    shrink : float
        Added to each divisor.
    executor : Executor
        Runs blocks of rows.

    Returns
    -------
    csr_array, float32, shape (n, n)
        Columns are in no order within a row: what follows is a transposition, which orders them.

    Notes
    -----
    Cost: two operations at a random place for each pair of a left entry and an entry of the right row that it meets,
    and a selection among the distinct columns of each row. Memory: ``16 n`` bytes a thread, and twice the result.
    """
    n = right.shape[1]
    k = min(k, n)
    row_scale = np.ones(n, np.float32) if row_scale is None else row_scale
    indptr, right_indptr = left.indptr.astype(np.int64, copy=False), right.indptr.astype(np.int64, copy=False)

    def one(bound: tuple[int, int]) -> tuple[int, I64, I32, F32]:
        counts = np.zeros(bound[1] - bound[0], np.int64)
        columns, values = np.empty(len(counts) * k, np.int32), np.empty(len(counts) * k, np.float32)
        kept = _best_of_rows(
            bound[0], indptr, left.indices, left.data, right_indptr, right.indices, right.data,
            row_scale, column_scale, np.float32(shrink), k, counts, columns, values,
        )  # fmt: skip
        return bound[0], counts, columns[:kept].copy(), values[:kept].copy()

    blocks = executor.map(one, balanced_blocks(_work(left, right), per_entry=1, per_row=n // 8 + 1))
    _, counts, columns, values = zip(*sorted(blocks, key=lambda block: block[0]), strict=True)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts))])
    return sp.csr_array((np.concatenate(values), np.concatenate(columns), bounds), shape=(left.shape[0], n))


@compiled_exactly
def _best_of_rows(
    first, indptr, indices, data, right_indptr, right_indices, right_data, row_scale, column_scale, shrink, k, counts, columns, values
):
    """Write the best entries of ``len(counts)`` rows one behind the other and return how many there are."""
    n = len(column_scale)
    sums, met, keys = np.zeros(n, np.float32), np.empty(n, np.int32), np.empty(n, np.int64)
    kept = 0
    for r in range(len(counts)):
        i, n_met, n_keys = first + r, 0, 0
        for e in range(indptr[i], indptr[i + 1]):
            for f in range(right_indptr[indices[e]], right_indptr[indices[e] + 1]):
                j, product = right_indices[f], data[e] * right_data[f]
                if product > 0:
                    if sums[j] == 0:
                        met[n_met] = j
                        n_met += 1
                    sums[j] += product
        for t in range(n_met):
            j = met[t]
            value = sums[j] / (row_scale[i] * column_scale[j] + shrink)
            sums[j] = 0
            if j != i and value > 0:
                keys[n_keys] = key_of(value, j)
                n_keys += 1
        if n_keys > k:
            keep_largest(keys[:n_keys], k)
            n_keys = k
        for t in range(n_keys):
            columns[kept + t], values[kept + t] = ~keys[t] & 0x7FFFFFFF, score_of(keys[t])
        counts[r] = n_keys
        kept += n_keys
    return kept


def best_of_columns(matrix: sp.csr_array, k: int, *, executor: Executor) -> sp.csr_array:
    """Return a sparse matrix with the `k` largest entries of each column; of equal ones those in smaller rows.

    Notes
    -----
    Cost: two transpositions and a selection among the entries of each longer column. Memory: two copies of the matrix.
    """
    by_column = sp.csr_array(matrix.T.tocsr())
    indptr = by_column.indptr.astype(np.int64, copy=False)
    kept = np.ones(by_column.nnz, np.bool_)

    def one(bound: tuple[int, int]) -> None:
        _mark_largest(indptr[bound[0] : bound[1] + 1], by_column.indices, by_column.data, k, kept)

    executor.map(one, balanced_blocks(indptr, per_entry=8, per_row=1))
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[indptr]
    smaller = sp.csc_array((by_column.data[kept], by_column.indices[kept], bounds), shape=matrix.shape)
    return sp.csr_array(smaller.tocsr())


@compiled_exactly
def _mark_largest(indptr: I64, indices: I32, data: F32, k: int, kept: Bool) -> None:
    """Set `kept` to false for entries that are not among the k largest of their row."""
    for r in range(len(indptr) - 1):
        first, last = indptr[r], indptr[r + 1]
        if last - first > k:
            keys = np.empty(last - first, np.int64)
            for t in range(first, last):
                keys[t - first] = key_of(data[t], indices[t])
            keep_largest(keys, k)
            least = keys[:k].min()
            for t in range(first, last):
                kept[t] = key_of(data[t], indices[t]) >= least
