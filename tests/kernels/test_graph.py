"""The graph of an interaction matrix: layers against dense powers, the adjoint, odd graphs."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recvec.contract import Runtime
from recvec.errors import ValueRangeError
from recvec.kernels.graph import graph_of

ONE = Runtime(threads=1).executor


def edges(seed: int, n: int, m: int) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    return sp.csr_array((rng.random((n, m)) * (rng.random((n, m)) < 0.3)).astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6), n=st.integers(1, 20), m=st.integers(1, 20), layers=st.integers(0, 6), power=st.sampled_from([0.0, 0.5, 1.0])
)
def test_the_mean_of_layers_is_that_of_dense_powers(seed: int, n: int, m: int, layers: int, power: float) -> None:
    """Also with more layers than the graph is wide, and with rows that have no edge."""
    weights = edges(seed, n, m)
    dense = weights.toarray().astype(np.float64)
    left, right = (np.where(s > 0, np.where(s > 0, s, 1) ** -p, 0) for s, p in ((dense.sum(1), power), (dense.sum(0), 0.5)))
    s = left[:, None] * dense * right
    whole = np.block([[np.zeros((n, n)), s], [s.T, np.zeros((m, m))]])
    x = np.random.default_rng(seed).standard_normal((n + m, 3)).astype(np.float32)
    expected = sum(np.linalg.matrix_power(whole, k) @ x for k in range(layers + 1)) / (layers + 1)
    users, items = graph_of(weights, user_exponent=power).mean_of_layers(x[:n], x[n:], layers, ONE)
    np.testing.assert_allclose(np.concatenate([users, items]), expected, rtol=1e-3, atol=1e-4)


def test_the_mean_of_layers_is_its_own_adjoint() -> None:
    graph, rng = graph_of(edges(0, 15, 11)), np.random.default_rng(1)
    x, y = ((rng.standard_normal((15, 4), dtype=np.float32), rng.standard_normal((11, 4), dtype=np.float32)) for _ in range(2))
    forward, backward = graph.mean_of_layers(*x, 3, ONE), graph.mean_of_layers(*y, 3, ONE)
    assert sum(np.vdot(a, b) for a, b in zip(forward, y, strict=True)) == pytest.approx(
        sum(np.vdot(a, b) for a, b in zip(x, backward, strict=True)), rel=1e-4
    )


def test_duplicate_edges_are_one_and_isolated_nodes_keep_their_share() -> None:
    twice = sp.csr_array(sp.coo_array(([1.0, 1.0, 1.0], ([0, 0, 1], [0, 0, 0])), shape=(3, 2)).tocsr())
    once = sp.csr_array(np.array([[2.0, 0], [1, 0], [0, 0]], np.float32))
    assert np.array_equal(graph_of(twice).to_users.toarray(), graph_of(once).to_users.toarray())
    users, items = graph_of(once).mean_of_layers(np.ones((3, 1), np.float32), np.ones((2, 1), np.float32), 1, ONE)
    assert users[2, 0] == items[1, 0] == 0.5


def test_weights_below_0_are_refused() -> None:
    with pytest.raises(ValueRangeError, match="below 0 or not finite"):
        graph_of(sp.csr_array(np.array([[-1.0]], np.float32)))
