"""Least squares for many rows at once against one fixed side: the half-step of alternating least squares.

Row u holds entries e (column i_e, quadratic weight q_e, linear weight l_e) and looks for the minimum of

    x' (G + sum_e q_e y_e y_e' + reg_u I) x  -  2 x' sum_e l_e y_e,        y_e = fixed[i_e], G the scaled Gramian.

Implicit ALS (observed w (1 - s)^2, everywhere a0 s^2) has q = l = w and G = a0 Y'Y; the objective of the package
implicit (observed c (1 - s)^2, unobserved s^2) has q = c - 1, l = c and G = Y'Y.

Every solver works in the eigenbasis of G, where G is a diagonal: the sum over all pairs costs nothing any more in a
step of conjugate gradient, makes no block of coordinates depend on another, and can be inverted at sight. The rows are
solved there, the solutions turned back. Solvers: `conjugate_gradient`, `subspace` (iALS++), `exact_rows`.

Source of the objective: Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from recvec.errors import DivergedError
from recvec.kernels.blocks import blocks_of_cost
from recvec.kernels.conjugate_gradient import improve, row_chunks, schedule
from recvec.kernels.exact_rows import solve_exactly
from recvec.kernels.simd import LANES
from recvec.kernels.subspace import sweep_blocks
from recvec.types import F32, F64, I32, I64, Executor

BLOCK_BYTES = 2 << 20  # of one vector for each row of a block; a few such vectors are kept
SLOW = 4  # times that a multiply-add of conjugate gradient takes longer than one in a matrix product
SLICE = 2048  # rows in one matrix product of a thin matrix

Solver = Literal["auto", "cg", "cholesky", "ials++"]
Improve = Callable[[slice, I64, F32], None]  # which rows, where their entries begin, and their vectors, changed in place


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


@dataclass(frozen=True, eq=False)
class FixedSide:
    """The side that is held fixed, in the eigenbasis of its scaled Gramian: made once, for any number of half-steps.

    Parameters
    ----------
    basis : float32 (d, width)
        The eigenvectors; zeros up to `width`, a multiple of `LANES`.
    spectrum : float32 (width,)
        The eigenvalues.
    turned : float32 (m, width)
        The vectors of the fixed side times `basis`, aligned to cache lines.
    """

    basis: F32
    spectrum: F32
    turned: F32

    @classmethod
    def of(cls, fixed: F32, gram: F32, *, executor: Executor) -> "FixedSide":
        """Turn the vectors of the fixed side (m, d); `gram` (d, d) is as in `half_step`. Cost: ``2 m d^2`` and an `eigh`."""
        basis, spectrum = executor.map(_eigenbasis, [gram])[0]  # through the executor: BLAS on one thread
        return cls(basis, spectrum, _turn(fixed, basis, executor))

    @cached_property
    def square(self) -> F32:
        """The mean square of each coordinate, (width,): that of an average entry."""
        square: F32 = np.einsum("ij,ij->j", self.turned, self.turned) / np.float32(max(1, len(self.turned)))
        return square


def half_step(
    start: F32,
    rows: WeightedRows,
    fixed: F32,
    gram: F32,
    reg: F32,
    *,
    solver: Solver = "cg",
    cg_steps: int = 3,
    block_size: int = 64,
    executor: Executor,
) -> F32:
    """Solve the least-squares problem of every row, the other side held fixed.

    Parameters
    ----------
    start : float32 (n, d)
        Where the iterative solvers begin; not changed. The exact solver reads only its length.
    rows : WeightedRows
        Entries of the n rows.
    fixed : float32 (m, d)
        Vectors of the other side.
    gram : float32 (d, d)
        Sum of ``y y'`` over the fixed side, times the weight of the unobserved pairs, without regularization.
    reg : float32 (n,)
        Regularization of each row.
    solver, cg_steps, block_size
        See `solve`.
    executor : Executor
        Runs blocks of rows. Their bounds depend on the data alone, so that the bits do not depend on the executor.

    Returns
    -------
    float32 (n, d)
        The solutions; rows without entries are zero.

    Raises
    ------
    DivergedError
        A solver that factors systems met one that is not positive definite.

    Notes
    -----
    Cost: that of `FixedSide.of` and of `solve`. Memory: one copy of `fixed`, and for each thread a few MB (conjugate
    gradient), a d x d matrix (exact) or a block of it (iALS++); nothing of the size of the entries, unless rows are
    few and long.
    """
    side = FixedSide.of(fixed, gram, executor=executor)
    return solve(start, rows, side, reg, solver=solver, cg_steps=cg_steps, block_size=block_size, executor=executor)


def solve(
    start: F32,
    rows: WeightedRows,
    side: FixedSide,
    reg: F32,
    *,
    solver: Solver = "auto",
    cg_steps: int = 2,
    block_size: int = 64,
    executor: Executor,
) -> F32:
    """Do what `half_step` does, against a fixed side that has been turned already.

    Parameters
    ----------
    start, rows, reg, executor
        As in `half_step`.
    side : FixedSide
        The other side.
    solver : {"auto", "cg", "cholesky", "ials++"}
        Warm-started, preconditioned conjugate gradient; exact; one warm-started sweep of iALS++. "auto": as `chosen` says.
    cg_steps : int
        Steps of conjugate gradient.
    block_size : int
        Coordinates in a block of iALS++.

    Notes
    -----
    Multiply-adds: `costs`, and ``n d^2`` or twice that to turn the rows.
    """
    d, width = side.basis.shape
    if solver == "auto":
        solver = chosen(rows.indptr, d, cg_steps=cg_steps, block_size=block_size)
    improve_block = _solver(solver, rows, side, reg, cg_steps, block_size)
    out = np.zeros((len(start), d), np.float32)

    def run(bound: tuple[int, int]) -> None:
        at, indptr = slice(*bound), rows.indptr[bound[0] : bound[1] + 1].astype(np.int64)
        x = np.zeros((len(indptr) - 1, width), np.float32) if solver == "cholesky" else start[at] @ side.basis
        try:
            improve_block(at, indptr, x)
        except np.linalg.LinAlgError as error:
            message = f"rows {bound[0]} to {bound[1] - 1}: a system is not positive definite; use a larger reg"
            raise DivergedError(message) from error
        np.matmul(x, side.basis.T, out=out[at])
        out[at][indptr[1:] == indptr[:-1]] = 0

    cost = costs(np.diff(rows.indptr), d, cg_steps=cg_steps, block_size=block_size)[solver] + 2 * d * d
    executor.map(run, blocks_of_cost(cost, least=out.nbytes // BLOCK_BYTES))
    return out


def costs(counts: I64 | I32, d: int, *, cg_steps: int, block_size: int) -> dict[str, F64]:
    """Return the multiply-adds that each solver needs for rows of so many entries (n,): float64 (n,) each.

    Those of conjugate gradient count `SLOW` times: they move a number for each, the others are matrix products.
    """
    n, k = counts.astype(np.float64), min(block_size, d)
    dual = n**2 * d + n**3 / 3
    return {
        "cg": SLOW * 2 * (cg_steps + 1) * n * d,
        "cholesky": np.where(n < d, dual, n * d**2 + d**3 / 3) + SLOW * 2 * n * d,
        "ials++": np.where(n < k, dual, n * d * k + d * k**2 / 3 + SLOW * 2 * n * d) + SLOW * 2 * n * d,
    }


def chosen(indptr: I64 | I32, d: int, *, cg_steps: int, block_size: int) -> Literal["cg", "cholesky"]:
    """Return the solver that reaches a given loss first: conjugate gradient, or the exact one where that costs no more."""
    total = {name: cost.sum() for name, cost in costs(np.diff(indptr), d, cg_steps=cg_steps, block_size=block_size).items()}
    return "cholesky" if total["cholesky"] <= total["cg"] else "cg"


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
        with np.errstate(over="ignore", invalid="ignore"):  # numbers that are too large show in the sum
            return piece.T @ piece

    d = vectors.shape[1]
    size = max(SLICE, 8 * d)  # all partial sums together are an eighth of the vectors at most
    return sum(executor.map(part, range(0, len(vectors), size)), np.zeros((d, d))).astype(np.float32)


def _solver(name: Solver, rows: WeightedRows, side: FixedSide, reg: F32, cg_steps: int, block_size: int) -> Improve:
    """Return what solves one block of rows."""
    turned, spectrum, d = side.turned, side.spectrum, len(side.basis)
    width, entries = turned.shape[1], (rows.indices, rows.quadratic, rows.linear)
    tile, group = schedule(turned, len(rows.indices) / max(1, len(reg)))
    chunks = row_chunks(width)

    def conjugate_gradient(at: slice, indptr: I64, x: F32) -> None:
        improve(chunks, tile, group, indptr, *entries, turned, spectrum, side.square, reg[at], cg_steps, x)

    def exact(at: slice, indptr: I64, x: F32) -> None:
        solve_exactly(indptr, *entries, turned, spectrum, reg[at], d, x)

    def subspace(at: slice, indptr: I64, x: F32) -> None:
        sweep_blocks(indptr, *entries, turned, spectrum, reg[at], d, min(block_size, d), x)

    return {"cg": conjugate_gradient, "cholesky": exact, "ials++": subspace}[name]


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
