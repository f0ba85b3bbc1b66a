"""Neighbours against plain arithmetic."""

import numpy as np
import polars as pl
import pytest

import recvec as rv


@pytest.mark.parametrize(("alpha", "shrink"), [(0.5, 0.0), (0.7, 3.0), (0.0, 1.0), (1.0, 0.0)])
def test_the_nearest_of_every_recommended_item(alpha: float, shrink: float) -> None:
    rng = np.random.default_rng(1)
    pairs = np.unique(rng.integers(0, 25, (200, 2)), axis=0)
    weight = rng.random(len(pairs)) + 0.5
    data = rv.read(pl.DataFrame({"user_id": pairs[:, 0], "item_id": pairs[:, 1], "weight": weight}))
    x = data.matrix().toarray().astype(np.float64)
    squares = (x**2).sum(0)
    similar = x.T @ x / (np.outer(squares**alpha, squares ** (1 - alpha)) + shrink)
    np.fill_diagonal(similar, 0)
    expected = np.zeros_like(similar)
    for j in range(len(similar)):
        best = np.argsort(-similar[:, j], kind="stable")[:4]
        expected[best, j] = similar[best, j]
    model = rv.ItemKNN(n_neighbours=4, alpha=alpha, shrink=shrink, embedding_dim=3).fit(data)
    np.testing.assert_allclose(model.weights.toarray(), expected, rtol=1e-4)
    np.testing.assert_allclose(model.scores(model.queries(np.arange(6))), x[:6] @ expected, rtol=1e-4, atol=1e-6)


def test_cosine_of_the_same_people_is_one() -> None:
    rows = pl.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "b", "c"]})
    data = rv.read(rows)
    weights = rv.ItemKNN(alpha=0.5, shrink=0.0, embedding_dim=2).fit(data).weights.toarray()
    a, b, c = data.items.rows(["a", "b", "c"])
    assert np.isclose(weights[a, b], 1)
    assert not weights[c].any()
