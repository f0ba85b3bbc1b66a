"""Singular values and vectors against LAPACK and ARPACK, and the sparse product against scipy."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import svds

from recvec.contract import Threads
from recvec.errors import ValueRangeError
from recvec.kernels.factorization import sparse_dense, truncated_svd


def power_law(n: int, m: int, seed: int = 0, share: float = 0.02) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, m + 1) ** 0.8
    columns = rng.choice(m, int(n * m * share), p=popularity / popularity.sum())
    matrix = sp.csr_array(sp.coo_array((np.ones(len(columns), np.float32), (rng.integers(0, n, len(columns)), columns)), shape=(n, m)))
    matrix.data[:] = rng.random(matrix.nnz, dtype=np.float32) + 0.5
    return matrix


def svd(matrix: sp.csr_array, k: int, threads: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return truncated_svd(matrix, k, rng=np.random.default_rng(seed), executor=Threads(threads))


@pytest.mark.parametrize("shape", [(1500, 2500), (2500, 1500), (1300, 1300)])
def test_krylov_agrees_with_arpack(shape: tuple[int, int]) -> None:
    matrix = power_law(*shape)
    u, s, v = svd(matrix, 24)
    expected = svds(matrix.astype(np.float64), k=24, random_state=0, return_singular_vectors=False)[::-1]
    np.testing.assert_allclose(s, expected, rtol=1e-4)
    for q in (u, v):
        np.testing.assert_allclose(q.T @ q, np.eye(24), atol=1e-4)
    np.testing.assert_allclose(matrix @ v, u * s, atol=2e-2 * s[0])


@settings(max_examples=40)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 12), st.integers(0, 99))
def test_small_matrices_are_decomposed_exactly(n: int, m: int, k: int, seed: int) -> None:
    matrix = sp.csr_array(
        (np.random.default_rng(seed).random((n, m)) * (np.random.default_rng(seed + 1).random((n, m)) < 0.4)).astype(np.float32)
    )
    u, s, v = svd(matrix, k)
    expected = np.linalg.svd(matrix.toarray().astype(np.float64), compute_uv=False)
    wanted = np.zeros(k)
    wanted[: min(k, len(expected))] = expected[:k]
    np.testing.assert_allclose(s, wanted, atol=1e-3 * max(1.0, wanted[0]))
    assert u.shape == (n, k)
    assert v.shape == (m, k)
    best = np.linalg.norm(matrix.toarray() - (u * s) @ v.T)
    assert best <= np.sqrt((expected[k:] ** 2).sum()) + 1e-2 * max(1.0, wanted[0])


def test_a_matrix_of_low_rank_gives_zeros_beyond_its_rank() -> None:
    rng = np.random.default_rng(0)
    blocks = np.kron(np.eye(5, dtype=np.float32), np.ones((300, 400), np.float32)) * (rng.random((1500, 1)) + 0.5).astype(np.float32)
    u, s, v = svd(sp.csr_array(blocks), 12)
    expected = np.linalg.svd(blocks, compute_uv=False)[:5]
    np.testing.assert_allclose(s[:5], expected, rtol=1e-4)
    assert (s[5:] <= 1e-3 * s[0]).all()
    assert np.isfinite(u).all()
    assert np.isfinite(v).all()


def test_a_dominant_direction_costs_no_accuracy() -> None:
    """Once its vector has converged, every further block is nearly inside of the basis."""
    matrix = power_law(1500, 2600, seed=3)
    matrix = sp.csr_array(matrix + 3 * sp.csr_array(sp.random_array((1500, 2600), density=0.02, rng=np.random.default_rng(4)) > 0))
    u, s, v = svd(matrix.astype(np.float32), 24)
    expected = svds(matrix.astype(np.float64), k=24, random_state=0, return_singular_vectors=False)[::-1]
    assert s[0] > 3 * s[1]
    np.testing.assert_allclose(s, expected, rtol=1e-4)  # the last ones of a flat spectrum have not converged
    np.testing.assert_allclose(s[:12], expected[:12], rtol=1e-5)
    for q in (u, v):
        np.testing.assert_allclose(q.T @ q, np.eye(24), atol=1e-4)


def test_an_empty_matrix_gives_zeros() -> None:
    for shape in ((5, 7), (1500, 1600)):
        u, s, v = svd(sp.csr_array(shape, dtype=np.float32), 3)
        assert not s.any()
        assert np.isfinite(u).all()
        assert not v.any()


def test_same_bits_for_any_number_of_threads() -> None:
    matrix = power_law(1500, 2000)
    one = svd(matrix, 16, threads=1)
    for threads in (2, 3):
        assert all(np.array_equal(a, b) for a, b in zip(one, svd(matrix, 16, threads=threads), strict=True))
    assert not np.array_equal(one[0], svd(matrix, 16, seed=1)[0])


def test_signs_are_settled() -> None:
    _, _, v = svd(power_law(200, 300), 8)
    assert (v[np.abs(v).argmax(axis=0), np.arange(8)] > 0).all()


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 40), st.integers(0, 9))
def test_sparse_times_dense(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = sp.csr_array(sp.random_array((n, m), density=0.3, rng=rng, dtype=np.float32))
    dense = rng.standard_normal((m, d), dtype=np.float32)
    product = sparse_dense(matrix, dense, executor=Threads(2))
    np.testing.assert_allclose(product, matrix @ dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [16, 48, 64, 80, 128, 192])
def test_rows_in_registers_have_the_bits_of_other_rows(width: int) -> None:
    rng = np.random.default_rng(0)
    matrix = sp.csr_array(sp.random_array((50, 70), density=0.3, rng=rng, dtype=np.float32))
    dense = rng.standard_normal((70, width), dtype=np.float32)
    wider = np.column_stack([dense, np.zeros((70, 1), np.float32)])
    assert np.array_equal(sparse_dense(matrix, dense, executor=None), sparse_dense(matrix, wider, executor=Threads(2))[:, :width])


def test_what_was_in_the_place_of_a_product_is_lost() -> None:
    matrix = sp.csr_array(np.eye(3, 4, dtype=np.float32))
    for width in (1, 16, 128):
        dense, out = np.ones((4, width), np.float32), np.full((3, width), np.nan, np.float32)
        assert sparse_dense(matrix, dense, executor=Threads(1), out=out) is out
        assert np.array_equal(out, np.ones((3, width), np.float32))


@pytest.mark.parametrize("shape", [(300, 200), (1400, 1400)])
def test_a_dense_matrix_is_decomposed_like_a_sparse_one(shape: tuple[int, int]) -> None:
    matrix = power_law(*shape)
    for one, other in zip(svd(matrix, 8), svd(matrix.toarray(), 8), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(one).max())


@pytest.mark.parametrize("shape", [(3, 2), (5, 2), (4,), (4, 2, 1)])
def test_sides_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    matrix = sp.csr_array(np.ones((2, 4), np.float32))
    with pytest.raises(
        ValueRangeError, match=r"the dense side is float32 of shape \(.*; allowed: float32 with 4 rows, as the sparse side has"
    ):
        sparse_dense(matrix, np.ones(shape, np.float32), executor=Threads(1))
    with pytest.raises(ValueRangeError, match=r"the dense side is float64 of shape \(4, 2\); allowed: float32 with 4 rows"):
        sparse_dense(matrix, np.ones((4, 2)), executor=Threads(1))
