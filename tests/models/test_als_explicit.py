"""Ratings by alternating least squares, against the objective of its docstring written out in numpy."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import recvec as rv
from recvec.contract import DotModel, State, Threads
from recvec.data.histories import Histories
from recvec.errors import DivergedError, InputError, UnknownMethodError
from recvec.models.als_explicit import Problem, _pattern, _solve

EXECUTOR = Threads(1)
RECIPES = [
    rv.ALSExplicit(embedding_dim=3, epochs=4, reg=0.1, reg_exponent=1.0, bias_reg=1.0, pattern_weight=0.0),
    rv.ALSExplicit(embedding_dim=4, epochs=4, reg=0.8, reg_exponent=0.5, bias_reg=0.3, pattern_weight=0.2),
    rv.ALSExplicit(embedding_dim=40, epochs=2, reg=2.0, reg_exponent=0.0, pattern_weight=1.5),  # longer than either side
]


def table(seed: int = 0, n_users: int = 25, n_items: int = 18, share: float = 0.4) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((n_users, n_items)) < share)
    return pl.DataFrame({"user_id": users, "item_id": items, "rating": rng.integers(1, 6, len(users)).astype(float)})


class Dense:
    """Both sides as dense arrays, in float64."""

    def __init__(self, data: rv.Dataset) -> None:
        known = data.matrix("rating")
        self.x = np.zeros(known.shape)
        self.x[np.repeat(np.arange(len(self.x)), np.diff(known.indptr)), known.indices] = 1
        self.mean = known.data.mean(dtype=np.float64)
        self.sigma = known.data.std(dtype=np.float64)
        self.r = known.toarray().astype(np.float64) - self.mean * self.x


def parts(model: DotModel) -> tuple[np.ndarray, ...]:
    """Return p, b_u, q, b_i in float64."""
    users, items = model.user_vectors.astype(np.float64), model.item_vectors.astype(np.float64)
    assert (users[:, -1] == 1).all()
    assert (items[:, -2] == 1).all()
    return users[:, :-2], users[:, -2], items[:, :-2], items[:, -1]


def best_pattern(method: rv.ALSExplicit, x: np.ndarray, vectors: np.ndarray, sigma: float) -> np.ndarray:
    """Return argmin over C of |X' - C V'|^2 + reg sigma m^nu |C|^2."""
    m, d = vectors.shape
    return np.linalg.solve(vectors.T @ vectors + method.reg * sigma * m**method.reg_exponent * np.eye(d), vectors.T @ x).T


def objective(method: rv.ALSExplicit, dense: Dense, p: Any, b_u: Any, q: Any, b_i: Any) -> float:
    """L of the module docstring, with C and D at their best."""
    x, nu, sigma = dense.x, method.reg_exponent, dense.sigma
    error = x * (dense.r - b_u[:, None] - b_i - p @ q.T)
    size_u, size_i = (sigma * (v**2).sum(1) + method.bias_reg * b**2 for v, b in ((p, b_u), (q, b_i)))
    rated = x.sum(1) > 0, x.sum(0) > 0
    total = (error**2).sum() + method.reg * ((x.sum(1) ** nu * size_u)[rated[0]].sum() + (x.sum(0) ** nu * size_i)[rated[1]].sum())
    for pattern, vectors in ((x, p), (x.T, q)):
        other = best_pattern(method, pattern, vectors, sigma)
        rebuilt = ((pattern - vectors @ other.T) ** 2).sum() + method.reg * sigma * len(vectors) ** nu * (other**2).sum()
        total += method.pattern_weight * sigma**2 * rebuilt
    return float(total)


def half_step(problem: Problem, r: np.ndarray, x: np.ndarray, q: np.ndarray, b: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    """Solve each row by the normal equations of the objective, bias and vector together."""
    method, sigma, d = problem.method, problem.deviation, q.shape[1]
    found = np.zeros((len(r), d + 1))
    for u in np.flatnonzero(x.any(axis=1)):
        rated = x[u] > 0
        known = np.column_stack([q[rated], np.ones(rated.sum())])
        system = known.T @ known + method.reg * rated.sum() ** method.reg_exponent * np.diag([sigma] * d + [method.bias_reg])
        right = known.T @ (r[u] - b)[rated]
        if c is not None:
            system[:d, :d] += method.pattern_weight * sigma**2 * c.T @ c
            right[:d] += method.pattern_weight * sigma**2 * c[rated].sum(axis=0)
        found[u] = np.linalg.solve(system, right)
    return found


@pytest.mark.parametrize("method", RECIPES)
def test_no_epoch_raises_the_objective(method: rv.ALSExplicit) -> None:
    data = rv.read(table())
    dense, losses = Dense(data), []

    def note(state: State) -> None:
        users, items = (state.arrays[n].astype(np.float64) for n in ("user_vectors", "item_vectors"))
        losses.append(objective(method, dense, users[:, :-2], users[:, -2], items[:, :-2], items[:, -1]))

    model = method.fit(data, checkpoint=note)
    losses.append(objective(method, dense, *parts(model)))  # after the last solve of the users
    assert (np.diff(losses) <= 1e-5 * losses[0]).all()
    assert losses[-1] < 0.95 * float((dense.r**2).sum() + 2 * method.pattern_weight * dense.sigma**2 * dense.x.sum())  # what zeros cost


@pytest.mark.parametrize("method", RECIPES)
def test_the_users_are_at_the_minimum_given_the_items(method: rv.ALSExplicit) -> None:
    data = rv.read(table())
    dense, model = Dense(data), method.fit(data)
    p, b_u, q, b_i = parts(model)
    c = model.fold_in.arrays().get("pattern")
    expected = half_step(Problem(method, dense.mean, dense.sigma), dense.r, dense.x, q, b_i, None if c is None else c.astype(np.float64))
    np.testing.assert_allclose(np.column_stack([p, b_u]), expected, rtol=1e-3, atol=1e-4)
    assert (c is None) == (not method.pattern_weight)


@given(seed=st.integers(0, 10**6), reg=st.floats(0.05, 5.0), weight=st.floats(0.0, 3.0), bias_reg=st.floats(0.05, 20.0))
def test_a_half_step_is_that_of_the_normal_equations(seed: int, reg: float, weight: float, bias_reg: float) -> None:
    """With empty rows and columns in the middle, and items that have no part in the pattern."""
    rng = np.random.default_rng(seed)
    n, m, d = rng.integers(2, 12), rng.integers(2, 12), rng.integers(1, 5)
    method = rv.ALSExplicit(embedding_dim=int(d), reg=reg, pattern_weight=weight, bias_reg=bias_reg, reg_exponent=float(rng.random()))
    x = (rng.random((n, m)) < 0.5).astype(np.float64)
    x[n // 2], x[:, m // 2] = 0, 0
    r = (rng.standard_normal((n, m)) * x).astype(np.float32)
    q, reach = rng.standard_normal((m, d + 1)).astype(np.float32), int(rng.integers(1, m + 1))
    c = rng.standard_normal((reach, d)).astype(np.float32) if weight else None
    users, items = np.nonzero(x)
    ratings = sp.csr_array((r[users, items], items.astype(np.int32), np.append(0, np.cumsum(x.sum(1))).astype(np.int32)), shape=(n, m))
    whole = None if c is None else np.concatenate([c, np.zeros((m - reach, d))])
    problem = Problem(method, 0.0, float(rng.uniform(0.5, 2.0)))
    found = _solve(problem, ratings, q, c, EXECUTOR)
    expected = half_step(problem, r.astype(np.float64), x, q[:, :-1].astype(np.float64), q[:, -1].astype(np.float64), whole)
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)
    assert not found[n // 2].any()


def test_the_factors_of_the_pattern_are_its_ridge_regression() -> None:
    method, x = RECIPES[1], sp.csr_array((np.random.default_rng(1).random((9, 14)) < 0.4).astype(np.float32))
    vectors = np.random.default_rng(2).standard_normal((14, 4)).astype(np.float32)
    expected = best_pattern(method, x.toarray().T.astype(np.float64), vectors.astype(np.float64), 1.3)
    np.testing.assert_allclose(_pattern(Problem(method, 3.0, 1.3), x, vectors, EXECUTOR), expected, rtol=1e-4, atol=1e-5)
    assert _pattern(Problem(RECIPES[0], 3.0, 1.3), x, vectors, EXECUTOR) is None


@pytest.mark.parametrize("method", RECIPES[:2])
def test_the_settings_do_not_depend_on_the_scale_of_the_ratings(method: rv.ALSExplicit) -> None:
    rows = table()
    stars, percents = (method.fit(rv.read(rows.with_columns(pl.col("rating") * factor))) for factor in (1, 20))
    users, items = (g.ravel() for g in np.meshgrid(np.arange(stars.n_users), np.arange(stars.n_items)))
    np.testing.assert_allclose(20 * stars.predict(users, items), percents.predict(users, items), rtol=1e-3)


def test_strong_regularization_of_the_biases_leaves_none() -> None:
    data = rv.read(table())
    model = rv.ALSExplicit(embedding_dim=3, bias_reg=1e9, pattern_weight=0.0).fit(data)
    _, b_u, _, b_i = parts(model)
    assert max(np.abs(b_u).max(), np.abs(b_i).max()) < 1e-6


def test_what_has_two_factors_is_rebuilt() -> None:
    """Ratings that are a sum of biases and two factors, half of them hidden, are found again."""
    rng = np.random.default_rng(0)
    p, q, b_u, b_i = rng.standard_normal((200, 2)), rng.standard_normal((120, 2)), rng.standard_normal(200), rng.standard_normal(120)
    truth = 3 + b_u[:, None] + b_i + p @ q.T
    seen = rng.random(truth.shape) < 0.5
    users, items = np.nonzero(seen)
    data = rv.read(pl.DataFrame({"user_id": users, "item_id": items, "rating": truth[users, items]}))
    model = rv.ALSExplicit(embedding_dim=2, reg=1e-3, pattern_weight=0.0, epochs=40).fit(data)
    hidden = np.nonzero(~seen)
    assert np.abs(model.predict(*hidden) - truth[hidden].clip(*model.bounds)).mean() < 0.02


def test_a_user_or_item_without_ratings_is_the_mean_and_a_bias() -> None:
    rows = table().filter((pl.col("user_id") != 7) & (pl.col("item_id") != 5))
    split = rv.split(rv.read(rows), test=pl.DataFrame({"user_id": [7, 0], "item_id": [0, 5], "rating": [3.0, 3.0]}))
    model = RECIPES[1].fit(split.train)
    user, item = split.test.users[0], split.test.items[1]
    assert not model.user_vectors[user, :-1].any()
    assert not model.item_vectors[item, :-2].any()
    assert model.item_vectors[item, -1] == 0
    rated = int(split.test.items[0])
    assert model.predict(np.array([user]), np.array([rated]))[0] == pytest.approx(model.offset + model.item_vectors[rated, -1])
    nobody = model.queries(histories=Histories.empty(1, model.n_items))
    assert nobody.tolist() == [[0.0] * 5 + [1.0]]
    best = model.recommend(nobody, 3).rows[0]
    assert best.tolist() == np.argsort(-model.item_vectors[:, -1], kind="stable")[:3].tolist()


@pytest.mark.parametrize("pattern_weight", [0.0, 0.3])
@pytest.mark.parametrize(
    "rows",
    [
        pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 2, 1], "rating": [1.0, 5.0, 3.0]}),  # one rating per user
        pl.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 1], "rating": [4.0, 4.0, 4.0]}),  # all the same
        pl.DataFrame({"user_id": [1, 1, 1], "item_id": [1, 1, 2], "rating": [0.0, -2.0, 1e4]}).vstack(
            pl.DataFrame({"user_id": [2], "item_id": [2], "rating": [0.0]})
        ),  # repeated, far apart
    ],
)
def test_few_or_constant_ratings_stay_finite(rows: pl.DataFrame, pattern_weight: float) -> None:
    model = rv.ALSExplicit(embedding_dim=8, pattern_weight=pattern_weight).fit(rv.read(rows))
    assert np.isfinite(model.user_vectors).all()
    assert np.isfinite(model.item_vectors).all()
    users, items = (g.ravel() for g in np.meshgrid(np.arange(model.n_users), np.arange(model.n_items)))
    predicted = model.predict(users, items)
    assert (predicted >= rows["rating"].min()).all()
    assert (predicted <= rows["rating"].max()).all()
    if rows["rating"].n_unique() == 1:
        assert (predicted == 4.0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_ratings_that_are_no_numbers_are_refused(value: float) -> None:
    rows = table().with_columns(pl.when(pl.int_range(pl.len()) == 4).then(value).otherwise(pl.col("rating")).alias("rating"))
    with pytest.raises(InputError, match="rating"):
        rv.ALSExplicit().fit(rv.read(rows))


def test_no_ratings_are_refused() -> None:
    with pytest.raises(InputError, match="als-explicit needs ratings, which the data do not have"):
        rv.ALSExplicit().fit(rv.read(table().drop("rating")))


def test_without_regularization_one_rating_is_no_vector() -> None:
    rows = pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 2, 1], "rating": [1.0, 5.0, 3.0]})
    with pytest.raises(DivergedError, match="use a larger reg"):
        rv.ALSExplicit(reg=0.0, embedding_dim=8, pattern_weight=0.0).fit(rv.read(rows))


def test_its_task_needs_no_word() -> None:
    assert rv.method("als-explicit") == rv.method("als-explicit", task="rating") == rv.ALSExplicit()
    with pytest.raises(UnknownMethodError, match="'als-explicit' does not do the task 'ranking'; allowed: rating; for ranking use"):
        rv.method("als-explicit", task="ranking")
