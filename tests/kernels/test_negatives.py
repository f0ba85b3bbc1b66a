"""Negatives are items that a user has not met, uniform, and the same for any number of threads."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Threads
from recvec.kernels.negatives import draw_unmet


def met(matrix: sp.csr_array) -> tuple[np.ndarray, np.ndarray]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(2, 40), st.integers(1, 5))
def test_never_an_item_that_was_met(seed: int, n_users: int, n_items: int, n_negatives: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.random((n_users, n_items)) < 0.5
    dense[:, rng.integers(n_items)] = False
    users = rng.integers(0, n_users, 300).astype(np.int32)
    drawn = draw_unmet(met(sp.csr_array(dense)), users, n_negatives, n_items, seed=seed, executor=Threads(1))
    assert drawn.shape == (300, n_negatives)
    assert not dense[users[:, None], drawn].any()


def test_all_unmet_items_are_as_likely_and_threads_change_nothing() -> None:
    history = met(sp.csr_array(np.array([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]])))
    users = np.repeat(np.array([0, 1], np.int32), 60_000)
    drawn = draw_unmet(history, users, 2, 6, seed=3, executor=Threads(1))
    assert np.array_equal(drawn, draw_unmet(history, users, 2, 6, seed=3, executor=Threads(3)))
    share = np.bincount(drawn[:60_000].ravel(), minlength=6) / 120_000
    np.testing.assert_allclose(share, [0, 0.25, 0.25, 0, 0.25, 0.25], atol=0.01)
    np.testing.assert_allclose(np.bincount(drawn[60_000:].ravel(), minlength=6) / 120_000, np.full(6, 1 / 6), atol=0.01)


def test_whoever_has_met_everything_still_gets_items() -> None:
    history = met(sp.csr_array(np.ones((1, 4))))
    drawn = draw_unmet(history, np.zeros(10, np.int32), 3, 4, seed=0, executor=Threads(1))
    assert ((drawn >= 0) & (drawn < 4)).all()
