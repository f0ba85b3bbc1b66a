"""Walks over the graph against dense arithmetic, and products with F F' against the matrix that they never make."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Threads
from recvec.kernels.gram import Gram
from recvec.kernels.walks import drawn_visits, normalized, roads, shares, visits

SIZES = st.tuples(st.integers(1, 25), st.integers(1, 20), st.integers(0, 2**32 - 1))


def graph(n_users: int, n_items: int, seed: int, *, weighted: bool = True) -> sp.csr_array:
    """Return interactions with users and items that have none, and some weights of 0."""
    rng = np.random.default_rng(seed)
    there = rng.random((n_users, n_items)) < rng.random()
    weights = rng.integers(0, 4, there.shape) if weighted else np.ones(there.shape)
    rows, columns = np.nonzero(there)
    return sp.csr_array((weights[there].astype(np.float32), (rows, columns)), shape=there.shape)


def page_rank(edges: np.ndarray, starts: np.ndarray, restart: float) -> np.ndarray:
    """Solve p = a e + (1 - a) p T over users and items, where each person of `starts` is a node that only they leave from."""
    (n_users, n_items), b = edges.shape, len(starts)
    n = b + n_users + n_items
    steps = np.zeros((n, n))
    steps[:b, b + n_users :] = starts
    steps[b : b + n_users, b + n_users :] = edges
    steps[b + n_users :, b : b + n_users] = edges.T
    sums = steps.sum(axis=1, keepdims=True)
    steps = np.divide(steps, sums, out=np.zeros_like(steps), where=sums > 0)
    return (restart * np.eye(n)[:b] @ np.linalg.inv(np.eye(n) - (1 - restart) * steps))[:, b + n_users :]


@settings(max_examples=25, deadline=None)
@given(SIZES, st.floats(0.1, 0.9))
def test_long_walks_are_personalised_page_rank(sizes: tuple[int, int, int], restart: float) -> None:
    x = graph(*sizes)
    starts = graph(5, sizes[1], sizes[2] + 1)
    found = restart * visits(normalized(x), starts, restart, 200)
    expected = page_rank(x.toarray(), starts.toarray(), restart)
    met = x.sum(axis=0) > 0  # an item that nobody met is at the end of no walk
    np.testing.assert_allclose(found[:, met], expected[:, met], atol=1e-5)
    assert (found[:, ~met] == 0).all()


def test_a_known_user_is_a_node_of_the_graph_like_others() -> None:
    x = graph(12, 9, 3)
    both = np.block([[np.zeros((12, 12)), x.toarray()], [x.toarray().T, np.zeros((9, 9))]])
    sums = both.sum(axis=1, keepdims=True)
    steps = np.divide(both, sums, out=np.zeros_like(both), where=sums > 0)
    mass = np.eye(21)[:12]
    for _ in range(300):  # as a networkx.pagerank with this personalization goes
        mass = 0.2 * np.eye(21)[:12] + 0.8 * mass @ steps
    np.testing.assert_allclose(0.2 * visits(normalized(x), x, 0.2, 150), mass[:, 12:], atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.floats(0, 1), st.integers(1, 4))
def test_walks_of_some_steps_are_sums_of_powers(sizes: tuple[int, int, int], restart: float, rounds: int) -> None:
    x = graph(*sizes)
    dense = x.toarray().astype(np.float64)
    to_users, to_items = (np.divide(m, s := m.sum(axis=1, keepdims=True), out=np.zeros_like(m), where=s > 0) for m in (dense.T, dense))
    mass, expected = shares(x).toarray().astype(np.float64), np.zeros(dense.shape)
    for k in range(rounds + 1):
        expected += (1 - restart) ** (2 * k + 1) * mass
        mass = mass @ to_users @ to_items
    found = visits(normalized(x), x, restart, rounds)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.isfinite(found).all()


def test_a_walk_does_not_depend_on_the_others_of_its_batch() -> None:
    x = graph(150, 40, 1)
    ready = normalized(x)
    together = visits(ready, x, 0.15, 3)
    for at in (slice(0, 1), slice(70, 75), slice(149, 150)):
        assert np.array_equal(visits(ready, x[at], 0.15, 3), together[at])


@pytest.mark.parametrize("weighted", [True, False])
def test_drawn_walks_come_close_to_expected_ones(*, weighted: bool) -> None:
    x, n_walks = graph(30, 20, 5, weighted=weighted), 4000
    found = np.empty(x.shape, np.float32)
    drawn_visits(roads(x), roads(x), roads(sp.csr_array(x.T.tocsr())), 0.2, 4, n_walks, 7, found)
    expected = visits(normalized(x), x, 0.2, 4)
    assert (np.abs(found - expected) <= 8 * np.sqrt(expected / n_walks)).all()  # visits of one walk are not independent
    again = np.empty(x.shape, np.float32)
    blocks = [slice(start, start + 7) for start in range(0, 30, 7)]
    ways = roads(x), roads(sp.csr_array(x.T.tocsr()))
    Threads(3).map(lambda at: drawn_visits(roads(x[at]), *ways, 0.2, 4, n_walks, 7, again[at]), blocks)
    assert np.array_equal(found, again)
    drawn_visits(roads(x), *ways, 0.2, 4, n_walks, 8, again)
    assert not np.array_equal(found, again)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(0, 90))
def test_products_with_a_gram_matrix(sizes: tuple[int, int, int], n: int) -> None:
    factor = sp.csr_array(graph(*sizes).T.tocsr())
    left = graph(n, factor.shape[0], 9) if n else sp.csr_array((0, factor.shape[0]), dtype=np.float32)
    whole = (factor @ factor.T).toarray()
    gram = Gram(factor)
    np.testing.assert_allclose(gram.rows(left), left.toarray() @ whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gram.column(factor.shape[0] - 1), whole[:, -1], rtol=1e-5, atol=1e-5)
