"""Mini-batches of sparse rows, each kept twice: by row for the scores, and by feature for the gradients.

Rows are dealt into batches once, at random; epochs take the batches in random order. Within a batch every feature knows its
entries, so that its gradient is a sum in a fixed order and no two threads add to the same number.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from recvec.kernels.blocks import even_blocks
from recvec.kernels.compiled import compiled_exactly
from recvec.types import F32, I32, I64, Executor

TASKS = 8  # that the rows, and the features, of a batch are cut into, at most
TASK_COST = 4096  # entries below which a task of its own does not pay
EACH = 32  # entries that a row or a feature costs beside its own


class Rows(NamedTuple):
    """Rows of all batches, one batch after the other.

    Parameters
    ----------
    indptr : I64, shape (n + 1,)
        Where each row begins.
    features, values : I32 and F32, shape (nnz,)
        What stands in the rows.
    slot_ptr : I64, shape (n + 1,)
        Where the groups of each row begin; empty where a machine has no field weights.
    slot_groups : I32
        The groups that occur in each row.
    slots : I32, shape (nnz,)
        Place of an entry's group among those of its row.
    """

    indptr: I64
    features: I32
    values: F32
    slot_ptr: I64
    slot_groups: I32
    slots: I32


class Columns(NamedTuple):
    """The same entries by feature, batch after batch.

    Parameters
    ----------
    indptr : I64, shape (n_columns + 1,)
        Where the entries of a feature in a batch begin.
    features : I32, shape (n_columns,)
        Which feature.
    rows, slots : I32, shape (nnz,)
        Row of an entry within the batch, and its group's place among the groups of all rows of the batch.
    values : F32, shape (nnz,)
        Values.
    """

    indptr: I64
    features: I32
    rows: I32
    slots: I32
    values: F32


class Batches(NamedTuple):
    """Rows dealt into batches.

    Parameters
    ----------
    order : I64, shape (n,)
        The row of the given matrix at each place.
    rows : Rows
        By row.
    columns : Columns
        By feature.
    bounds : I64, shape (n_batches + 1,)
        First row of each batch.
    row_cuts, column_cuts : I64, shape (n_batches, TASKS + 1)
        Rows and columns of each task; a task may be empty.
    """

    order: I64
    rows: Rows
    columns: Columns
    bounds: I64
    row_cuts: I64
    column_cuts: I64


def by_row(matrix: sp.csr_array, groups: I32 | None) -> Rows:
    """Return a matrix as the kernels take it; with the `groups` of features, (F,), each row's groups as well."""
    indptr, features = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False)
    values = matrix.data.astype(np.float32, copy=False)
    if groups is None:
        return Rows(indptr, features, values, np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
    return Rows(indptr, features, values, *_slotted(indptr, features, groups, int(groups.max(initial=-1)) + 1))


@compiled_exactly
def _slotted(indptr, features, groups, n_groups):
    """Return where each row's groups begin, those groups, and the place of each entry's."""
    n = len(indptr) - 1
    starts, found, slots = np.zeros(n + 1, np.int64), np.empty(len(features), np.int32), np.empty(len(features), np.int32)
    place, owner = np.empty(n_groups, np.int32), np.full(n_groups, -1, np.int64)
    for row in range(n):
        many = 0
        for e in range(indptr[row], indptr[row + 1]):
            group = groups[features[e]]
            if owner[group] != row:
                owner[group], place[group] = row, many
                found[starts[row] + many] = group
                many += 1
            slots[e] = place[group]
        starts[row + 1] = starts[row] + many
    return starts, found[: starts[n]].copy(), slots


def deal(matrix: sp.csr_array, groups: I32 | None, batch_size: int, rng: np.random.Generator, executor: Executor) -> Batches:
    """Deal the rows of a matrix into batches of about equal size.

    Parameters
    ----------
    matrix : csr_array, float32, shape (n, F)
        n at least 1.
    groups : I32, shape (F,), optional
        For field weights.
    batch_size : int
        Rows of a batch, at most.
    rng : numpy.random.Generator
        Draws the order of rows.
    executor : Executor
        Runs batches.

    Notes
    -----
    Memory: 20 bytes an entry, 4 more with field weights. Cost: linear but for the sort of the features of each batch.
    """
    n = matrix.shape[0]
    order = rng.permutation(n)
    rows = by_row(sp.csr_array(matrix[order]), groups)
    n_batches = -(-n // batch_size)
    bounds = n * np.arange(n_batches + 1, dtype=np.int64) // n_batches
    columns = _by_feature(rows, bounds, matrix.shape[1], executor)
    starts = np.searchsorted(columns.indptr, rows.indptr[bounds])
    row_cuts = _cuts(rows.indptr, bounds)
    return Batches(order, rows, columns, bounds, row_cuts, _cuts(columns.indptr, starts))


def _by_feature(rows: Rows, bounds: I64, n_features: int, executor: Executor) -> Columns:
    nnz = len(rows.features)
    places, values = np.empty(nnz, np.int32), np.empty(nnz, np.float32)
    slots = np.empty(nnz, np.int32) if len(rows.slot_ptr) else places

    def turn(part: slice) -> list[tuple[I32, I32]]:
        counts = np.zeros(n_features, np.int32)
        pairs = zip(bounds[part], bounds[1:][part], strict=True)
        return [_turned(begin, end, rows, counts, places, slots, values) for begin, end in pairs]

    parts = executor.map(turn, even_blocks(len(bounds) - 1, max(1, (len(bounds) - 1) // 32)))
    features = np.concatenate([part[0] for parts_of in parts for part in parts_of] or [np.empty(0, np.int32)])
    counts = np.concatenate([part[1] for parts_of in parts for part in parts_of] or [np.empty(0, np.int32)])
    indptr = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return Columns(indptr, features, places, slots, values)


@compiled_exactly
def _turned(begin, end, rows, counts, places, slots, values):
    """Sort the entries of a batch by feature, and return its features, ascending, and how many entries each has."""
    first, last = rows.indptr[begin], rows.indptr[end]
    features, many = np.empty(min(last - first, len(counts)), np.int32), 0
    for e in range(first, last):
        if counts[rows.features[e]] == 0:
            features[many] = rows.features[e]
            many += 1
        counts[rows.features[e]] += 1
    features = np.sort(features[:many])
    sizes, at = np.empty(many, np.int32), first
    for c in range(len(features)):
        sizes[c] = counts[features[c]]
        counts[features[c]] = at - first
        at += sizes[c]
    slotted = len(rows.slot_ptr) > 0
    for row in range(begin, end):
        for e in range(rows.indptr[row], rows.indptr[row + 1]):
            to = first + counts[rows.features[e]]
            counts[rows.features[e]] += 1
            places[to], values[to] = row - begin, rows.values[e]
            if slotted:
                slots[to] = rows.slot_ptr[row] - rows.slot_ptr[begin] + rows.slots[e]
    for c in range(len(features)):
        counts[features[c]] = 0
    return features, sizes


def _cuts(indptr: I64, starts: I64) -> I64:
    """Cut the rows ``starts[b] .. starts[b + 1]`` of each batch into `TASKS` ranges of about equal cost."""
    cost = indptr + EACH * np.arange(len(indptr))
    begins = cost[starts]
    used = np.clip(np.diff(begins) // TASK_COST, 1, TASKS)[:, None]
    shares = np.minimum(np.arange(TASKS + 1)[None, :], used) / used
    aims = begins[:-1, None] + shares * np.diff(begins)[:, None]
    cuts = np.searchsorted(cost, aims.ravel(), side="left").reshape(aims.shape)
    return np.where(shares >= 1, starts[1:, None], np.clip(cuts, starts[:-1, None], starts[1:, None])).astype(np.int64)
