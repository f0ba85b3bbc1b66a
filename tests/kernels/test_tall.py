"""Products of tall thin blocks against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Threads
from recvec.kernels.tall import add_combined, crossed, tall


def filled(n: int, *before: int, seed: int = 0) -> np.ndarray:
    block = tall(n, *before)
    block[..., :n, :] = np.random.default_rng(seed).standard_normal((*before, n, 16), dtype=np.float32)
    return block


@settings(max_examples=30)
@given(st.integers(1, 3000), st.integers(1, 5), st.integers(0, 9))
def test_products_agree_with_numpy(n: int, b: int, seed: int) -> None:
    basis, block = filled(n, b, seed=seed), filled(n, seed=seed + 1)
    wide = basis.transpose(1, 0, 2).reshape(len(block), -1).astype(np.float64)
    np.testing.assert_allclose(crossed(basis, block, Threads(2)), wide.T @ block, atol=1e-6 * n + 1e-5)
    coefficients = np.random.default_rng(seed + 2).standard_normal((16 * b, 16))
    expected = block + wide @ coefficients
    add_combined(basis, coefficients, block, Threads(2))
    np.testing.assert_allclose(block, expected, atol=1e-4)
    assert not block[n:].any()


def test_rows_are_cache_lines_and_their_number_is_a_multiple_of_sixteen() -> None:
    for n in (1, 16, 17, 1000):
        block = tall(n, 2)
        assert block.ctypes.data % 64 == 0
        assert block.shape == (2, -(-n // 16) * 16, 16)
        assert not block.any()


@pytest.mark.parametrize("threads", [2, 3])
def test_same_bits_for_any_number_of_threads(threads: int) -> None:
    basis, block = filled(5000, 3), filled(5000, seed=1)
    one, more = block.copy(), block.copy()
    assert np.array_equal(crossed(basis, block, Threads(1)), crossed(basis, block, Threads(threads)))
    add_combined(basis, np.ones((48, 16)), one, Threads(1))
    add_combined(basis, np.ones((48, 16)), more, Threads(threads))
    assert np.array_equal(one, more)
