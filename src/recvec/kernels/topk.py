"""Exact top-k by dot product, without ever holding users x items.

A block of queries times a block of items is one single-threaded BLAS product into a buffer that stays in the
cache; a scan then offers the scores to one list per query. A list is a heap whose root is its worst entry, so
that root is the threshold: most chunks of scores hold nothing above it and cost one vectorised comparison.
Exclusions are looked up only for entries above the threshold.

Blocks depend on the shapes alone, never on the executor, and lists are totally ordered (score descending, then
the smaller row), so the answer has the same bits for any number of threads.

Cost: ``2 B n d`` operations in the product, ``B n`` comparisons, about ``B k log(n / k)`` heap insertions.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

from recvec.errors import ValueRangeError
from recvec.types import F32, I32, I64, Array, Executor

QUERY_BLOCK = 256  # queries per task: enough for BLAS to run at full speed
ITEM_BLOCK = 1024  # items per product: 256 x 1024 float32 scores are 1 MB, the size of a second-level cache
CHUNK = 64  # scores compared with the threshold at once
MAX_SPANS = 16  # a few queries are spread over so many spans of items at most
MIN_SPAN = 4096  # items
MIN_SPAN_WORK = 1 << 24  # multiplications per task: below, starting a thread costs more than it saves

Exclude = tuple[Array, Array]
ScoreBlock = Callable[[F32, F32, F32], None]  # queries (b, d), items (m, d), scores (b, m) to write into


def top_k(
    queries: F32,
    items: F32,
    k: int,
    *,
    exclude: Exclude | None = None,
    candidates: I32 | None = None,
    executor: Executor,
) -> tuple[I32, F32]:
    """Return the `k` items of largest dot product with each query.

    Parameters
    ----------
    queries : float32 array, shape (B, d)
        C-contiguous; B may be 1.
    items : float32 array, shape (n, d)
        C-contiguous. It is never copied as a whole, except the rows named by `candidates`.
    k : int
        Length of each list, at least 1; it may exceed n.
    exclude : pair of integer arrays, optional
        ``(indptr, indices)`` of a CSR matrix with B rows and sorted columns: the item rows that must not appear
        in each query's list.
    candidates : int32 array, optional
        The only item rows that may appear, distinct, in any order.
    executor : Executor
        Runs the blocks.

    Returns
    -------
    rows : int32 array, shape (B, k)
        Catalogue rows by descending score, equal scores by ascending row; -1 where fewer than `k` items remain.
    scores : float32 array, shape (B, k)
        Their scores; -inf where the row is -1. An item whose score is NaN or -inf counts as not available.

    Raises
    ------
    ValueRangeError
        Where an argument has the wrong shape, type, layout or range.

    Notes
    -----
    A batch and its queries one by one agree up to float32 rounding of the product (about 1e-6 relative), because
    BLAS sums in another order for other shapes.
    """
    return top_k_by(_dot, queries, items, k, exclude=exclude, candidates=candidates, executor=executor)


def _dot(queries: F32, items: F32, scores: F32) -> None:
    np.matmul(queries, items.T, out=scores)


def top_k_by(
    score_block: ScoreBlock,
    queries: F32,
    items: F32,
    k: int,
    *,
    exclude: Exclude | None = None,
    candidates: I32 | None = None,
    executor: Executor,
) -> tuple[I32, F32]:
    """Return the `k` items of largest score with each query, for any score of two vectors.

    Parameters
    ----------
    score_block : callable
        ``score_block(queries, items, scores)`` writes the scores of a block, larger is better, into a
        C-contiguous array; it runs in several threads at once.
    queries, items, k, exclude, candidates, executor
        As for `top_k`.

    Returns
    -------
    rows : int32 array, shape (B, k)
    scores : float32 array, shape (B, k)
        As for `top_k`.

    Raises
    ------
    ValueRangeError
        Where an argument has the wrong shape, type, layout or range.
    """
    _check_matrix("queries", queries)
    _check_matrix("items", items)
    if queries.shape[1] != items.shape[1]:
        raise ValueRangeError(f"queries have {queries.shape[1]} columns; allowed: {items.shape[1]}, as the items have")
    _check_k(k)
    indptr, indices = _exclusions(exclude, len(queries))
    rows = _allowed_rows(candidates, len(items))
    allowed = items if candidates is None else items[rows]
    width = min(k, len(rows))

    def lists(block: tuple[int, slice]) -> tuple[I32, F32]:
        """Return the sorted lists of one block of queries over one span of items."""
        first, span = block
        asked = queries[first : first + QUERY_BLOCK]
        listed, best = _empty_lists(len(asked), width)
        buffer = np.empty(len(asked) * ITEM_BLOCK, np.float32)
        for start in range(span.start, span.stop, ITEM_BLOCK):
            part = slice(start, min(start + ITEM_BLOCK, span.stop))
            scores = buffer[: len(asked) * (part.stop - start)].reshape(len(asked), -1)
            score_block(asked, allowed[part], scores)
            _offer(scores, rows[part], listed, best, indptr[first:], indices)
        _sort_lists(listed, best)
        return listed, best

    spans = _spans(len(queries), len(rows), items.shape[1])
    parts = executor.map(lists, [(q, span) for q in range(0, len(queries), QUERY_BLOCK) for span in spans])
    merged = [merge_top_k(parts[p : p + len(spans)], width) for p in range(0, len(parts), len(spans))]
    return _assemble(merged, len(queries), k)


def top_k_of_scores(
    scores: F32,
    k: int,
    *,
    exclude: Exclude | None = None,
    candidates: I32 | None = None,
    executor: Executor | None = None,
) -> tuple[I32, F32]:
    """Return the `k` best columns of each row of a dense block of scores.

    Parameters
    ----------
    scores : float32 array, shape (B, n)
        C-contiguous; higher is better. NaN and -inf mean: not available.
    k, exclude, candidates
        As for `top_k`.
    executor : Executor, optional
        Runs blocks of rows; without one the calling thread does it all, as it must inside another block.

    Returns
    -------
    rows : int32 array, shape (B, k)
    scores : float32 array, shape (B, k)
        As for `top_k`.

    Raises
    ------
    ValueRangeError
        Where an argument has the wrong shape, type, layout or range.
    """
    _check_matrix("scores", scores)
    _check_k(k)
    n_queries, n_items = scores.shape
    indptr, indices = _exclusions(exclude, n_queries)
    allowed = _allowed_rows(candidates, n_items)

    def block_lists(block: slice) -> tuple[I32, F32]:
        given = scores[block] if candidates is None else scores[block][:, allowed]
        rows, best = _empty_lists(len(given), min(k, len(allowed)))
        _offer(given, allowed, rows, best, indptr[block.start :], indices)
        _sort_lists(rows, best)
        return rows, best

    blocks = [slice(s, s + QUERY_BLOCK) for s in range(0, n_queries, QUERY_BLOCK)]
    parts = executor.map(block_lists, blocks) if executor is not None else [block_lists(b) for b in blocks]
    return _assemble(parts, n_queries, k)


def merge_top_k(parts: list[tuple[I32, F32]], k: int) -> tuple[I32, F32]:
    """Merge lists over disjoint sets of items into the `k` best of all.

    Parameters
    ----------
    parts : list of (rows, scores), each of shape (B, any)
        Answers of `top_k` for the same queries.
    k : int
        Length of the merged lists; at most the sum of the parts' lengths.

    Returns
    -------
    rows : int32 array, shape (B, k)
    scores : float32 array, shape (B, k)
    """
    if len(parts) == 1:
        return parts[0][0][:, :k], parts[0][1][:, :k]
    rows = np.concatenate([r for r, _ in parts], axis=1)
    scores = np.concatenate([s for _, s in parts], axis=1)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _empty_lists(n_queries: int, k: int) -> tuple[I32, F32]:
    return np.full((n_queries, k), -1, np.int32), np.full((n_queries, k), -np.inf, np.float32)


def _spans(n_queries: int, n_items: int, d: int) -> list[slice]:
    """Cut the items into spans where the queries alone give too few tasks; shapes alone decide."""
    n_blocks = -(-n_queries // QUERY_BLOCK)
    work = min(n_queries, QUERY_BLOCK) * n_items * d
    n_spans = max(1, min(MAX_SPANS // max(n_blocks, 1), work // MIN_SPAN_WORK, n_items // MIN_SPAN))
    size = max(1, -(-n_items // n_spans))
    return [slice(s, min(s + size, n_items)) for s in range(0, max(n_items, 1), size)]


def _assemble(parts: list[tuple[I32, F32]], n_queries: int, k: int) -> tuple[I32, F32]:
    """Put the blocks' lists below each other and pad them to `k` columns."""
    rows, scores = _empty_lists(n_queries, k)
    start = 0
    for part_rows, part_scores in parts:
        stop, width = start + len(part_rows), part_rows.shape[1]
        rows[start:stop, :width] = part_rows
        scores[start:stop, :width] = part_scores
        start = stop
    return rows, scores


