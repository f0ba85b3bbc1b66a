"""Exact top-k by dot product, without ever holding users x items.

A block of queries times a block of items is one single-threaded BLAS product into a buffer that stays in the
cache; a scan (see `recvec.kernels.shortlist`) then keeps what may still enter each query's list. Exclusions are
looked up only for scores above a list's threshold.

Blocks depend on the shapes alone, never on the executor, and entries are totally ordered (score descending, then
the smaller row), so the answer has the same bits for any number of threads.

Cost: ``2 B n d`` operations in the product, ``B n`` comparisons, about ``B k log(n / k)`` entries kept for a time.
"""

from collections.abc import Callable

import numpy as np

from recvec.errors import ValueRangeError
from recvec.kernels import screening
from recvec.kernels.arguments import Lists, allowed_rows, check_matrix, checked_lists
from recvec.kernels.byte_tiles import TILE_ITEMS
from recvec.kernels.shortlist import empty_lists, largest, offer, read
from recvec.types import F32, I32, I64, Executor

QUERY_BLOCK = 512  # queries of a task: BLAS is 15 % slower at 256
BLOCK_SCORES = 1 << 17  # scores of a product, 512 x 256: half of a second-level cache of 1 MB
SPARE = 64  # a list has room for at least so many entries beyond k
TASK_KEYS = 1 << 18  # entries in the lists of a task: 2 MB, which halves the time at k = 1000
MIN_QUERIES = 16  # of a task, however long the lists
MAX_TASKS = 32  # few queries are spread over so many tasks at most, each with a span of the items
MIN_SPAN = 4096  # items
MIN_SPAN_WORK = 1 << 22  # multiplications of a task: below, starting a thread costs more than it saves

ScoreBlock = Callable[[F32, F32, F32], None]  # queries (b, d), items (m, d), scores (b, m) to write into


