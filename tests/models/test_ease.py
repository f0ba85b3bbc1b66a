"""The regression against plain linear algebra, by items and by users, dense and sparse."""

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.contract import DataShape
from recvec.errors import DivergedError, ResourceError
from recvec.models import ease
from recvec.models.ease import BALANCE


def table(n_users: int, n_items: int, seed: int = 0, weights: bool = True) -> rv.Dataset:
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, n_items + 1) ** 0.7
    rows = [(u, i) for u in range(n_users) for i in rng.choice(n_items, rng.integers(2, 9), replace=False, p=popularity / popularity.sum())]
    columns = {"user_id": [u for u, _ in rows], "item_id": [i for _, i in rows]}
    return rv.read(pl.DataFrame(columns | ({"weight": rng.integers(1, 4, len(rows)).astype(float)} if weights else {})))


def regression(data: rv.Dataset, reg: float) -> np.ndarray:
    """B column by column: the ridge regression of an item on all others."""
    x = data.matrix().toarray().astype(np.float64)
    weights = np.zeros((x.shape[1], x.shape[1]))
    for j in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), j)
        system = x[:, others].T @ x[:, others] + reg * np.eye(len(others))
        weights[others, j] = np.linalg.solve(system, x[:, others].T @ x[:, j])
    return weights


SHAPES = [(90, 40), (30, 60), (5, 40), (40, 41)]  # from items, from users, with most of the room behind M, from items


@pytest.mark.parametrize("shape", SHAPES)
def test_each_item_is_regressed_on_all_others(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "_ROWS", 7)  # several blocks, and a last one that is shorter
    data = table(*shape)
    model = rv.EASE(reg=20.0).fit(data)
    expected = regression(data, 20.0)
    np.testing.assert_allclose(model.weights, expected, atol=2e-6)
    users = np.arange(5)
    np.testing.assert_allclose(model.scores(model.queries(users)), data.matrix().toarray()[users] @ expected, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [3, 10**6])
def test_a_sparse_matrix_keeps_the_strongest_of_each_column(shape: tuple[int, int], k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "_ROWS", 7)
    data = table(*shape)
    dense, sparse = rv.EASE(reg=20.0).fit(data).weights, rv.EASE(reg=20.0, n_neighbours=k).fit(data).weights
    expected = np.zeros_like(dense)
    for j in range(len(dense)):
        best = np.argsort(-np.abs(dense[:, j]), kind="stable")[:k]
        expected[best, j] = dense[best, j]
    np.testing.assert_allclose(sparse.toarray(), expected, atol=1e-6)
    assert sparse.nnz <= k * len(dense)


def test_users_and_items_give_the_same_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(30, 60)
    by_users = rv.EASE(reg=5.0).fit(data).weights
    monkeypatch.setattr(ease, "FEWER", 0.0)
    np.testing.assert_allclose(by_users, rv.EASE(reg=5.0).fit(data).weights, atol=2e-6)


def test_vectors_approximate_the_scores(sample: rv.Dataset) -> None:
    model = rv.EASE(embedding_dim=599).fit(sample)
    users = np.arange(50)
    np.testing.assert_allclose(model.user_vectors[users] @ model.item_vectors.T, model.scores(model.queries(users)), atol=2e-4)


def test_the_default_regularization_follows_the_data() -> None:
    data = table(50, 30)
    squares = (data.matrix().toarray().astype(np.float64) ** 2).sum(0)
    fitted = rv.EASE().fit(data)
    assert np.isclose(fitted.method.reg, BALANCE * (squares**2).sum() / squares.sum())
    larger = data.interactions
    scaled = data.with_interactions(type(larger)(users=larger.users, items=larger.items, weight=larger.weight * np.float32(1e8)))
    np.testing.assert_allclose(rv.EASE().fit(scaled).weights, fitted.weights, atol=1e-5)  # whatever the unit of the weights


TWINS = [(u, i) for u in range(20) for i in ((u % 5), (u % 5) + 5)]  # X'X is singular
ALONE = [(0, 0), *((u, i) for u in (1, 2) for i in range(1, 6))]  # nothing explains item 0, so that 1 - S_00 is tiny


@pytest.mark.parametrize("pairs", [TWINS, ALONE])
def test_what_single_precision_cannot_solve_is_refused(pairs: list[tuple[int, int]]) -> None:
    users, items = zip(*pairs, strict=True)
    data = rv.read(pl.DataFrame({"user_id": users, "item_id": items, "weight": np.full(len(pairs), 1e4)}))
    with pytest.raises(DivergedError, match=r"ease cannot be solved in single precision; raise reg \(it is 0.5\)"):
        rv.EASE(reg=0.5, embedding_dim=2).fit(data)
    assert np.isfinite(rv.EASE(reg=1e8, embedding_dim=2).fit(data).weights).all()


def test_rows_that_were_not_chosen_teach_nothing() -> None:
    rows = pl.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": [1, 2, 1, 2, 3], "label": [1, 1, 1, 1, 1]})
    shown = pl.DataFrame({"user_id": [3, 1], "item_id": [1, 3], "label": [0, 0]})
    one, other = (rv.EASE(reg=1.0, embedding_dim=2).fit(rv.read(t)) for t in (rows, pl.concat([rows, shown])))
    assert np.array_equal(one.weights, other.weights)


def test_only_zero_weights_are_no_division_by_zero() -> None:
    rows = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "weight": [0.0, 0.0]})
    assert not rv.EASE().fit(rv.read(rows)).weights.any()


def test_the_estimate_knows_the_cheaper_side() -> None:
    def memory(n_users: int, n_items: int, **settings: int) -> float:
        return rv.EASE(**settings).estimate(DataShape(n_users=n_users, n_items=n_items, n_interactions=10**6)).memory / 1e9

    assert 6.7 < memory(100_000, 40_981) < 7.5  # the matrix
    assert 8.5 < memory(29_858, 40_981) < 9.5  # and the corner beside it
    assert 3.9 < memory(29_858, 40_981, n_neighbours=300) < 4.9  # the inverse of the users' side, and little more
    assert memory(3_000, 40_981, n_neighbours=300) < 1.2
    fast, slow = (
        rv.EASE(n_neighbours=300).estimate(DataShape(n_users=n, n_items=40_981, n_interactions=10**6)).seconds() for n in (3_000, 100_000)
    )
    assert slow > 20 * fast


def test_too_large_a_catalogue_is_refused_with_advice() -> None:
    ids = np.arange(10**6)
    data = rv.read(pl.DataFrame({"user_id": ids, "item_id": ids}))
    with pytest.raises(
        ResourceError,
        match=r"ease would take about 4,.*MB; allowed: .* MB, which is free; set n_neighbours if users are few, leave out rare items, use rp3beta",
    ):
        rv.EASE().fit(data)
