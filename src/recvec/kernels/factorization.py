"""Truncated singular value decomposition of a sparse or dense matrix by randomized block Krylov iteration.

For A (n, m) with n <= m (else its transpose) an orthonormal basis Q of the block Krylov space
``span{X, M X, M^2 X, ...}``, M = A A', X random (n, b), is grown block by block with full
reorthogonalization; the eigenvectors of Q' M Q (Rayleigh-Ritz) give the left singular vectors.

Source: Musco and Musco, "Randomized block Krylov methods for stronger and faster approximate singular value
decomposition", NeurIPS 2015, algorithm 2; here the basis is kept orthonormal while it grows, so that one pass
over A a block serves both as iteration and as projection.
"""

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from recvec.errors import ValueRangeError
from recvec.kernels.blocks import balanced_blocks, even_blocks
from recvec.kernels.compiled import compiled
from recvec.kernels.simd import LANES, add_scaled, load, store
from recvec.types import F32, F64, Array, Executor

DENSE_SIDE = 1200  # up to this many rows M is decomposed whole, which is exact and as fast
BLOCK = 16  # columns of X; wider blocks need a larger space for the same accuracy
SPACE = 4  # dimensions of the Krylov space for each wanted triplet
STEPS = 20  # ... and at least so many powers of M, for few triplets out of a flat spectrum
_IN_REGISTERS = 64  # columns: each width is compiled on its own, and wider rows gain less
_ROWS = 8192  # rows of one dense block product
_DENSE_ROWS = 512  # ... where the rows are as long as a catalogue


def truncated_svd(matrix: sp.csr_array | F32, k: int, *, rng: np.random.Generator, executor: Executor) -> tuple[F32, F32, F32]:
    """Return the k largest singular triplets ``U, s, V`` with ``matrix ~ U diag(s) V'``.

    Parameters
    ----------
    matrix : csr_array or array, float32, shape (n, m)
        The matrix.
    k : int
        Number of triplets; those beyond the smaller side of the matrix are zero.
    rng : numpy.random.Generator
        Draws X.
    executor : Executor
        Runs the blocks; the bits do not depend on it.

    Returns
    -------
    U : F32, shape (n, k); s : F32, shape (k,), descending; V : F32, shape (m, k)
        Signs are chosen so that the entry of largest magnitude of each column of V is positive.

    Notes
    -----
    Cost: ``4 nnz SPACE k`` operations for the products with the matrix (nnz = n m where it is dense) and
    ``2 side (SPACE k)^2`` for reorthogonalization, side = min(n, m). Memory: ``4 side SPACE k`` bytes for the basis.
    """
    n, m = matrix.shape
    if n > m:
        v, s, u = truncated_svd(_transposed(matrix), k, rng=rng, executor=executor)
        return _fix_signs(u, s, v)
    transposed = _transposed(matrix)
    found = min(k, n)
    space = krylov_space(k)
    if n <= max(DENSE_SIDE, space):
        values, vectors = _largest(_gram(matrix, transposed, executor), found, executor)
    else:
        basis, projected = _krylov_basis(matrix, transposed, space, rng, executor)
        values, rotation = _largest(projected, found, executor)
        vectors = _combine(basis, rotation.astype(np.float32), executor)
    left, s, right = np.zeros((n, k), np.float32), np.zeros(k, np.float32), np.zeros((m, k), np.float32)
    left[:, :found], s[:found] = vectors, np.sqrt(values.clip(min=0))
    s[s <= s[0] * 1e-5] = 0  # below float32 resolution of M: rank, not signal
    left[:, s == 0] = 0
    right[:] = _product(transposed, left, executor)
    right /= np.where(s > 0, s, 1)
    return _fix_signs(left, s, right)


