"""Inverse of a symmetric positive definite matrix in its own memory, by tiles.

With A = L L' the inverse is L^-T L^-1. Three passes over the lower triangle, each n^3 / 3 operations: Cholesky
factor, inverse of the factor, product of the inverse with its transpose. A step of a pass makes one column or one row
of tiles; each of these tiles is one matrix product over everything that came before, by BLAS on one thread. The tiles
and the order of their sums depend on n alone, so that the bits do not depend on the number of threads.

Source: Golub and Van Loan, "Matrix computations", 4th edition, section 4.2 (block Cholesky); the passes are those of
LAPACK's potrf, trtri and lauum.
"""

import numpy as np
import scipy.linalg.lapack

from recvec.errors import DivergedError
from recvec.kernels.blocks import even_blocks
from recvec.types import F32, F64, Executor

TILE = 512  # rows and columns: large enough for BLAS, small enough that a step has tiles for every thread


def invert(matrix: F32 | F64, *, executor: Executor) -> None:
    """Replace a symmetric positive definite matrix by its inverse.

    Parameters
    ----------
    matrix : float32 or float64 array, shape (n, n)
        C-contiguous; only its lower triangle is read. It ends as the whole inverse, exactly symmetric.
    executor : Executor
        Runs the tiles; the bits do not depend on it.

    Raises
    ------
    DivergedError
        Where the matrix is not positive definite, or not enough so for its precision; then it is left half-done.

    Notes
    -----
    Cost: ``n^3`` operations. Memory: beside the matrix itself a column of tiles, ``n TILE`` numbers, and two tiles a thread.
    """
    tiles = even_blocks(len(matrix), TILE)
    _factorize(matrix, tiles, executor)
    _invert_factor(matrix, tiles, executor)
    _square(matrix, tiles, executor)
    _mirror(matrix, tiles, executor)


def _factorize(matrix: F32 | F64, tiles: list[slice], executor: Executor) -> None:
    """Put L into the lower triangle, but the inverses of its diagonal tiles in their place: L itself is not needed there."""
    for k, at in enumerate(tiles):
        before = slice(0, at.start)
        row = matrix[at, before]  # (TILE, k TILE)

        def subtract(below: slice, at: slice = at, before: slice = before, row: F32 | F64 = row) -> None:
            matrix[below, at] -= matrix[below, before] @ row.T

        def divide(below: slice, at: slice = at) -> None:
            matrix[below, at] = matrix[below, at] @ matrix[at, at].T

        if k:
            executor.map(subtract, tiles[k:])
        executor.map(lambda at: _invert_diagonal(matrix[at, at]), [at])
        executor.map(divide, tiles[k + 1 :])


def _invert_diagonal(tile: F32 | F64) -> None:
    """Replace a tile by the inverse of its Cholesky factor, zeros above the diagonal."""
    try:
        factor = np.linalg.cholesky(tile)
    except np.linalg.LinAlgError as error:
        raise DivergedError("the matrix to invert is not positive definite; use more regularization") from error
    triangle_inverse = scipy.linalg.lapack.get_lapack_funcs("trtri", (factor,))
    tile[:], _ = triangle_inverse(factor, lower=1)


def _invert_factor(matrix: F32 | F64, tiles: list[slice], executor: Executor) -> None:
    """Replace L by its inverse K, column by column of tiles from the right: K_ij = -(sum_{j < m <= i} K_im L_mj) K_jj."""
    for j in reversed(range(len(tiles) - 1)):
        at = tiles[j]
        column = matrix[at.stop :, at].copy()

        def solve(below: slice, at: slice = at, column: F32 | F64 = column) -> None:
            product = matrix[below, at.stop : below.stop] @ column[: below.stop - at.stop]
            np.negative(product @ matrix[at, at], out=matrix[below, at])

        executor.map(solve, tiles[:j:-1])  # the longest product first


def _square(matrix: F32 | F64, tiles: list[slice], executor: Executor) -> None:
    """Replace K by K'K, row by row of tiles from the top: (K'K)_ij = sum_{m >= i} K_mi' K_mj."""
    for i, at in enumerate(tiles):
        column = matrix[at.start :, at].copy()

        def multiply(left: slice, at: slice = at, column: F32 | F64 = column) -> None:
            matrix[at, left] = column.T @ matrix[at.start :, left]

        executor.map(multiply, tiles[: i + 1])


def _mirror(matrix: F32 | F64, tiles: list[slice], executor: Executor) -> None:
    """Copy the lower triangle to the upper one."""

    def copy(at: slice) -> None:
        for left in tiles:
            if left.start < at.start:
                matrix[left, at] = matrix[at, left].T
        tile = matrix[at, at]
        tile[:] = np.tril(tile) + np.tril(tile, -1).T

    executor.map(copy, tiles)
