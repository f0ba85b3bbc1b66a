"""iALS++: block after block of coordinates is set to its minimum, the others held; for many rows at once.

For each row, with the predictions s = Y x of its n entries at hand, a block b of k coordinates takes one Newton step,
exact since the objective is quadratic (Y_b the columns of the block, D the diagonal of the system of all pairs in the
eigenbasis of the Gramian, so that blocks meet only in the entries):

    (D_b + Y_b' Q Y_b) step = Y_b' (l - Q s) - D_b x_b,        x_b += step,   s += Y_b step.

A row with fewer entries than a block has coordinates is solved exactly, by its dual system, which costs less.

Cost of a sweep: ``n d k + d k^2 / 3`` multiply-adds a row, against ``n d^2 + d^3 / 3`` of the exact solution.

Source: Rendle, Krichene, Zhang, Koren, "iALS++: speeding up matrix factorization with subspace optimization", 2021
(arXiv:2110.14044), algorithm 1.
"""

import numpy as np

from recvec.kernels.compiled import compiled, compiled_into_callers
from recvec.kernels.exact_rows import GATHERED, has_dual, solve_dual, solve_system


@compiled
def sweep_blocks(indptr, indices, quadratic, linear, fixed, spectrum, reg, d, size, x):
    """Improve x (b, width) by one sweep over blocks of `size` coordinates, for the rows that have entries.

    `fixed` is (m, width), of which the first `d` columns count. Raises LinAlgError where a system is not positive definite.
    """
    gathered, z, system = np.empty(GATHERED * size, np.float32), np.empty((size, d), np.float32), np.empty(size * size, np.float32)
    for u in range(len(x)):
        at, n, diagonal = slice(indptr[u], indptr[u + 1]), indptr[u + 1] - indptr[u], spectrum[:d] + reg[u]
        if n == 0:
            continue
        entries = (indices[at], quadratic[at], linear[at])
        if n < size and has_dual(quadratic[at], diagonal):
            x[u] = 0
            solve_dual(*entries, fixed, diagonal, z[:n], system[: n * n].reshape(n, n), x[u, :d])
        else:
            _sweep_row(*entries, fixed, diagonal, size, gathered, x[u, :d])


@compiled_into_callers
def _sweep_row(indices, quadratic, linear, fixed, diagonal, size, room, x):
    """Take one Newton step in each block of x (d,)."""
    scores = np.zeros(len(indices), np.float32)
    _add_scores(indices, fixed, 0, x, scores)
    for begin in range(0, len(x), size):
        at = slice(begin, min(len(x), begin + size))
        step = -diagonal[at] * x[at]
        y = room[: GATHERED * len(step)].reshape(GATHERED, len(step))
        system = _block_system(indices, quadratic, linear, fixed, scores, begin, diagonal[at], y, step)
        solve_system(system, step)
        x[at] += step
        if at.stop < len(x):
            _add_scores(indices, fixed, begin, step, scores)


@compiled_into_callers
def _add_scores(indices, fixed, begin, step, scores):
    """Add to the score of each entry what these coordinates give."""
    for e in range(len(indices)):
        i, s = np.uint64(indices[e]), np.float32(0)
        for a in range(len(step)):
            s += step[a] * fixed[i, begin + a]
        scores[e] += s


@compiled_into_callers
def _block_system(indices, quadratic, linear, fixed, scores, begin, diagonal, z, step):
    """Return the system (k, k) of a block of coordinates, and add its right side to `step`; z (GATHERED, k) is room."""
    k = len(step)
    system = np.diag(diagonal)
    for first in range(0, len(indices), GATHERED):
        size = min(GATHERED, len(indices) - first)
        y, positive = z[:size], True
        for e in range(size):
            i, q = np.uint64(indices[first + e]), quadratic[first + e]
            w, root = linear[first + e] - q * scores[first + e], np.sqrt(abs(q))
            positive &= q >= 0
            for a in range(k):
                y[e, a] = root * fixed[i, begin + a]
                step[a] += w * fixed[i, begin + a]
        if positive:
            system += np.dot(y.T, y)
        else:
            system += np.dot(y.T, np.sign(quadratic[first : first + size]).reshape(size, 1) * y)
    return system
