"""The inverse in place against LAPACK, over one tile and over many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Threads
from recvec.errors import DivergedError
from recvec.kernels import inverse
from recvec.kernels.inverse import invert


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverse, "TILE", 16)


def positive_definite(n: int, seed: int = 0, reg: float = 1.0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n + 3, n))
    return x.T @ x / n + reg * np.eye(n)


def inverted(matrix: np.ndarray, dtype: type = np.float64, threads: int = 2) -> np.ndarray:
    result = np.tril(matrix).astype(dtype)  # what is above the diagonal is not looked at
    result[np.triu_indices(len(matrix), 1)] = np.nan
    assert invert(result, executor=Threads(threads)) is None
    return result


@pytest.mark.parametrize("n", [1, 15, 16, 17, 32, 75])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_many_tiles(small_tiles: None, n: int, dtype: type, tolerance: float) -> None:
    matrix = positive_definite(n)
    np.testing.assert_allclose(inverted(matrix, dtype), np.linalg.inv(matrix), atol=tolerance)


def test_tiles_of_the_real_size() -> None:
    matrix = positive_definite(inverse.TILE + 200)
    np.testing.assert_allclose(inverted(matrix, np.float32), np.linalg.inv(matrix), atol=2e-5)


@settings(max_examples=40)
@given(st.integers(1, 24), st.integers(0, 99), st.floats(1e-3, 1e3))
def test_the_inverse_times_the_matrix_is_the_identity(n: int, seed: int, reg: float) -> None:
    matrix = positive_definite(n, seed, reg)
    result = inverted(matrix)
    np.testing.assert_allclose(result @ matrix, np.eye(n), atol=1e-8)
    assert np.array_equal(result, result.T)


def test_same_bits_for_any_number_of_threads(small_tiles: None) -> None:
    matrix = positive_definite(100)
    one = inverted(matrix, np.float32, threads=1)
    assert all(np.array_equal(one, inverted(matrix, np.float32, threads=n)) for n in (2, 3))


@pytest.mark.parametrize("at", [0, 30])
def test_what_is_not_positive_definite_is_refused(small_tiles: None, at: int) -> None:
    matrix = positive_definite(40)
    matrix[at, at] = -1
    with pytest.raises(DivergedError, match="not positive definite; use more regularization"):
        inverted(matrix)
