"""Products of sparse matrices against dense arithmetic."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recvec.contract import Threads
from recvec.kernels.sparse_products import best_of_columns, best_of_products, sparse_sparse


def counts(n: int, m: int, seed: int, share: float = 0.3) -> sp.csr_array:
    """A sparse matrix of small whole numbers, so that sums are exact and entries tie."""
    matrix = sp.csr_array(sp.random_array((n, m), density=share, rng=np.random.default_rng(seed), dtype=np.float32))
    matrix.data[:] = np.ceil(3 * matrix.data)
    return matrix


def kept_by_rule(dense: np.ndarray, k: int) -> np.ndarray:
    """The k largest positive entries of each row, of equal ones the first."""
    kept = np.zeros_like(dense)
    for i, row in enumerate(dense):
        best = np.argsort(-row, kind="stable")[:k]
        kept[i, best] = row[best].clip(min=0)
    return kept


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_dense_product(n: int, m: int, p: int, seed: int) -> None:
    left, right = counts(n, m, seed), counts(m, p, seed + 1)
    expected = left.toarray() @ right.toarray()
    assert np.array_equal(sparse_sparse(left, right), expected)
    out = np.full((n, p), np.nan, np.float32)
    assert sparse_sparse(left, right, out=out, executor=Threads(2)) is out
    assert np.array_equal(out, expected)


@given(st.integers(1, 20), st.integers(1, 15), st.integers(1, 22), st.integers(0, 99))
def test_best_entries_of_each_row(n: int, m: int, k: int, seed: int) -> None:
    x = counts(m, n, seed)
    dense = (x.T @ x).toarray()
    np.fill_diagonal(dense, 0)
    found = best_of_products(sp.csr_array(x.T.tocsr()), x, k, column_scale=np.ones(n, np.float32), executor=Threads(2))
    assert np.array_equal(found.toarray(), kept_by_rule(dense, k))
    assert found.nnz == np.count_nonzero(found.toarray())


def test_scales_and_shrinkage_come_before_the_choice() -> None:
    x, rng = counts(30, 12, 4, 0.5), np.random.default_rng(0)
    rows, columns = rng.random(12, np.float32) + 0.5, rng.random(12, np.float32) + 0.5
    dense = (x.T @ x).toarray() / (np.outer(rows, columns) + 2.5)
    np.fill_diagonal(dense, 0)
    by_item = sp.csr_array(x.T.tocsr())
    found = best_of_products(by_item, x, 4, row_scale=rows, column_scale=columns, shrink=2.5, executor=Threads(2))
    np.testing.assert_allclose(found.toarray(), kept_by_rule(dense, 4), rtol=1e-6)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 8), st.integers(0, 99))
def test_best_entries_of_each_column(n: int, m: int, k: int, seed: int) -> None:
    matrix = counts(n, m, seed, 0.6)
    found = best_of_columns(matrix, k, executor=Threads(2))
    assert np.array_equal(found.toarray(), kept_by_rule(matrix.toarray().T, k).T)
    assert all((np.diff(found.indices[a:b]) > 0).all() for a, b in zip(found.indptr, found.indptr[1:], strict=False))


@pytest.mark.parametrize("threads", [2, 3])
def test_same_bits_for_any_number_of_threads(threads: int) -> None:
    rng = np.random.default_rng(0)
    x = sp.csr_array(sp.random_array((3000, 1500), density=0.02, rng=rng, dtype=np.float32))
    by_item, scale = sp.csr_array(x.T.tocsr()), rng.random(1500, np.float32) + 0.1

    def made(n: int) -> list[np.ndarray]:
        executor = Threads(n)
        best = best_of_products(by_item, x, 50, column_scale=scale, executor=executor)
        columns = best_of_columns(best, 40, executor=executor)
        return [
            sparse_sparse(by_item, x, executor=executor),
            *(getattr(m, a) for m in (best, columns) for a in ("data", "indices", "indptr")),
        ]

    assert all(np.array_equal(a, b) for a, b in zip(made(1), made(threads), strict=True))
