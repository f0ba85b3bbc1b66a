"""Least squares for many rows at once against one fixed side: the half-step of alternating least squares.

Row u holds entries e (column i_e, quadratic weight q_e, linear weight l_e) and looks for the minimum of

    x' (G + sum_e q_e y_e y_e' + reg_u I) x  -  2 x' sum_e l_e y_e,        y_e = fixed[i_e], G the scaled Gramian.

Implicit ALS (observed w (1 - s)^2, everywhere a0 s^2) has q = l = w and G = a0 Y'Y; the objective of the package
implicit (observed c (1 - s)^2, unobserved s^2) has q = c - 1, l = c and G = Y'Y.

The iterative solver works in the eigenbasis of G: turned there, G is a diagonal, so that a step costs no d x d product
at all, and the diagonal of the whole system is at hand as preconditioner. Turning is an orthogonal change of
variables: with exact arithmetic the iterates of plain conjugate gradient would be the same in either basis.

Sources: Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008 (the objective);
Takacs, Pilaszy, Tikk, "Applications of the conjugate gradient method for implicit feedback collaborative filtering",
RecSys 2011 (warm-started conjugate gradient in place of the exact solve).
"""

from dataclasses import dataclass
from typing import Literal

import numba as nb
import numpy as np

from recvec.errors import DivergedError
from recvec.types import F32, I32, I64, Executor

LANES = 16  # float32 numbers in one 64-byte cache line and one 512-bit register
UNROLLED = 256  # widths up to here are compiled on their own, wider ones share one loop
GATHERED = 1 << 18  # float32 numbers of the gathered rows kept beside the core (1 MB); longer rows are read in place
BLOCKS = 96  # enough to balance a few dozen threads, few enough to start each for nothing
BLOCK_COST = 1 << 22  # multiply-adds below which a block of its own does not pay

REASSOCIATE = {"reassoc", "contract", "nsz", "arcp"}  # NaN and infinity are never assumed away


@dataclass(frozen=True)
class WeightedRows:
    """Entries of the rows to solve for, as compressed sparse rows with two weights each.

    Parameters
    ----------
    indptr : int64 or int32 (n + 1,)
        Where each row begins.
    indices : int32 (nnz,)
        Row of the fixed side, for each entry.
    quadratic : float32 (nnz,)
        Weight of the squared score.
    linear : float32 (nnz,)
        Weight of the score; may be the same array as `quadratic`.
    """

    indptr: I64 | I32
    indices: I32
    quadratic: F32
    linear: F32