def top_k(
    queries: F32,
    items: F32,
    k: int,
    *,
    exclude: Lists | None = None,
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
    rows, indptr, indices = _checked(queries, items, k, exclude, candidates)
    if not screening.suits(len(queries), len(rows), k):
        return top_k_by(_dot, queries, items, k, exclude=exclude, candidates=candidates, executor=executor)
    screen = screening.Screen(queries, items, rows, executor)
    if not screen.holds:
        return top_k_by(_dot, queries, items, k, exclude=exclude, candidates=candidates, executor=executor)

    def best_keys(block: tuple[int, slice]) -> I64:
        return screen.best_keys(*block, k, indptr, indices)

    spans = _spans(len(queries), screen.block, len(rows), items.shape[1], TILE_ITEMS)
    return _by_blocks(best_keys, len(queries), screen.block, spans, k, k, executor)


def _dot(queries: F32, items: F32, scores: F32) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # infinite and NaN scores have their place in a list
        np.matmul(queries, items.T, out=scores)


def top_k_by(
    score_block: ScoreBlock,
    queries: F32,
    items: F32,
    k: int,
    *,
    exclude: Lists | None = None,
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
    rows, indptr, indices = _checked(queries, items, k, exclude, candidates)
    allowed = items if candidates is None else items[rows]
    width = min(k, len(rows))
    capacity, size = _sizes(width, len(rows))

    def best_keys(block: tuple[int, slice]) -> I64:
        """Return the keys of one block of queries over one span of items."""
        first, span = block
        asked = queries[first : first + size]
        keys, counts, thresholds = empty_lists(len(asked), capacity)
        n_at_once = max(1, BLOCK_SCORES // len(asked))
        buffer = np.empty(BLOCK_SCORES, np.float32)
        for start in range(span.start, span.stop, n_at_once):
            part = slice(start, min(start + n_at_once, span.stop))
            scores = buffer[: len(asked) * (part.stop - start)].reshape(len(asked), -1)
            score_block(asked, allowed[part], scores)
            offer(scores, rows[part], width, keys, counts, thresholds, indptr[first:], indices)
        return largest(keys, width)

    return _by_blocks(best_keys, len(queries), size, _spans(len(queries), size, len(rows), items.shape[1]), k, width, executor)


def top_k_of_scores(
    scores: F32,
    k: int,
    *,
    exclude: Lists | None = None,
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
    check_matrix("scores", scores)
    _check_k(k)
    n_queries, n_items = scores.shape
    indptr, indices = checked_lists("exclude", exclude, n_queries)
    allowed = allowed_rows(candidates, n_items)
    width = min(k, len(allowed))
    capacity, size = _sizes(width, n_items)

    def best_keys(block: slice) -> I64:
        given = scores[block] if candidates is None else scores[block].take(allowed, axis=1)
        keys, counts, thresholds = empty_lists(len(given), capacity)
        offer(given, allowed, width, keys, counts, thresholds, indptr[block.start :], indices)
        return largest(keys, width)

    blocks = [slice(s, s + size) for s in range(0, n_queries, size)]
    parts = executor.map(best_keys, blocks) if executor is not None else [best_keys(b) for b in blocks]
    return _assemble(parts, n_queries, k)


def _sizes(width: int, n_items: int) -> tuple[int, int]:
    """Return the room of a list and the queries of a task: fewer where the lists are long."""
    capacity = max(1, min(width + max(width, SPARE), n_items))
    return capacity, max(MIN_QUERIES, min(QUERY_BLOCK, TASK_KEYS // capacity))


def _spans(n_queries: int, size: int, n_items: int, d: int, tile: int = 1) -> list[slice]:
    """Cut the items, or tiles of them, into spans where the queries alone give too few tasks; shapes alone decide."""
    n_blocks, n_tiles = max(1, -(-n_queries // size)), -(-n_items // tile)
    work = min(n_queries, size) * n_items * d
    n_spans = max(1, min(MAX_TASKS // n_blocks, work // MIN_SPAN_WORK, n_items // MIN_SPAN))
    step = max(1, -(-n_tiles // n_spans))
    return [slice(start, min(start + step, n_tiles)) for start in range(0, max(n_tiles, 1), step)]


def _by_blocks(
    best_keys: Callable[[tuple[int, slice]], I64],
    n_queries: int,
    size: int,
    spans: list[slice],
    k: int,
    width: int,
    executor: Executor,
) -> tuple[I32, F32]:
    """List the best of every block of queries and span of items, and merge the spans."""
    parts = executor.map(best_keys, [(q, span) for q in range(0, n_queries, size) for span in spans])
    groups = [parts[p : p + len(spans)] for p in range(0, len(parts), len(spans))]
    return _assemble([g[0] if len(g) == 1 else largest(np.hstack(g), width) for g in groups], n_queries, k)


def _assemble(parts: list[I64], n_queries: int, k: int) -> tuple[I32, F32]:
    """Put the blocks' keys below each other, read them, and pad them to `k` columns."""
    rows = np.full((n_queries, k), -1, np.int32)
    scores = np.full((n_queries, k), -np.inf, np.float32)
    start = 0
    for keys in parts:
        stop, width = start + len(keys), keys.shape[1]
        read(keys, rows[start:stop, :width], scores[start:stop, :width])
        start = stop
    return rows, scores


def _checked(queries: F32, items: F32, k: int, exclude: Lists | None, candidates: I32 | None) -> tuple[I32, I64, I32]:
    """Refuse what does not fit together; return the allowed rows and the excluded lists."""
    check_matrix("queries", queries)
    check_matrix("items", items)
    if queries.shape[1] != items.shape[1]:
        raise ValueRangeError(f"queries have {queries.shape[1]} columns; allowed: {items.shape[1]}, as the items have")
    _check_k(k)
    return allowed_rows(candidates, len(items)), *checked_lists("exclude", exclude, len(queries))


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueRangeError(f"k is {k!r}; allowed: an integer of at least 1")
