"""The exact solution for many rows, each by the cheaper of two systems, in the eigenbasis of the Gramian.

There a row with n entries Y (n, d), weights Q = diag(q) and l, has the system

    (D + Y' Q Y) x = Y' l,        D = diag(spectrum) + reg I.

Primal: that system, d x d; ``n d^2 + d^3 / 3`` multiply-adds. Dual, for rows with fewer entries than d: with
Z = Q^1/2 Y D^-1/2, (n, d), the solution is x = D^-1/2 Z' v where ``(I + Z Z') v = Q^-1/2 l``, an n x n system;
``n^2 d + n^3 / 3``. The dual needs weights and D above zero; other rows take the primal.
Both systems are positive definite and solved by Cholesky factors.

Source of the dual: Saunders, Gammerman, Vovk, "Ridge regression learning algorithm in dual variables", ICML 1998; here
the ridge is the diagonal D, which the eigenbasis makes of all pairs.
"""

import numpy as np

from recvec.kernels.compiled import compiled, compiled_into_callers

GATHERED = 512  # entries in one matrix product
PANEL = 64  # rows of Z in one product of Z Z': only the lower half is wanted


@compiled
def solve_exactly(indptr, indices, quadratic, linear, fixed, spectrum, reg, d, out):
    """Fill `out` (b, width), which holds zeros, for the rows that have entries; a system that is not finite gives NaN.

    `fixed` is (m, width), of which the first `d` columns count. Raises LinAlgError where a system is not positive definite.
    """
    z, system = np.empty((max(d, GATHERED), d), np.float32), np.empty(d * d, np.float32)
    for u in range(len(out)):
        at = slice(indptr[u], indptr[u + 1])
        n, x, diagonal = indptr[u + 1] - indptr[u], out[u, :d], spectrum[:d] + reg[u]
        if n == 0:
            continue
        entries = (indices[at], quadratic[at], linear[at])
        if n < d and has_dual(quadratic[at], diagonal):
            solve_dual(*entries, fixed, diagonal, z[:n], system[: n * n].reshape(n, n), x)
        else:
            solve_primal(*entries, fixed, diagonal, z[:GATHERED], system.reshape(d, d), x)


@compiled_into_callers
def has_dual(quadratic, diagonal):
    """Say whether the dual system exists: all weights and the diagonal above zero."""
    return quadratic.min() > 0 and diagonal.min() > 0


@compiled_into_callers
def solve_dual(indices, quadratic, linear, fixed, diagonal, z, system, x):
    """Add the solution to x (d,) by the system of the entries; z (n, d) and system (n, n) are room."""
    n, d = z.shape
    scale, v = 1 / np.sqrt(diagonal), np.empty(n, np.float32)
    for e in range(n):
        i, root = np.uint64(indices[e]), np.sqrt(quadratic[e])
        v[e] = linear[e] / root
        for a in range(d):
            z[e, a] = root * scale[a] * fixed[i, a]
    for begin in range(0, n, PANEL):
        end = min(n, begin + PANEL)
        panel = np.dot(z[begin:end], z[:end].T)
        for e in range(begin, end):
            for f in range(e + 1):
                system[e, f] = system[f, e] = panel[e - begin, f]
            system[e, e] += np.float32(1)
    solve_system(system, v)
    for e in range(n):
        for a in range(d):
            x[a] += v[e] * z[e, a]
    for a in range(d):
        x[a] *= scale[a]


@compiled_into_callers
def solve_primal(indices, quadratic, linear, fixed, diagonal, z, system, x):
    """Add the solution to x (d,) by the system of the coordinates; z (GATHERED, d) and system (d, d) are room."""
    n, d = len(indices), len(x)
    positive = quadratic.min() >= 0
    system[:] = 0
    for a in range(d):
        system[a, a] = diagonal[a]
    for begin in range(0, n, len(z)):
        size = min(len(z), n - begin)
        for e in range(size):
            i, w = np.uint64(indices[begin + e]), linear[begin + e]
            root = np.sqrt(abs(quadratic[begin + e]))
            for a in range(d):
                z[e, a] = root * fixed[i, a]
                x[a] += w * fixed[i, a]
        if positive:
            system += np.dot(z[:size].T, z[:size])
        else:
            signs = np.sign(quadratic[begin : begin + size]).reshape(size, 1)
            system += np.dot(z[:size].T, signs * z[:size])
    solve_system(system, x)


@compiled_into_callers
def solve_system(system, x):
    """Overwrite x with the solution of ``system z = x``; NaN where either is not finite."""
    if np.isfinite(system.sum() + x.sum()):
        _substitute(np.linalg.cholesky(system), x)
    else:
        x[:] = np.nan


@compiled_into_callers
def _substitute(lower, x):
    """Overwrite x with the solution of ``lower lower' z = x``; `lower` lies column by column."""
    d = len(x)
    for j in range(d):
        x[j] /= lower[j, j]
        for a in range(j + 1, d):
            x[a] -= lower[a, j] * x[j]
    for j in range(d - 1, -1, -1):
        s = np.float32(0)
        for a in range(j + 1, d):
            s += lower[a, j] * x[a]
        x[j] = (x[j] - s) / lower[j, j]
