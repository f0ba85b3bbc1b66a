"""Least squares for many rows at once against one fixed side: the half-step of alternating least squares.

Row u holds entries e (column i_e, quadratic weight q_e, linear weight l_e) and looks for the minimum of

    x' (G + sum_e q_e y_e y_e' + reg_u I) x  -  2 x' sum_e l_e y_e,        y_e = fixed[i_e], G the scaled Gramian.

Implicit ALS (observed w (1 - s)^2, everywhere a0 s^2) has q = l = w and G = a0 Y'Y; the objective of the package
implicit (observed c (1 - s)^2, unobserved s^2) has q = c - 1, l = c and G = Y'Y.

The iterative solver works in the eigenbasis of G. There G is a diagonal, so that a step costs no d x d product, and
a diagonal of the whole system is at hand as preconditioner: two steps do better than three plain ones. All rows of
a block take each step together, so that a tile of `fixed` serves them all while it is in the cache beside the core.

Sources: Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008 (the objective);
Takacs, Pilaszy, Tikk, "Applications of the conjugate gradient method for implicit feedback collaborative filtering",
RecSys 2011 (warm-started conjugate gradient in place of the exact solve).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recvec.errors import DivergedError
from recvec.kernels.blocks import balanced_blocks
from recvec.kernels.compiled import compiled
from recvec.kernels.simd import LANES, add_scaled, dot, dot4, four, load, store
from recvec.types import F32, I32, I64, Executor

UNROLLED = 256  # widths up to here are compiled on their own, wider ones share one loop
BLOCK_BYTES = 2 << 20  # of one vector for each row of a block; a few such vectors are kept
CACHE_BYTES = 1 << 20  # what the cache beside a core holds
TILED_BYTES = 16 << 20  # of `fixed`: smaller than that, the last cache holds it all, and tiles only cost
TILED_ENTRIES = 8  # fewer entries a row and tile, and moving the rows' own vectors costs more than tiles save
SLICE = 2048  # rows in one matrix product of a thin matrix
SOLVED = np.float32(1e-14)  # of the first r' M r: far below rounding, but far above what float32 cannot hold
GATHERED = 512  # entries in one matrix product of the exact solver


@dataclass(frozen=True)
class WeightedRows:
    """Entries of the rows to solve for, as compressed sparse rows with two weights each.

    Parameters
    ----------
    indptr : int64 or int32 (n + 1,)
        Where each row begins.
    indices : int32 (nnz,)
        Row of the fixed side, for each entry; fastest if ascending within each row.
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
        Where the iterative solver begins; not changed. The exact solver reads only its length.
    rows : WeightedRows
        Entries of the n rows.
    fixed : float32 (m, d)
        Vectors of the other side.
    gram : float32 (d, d)
        Sum of ``y y'`` over the fixed side, times the weight of the unobserved pairs, without regularization.
    reg : float32 (n,)
        Regularization of each row.
    solver : {"cg", "cholesky"}
        Warm-started, preconditioned conjugate gradient; or exact.
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
    Cost: conjugate gradient ``4 (cg_steps + 1) nnz d + 4 n d^2 + 2 m d^2`` operations, exact
    ``2 nnz d^2 + n d^3 / 3``. Memory: one copy of `fixed`, and for each thread a few MB (conjugate gradient) or
    three d x d matrices (exact); nothing of the size of the entries, unless rows are few and long.
    """
    d = fixed.shape[1]
    out = np.zeros((len(start), d), np.float32)
    least = out.nbytes // BLOCK_BYTES
    if solver == "cholesky":
        solve = _exact_solver(rows, fixed, gram, reg, out)
        bounds = balanced_blocks(rows.indptr, per_entry=d * d, per_row=d**3 // 3, least=least)
    else:
        solve = _iterative_solver(start, rows, fixed, gram, reg, cg_steps, out, executor)
        bounds = balanced_blocks(rows.indptr, per_entry=2 * (cg_steps + 1) * d, per_row=2 * d * d, least=least)
    executor.map(solve, bounds)
    return out


def gramian(vectors: F32, *, executor: Executor) -> F32:
    """Return ``vectors' vectors`` (d, d): slices of fixed size, added in their order in float64.

    Parameters
    ----------
    vectors : float32 (n, d)
        Cost: ``n d^2`` operations.
    executor : Executor
        Runs the slices.
    """

    def part(begin: int) -> F32:
        piece = vectors[begin : begin + size]
        return piece.T @ piece

    d = vectors.shape[1]
    size = max(SLICE, 8 * d)  # all partial sums together are an eighth of the vectors at most
    return sum(executor.map(part, range(0, len(vectors), size)), np.zeros((d, d))).astype(np.float32)


def _iterative_solver(
    start: F32, rows: WeightedRows, fixed: F32, gram: F32, reg: F32, steps: int, out: F32, executor: Executor
) -> Callable[[tuple[int, int]], None]:
    """Return the function that fills `out` for one block of rows, by conjugate gradient in the eigenbasis of `gram`."""
    basis, spectrum = executor.map(_eigenbasis, [gram])[0]  # through the executor: BLAS on one thread
    turned = _turn(fixed, basis, executor)
    square = np.einsum("ij,ij->j", turned, turned) / np.float32(max(1, len(turned)))  # of an average entry
    tile, group = _schedule(turned, len(rows.indices) / max(1, len(start)))
    width = turned.shape[1]
    chunks = (0,) * (width // LANES) if width <= UNROLLED else None

    def solve(bound: tuple[int, int]) -> None:
        at, indptr = slice(*bound), rows.indptr[bound[0] : bound[1] + 1].astype(np.int64)
        entries = (rows.indices, rows.quadratic, rows.linear)
        x = start[at] @ basis  # (b, width)
        _conjugate_gradient(chunks, tile, group, indptr, *entries, turned, spectrum, square, reg[at], steps, x)
        np.matmul(x, basis.T, out=out[at])
        out[at][indptr[1:] == indptr[:-1]] = 0

    return solve


def _eigenbasis(gram: F32) -> tuple[F32, F32]:
    """Return the eigenvectors (d, width) and eigenvalues (width,) of `gram`, zeros up to a multiple of `LANES`."""
    d = len(gram)
    width = -(-d // LANES) * LANES
    basis, spectrum = np.zeros((d, width), np.float32), np.zeros(width, np.float32)
    if np.isfinite(gram).all():
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
        basis[:, :d], spectrum[:d] = vectors, values.clip(min=0)  # rounding alone makes them negative
    else:
        basis[:], spectrum[:] = np.nan, np.nan  # eigh would raise; the answer is NaN, and shows it
    return basis, spectrum


def _turn(vectors: F32, basis: F32, executor: Executor) -> F32:
    """Return ``vectors @ basis`` (m, width), aligned to cache lines."""
    m, width = len(vectors), basis.shape[1]
    room = np.empty(m * width + LANES, np.float32)
    turned = room[-(room.ctypes.data // 4) % LANES :][: m * width].reshape(m, width)

    def turn(at: int) -> None:
        np.matmul(vectors[at : at + SLICE], basis, out=turned[at : at + SLICE])

    executor.map(turn, range(0, m, SLICE))
    return turned


def _schedule(turned: F32, entries_per_row: float) -> tuple[int, int]:
    """Return how many rows of the fixed side make up a tile, and how many entries a group of rows may have.

    Where rows share tiles, the tile stays in the cache beside the core, and a group is as large as its block. Where
    tiles would not pay, there is one tile, and a group is so small that what it gathers stays in that cache.
    """
    m, width = turned.shape
    tile = max(1, CACHE_BYTES // (4 * width))
    if turned.nbytes > TILED_BYTES and entries_per_row * tile >= TILED_ENTRIES * m:
        return tile, np.iinfo(np.int64).max
    return max(1, m), tile // 2


@compiled
def _conjugate_gradient(chunks, tile, group, indptr, indices, quadratic, linear, fixed, spectrum, square, reg, steps, x):
    """Improve x (b, width) by some steps, group by group; all rows of a group take each step together."""
    edges = _groups(indptr, group)
    for g in range(len(edges) - 1):
        at, part = slice(edges[g], edges[g + 1]), x[edges[g] : edges[g + 1]]
        spans = _spans(indptr[edges[g] : edges[g + 1] + 1], indices, tile, len(fixed))
        entries = (spans, indices, quadratic, linear, fixed, spectrum, reg[at])
        residual = _residual(chunks, *entries, np.float32(1), part)
        inverse, direction, solved = _precondition(spans, quadratic, spectrum, square, reg[at], residual)
        for _ in range(steps):
            image = _residual(chunks, *entries, np.float32(0), direction)  # -A p
            _advance(part, residual, direction, image, inverse, solved)


@compiled
def _groups(indptr, size):
    """Cut the rows into groups of about `size` entries, a few entries added for the vectors of each row."""
    edges = [0]
    for u in range(1, len(indptr) - 1):
        if indptr[u] - indptr[edges[-1]] + 4 * (u - edges[-1]) >= size:
            edges.append(u)
    edges.append(len(indptr) - 1)
    return edges


@compiled
def _spans(indptr, indices, tile, m):
    """Return where the entries of each row begin in each tile: int64 (tiles + 1, b); every entry is in one span."""
    n, tiles = len(indptr) - 1, max(1, (m + tile - 1) // tile)
    spans = np.empty((tiles + 1, n), np.int64)
    for u in range(n):
        entry = indptr[u]
        for t in range(tiles):
            spans[t, u] = entry
            while t < tiles - 1 and entry < indptr[u + 1] and indices[entry] < (t + 1) * tile:
                entry += 1
        spans[tiles, u] = indptr[u + 1]
    return spans


@compiled
def _residual(chunks, spans, indices, quadratic, linear, fixed, spectrum, reg, share, x):
    """Return ``share b - A x`` for every row, (b, width), where b is the linear part of the objective."""
    out = np.empty_like(x)
    for u in range(len(x)):
        for a in range(x.shape[1]):
            out[u, a] = -(spectrum[a] + reg[u]) * x[u, a]
    if chunks is None:  # decided while compiling
        _add_entries_wide(spans, indices, quadratic, linear, fixed, share, x, out)
    else:
        _add_entries(chunks, spans, indices, quadratic, linear, fixed, share, x, out)
    return out


@compiled
def _add_entries(chunks, spans, indices, quadratic, linear, fixed, share, x, total):
    """Add ``sum_e (share l_e - q_e x'y_e) y_e`` to the totals, four entries at a time; all stays in registers."""
    for t in range(len(spans) - 1):
        for u in range(len(x)):
            first, last = spans[t, u], spans[t + 1, u]
            if first == last:
                continue
            x_u, r = load(chunks, x, u), load(chunks, total, u)
            fours = last - (last - first) % 4
            for e in range(first, fours, 4):
                i0, i1, i2, i3 = four(indices, e)
                q0, q1, q2, q3 = four(quadratic, e)
                l0, l1, l2, l3 = four(linear, e)
                y0, y1 = load(chunks, fixed, i0), load(chunks, fixed, i1)
                y2, y3 = load(chunks, fixed, i2), load(chunks, fixed, i3)
                s0, s1, s2, s3 = dot4(x_u, y0, y1, y2, y3)
                r = add_scaled(r, share * l0 - q0 * s0, y0)
                r = add_scaled(r, share * l1 - q1 * s1, y1)
                r = add_scaled(r, share * l2 - q2 * s2, y2)
                r = add_scaled(r, share * l3 - q3 * s3, y3)
            for e in range(fours, last):
                y = load(chunks, fixed, indices[e])
                r = add_scaled(r, share * linear[e] - quadratic[e] * dot(x_u, y), y)
            store(total, u, r)


@compiled
def _add_entries_wide(spans, indices, quadratic, linear, fixed, share, x, total):
    """Do what `_add_entries` does, one entry at a time, for vectors too long for the registers."""
    for t in range(len(spans) - 1):
        for u in range(len(x)):
            for e in range(spans[t, u], spans[t + 1, u]):
                i, s = np.uint64(indices[e]), np.float32(0)
                for a in range(fixed.shape[1]):
                    s += x[u, a] * fixed[i, a]
                w = share * linear[e] - quadratic[e] * s
                for a in range(fixed.shape[1]):
                    total[u, a] += w * fixed[i, a]


@compiled
def _precondition(spans, quadratic, spectrum, square, reg, residual):
    """Return M, one over the diagonal of A were all entries average ones; the first directions M r; when to stop.

    The exact diagonal takes more arithmetic in each entry, and converges no faster on real data.
    """
    inverse, direction, solved = np.empty_like(residual), np.empty_like(residual), np.empty(len(reg), np.float32)
    for u in range(len(reg)):
        weight, fit = np.float32(0), np.float32(0)
        for e in range(spans[0, u], spans[-1, u]):
            weight += quadratic[e]
        for a in range(len(spectrum)):
            diagonal = spectrum[a] + reg[u] + weight * square[a]
            m = np.float32(0) if diagonal == 0 else 1 / diagonal  # zero: padding, not regularized
            inverse[u, a], direction[u, a] = m, m * residual[u, a]
            fit += m * residual[u, a] * residual[u, a]
        solved[u] = SOLVED * fit
    return inverse, direction, solved


@compiled
def _advance(x, residual, direction, image, inverse, solved):
    """Take one step of conjugate gradient in every row, in place; `image` is -A p. NaN passes every test, and shows."""
    for u in range(len(x)):
        fit, curvature, left = np.float32(0), np.float32(0), np.float32(0)
        for a in range(x.shape[1]):
            fit += residual[u, a] * residual[u, a] * inverse[u, a]
            curvature -= direction[u, a] * image[u, a]
        alpha = np.float32(0) if fit <= solved[u] or curvature <= 0 else fit / curvature
        for a in range(x.shape[1]):
            x[u, a] += alpha * direction[u, a]
            residual[u, a] += alpha * image[u, a]
            left += residual[u, a] * residual[u, a] * inverse[u, a]
        beta = np.float32(0) if fit == 0 else left / fit
        for a in range(x.shape[1]):
            direction[u, a] = residual[u, a] * inverse[u, a] + beta * direction[u, a]


def _exact_solver(rows: WeightedRows, fixed: F32, gram: F32, reg: F32, out: F32) -> Callable[[tuple[int, int]], None]:
    """Return the function that fills `out` for one block of rows, by Cholesky factors."""

    def solve(bound: tuple[int, int]) -> None:
        at, indptr = slice(*bound), rows.indptr[bound[0] : bound[1] + 1].astype(np.int64)
        try:
            _solve_exactly(indptr, rows.indices, rows.quadratic, rows.linear, fixed, gram, reg[at], out[at])
        except np.linalg.LinAlgError as error:
            message = f"rows {bound[0]} to {bound[1] - 1}: a system is not positive definite; use a larger reg"
            raise DivergedError(message) from error

    return solve


@compiled
def _solve_exactly(indptr, indices, quadratic, linear, fixed, gram, reg, out):
    """Fill the rows of `out` that have entries; a system that is not finite gives NaN."""
    d = fixed.shape[1]
    y, z = np.empty((GATHERED, d), np.float32), np.empty((GATHERED, d), np.float32)
    for u in range(len(out)):
        if indptr[u] == indptr[u + 1]:
            continue
        system, x = gram + reg[u] * np.eye(d, dtype=np.float32), out[u]
        for begin in range(indptr[u], indptr[u + 1], GATHERED):
            n = min(GATHERED, indptr[u + 1] - begin)
            for e in range(n):
                i, q, w = np.uint64(indices[begin + e]), quadratic[begin + e], linear[begin + e]
                for a in range(d):
                    y[e, a] = fixed[i, a]
                    z[e, a] = q * fixed[i, a]
                    x[a] += w * fixed[i, a]
            system += np.dot(y[:n].T, z[:n])
        if np.isfinite(system.sum() + x.sum()):
            _substitute(np.linalg.cholesky(system), x)
        else:
            x[:] = np.nan


@compiled
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