def half_step(
    start: F32,
    rows: WeightedRows,
    fixed: F32,
    gram: F32,
    reg: F32,
    *,
    solver: Literal["cg", "cholesky"] = "cg",
    cg_steps: int = 3,
    executor: Executor,
) -> F32:
    """Solve the least-squares problem of every row, the other side held fixed.

    Parameters
    ----------
    start : float32 (n, d)
        Where the iterative solver begins; not changed. The exact solver reads only its shape.
    rows : WeightedRows
        Entries of the n rows.
    fixed : float32 (m, d)
        Vectors of the other side.
    gram : float32 (d, d)
        Sum of ``y y'`` over the fixed side, times the weight of the unobserved pairs, without regularization.
    reg : float32 (n,)
        Regularization of each row.
    solver : {"cg", "cholesky"}
        Warm-started preconditioned conjugate gradient, or exact.
    cg_steps : int
        Steps of conjugate gradient.
    executor : Executor
        Runs blocks of rows. Their bounds depend on the data alone, so that the bits do not depend on the executor.

    Returns
    -------
    float32 (n, d)
        The solutions; rows without entries are zero.

    Raises
    ------
    DivergedError
        The exact solver met a system that is not positive definite.

    Notes
    -----
    Cost: conjugate gradient ``4 nnz d (cg_steps + 1) + 2 (n + m) d^2`` operations, exact ``2 nnz d^2 + n d^3 / 3``.
    Memory: one copy of `fixed`, and 1 MB a thread; nothing of the size of the entries.
    """
    indptr = np.ascontiguousarray(rows.indptr, dtype=np.int64)
    d = fixed.shape[1]
    out = np.zeros((len(start), d), np.float32)
    if solver == "cholesky":
        bounds = _blocks(indptr, per_entry=d * d, per_row=d**3 // 3 + d * d)

        def solve(bound: tuple[int, int]) -> None:
            at = slice(bound[0], bound[1])
            block = indptr[bound[0] : bound[1] + 1]
            solved = _exact_rows(block, rows.indices, rows.quadratic, rows.linear, fixed, gram, reg[at], out[at])
            if not solved:
                raise DivergedError("a least-squares system is not positive definite; use a larger reg")

    else:
        basis, spectrum = executor.map(_eigenbasis, [gram])[0]
        turned = _turn(fixed, basis, executor)
        width = turned.shape[1]
        chunks = (0,) * (width // LANES if width <= UNROLLED else 0)
        bounds = _blocks(indptr, per_entry=2 * d * (cg_steps + 1), per_row=2 * d * d)

        def solve(bound: tuple[int, int]) -> None:
            at = slice(bound[0], bound[1])
            x = start[at] @ basis  # (b, width)
            block = indptr[bound[0] : bound[1] + 1]
            _cg_rows(chunks, block, rows.indices, rows.quadratic, rows.linear, turned, spectrum, reg[at], cg_steps, x)
            np.matmul(x, basis.T, out=out[at])

    executor.map(solve, bounds)
    return out


def gramian(vectors: F32, *, executor: Executor) -> F32:
    """Return ``vectors.T @ vectors``, float32 (d, d): blocks of fixed size, added in their order in float64.

    Parameters
    ----------
    vectors : float32 (n, d)
        Cost: ``n d^2`` operations.
    executor : Executor
        Runs the blocks.
    """
    d = vectors.shape[1]
    size = 8192
    parts = executor.map(lambda at: vectors[at : at + size].T @ vectors[at : at + size], range(0, len(vectors), size))
    total = np.zeros((d, d))
    for part in parts:
        total += part
    return total.astype(np.float32)


def _blocks(indptr: I64, *, per_entry: int, per_row: int) -> list[tuple[int, int]]:
    """Cut the rows into ranges of about equal cost, the costliest first: the last ones to finish are short."""
    n = len(indptr) - 1
    cost = (indptr - indptr[0]) * per_entry + np.arange(n + 1) * per_row
    n_blocks = int(min(BLOCKS, max(1, cost[-1] // BLOCK_COST)))
    cuts = np.searchsorted(cost, cost[-1] * np.arange(1, n_blocks) // n_blocks)
    edges = np.unique(np.concatenate(([0], cuts, [n])))
    spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return sorted(spans, key=lambda span: cost[span[0]] - cost[span[1]])


def _eigenbasis(gram: F32) -> tuple[F32, F32]:
    """Return the eigenvectors (d, width) and eigenvalues (width,) of `gram`, zeros up to a multiple of `LANES`."""
    d = len(gram)
    width = -(-d // LANES) * LANES
    basis, spectrum = np.zeros((d, width), np.float32), np.zeros(width, np.float32)
    if np.isfinite(gram).all():
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
        basis[:, :d], spectrum[:d] = vectors, values.clip(min=0)
    else:
        basis[:], spectrum[:] = np.nan, np.nan  # eigh would raise or loop; the answer is NaN, and says so
    return basis, spectrum


def _turn(vectors: F32, basis: F32, executor: Executor) -> F32:
    """Return ``vectors @ basis``, aligned to cache lines."""
    n, width = len(vectors), basis.shape[1]
    room = np.empty(n * width + LANES, np.float32)
    begin = -(room.ctypes.data // 4) % LANES
    out = room[begin : begin + n * width].reshape(n, width)
    size = 8192
    executor.map(lambda at: np.matmul(vectors[at : at + size], basis, out=out[at : at + size]), range(0, n, size))
    return out


@nb.njit(cache=True, nogil=True, fastmath=REASSOCIATE, error_model="numpy")
def _cg_rows(chunks, indptr, indices, quadratic, linear, fixed, spectrum, reg, steps, x):
    width = LANES * len(chunks) if len(chunks) > 0 else fixed.shape[1]
    r, p, ap, inverse = np.empty((4, width), np.float32)
    for u in range(len(x)):
        first, last = indptr[u], indptr[u + 1]
        if first == last:
            x[u] = 0
            continue
        # r = b - A x, and the diagonal of A
        for a in range(width):
            r[a] = -(spectrum[a] + reg[u]) * x[u, a]
            inverse[a] = spectrum[a] + reg[u]
        for e in range(first, last):
            y = fixed[indices[e]]
            s = np.float32(0)
            for a in range(width):
                s += y[a] * x[u, a]
            w = linear[e] - quadratic[e] * s
            for a in range(width):
                r[a] += w * y[a]
                inverse[a] += quadratic[e] * y[a] * y[a]
        rz = np.float32(0)
        for a in range(width):
            inverse[a] = 1 / inverse[a] if inverse[a] != 0 else np.float32(0)
            p[a] = r[a] * inverse[a]
            rz += r[a] * p[a]
        for _ in range(steps):
            for a in range(width):
                ap[a] = (spectrum[a] + reg[u]) * p[a]
            for e in range(first, last):
                y = fixed[indices[e]]
                s = np.float32(0)
                for a in range(width):
                    s += y[a] * p[a]
                s *= quadratic[e]
                for a in range(width):
                    ap[a] += s * y[a]
            pap = np.float32(0)
            for a in range(width):
                pap += p[a] * ap[a]
            if pap <= 0:  # solved to the last bit; NaN goes on and shows
                break
            alpha = rz / pap
            before = rz
            rz = np.float32(0)
            for a in range(width):
                x[u, a] += alpha * p[a]
                r[a] -= alpha * ap[a]
                rz += r[a] * r[a] * inverse[a]
            beta = rz / before
            for a in range(width):
                p[a] = r[a] * inverse[a] + beta * p[a]


@nb.njit(cache=True, nogil=True, fastmath=REASSOCIATE, error_model="numpy")
def _exact_rows(indptr, indices, quadratic, linear, fixed, gram, reg, out):
    d = fixed.shape[1]
    for u in range(len(out)):
        first, last = indptr[u], indptr[u + 1]
        if first == last:
            continue
        system = gram.copy()
        for a in range(d):
            system[a, a] += reg[u]
        x = np.zeros(d, np.float32)
        y = np.empty((min(last - first, 512), d), np.float32)
        z = np.empty_like(y)
        for begin in range(first, last, 512):
            n = min(512, last - begin)
            for e in range(n):
                for a in range(d):
                    y[e, a] = fixed[indices[begin + e], a]
                    z[e, a] = quadratic[begin + e] * y[e, a]
                    x[a] += linear[begin + e] * y[e, a]
            system += np.dot(y[:n].T, z[:n])
        finite = np.float32(0)
        for a in range(d):
            finite += x[a] * 0
            for b in range(d):
                finite += system[a, b] * 0
        if finite != 0:
            out[u] = np.nan
            continue
        for j in range(d):  # rows of L below the diagonal of `system`
            pivot = system[j, j]
            for a in range(j):
                pivot -= system[j, a] * system[j, a]
            if pivot <= 0:
                return False
            pivot = np.sqrt(pivot)
            system[j, j] = pivot
            for i in range(j + 1, d):
                s = system[i, j]
                for a in range(j):
                    s -= system[i, a] * system[j, a]
                system[i, j] = s / pivot
        for j in range(d):
            s = x[j]
            for a in range(j):
                s -= system[j, a] * x[a]
            x[j] = s / system[j, j]
        for j in range(d - 1, -1, -1):
            x[j] /= system[j, j]
            for a in range(j):
                x[a] -= system[j, a] * x[j]
        out[u] = x
    return True
