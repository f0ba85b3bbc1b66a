"""Dataframes, pipelines, searches, and what cannot be used."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from recvec.errors import ColumnError, HyperparameterError, InputError
from recvec.sklearn import FMClassifier, FMRegressor


def tastes(n=600, seed=0):
    """Return who met what, with a number and gaps; clicks are where taste and kind agree."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 12, n), rng.integers(0, 10, n)
    age = rng.normal(40, 10, n)
    gone = rng.random(n) < 0.2
    frame = pl.DataFrame(
        {
            "user_id": users,
            "item_id": items,
            "age": pl.Series([None if missing else value for missing, value in zip(gone, age, strict=True)], dtype=pl.Float64),
            "device": pl.Series([[None, "phone", "desk"][code] for code in rng.integers(0, 3, n)]),
        }
    )
    return frame, ((users % 2) == (items % 2)).astype(int)


@pytest.mark.parametrize("settings", [{}, {"solver": "gibbs", "rank": 4}, {"field_weights": True}, {"numbers": "bucketed", "order": 3}])
def test_polars_and_pandas_are_the_same_and_are_learned_from(settings):
    (frame, clicks), (others, wanted) = tastes(), tastes(300, 1)
    by = {
        kind: FMClassifier(random_state=0, **settings).fit(rows, clicks)
        for kind, rows in (("polars", frame), ("pandas", frame.to_pandas()))
    }
    chances = {"polars": by["polars"].predict_proba(others), "pandas": by["pandas"].predict_proba(others.to_pandas())}
    assert np.array_equal(chances["polars"], chances["pandas"])
    assert roc_auc_score(wanted, chances["polars"][:, 1]) > 0.95
    np.testing.assert_allclose(chances["polars"].sum(axis=1), 1)


def test_new_levels_and_missing_values_give_an_answer():
    frame, clicks = tastes()
    model = FMClassifier(random_state=0).fit(frame, clicks)
    strange = pl.DataFrame({"user_id": [99, None], "item_id": [3, 3], "age": [None, 1e9], "device": ["watch", None]})
    chances = model.predict_proba(strange)
    assert np.isfinite(chances).all()
    same = frame[:1].with_columns(age=pl.lit(None, pl.Float64))
    assert not np.array_equal(model.predict_proba(frame[:1]), model.predict_proba(same))


def test_columns_that_say_nothing_are_left_out_and_said():
    frame, clicks = tastes()
    more = frame.with_columns(
        same=pl.lit("x"), nothing=pl.lit(None, pl.String), zero=pl.lit(0.0), code=pl.Series([f"c{n}" for n in range(len(frame))])
    )
    model = FMClassifier(random_state=0).fit(more, clicks)
    said = "\n".join(model.notes_)
    for name in ("same", "nothing", "zero"):
        assert f"'column {name}'" not in said
        assert f"column '{name}' is left out" in said
    hashed = FMClassifier(random_state=0, hash_bits=4).fit(more, clicks)
    assert len(hashed.groups_) < len(model.groups_) - 500


def test_a_search_in_a_pipeline():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    y = X[:, 0] * X[:, 1] * 3 + X[:, 2]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), FMRegressor(random_state=0, rank=3)), {"fmregressor__reg": [0.1, 100.0]}, cv=2
    ).fit(X, y)
    assert search.best_params_ == {"fmregressor__reg": 0.1}
    assert search.best_score_ > 0.8


def test_sparse_rows_and_arrays_are_the_same():
    frame, clicks = tastes()
    encoded = OneHotEncoder(handle_unknown="ignore").fit_transform(frame.select("user_id", "item_id").to_numpy())
    sparse, dense = (FMClassifier(random_state=0).fit(X, clicks) for X in (sp.csr_matrix(encoded), encoded.toarray()))
    assert np.array_equal(sparse.decision_function(encoded), dense.decision_function(encoded.toarray()))


def test_every_solver_of_numbers_finds_them_and_gibbs_says_how_sure_it_is():
    frame, clicks = tastes()
    stars = 3.0 + 2 * clicks
    for solver in ("gradient", "als", "gibbs"):
        model = FMRegressor(solver=solver, rank=4, random_state=0).fit(frame, stars)
        predicted, deviation = model.predict(frame, return_std=True)
        assert np.sqrt(np.mean((predicted - stars) ** 2)) < 0.3
        assert np.isfinite(deviation).all() == (solver == "gibbs")


def test_the_same_bits_for_any_number_of_threads():
    frame, clicks = tastes(2000)
    one, two = (FMClassifier(random_state=0, n_jobs=n).fit(frame, clicks).decision_function(frame) for n in (1, 2))
    assert np.array_equal(one, two)


def test_more_than_two_classes():
    frame, _ = tastes()
    kinds = np.array(["a", "b", "c"])[frame["item_id"].to_numpy() % 3]
    model = FMClassifier(random_state=0).fit(frame, kinds)
    assert (model.predict(frame) == kinds).mean() > 0.95
    np.testing.assert_allclose(model.predict_proba(frame).sum(axis=1), 1)
    assert list(model.classes_) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"solver": "sgd"}, "solver is 'sgd'; allowed: 'gradient', 'gibbs'"),
        ({"solver": "als"}, "solver is 'als'; allowed"),
        ({"rank": 0}, "rank is 0; allowed: a whole number, 1 or more"),
        ({"order": 4}, "order is 4; allowed: 2, 3"),
        ({"reg": -1}, "reg is -1; allowed: 0 or more"),
        ({"validation_share": 1}, "validation_share is 1; allowed: 0 or more, below 1"),
        ({"solver": "gibbs", "order": 3}, "solver 'gibbs' learns pairs of features alone"),
    ],
)
def test_parameters_are_checked_at_fit(settings, text):
    frame, clicks = tastes(50)
    with pytest.raises(HyperparameterError, match=text):
        FMClassifier(**settings).fit(frame, clicks)


def test_what_cannot_be_learned_from_is_refused_in_a_line():
    frame, clicks = tastes(50)
    with pytest.raises(InputError, match="y has one class, 1; allowed: two classes or more"):
        FMClassifier().fit(frame, np.ones(50, int))
    with pytest.raises(ValueError, match="NaN"):
        FMRegressor().fit(frame, np.full(50, np.nan))
    with pytest.raises(InputError, match="field_weights needs a dataframe"):
        FMClassifier(field_weights=True).fit(np.eye(50), clicks)
    model = FMClassifier(random_state=0).fit(frame, clicks)
    with pytest.raises(InputError, match="X is of type ndarray; allowed: a dataframe with the columns of the fit"):
        model.predict(frame.to_numpy())
    with pytest.raises(ColumnError, match=r"X, row 1: age is 'old'"):
        model.predict(frame[:1].with_columns(age=pl.lit("old")))


def test_without_scikit_learn_the_extra_is_named_and_recvec_does_not_need_it():
    code = "import sys; sys.modules['sklearn'] = None; import recvec; recvec.ALS\ntry:\n import recvec.sklearn\nexcept ImportError as e: print(e)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "recvec.sklearn needs scikit-learn; install it with: pip install 'recvec[sklearn]'\n"
    loaded = subprocess.run(
        [sys.executable, "-c", "import recvec, sys; print('sklearn' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "False\n"