def krylov_space(k: int) -> int:
    """Return how many dimensions the search for k triplets takes: a whole number of blocks."""
    return max(-(-SPACE * k // BLOCK), STEPS) * BLOCK


def _fix_signs(u: F32, s: F32, v: F32) -> tuple[F32, F32, F32]:
    peak = np.abs(v).argmax(axis=0)
    signs = np.where(v[peak, np.arange(v.shape[1])] < 0, np.float32(-1), np.float32(1))
    return u * signs, s, v * signs


def _transposed(matrix: sp.csr_array | F32) -> sp.csr_array | F32:
    return matrix.T if isinstance(matrix, np.ndarray) else sp.csr_array(matrix.T.tocsr())


def _product(matrix: sp.csr_array | F32, dense: F32, executor: Executor) -> F32:
    """Return ``matrix @ dense``, shape (n, d), for a thin `dense`."""
    if isinstance(matrix, np.ndarray):
        return np.concatenate(executor.map(lambda at: matrix[at] @ dense, even_blocks(len(matrix), _DENSE_ROWS)))
    return sparse_dense(matrix, dense, executor=executor)


def _gram(matrix: sp.csr_array | F32, transposed: sp.csr_array | F32, executor: Executor) -> F64:
    if isinstance(matrix, np.ndarray):
        return executor.map(lambda wide: wide @ wide.T, [matrix.astype(np.float64)])[0]
    gram: F64 = sp.csr_array(matrix @ transposed).toarray().astype(np.float64)
    return gram


def _largest(symmetric: F64, k: int, executor: Executor) -> tuple[F64, Array]:
    """Return the k largest eigenvalues, descending, and their vectors; as one block, so that BLAS keeps to one thread."""
    n = len(symmetric)

    def solve(matrix: F64) -> tuple[F64, F64]:
        values, vectors = scipy.linalg.eigh(matrix, subset_by_index=[n - k, n - 1], driver="evr")
        return values[::-1], vectors[:, ::-1]

    return executor.map(solve, [symmetric])[0]


def _krylov_basis(
    matrix: sp.csr_array | F32, transposed: sp.csr_array | F32, space: int, rng: np.random.Generator, executor: Executor
) -> tuple[F32, F64]:
    """Return an orthonormal basis (space, n), one vector a row, and ``basis M basis'`` (space, space)."""
    n = matrix.shape[0]
    basis = np.empty((space, n), np.float32)
    projected = np.zeros((space, space))
    block = _orthonormal(rng.standard_normal((n, BLOCK), dtype=np.float32), rng, executor)
    for j in range(0, space, BLOCK):
        end = j + BLOCK
        basis[j:end] = block.T
        image = _product(matrix, _product(transposed, block, executor), executor)
        inside = _dot(basis[:end], image, executor)  # (end, BLOCK), the new columns of basis M basis'
        projected[:end, j:end] = inside
        projected[j:end, :end] = inside.T
        if end < space:
            _subtract(basis[:end], inside.astype(np.float32), image, executor)
            block = _orthonormal(image, rng, executor)
            # a second pass keeps the basis orthonormal where the block was nearly inside it
            again = _dot(basis[:end], block, executor)
            _subtract(basis[:end], again.astype(np.float32), block, executor)
            block = _orthonormal(block, rng, executor)
    return basis, (projected + projected.T) / 2


def _orthonormal(block: F32, rng: np.random.Generator, executor: Executor) -> F32:
    """Orthonormalize the columns by Cholesky QR; a block without full rank is refilled at random and done by QR."""
    gram = _dot(block.T, block, executor)
    scale = gram.diagonal()
    if np.isfinite(gram).all() and scale.min() > 1e-10 * max(float(scale.max()), 1e-30):
        try:
            factor = np.linalg.cholesky(gram)
        except np.linalg.LinAlgError:
            pass
        else:
            if factor.diagonal().min() > 1e-4 * factor.diagonal().max():
                inverse = np.linalg.inv(factor).T.astype(np.float32)
                return np.concatenate(executor.map(lambda at: block[at] @ inverse, even_blocks(len(block), _ROWS)))
    fresh = rng.standard_normal(block.shape, dtype=np.float32) * np.float32(1e-3 * np.sqrt(scale.max() / len(block)) + 1e-12)
    return np.linalg.qr((block + fresh).astype(np.float64))[0].astype(np.float32)


def _dot(left: F32, right: F32, executor: Executor) -> F64:
    """Return ``left @ right`` for a short left (a, n) and a thin right (n, b); blocks are added in order."""
    parts = executor.map(lambda at: left[:, at] @ right[at], even_blocks(len(right), _ROWS))
    total = np.zeros((left.shape[0], right.shape[1]))
    for part in parts:
        total += part
    return total


def _subtract(basis: F32, coefficients: F32, block: F32, executor: Executor) -> None:
    """Take ``basis.T @ coefficients`` from `block` (n, b) in place."""

    def one(at: slice) -> None:
        block[at] -= basis[:, at].T @ coefficients

    executor.map(one, even_blocks(len(block), _ROWS))


def _combine(basis: F32, rotation: F32, executor: Executor) -> F32:
    """Return ``basis.T @ rotation``, shape (n, k)."""
    return np.concatenate(executor.map(lambda at: basis[:, at].T @ rotation, even_blocks(basis.shape[1], _ROWS)))


def sparse_dense(matrix: sp.csr_array, dense: F32, *, executor: Executor | None) -> F32:
    """Return ``matrix @ dense``, shape (n, d): each row is one sum in the order of its entries.

    Parameters
    ----------
    matrix : csr_array, float32, shape (n, m)
        Sparse side.
    dense : F32, shape (m, d)
        Dense side.
    executor : Executor or None
        Runs blocks of rows; with None the calling thread does it all, as it must inside another block.

    Raises
    ------
    ValueRangeError
        Where type or shape do not fit: the loop below would read whatever is behind the array.

    Notes
    -----
    Cost: ``2 nnz d`` operations; bound by the gathering of rows.
    """
    if dense.ndim != 2 or len(dense) != matrix.shape[1] or dense.dtype != np.float32:
        said = f"the dense side is {dense.dtype} of shape {dense.shape}"
        raise ValueRangeError(f"{said}; allowed: float32 with {matrix.shape[1]} rows, as the sparse side has columns")
    out = np.zeros((matrix.shape[0], dense.shape[1]), np.float32)
    indptr = matrix.indptr.astype(np.int64, copy=False)
    dense = np.ascontiguousarray(dense)

    width = dense.shape[1]

    def one(bound: tuple[int, int]) -> None:
        rows = indptr[bound[0] : bound[1] + 1], matrix.indices, matrix.data, dense, out[bound[0] : bound[1]]
        if width % LANES == 0 and 0 < width <= _IN_REGISTERS:
            _add_rows_in_registers((0,) * (width // LANES), *rows)
        else:
            _add_rows(*rows)

    if executor is None:
        one((0, len(out)))
    else:
        executor.map(one, balanced_blocks(indptr, per_entry=dense.shape[1], per_row=dense.shape[1]))
    return out


@compiled
def _add_rows(indptr, indices, data, dense, out):
    for u in range(len(out)):
        row = out[u]
        for e in range(indptr[u], indptr[u + 1]):
            w = data[e]
            y = dense[indices[e]]
            for a in range(row.shape[0]):
                row[a] += w * y[a]


@compiled
def _add_rows_in_registers(chunks, indptr, indices, data, dense, out):
    """Do the same, the row of the result held in registers: half the time for narrow rows."""
    for u in range(len(out)):
        total = load(chunks, out, u)
        for e in range(indptr[u], indptr[u + 1]):
            total = add_scaled(total, data[e], load(chunks, dense, indices[e]))
        store(out, u, total)
