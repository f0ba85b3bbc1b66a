"""The objective goes down, the exact solver is exact, and weights mean what the objective says."""

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.errors import ValueRangeError
from recvec.models.als import BALANCE


def objective(model: object, data: rv.Dataset, method: rv.ALS) -> float:
    """L of the module docstring, over all pairs, in float64."""
    w = data.matrix().toarray().astype(np.float64)
    p, q = model.user_vectors.astype(np.float64), model.item_vectors.astype(np.float64)
    s = p @ q.T
    a0, nu = method.unobserved_weight, method.reg_exponent
    n_u, n_i = (w > 0).sum(1), (w > 0).sum(0)
    reg = ((n_u + a0 * w.shape[1]) ** nu * (p**2).sum(1)).sum() + ((n_i + a0 * w.shape[0]) ** nu * (q**2).sum(1)).sum()
    return float((w * (s - 1) ** 2).sum() + a0 * (s**2).sum() + method.reg * reg)


def test_the_objective_goes_down_with_every_epoch(sample: rv.Dataset) -> None:
    losses = [objective((m := rv.ALS(embedding_dim=8, epochs=e)).fit(sample), sample, m) for e in (1, 2, 4, 8)]
    assert losses == sorted(losses, reverse=True)


def test_every_solver_ends_where_the_exact_one_ends(sample: rv.Dataset) -> None:
    exact, *others = (rv.ALS(embedding_dim=24, epochs=15, solver=s, block_size=16) for s in ("cholesky", "cg", "ials++"))
    least = objective(exact.fit(sample), sample, exact)
    for method in others:
        assert abs(objective(method.fit(sample), sample, method) - least) < 4e-3 * least


def test_users_are_at_the_minimum_given_the_items(sample: rv.Dataset) -> None:
    method = rv.ALS(embedding_dim=6, epochs=2, unobserved_weight=0.2, reg_exponent=0.5)
    model = method.fit(sample)
    w, q = sample.matrix().toarray().astype(np.float64), model.item_vectors.astype(np.float64)
    for u in (0, 17, 400):
        count = (w[u] > 0).sum()
        system = (q.T * w[u]) @ q + 0.2 * q.T @ q + method.reg * (count + 0.2 * len(q)) ** 0.5 * np.eye(6)
        np.testing.assert_allclose(model.user_vectors[u], np.linalg.solve(system, q.T @ w[u]), rtol=2e-3, atol=1e-4)


def test_a_weight_column_counts_like_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, 300), rng.integers(0, 20, 300)
    rows = pl.DataFrame({"user_id": users, "item_id": items})
    weighted = rows.group_by("user_id", "item_id").len("weight").cast({"weight": pl.Float64})
    one, other = (rv.ALS(embedding_dim=4).fit(rv.read(t)) for t in (rows, weighted.sort("user_id", "item_id")))
    np.testing.assert_allclose(one.item_vectors, other.item_vectors, rtol=1e-4, atol=1e-6)


def test_vectors_that_shrink_to_nothing_stay_finite(sample: rv.Dataset) -> None:
    model = rv.ALS(embedding_dim=8, reg=10.0, epochs=60).fit(sample)
    assert np.isfinite(model.item_vectors).all()
    assert np.abs(model.item_vectors).max() < 1e-3


def test_the_default_weight_of_unobserved_pairs_is_a_balance(sample: rv.Dataset) -> None:
    model = rv.ALS(embedding_dim=4, epochs=1).fit(sample)
    pairs = sample.n_users * sample.n_items
    assert np.isclose(model.method.unobserved_weight * pairs, BALANCE * len(sample.interactions))
    assert rv.ALS(embedding_dim=4, epochs=1, unobserved_weight=0.3).fit(sample).method.unobserved_weight == 0.3


def odd(weights: dict[tuple[int, int], float]) -> rv.Dataset:
    """Six users and nine items, each known by an entry of weight 1, but for those given."""
    rows = {(u, i): 1.0 for u in range(6) for i in range(9) if (u + i) % 4 == 0} | weights
    users, items = zip(*rows, strict=True)
    return rv.read(pl.DataFrame({"user_id": users, "item_id": items, "weight": list(rows.values())}))


@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky", "ials++"])
def test_vectors_longer_than_either_side(solver: str) -> None:
    data = odd({})
    model = rv.ALS(embedding_dim=40, solver=solver).fit(data)
    assert model.user_vectors.shape == (6, 40)
    assert np.isfinite(model.user_vectors).all()
    assert np.array_equal(model.queries(histories=data.histories()), model.user_vectors)
    scores = model.user_vectors @ model.item_vectors.T
    known = data.matrix().toarray() > 0
    assert scores[known].min() > scores[~known].max()


@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky", "ials++"])
def test_one_user_with_all_items(solver: str) -> None:
    data = odd({(2, i): 1.0 for i in range(9)})
    assert np.isfinite(rv.ALS(embedding_dim=4, solver=solver).fit(data).user_vectors).all()


@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky", "ials++"])
def test_empty_users_and_items_in_the_middle_have_zero_vectors(solver: str) -> None:
    data = odd({})
    rows = data.interactions
    kept = data.with_interactions(rows.take(np.flatnonzero((rows.users != 3) & (rows.items != 4))))
    model = rv.ALS(embedding_dim=4, solver=solver).fit(kept)
    assert not model.user_vectors[3].any()
    assert not model.item_vectors[4].any()
    assert np.isfinite(model.user_vectors).all()
    assert np.isfinite(model.item_vectors).all()


def test_weights_that_are_all_zero_are_refused() -> None:
    data = rv.read(pl.DataFrame({"user_id": [0, 1, 2], "item_id": [0, 1, 0], "weight": [0.0] * 3}))
    with pytest.raises(ValueRangeError, match="all weights are 0"):
        rv.ALS(embedding_dim=4).fit(data)
