"""Random walks against the published implementation and against plain arithmetic."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recvec as rv

GOLDEN = json.loads((Path(__file__).parent / "golden" / "rp3beta.json").read_text())


@pytest.mark.parametrize("fit", GOLDEN["fits"], ids=lambda f: f"normalize={f['normalize']}")
def test_the_published_implementation_gives_the_same_matrix(fit: dict[str, object]) -> None:
    pairs = np.array(GOLDEN["pairs"])
    data = rv.read(pl.DataFrame({"user_id": pairs[:, 0], "item_id": pairs[:, 1]}))
    settings = {name: fit[name] for name in ("alpha", "beta", "n_neighbours", "normalize")}
    weights = rv.RP3Beta(embedding_dim=4, **settings).fit(data).weights
    ids = data.items.ids.to_numpy()
    expected = np.zeros((ids.max() + 1, ids.max() + 1))
    expected[fit["rows"], fit["columns"]] = fit["values"]
    np.testing.assert_allclose(weights.toarray(), expected[np.ix_(ids, ids)], rtol=1e-5)
    assert weights.nnz == len(fit["values"])


def test_weights_are_the_edges_of_the_walk() -> None:
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, 20, (150, 2)), axis=0)
    weight = rng.integers(1, 5, len(pairs)).astype(float)
    data = rv.read(pl.DataFrame({"user_id": pairs[:, 0], "item_id": pairs[:, 1], "weight": weight}))
    x = data.matrix().toarray().astype(np.float64)
    d_u, d_i = x.sum(1, keepdims=True), x.sum(0)
    expected = ((x / d_i) ** 0.7).T @ ((x / d_u) ** 0.7) / d_i**0.4
    np.fill_diagonal(expected, 0)
    model = rv.RP3Beta(alpha=0.7, beta=0.4, n_neighbours=100, normalize=False, embedding_dim=4).fit(data)
    np.testing.assert_allclose(model.weights.toarray(), expected, rtol=1e-4)
    np.testing.assert_allclose(model.scores(model.queries(np.arange(4))), x[:4] @ expected, rtol=1e-4)


def test_no_row_and_no_column_is_longer_than_asked_for(sample: rv.Dataset) -> None:
    weights = rv.RP3Beta(n_neighbours=7).fit(sample).weights
    assert np.diff(weights.indptr).max() <= 7
    assert np.bincount(weights.indices).max() == 7
    assert not weights.diagonal().any()
