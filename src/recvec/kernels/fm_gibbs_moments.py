"""What the rows of a block know of their observations: moments of the vectors that the other blocks bring.

Row r has observations e, each with the sum q_e (width,) of the vectors of its rows in the other blocks, and what is left of its
target, t_e, when the score without this block is taken away. The score is ``own_r + P_r . q_e`` more, so that

    n,  T = sum t,  tt = sum t^2,  S = sum q,  B = sum t q,  A = sum q q'

are all that learning the block needs: no feature of it looks at an observation again. Cost: ``n width^2`` multiply-adds.

Source: Rendle, "Scaling factorization machines to relational data", VLDB 2013, who keeps such sums for each coordinate.
"""

import numpy as np

from recvec.kernels.compiled import compiled, compiled_exactly, compiled_into_callers
from recvec.kernels.simd import LANES, add_outer, add_scaled, borrowed, dot, load, store

TILE = 128  # observations whose vectors stay in the first cache
EXTRA = 2  # rows behind the matrix A: B and S
COUNT, SUM, SQUARES = 0, 1, 2  # columns of the scalars
PANEL = (0,) * LANES  # vectors that hold a panel of A: 16 rows, 16 columns


@compiled_exactly
def aligned(n, width):
    """Return zeros, float32 (n, width), whose rows begin on cache lines where the width is a multiple of `LANES`."""
    room = np.zeros(n * width + LANES, np.float32)
    first = (-(room.ctypes.data // 4)) % LANES
    return room[first : first + n * width].reshape(n, width)


@compiled_exactly
def sorted_by(keys, n, order):
    """Return `order` (m,) brought into the order of ``keys[order]``, numbers below n, equal ones as they were; a counting sort."""
    place = np.zeros(n + 1, np.int64)
    for key in keys:
        place[key + 1] += 1
    for k in range(n):
        place[k + 1] += place[k]
    answer = np.empty_like(order)
    for e in order:
        answer[place[keys[e]]] = e
        place[keys[e]] += 1
    return answer


@compiled_into_callers
def gather(chunks, observations, known, bias, first, moments, scalars):
    """Fill the moments of a range of rows.

    Parameters
    ----------
    chunks : tuple of int
        ``(0,) * (width / LANES)``.
    observations : tuple
        ``indptr`` int64 (n_rows + 1,), ``others`` int32 (n, blocks - 1), the row of `known` that each other block brings,
        and ``targets`` float32 (n,), all in the order of the block's rows.
    known : tuple
        ``vectors`` float32 (m, width) of the rows of all blocks, ``own`` float32 (m,), and ``half`` float32 (m,), half the
        square of each vector, read where there are three blocks or more.
    bias : float
        Of all observations.
    first : int
        The first row of the range.
    moments : float32 (rows * (width + EXTRA), width)
        Filled: A, B, S of each row.
    scalars : float64 (rows, 3)
        Filled: n, T and tt.
    """
    (indptr, others, targets), known = borrowed(observations), borrowed(known)
    width, panels = len(chunks) * LANES, len(chunks)
    tile, sums = aligned(TILE, width), aligned(panels * panels, LANES * LANES)
    for row in range(len(scalars)):
        begin, end = indptr[first + row], indptr[first + row + 1]
        at = row * (width + EXTRA)
        moments[at : at + width + EXTRA] = 0
        sums[:] = 0
        total = squares = 0.0
        for start in range(begin, end, TILE):
            size = min(TILE, end - start)
            part = _fill(chunks, tile, others[start : start + size], targets[start : start + size], known, bias, moments, at + width)
            total += part[0]
            squares += part[1]
            _add_products(tile, size, panels, sums)
        _write(sums, panels, moments, at)
        scalars[row, COUNT], scalars[row, SUM], scalars[row, SQUARES] = end - begin, total, squares


@compiled_into_callers
def _fill(chunks, tile, others, targets, known, bias, moments, at):
    """Write q of some observations to the tile, add to B and S at row `at`, and return the sums of t and of its square."""
    vectors, own, half = known
    summed_t, summed = load(chunks, moments, at), load(chunks, moments, at + 1)
    zero = load(chunks, aligned(1, tile.shape[1]), 0)
    total, squares, count = 0.0, 0.0, others.shape[1]
    for e in range(len(targets)):
        q, rest = zero, np.float32(bias)
        for j in range(count):
            i = np.int64(others[e, j])
            q = add_scaled(q, np.float32(1), load(chunks, vectors, i))
            rest += own[i]
            if count > 1:
                rest -= half[i]
        if count > 1:
            rest += np.float32(0.5) * dot(q, q)
        t = targets[e] - rest
        summed_t, summed = add_scaled(summed_t, t, q), add_scaled(summed, np.float32(1), q)
        total += t
        squares += t * t
        store(tile, e, q)
    store(moments, at, summed_t)
    store(moments, at + 1, summed)
    return total, squares


@compiled_into_callers
def _add_products(tile, size, panels, sums):
    """Add ``q q'`` of the first `size` rows of the tile to the panels of A."""
    flat, narrow = tile.reshape(-1), tile.reshape(-1, LANES)
    width = tile.shape[1]
    for p in range(panels):
        for c in range(panels):
            total = load(PANEL, sums, p * panels + c)
            for e in range(size):
                total = add_outer(total, flat, e * width + p * LANES, 1, load((0,), narrow, e * panels + c))
            store(sums, p * panels + c, total)


@compiled_into_callers
def _write(sums, panels, moments, at):
    """Write the panels of A as rows."""
    for p in range(panels):
        for c in range(panels):
            for k in range(LANES):
                for lane in range(LANES):
                    moments[at + p * LANES + k, c * LANES + lane] = sums[p * panels + c, k * LANES + lane]


@compiled
def write_half_squares(chunks, vectors, half):
    """Fill `half` (m,) with half the square of each vector."""
    for i in range(len(half)):
        row = load(chunks, vectors, i)
        half[i] = np.float32(0.5) * dot(row, row)
