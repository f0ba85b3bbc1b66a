"""Nearest neighbours by cosine, dot product or euclidean distance, as blocked exact top-k.

::

    dot        q . v
    cosine     q . v / (|q| |v|), 0 where either is the zero vector
    euclidean  -|q - v|

Cosine is one BLAS product a block, divided by the norms inside the block: no copy of the vectors is made.
Euclidean sums the squared differences directly. The cheaper ``|q|^2 - 2 q.v + |v|^2`` cancels: it puts a vector
at a distance of about ``|v| sqrt(1e-7)`` from its own duplicate, and in the wrong order near it.

Cost: ``2 B n d`` operations for dot and cosine, ``3 B n d`` at a lower rate for euclidean (about twice as long).
"""

from typing import Literal, get_args

import numpy as np

from recvec.errors import ValueRangeError
from recvec.kernels.arguments import Lists
from recvec.kernels.compiled import compiled, compiled_exactly
from recvec.kernels.topk import ScoreBlock, top_k, top_k_by
from recvec.types import F32, F64, I32, Executor

Metric = Literal["cosine", "dot", "euclidean"]
TILE = 32  # vectors


def nearest(
    queries: F32,
    vectors: F32,
    k: int,
    *,
    metric: Metric = "cosine",
    exclude: Lists | None = None,
    candidates: I32 | None = None,
    executor: Executor,
) -> tuple[I32, F32]:
    """Return the `k` vectors most similar to each query; larger is always better.

    Parameters
    ----------
    queries : float32 array, shape (B, d)
        C-contiguous.
    vectors : float32 array, shape (n, d)
        C-contiguous. A query that is one of them finds itself, unless `exclude` names it.
    k : int
        Length of each list, at least 1; it may exceed n.
    metric : {"cosine", "dot", "euclidean"}
        Cosine lies within -1 ... 1, and a zero vector has cosine 0 with everything. Euclidean is minus the
        distance, summed directly, so that duplicates have exactly 0.
    exclude : pair of integer arrays, optional
        ``(indptr, indices)`` of a CSR matrix with B rows and sorted columns: what must not appear.
    candidates : int32 array, optional
        The only rows that may appear, distinct, in any order.
    executor : Executor
        Runs the blocks.

    Returns
    -------
    rows : int32 array, shape (B, k)
        Rows of `vectors`, nearest first, equal similarities by ascending row; -1 where fewer than `k` remain.
    similarities : float32 array, shape (B, k)
        -inf where the row is -1.

    Raises
    ------
    ValueRangeError
        Where the metric is unknown, or an argument has the wrong shape, type, layout or range.
    """
    if metric == "dot":
        return top_k(queries, vectors, k, exclude=exclude, candidates=candidates, executor=executor)
    score_blocks: dict[str, ScoreBlock] = {"cosine": _cosine, "euclidean": _minus_distance}
    if metric not in score_blocks:
        raise ValueRangeError(f"metric is {metric!r}; allowed: {', '.join(get_args(Metric))}")
    score_block = score_blocks[metric]
    return top_k_by(score_block, queries, vectors, k, exclude=exclude, candidates=candidates, executor=executor)


def _cosine(queries: F32, vectors: F32, scores: F32) -> None:
    units = np.empty_like(queries)
    _scale_rows(queries, _inverse_norms(queries), units)
    np.matmul(units, vectors.T, out=scores)
    _scale_columns(scores, _inverse_norms(vectors))


@compiled
def _inverse_norms(vectors: F32) -> F64:
    """Return ``1 / |v|`` of each row, 0 for a zero vector; float64, because squares of float32 may overflow."""
    n, d = vectors.shape
    inverse = np.empty(n, np.float64)
    for i in range(n):
        square = 0.0
        for t in range(d):
            square += np.float64(vectors[i, t]) ** 2
        inverse[i] = 1.0 / np.sqrt(square) if square != 0.0 else 0.0  # NaN stays NaN
    return inverse


@compiled_exactly
def _scale_rows(vectors: F32, factors: F64, scaled: F32) -> None:
    n, d = vectors.shape
    for i in range(n):
        for t in range(d):
            scaled[i, t] = vectors[i, t] * factors[i]


@compiled_exactly
def _scale_columns(scores: F32, factors: F64) -> None:
    """Turn products into cosines, in place; rounding may not carry one beyond 1."""
    n, m = scores.shape
    for q in range(n):
        for j in range(m):
            cosine = scores[q, j] * factors[j]
            scores[q, j] = 1.0 if cosine > 1.0 else (-1.0 if cosine < -1.0 else cosine)


@compiled
def _minus_distance(queries: F32, vectors: F32, scores: F32) -> None:
    """Write ``-|q - v|``; each tile of vectors stays in the first-level cache for all queries."""
    n, d = queries.shape
    m = len(vectors)
    for tile in range(0, m, TILE):
        for q in range(n):
            query = queries[q]
            for j in range(tile, min(tile + TILE, m), 4):
                # Four at a time share the loads of the query; the last four may repeat the last vector.
                j1, j2, j3 = min(j + 1, m - 1), min(j + 2, m - 1), min(j + 3, m - 1)
                v0, v1, v2, v3 = vectors[j], vectors[j1], vectors[j2], vectors[j3]
                s0 = s1 = s2 = s3 = np.float32(0.0)
                for t in range(d):
                    s0 += (query[t] - v0[t]) ** 2
                    s1 += (query[t] - v1[t]) ** 2
                    s2 += (query[t] - v2[t]) ** 2
                    s3 += (query[t] - v3[t]) ** 2
                scores[q, j] = np.float32(0.0) - np.sqrt(s0)
                scores[q, j1] = np.float32(0.0) - np.sqrt(s1)
                scores[q, j2] = np.float32(0.0) - np.sqrt(s2)
                scores[q, j3] = np.float32(0.0) - np.sqrt(s3)
