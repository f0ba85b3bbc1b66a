"""The graph filter against its formula in dense numpy."""

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.data.dataset import Dataset
from recvec.kernels.gram import Gram


def formula(r: np.ndarray, d: int, weight: float) -> np.ndarray:
    """Return S = R (R~'R~) + weight R D_i^-1/2 V V' D_i^1/2."""
    users, items = (np.maximum(r.sum(axis=axis), 1e-300) ** 0.5 for axis in (1, 0))
    normal = r / users[:, None] / items
    v = np.linalg.svd(normal)[2][:d].T
    return r @ (normal.T @ normal) + weight * (r / items) @ v @ v.T * items


def table(r: np.ndarray) -> Dataset:
    users, items = np.nonzero(r)
    return rv.read(pl.DataFrame({"user_id": users, "item_id": items, "weight": r[users, items].astype(float)}))


@pytest.mark.parametrize(("binary", "weight"), [(True, 0.3), (False, 0.3), (True, 0.0), (True, 2.0)])
def test_scores_are_those_of_the_formula(weight: float, *, binary: bool) -> None:
    rng = np.random.default_rng(0)
    r = (rng.random((70, 50)) < 0.2) * (1 if binary else rng.integers(1, 4, (70, 50)))
    data = table(r)
    model = rv.GraphFilter(embedding_dim=8, weight=weight).fit(data)
    at = np.ix_(data.users.ids.to_numpy(), data.items.ids.to_numpy())
    expected = formula(r[at].astype(np.float64), 8, weight)
    np.testing.assert_allclose(model.scores(model.queries(np.arange(model.n_users))), expected, rtol=1e-4, atol=1e-5)


def test_repeated_rows_add_up_and_the_matrix_between_items_stays_a_product(sample: Dataset) -> None:
    model = rv.GraphFilter(embedding_dim=8).fit(sample)
    assert isinstance(model.weights, Gram)
    assert model.weights.factor.nnz == len(model.trained.items)
    pairs = pl.DataFrame({"user_id": [0, 0, 0, 1, 1], "item_id": [0, 0, 1, 1, 2]})
    twice = rv.GraphFilter(embedding_dim=2).fit(rv.read(pairs))
    once = rv.GraphFilter(embedding_dim=2).fit(table(np.array([[2, 1, 0], [0, 1, 1]])))
    assert np.array_equal(twice.scores(twice.queries(np.arange(2))), once.scores(once.queries(np.arange(2))))


def test_more_vectors_than_the_graph_has(sample: Dataset) -> None:
    model = rv.GraphFilter(embedding_dim=16).fit(table(np.eye(4) + np.eye(4, k=1)))
    assert model.item_vectors.shape == (4, 16)
    assert np.isfinite(model.scores(model.queries(np.arange(4)))).all()
