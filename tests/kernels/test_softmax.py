"""The softmax over a catalogue, against the formula written out, and its slopes against differences."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Runtime
from recvec.errors import ValueRangeError
from recvec.kernels.softmax import Observed, expected, scores_of_pairs, softmax_slopes

ONE = Runtime(threads=1).executor


def problem(seed: int, n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray, sp.csr_array]:
    rng = np.random.default_rng(seed)
    pairs = rng.random((n, m), np.float32) * (rng.random((n, m)) < 0.3)
    pairs[0, 0] = 0.7
    users, items = (rng.standard_normal((rows, d), dtype=np.float32) for rows in (n, m))
    return users, items, sp.csr_array(pairs)


def by_formula(users: np.ndarray, items: np.ndarray, drawn: np.ndarray, pairs: np.ndarray) -> float:
    """The loss of the docstring, word for word, in float64."""
    scores = users.astype(np.float64) @ items.astype(np.float64).T
    logs = np.log(len(items) / len(drawn) * np.exp(scores[:, drawn]).sum(axis=1))
    return float((pairs.sum(axis=1) * logs).sum() - (pairs * scores).sum()) / float(pairs.sum())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), m=st.integers(2, 30), d=st.integers(1, 20))
def test_loss_and_slopes_are_those_of_the_formula(seed: int, n: int, m: int, d: int) -> None:
    users, items, pairs = problem(seed, n, m, d)
    drawn = np.sort(np.random.default_rng(seed).permutation(m)[: max(1, m // 2)])
    loss, of_users, of_items = softmax_slopes(users, items, drawn, Observed.of(pairs), ONE)
    dense = pairs.toarray().astype(np.float64)
    assert loss == pytest.approx(by_formula(users, items, drawn, dense), rel=1e-5, abs=1e-5)
    share = np.exp(users.astype(np.float64) @ items[drawn].T)
    share *= (dense.sum(axis=1) / share.sum(axis=1))[:, None]
    mine, theirs = dense @ items - share @ items[drawn], dense.T @ users
    theirs[drawn] -= share.T @ users
    np.testing.assert_allclose(of_users, mine, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(of_items, theirs, rtol=1e-3, atol=1e-4)


def test_slopes_are_those_of_finite_differences() -> None:
    users, items, pairs = problem(0, 6, 5, 3)
    dense, drawn, step = pairs.toarray().astype(np.float64), np.arange(5), 1e-5
    _, of_users, of_items = softmax_slopes(users, items, drawn, Observed.of(pairs), ONE)
    for table, slopes in ((users, of_users), (items, of_items)):
        for at in np.ndindex(2, 3):
            sides = []
            for sign in (1, -1):
                moved = [users.astype(np.float64), items.astype(np.float64)]
                moved[0 if table is users else 1][at] += sign * step
                sides.append(by_formula(moved[0], moved[1], drawn, dense))
            assert slopes[at] == pytest.approx(-(sides[0] - sides[1]) / (2 * step) * dense.sum(), rel=1e-3, abs=1e-3)


def test_the_same_bits_for_any_number_of_threads() -> None:
    users, items, pairs = problem(1, 3000, 200, 16)
    first, *others = (
        softmax_slopes(users, items, np.arange(0, 200, 2), Observed.of(pairs), Runtime(threads=n).executor) for n in (1, 2, 3)
    )
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_other_weights_of_the_same_pairs() -> None:
    _, _, pairs = problem(2, 12, 9, 2)
    weights = np.arange(1, pairs.nnz + 1, dtype=np.float32)
    observed = Observed.of(pairs).weighted(weights)
    assert np.array_equal(observed.by_user.toarray().T, observed.by_item.toarray())
    assert np.array_equal(observed.by_user.data, weights)
    np.testing.assert_allclose(observed.totals, observed.by_user.toarray().sum(axis=1))


def test_scores_of_pairs_and_means() -> None:
    users, items, pairs = problem(3, 12, 9, 5)
    rows, columns = pairs.nonzero()
    np.testing.assert_allclose(scores_of_pairs(users, items, pairs), (users[rows] * items[columns]).sum(axis=1), rtol=1e-4, atol=1e-5)
    share = np.exp(users @ items.T)
    mean, logs = expected(users, items)
    np.testing.assert_allclose(mean, share @ items / share.sum(axis=1)[:, None], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logs, np.log(share.sum(axis=1)), rtol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_what_does_not_fit_is_refused(weight: float) -> None:
    users, items = np.zeros((3, 2), np.float32), np.zeros((4, 2), np.float32)
    pairs = sp.csr_array(np.full((3, 4 if weight == 0 else 5), weight, np.float32))
    with pytest.raises(ValueRangeError, match=r"allowed: shape \(3, 4\), a weight above 0"):
        softmax_slopes(users, items, np.arange(4), Observed.of(pairs), ONE)
