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
from recvec.kernels.tall import add_combined, crossed, tall
from recvec.types import F32, F64, Array, Executor

DENSE_SIDE = 1200  # up to this many rows M is decomposed whole, which is exact and as fast
BLOCK = 16  # columns of X; wider blocks need a larger space for the same accuracy
SPACE = 4  # dimensions of the Krylov space for each wanted triplet
LARGEST = 2  # times that, where the values have not settled
SETTLED = 1.5e-3  # residual over the eigenvalue, below which singular values are right to about 1e-5
STEPS = 20  # ... and at least so many powers of M, for few triplets out of a flat spectrum
LITTLE = 0.1  # length of what is left of a column over what was taken from it, below which a second pass follows
MOST = 10.0  # ... and a third, a fourth
OFTEN = 8  # two of so many blocks get a second pass in any case: one alone would leave the error of its predecessor
_PASSES = 5  # after the first, at most
_IN_REGISTERS = 64  # columns: each width is compiled on its own, and a panel of a wider row is a row too
_GATHER = 64  # multiply-adds that bringing a row from memory costs, however narrow it is
_ROWS = 1024  # rows of one dense block product
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
    ``2.5 side (SPACE k)^2`` for reorthogonalization, side = min(n, m). Memory: ``4 side SPACE k`` bytes for the basis.
    A flat spectrum takes a larger space, up to `LARGEST` times.
    """
    n, m = matrix.shape
    if n > m:
        v, s, u = truncated_svd(_transposed(matrix), k, rng=rng, executor=executor)
        return _fix_signs(u, s, v)
    transposed = _transposed(matrix)
    found, space = min(k, n), krylov_space(k)
    left, s, right = np.zeros((n, k), np.float32), np.zeros(k, np.float32), np.empty((m, k), np.float32)
    if n <= max(DENSE_SIDE, space):
        values, left[:, :found] = _largest(_gram(matrix, transposed, executor), found, executor)
    else:
        basis, values, rotation = _ritz(matrix, transposed, found, space, rng, executor)
        _combine(basis, rotation.astype(np.float32), left[:, :found], executor)
    s[:found] = np.sqrt(values.clip(min=0))
    s[s <= s[0] * 1e-5] = 0  # below float32 resolution of M: rank, not signal
    left[:, s == 0] = 0
    _multiply(transposed, left, right, executor)
    right /= np.where(s > 0, s, np.float32(1))
    return _fix_signs(left, s, right)


def krylov_space(k: int) -> int:
    """Return how many dimensions the search for k triplets takes: a whole number of blocks."""
    return max(-(-SPACE * k // BLOCK), STEPS) * BLOCK


def _fix_signs(u: F32, s: F32, v: F32) -> tuple[F32, F32, F32]:
    signs = np.where(-v.min(axis=0) > v.max(axis=0), np.float32(-1), np.float32(1))
    u *= signs
    v *= signs
    return u, s, v


def _transposed(matrix: sp.csr_array | F32) -> sp.csr_array | F32:
    return matrix.T if isinstance(matrix, np.ndarray) else sp.csr_array(matrix.T.tocsr())


def _multiply(matrix: sp.csr_array | F32, dense: F32, out: F32, executor: Executor) -> None:
    """Write ``matrix @ dense``, shape (n, d), for a thin `dense`."""
    if isinstance(matrix, np.ndarray):
        whole: F32 = matrix
        executor.map(lambda at: np.matmul(whole[at], dense, out=out[at]), even_blocks(len(matrix), _DENSE_ROWS))
    else:
        sparse_dense(matrix, dense, executor=executor, out=out)


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


def _ritz(
    matrix: sp.csr_array | F32, transposed: sp.csr_array | F32, k: int, space: int, rng: np.random.Generator, executor: Executor
) -> tuple[F32, F64, Array]:
    """Return an orthonormal basis as blocks (b, n or more, BLOCK), the k largest eigenvalues of M in it and their vectors.

    The Krylov space has `space` dimensions, and more where the values are not settled.
    """
    n, m = matrix.shape
    most = min(LARGEST * space, n // BLOCK * BLOCK)
    basis, middle, image = tall(n, most // BLOCK), tall(m), tall(n)  # pages of the basis that are never written take no memory
    image[:n] = rng.standard_normal((n, BLOCK), dtype=np.float32)
    _orthonormalize(image, n, rng)
    projected, begin, end = np.zeros((most, most)), 0, min(space, most)  # basis M basis'
    while True:
        for j in range(begin // BLOCK, end // BLOCK):
            if j > 0:
                _leave(basis[:j], projected[: j * BLOCK, (j - 1) * BLOCK : j * BLOCK], image, n, rng, executor)
            basis[j] = image
            _multiply(transposed, image[:n], middle[:m], executor)
            _multiply(matrix, middle[:m], image[:n], executor)
            at, upto = slice(j * BLOCK, (j + 1) * BLOCK), slice((j + 1) * BLOCK)
            inside = crossed(basis[: j + 1], image, executor)
            projected[upto, at], projected[at, upto] = inside, inside.T
        found = projected[:end, :end]
        values, rotation = _largest((found + found.T) / 2, k, executor)
        if end == most or _residual(found, values, rotation) < SETTLED:
            return basis[: end // BLOCK], values, rotation
        begin, end = end, min(most, end + space // SPACE // BLOCK * BLOCK + BLOCK)


def _residual(projected: F64, values: F64, rotation: Array) -> float:
    """Return the largest residual of the eigenvalues, over the value: what M makes of a vector outside of the space.

    That is the part of the vector in the last block, times how that block is coupled to the next; the coupling to the one
    before stands for it. The error of a value goes with the square.
    """
    coupling = float(np.linalg.norm(projected[-BLOCK:, -2 * BLOCK : -BLOCK], 2))
    kept = values > values[0] * 1e-10  # the others are taken for zero
    return float((coupling * np.linalg.norm(rotation[-BLOCK:], axis=0)[kept] / values[kept]).max(initial=0.0))


def _leave(basis: F32, inside: F64, block: F32, n: int, rng: np.random.Generator, executor: Executor) -> None:
    """Take what is inside of the basis from a block, in place, and orthonormalize the rest.

    A pass leaves rounding errors of what it takes away. Where little more than that remains of a column, be it after
    the columns before it, more passes follow, until one has little to take. Otherwise errors grow slowly from block to
    block, and two blocks in turn that are done twice set them back (Simon, "The Lanczos algorithm with partial
    reorthogonalization", 1984).
    """
    for enough in (MOST if len(basis) % OFTEN < 2 else LITTLE, *(MOST,) * _PASSES):
        add_combined(basis, -inside, block, executor)
        rest = _orthonormalize(block, n, rng)
        if rest >= enough * np.sqrt((inside**2).sum(axis=0).max()):
            return
        inside = crossed(basis, block, executor)


def _orthonormalize(block: F32, n: int, rng: np.random.Generator) -> float:
    """Orthonormalize the columns of the first n rows in place, by Cholesky QR twice.

    Columns without full rank are filled up at random, and done by Householder's QR.

    Returns
    -------
    float
        The least length that a column had outside of those before it; 0 without full rank.
    """
    rest = 1.0
    for _ in range(2):
        gram = crossed(block[None], block, None)
        factor = _factor(gram)
        if factor is None:
            scale = np.float32(1e-3 * np.sqrt(gram.diagonal().max() / n) + 1e-12)
            fresh = rng.standard_normal((n, BLOCK), dtype=np.float32) * scale
            block[:n] = np.linalg.qr((block[:n] + fresh).astype(np.float64))[0]
            return 0.0
        rest *= float(factor.diagonal().min())
        old = block[None].copy()
        block[:] = 0
        add_combined(old, np.linalg.inv(factor).T, block, None)
    return rest


def _factor(gram: F64) -> F64 | None:
    """Return the Cholesky factor, None where the rank is not safely full."""
    scale = gram.diagonal()
    if not np.isfinite(gram).all() or scale.min() <= 1e-10 * max(float(scale.max()), 1e-30):
        return None
    try:
        factor = np.linalg.cholesky(gram).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        return None
    return factor if factor.diagonal().min() > 1e-4 * factor.diagonal().max() else None


def _combine(basis: F32, rotation: F32, out: F32, executor: Executor) -> None:
    """Write the vectors of the basis, combined by `rotation` (space, k), to `out` (n, k)."""

    def one(at: slice) -> None:
        rows = basis[:, at].transpose(1, 0, 2).reshape(at.stop - at.start, len(rotation))
        np.matmul(rows, rotation, out=out[at])

    executor.map(one, even_blocks(len(out), _ROWS))


def sparse_dense(matrix: sp.csr_array, dense: F32, *, executor: Executor | None, out: F32 | None = None) -> F32:
    """Return ``matrix @ dense``, shape (n, d): each row is one sum in the order of its entries.

    Parameters
    ----------
    matrix : csr_array, float32, shape (n, m)
        Sparse side.
    dense : F32, shape (m, d)
        Dense side.
    executor : Executor or None
        Runs blocks of rows; with None the calling thread does it all, as it must inside another block.
    out : F32, shape (n, d), optional
        Where to write it; C-contiguous, what was there is lost.

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
    n, width = matrix.shape[0], dense.shape[1]
    out = np.empty((n, width), np.float32) if out is None else out
    indptr = matrix.indptr.astype(np.int64, copy=False)
    panels = _panels(width)  # a panel of a row is a row of the same numbers, written as a narrower matrix
    narrow = np.ascontiguousarray(dense).reshape(-1, width // panels)
    result = out.reshape(-1, width // panels)

    def one(bound: tuple[int, int]) -> None:
        rows = indptr[bound[0] : bound[1] + 1], matrix.indices, matrix.data, narrow
        mine = result[bound[0] * panels : bound[1] * panels]
        mine[:] = 0
        if mine.shape[1] % LANES == 0 and mine.shape[1] <= _IN_REGISTERS:
            _add_rows_in_registers((0,) * (mine.shape[1] // LANES), *rows, panels, mine)
        else:
            _add_rows(*rows, mine)

    if executor is None:
        one((0, n))
    else:
        executor.map(one, balanced_blocks(indptr, per_entry=max(width, _GATHER), per_row=width))
    return out


def _panels(width: int) -> int:
    """Return into how many panels of at most `_IN_REGISTERS` columns a row falls; 1 where it does not."""
    if not width or width % LANES:
        return 1
    return next(width // w for w in range(_IN_REGISTERS, 0, -LANES) if width % w == 0)


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
def _add_rows_in_registers(chunks, indptr, indices, data, dense, panels, out):
    """Do the same, a panel of the result held in registers: half the time for narrow rows."""
    for u in range(len(indptr) - 1):
        for q in range(panels):
            total = load(chunks, out, u * panels + q)
            for e in range(indptr[u], indptr[u + 1]):
                total = add_scaled(total, data[e], load(chunks, dense, indices[e] * panels + q))
            store(out, u * panels + q, total)
