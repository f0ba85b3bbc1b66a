"""The normalised decomposition and the bias-centred one, against dense linear algebra."""

import numpy as np
import polars as pl

import recvec as rv


def test_ranking_vectors_are_those_of_the_normalised_matrix(sample: rv.Dataset) -> None:
    model = rv.SVD(embedding_dim=12).fit(sample)
    r = sample.matrix().toarray().astype(np.float64)
    d_u, d_i = r.sum(1), r.sum(0)
    normalised = r / np.sqrt(d_u)[:, None] / np.sqrt(d_i)
    u, s, vt = np.linalg.svd(normalised)
    expected = (u[:, :12] * s[:12]) @ vt[:12] * np.sqrt(d_i)
    np.testing.assert_allclose(model.user_vectors @ model.item_vectors.T, expected, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_allclose(np.linalg.norm(model.user_vectors, axis=0), s[:12], rtol=1e-3)


def test_rating_predictions_are_mean_biases_and_residual(sample: rv.Dataset) -> None:
    model = rv.SVD(embedding_dim=5, task="rating").fit(sample)
    assert (model.n_extra, model.bounds) == (2, (1.0, 5.0))
    ratings = sample.matrix("rating")
    r, known = ratings.toarray().astype(np.float64), ratings.toarray() > 0
    b_u, b_i, v = model.user_vectors[:, 5].astype(np.float64), model.item_vectors[:, 6].astype(np.float64), model.item_vectors[:, :5]
    residual = np.where(known, r - model.offset - b_u[:, None] - b_i, 0)
    np.testing.assert_allclose(model.offset, r[known].mean(), rtol=1e-5)
    # the biases are the shrunken means that minimize the regularized squared error
    np.testing.assert_allclose(b_u, np.where(known, r - model.offset - b_i, 0).sum(1) / (known.sum(1) + 5.0), atol=1e-4)
    np.testing.assert_allclose(b_i, np.where(known, r - model.offset - b_u[:, None], 0).sum(0) / (known.sum(0) + 5.0), atol=2e-3)
    expected = (model.offset + b_u[:, None] + b_i + residual @ v @ v.T)[:30, :30].clip(1, 5)
    pairs = np.meshgrid(np.arange(30), np.arange(30), indexing="ij")
    np.testing.assert_allclose(model.predict(pairs[0].ravel(), pairs[1].ravel()).reshape(30, 30), expected, atol=2e-3)


def test_more_dimensions_than_the_data_have_are_zeros() -> None:
    rows = pl.DataFrame({"user_id": [1, 1, 2, 3], "item_id": [1, 2, 2, 3], "rating": [1.0, 2.0, 3.0, 4.0]})
    for task in ("ranking", "rating"):
        model = rv.SVD(embedding_dim=10, task=task).fit(rv.read(rows))
        assert model.user_vectors.shape == (3, 10 + model.n_extra)
        assert not model.item_vectors[:, 4:10].any()
        assert np.isfinite(model.scores(model.user_vectors)).all()