# The scan -------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _offer(scores: F32, item_rows: I32, rows: I32, best: F32, indptr: I64, indices: I32) -> None:
    """Offer a block of scores (B, m), of items in ascending order, to the heaps `rows`, `best` (B, k)."""
    n_queries, m = scores.shape
    if rows.shape[1] == 0:
        return
    for q in range(n_queries):
        offered = scores[q]
        excluded = indices[indptr[q] : indptr[q + 1]]
        for start in range(0, m, CHUNK):
            stop = min(start + CHUNK, m)
            threshold = best[q, 0]
            n_above = 0
            for j in range(start, stop):
                n_above += offered[j] > threshold  # false for NaN
            if n_above == 0:
                continue
            for j in range(start, stop):
                # An equal score loses: its row is larger than every row seen before.
                if offered[j] > best[q, 0] and not _contains(excluded, item_rows[j]):
                    _replace_worst(rows[q], best[q], item_rows[j], offered[j], rows.shape[1])


@njit(cache=True, nogil=True)
def _contains(ascending: I32, row: int) -> bool:
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) >> 1
        if ascending[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low < len(ascending) and ascending[low] == row


@njit(cache=True, nogil=True)
def _replace_worst(rows: I32, best: F32, row: int, score: float, size: int) -> None:
    """Put an entry in the place of the root of the heap made of the first `size` entries."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and _worse(best[other], rows[other], best[child], rows[child]):
            child = other
        if not _worse(best[child], rows[child], score, row):
            break
        best[place] = best[child]
        rows[place] = rows[child]
        place = child
    best[place] = score
    rows[place] = row


@njit(cache=True, nogil=True)
def _worse(score: float, row: int, other_score: float, other_row: int) -> bool:
    return score < other_score or (score == other_score and row > other_row)


@njit(cache=True, nogil=True)
def _sort_lists(rows: I32, best: F32) -> None:
    """Turn each heap into a list with the best entry first (heap sort, in place)."""
    n_queries, k = rows.shape
    for q in range(n_queries):
        for last in range(k - 1, 0, -1):
            row, score = rows[q, last], best[q, last]
            rows[q, last], best[q, last] = rows[q, 0], best[q, 0]
            _replace_worst(rows[q], best[q], row, score, last)


# The door -------------------------------------------------------------------------------------------------------


def _check_matrix(name: str, matrix: Array) -> None:
    if not isinstance(matrix, np.ndarray) or matrix.dtype != np.float32 or matrix.ndim != 2:
        given = f"{matrix.dtype} with {matrix.ndim} axes" if isinstance(matrix, np.ndarray) else type(matrix).__name__
        raise ValueRangeError(f"{name} is {given}; allowed: a float32 array with 2 axes")
    if not matrix.flags.c_contiguous:
        raise ValueRangeError(f"{name} is not C-contiguous; use numpy.ascontiguousarray({name})")


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueRangeError(f"k is {k!r}; allowed: an integer of at least 1")


def _exclusions(exclude: Exclude | None, n_queries: int) -> tuple[I64, I32]:
    """Return checked ``(indptr, indices)``; unsorted columns would let excluded items through unseen."""
    if exclude is None:
        return np.zeros(n_queries + 1, np.int64), np.empty(0, np.int32)
    for name, array in zip(("indptr", "indices"), exclude, strict=True):
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueRangeError(f"{name} of exclude is no vector of integers; allowed: the arrays of a CSR matrix")
    indptr = np.ascontiguousarray(exclude[0], np.int64)
    indices = np.ascontiguousarray(exclude[1], np.int32)
    if len(indptr) != n_queries + 1:
        raise ValueRangeError(f"exclude has {len(indptr) - 1} rows; allowed: {n_queries}, one for each query")
    if indptr[0] < 0 or indptr[-1] > len(indices) or (np.diff(indptr) < 0).any():
        raise ValueRangeError(f"indptr of exclude does not ascend within 0 ... {len(indices)}, the number of indices")
    unsorted = _first_unsorted(indptr, indices)
    if unsorted >= 0:
        raise ValueRangeError(f"row {unsorted} of exclude is not sorted by column; use sort_indices() first")
    return indptr, indices


@njit(cache=True, nogil=True)
def _first_unsorted(indptr: I64, indices: I32) -> int:
    for q in range(len(indptr) - 1):
        for p in range(indptr[q] + 1, indptr[q + 1]):
            if indices[p] < indices[p - 1]:
                return q
    return -1


def _allowed_rows(candidates: I32 | None, n_items: int) -> I32:
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
