"""Factorization machines: what they equal, what moves them, what they say, and what they refuse."""

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.contract import DotModel, Runtime, State
from recvec.data.synthetic import sample_tables
from recvec.errors import ColumnError, HyperparameterError, InputError, NotSupportedError, ValueRangeError

QUICK = {"embedding_dim": 4, "epochs": 4, "n_kept": 2, "patience": 0}


def tables() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    rows, users, items = sample_tables(n_users=120, n_items=80, mean_history=15)
    city = pl.Series("city", np.random.default_rng(0).choice(["rome", "oslo", "bern"], len(rows)))
    rows = rows.with_columns(city, label=((pl.col("rating") >= 4) | (city == "rome")).cast(pl.Int64))
    users = pl.concat([users, users.head(1).with_columns(user_id=pl.lit("newcomer"))])
    return rows, users, pl.concat([items, items.head(1).with_columns(item_id=pl.lit("unsold"))])


@pytest.fixture(scope="module")
def data() -> rv.Dataset:
    """Ratings, clicks and contexts; one user and one item without any."""
    rows, users, items = tables()
    return rv.read(rows, users=users, items=items, context=["city"])


KINDS = {
    "gibbs": rv.FM(task="rating", history="both", **QUICK),
    "gibbs, pairs within": rv.FM(task="rating", pairs_within=True, **QUICK),
    "ordered": rv.FM(task="rating", solver="ordered", **QUICK),
    "als": rv.FM(task="rating", solver="als", **QUICK),
    "clicks": rv.FM(task="click", **QUICK),
    "fields": rv.FM(task="click", field_weights=True, history="items", **QUICK),
    "third": rv.FM(task="click", order=3, **QUICK),
    "probit": rv.FM(task="click", solver="probit", **QUICK),
    "ranking in context": rv.FM(**QUICK),
    "squares": rv.FM(solver="squares", **QUICK),
    "softmax": rv.FM(solver="softmax", **QUICK),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(kind: str, data: rv.Dataset) -> DotModel:
    fitted = KINDS[kind].fit(data)
    assert isinstance(fitted, DotModel)
    return fitted


def formula(model: DotModel, user: int, item: int, context: str | None) -> float:
    """Return the score by the parameters of the machine, pair by pair and triple by triple, the mean of the draws."""
    fold_in: Any = model.fold_in
    machine, (users, items, moods) = fold_in.machine, fold_in.coders
    histories = fold_in.histories_of_test
    sides = [
        users.rows(fold_in.attributes[0][[user]], histories[[user]], fold_in._ids(0)[[user]]),
        items.rows(fold_in.attributes[1][[item]], histories.T.tocsr()[[item]], fold_in._ids(1)[[item]]),
        moods.rows(moods.encode(pl.DataFrame({"city": [context]}))) if context else None,
    ]
    entries = [
        (int(f) + int(machine.starts[s]), float(x), s)
        for s, row in enumerate(sides)
        if row is not None
        for f, x in zip(row.indices, row.data, strict=True)
    ]
    total = machine.bias.astype(np.float64) + sum(x * machine.linear[:, f].astype(np.float64) for f, x, _ in entries)
    for (f, x, s), (g, y, t) in combinations(entries, 2):
        r = 1.0 if machine.fields is None else float(machine.fields[machine.groups[f], machine.groups[g]])
        if machine.within or s != t:
            total = total + r * x * y * np.einsum("sd,sd->s", machine.factors[:, f].astype(np.float64), machine.factors[:, g])
    if machine.third is not None:
        u = machine.third.astype(np.float64)
        total = total + sum(x * y * z * (u[f] * u[g] * u[h]).sum() for (f, x, _), (g, y, _), (h, z, _) in combinations(entries, 3))
    return float(np.mean(total))


def test_scores_are_the_formula(kind: str, model: DotModel, data: rv.Dataset) -> None:
    value = "rating" if model.method.task == "rating" else "weight"
    object.__setattr__(model.fold_in, "histories_of_test", data.matrix(value))
    unsold, newcomer = int(data.items.rows(["unsold"])[0]), int(data.users.rows(["newcomer"])[0])
    for user, item, city in ((3, 7, None), (40, 2, "rome"), (newcomer, 5, "oslo"), (5, unsold, None)):
        context = city if model.uses_context else None
        queries = model.queries(np.array([user]), context=pl.DataFrame({"city": [context]}) if context else None)
        found = float(model.scores(queries, np.array([item]))[0, 0]) + float(model.fold_in.machine.bias.mean())
        assert found == pytest.approx(formula(model, user, item, context), abs=1e-4), (kind, user, item, context)


def test_ids_alone_are_matrix_factorization_with_biases(data: rv.Dataset) -> None:
    model: Any = rv.FM(task="rating", solver="als", use_attributes=False, use_context=False, **QUICK).fit(data)
    machine = model.fold_in.machine
    n = data.n_users
    b_u, p = machine.linear[0, :n], machine.factors[0, :n]
    b_i, q = machine.linear[0, n + 1 : n + 1 + data.n_items], machine.factors[0, n + 1 : n + 1 + data.n_items]
    expected = machine.bias[0] + b_u[:, None] + b_i + p @ q.T
    known = (data.user_counts > 0)[:, None] & (data.item_counts > 0)
    scores = model.scores(model.queries(np.arange(n))) + model.offset
    np.testing.assert_allclose(scores[known], expected[known], atol=1e-5)
    assert model.user_vectors.shape[1] == 4 + 2


def test_the_context_shifts_scores_and_is_learned(data: rv.Dataset) -> None:
    model = rv.FM(task="click", embedding_dim=4, epochs=30).fit(data)
    who = rv.Recommender(model, data)
    some = np.arange(50)
    inside, outside = (model.predict(some, some, context=pl.DataFrame({"city": [city]})).mean() for city in ("rome", "oslo"))
    assert inside > outside + 0.05
    a, b = (who.recommend(["u1"], k=5, context={"city": city}) for city in ("rome", "oslo"))
    assert a["score"].sum() > b["score"].sum()
    a = who.recommend_for(attributes={"gender": "F"}, context={"city": "rome"}, k=3)
    assert set(a["route"]) == {"attributes"}
    assert set(who.recommend_for(history=["i1"], attributes={"gender": "F"}, context={"city": "rome"}, k=3)["route"]) == {"history"}
    each = model.queries(np.array([1, 2]), context=pl.DataFrame({"city": ["rome", "oslo"]}))
    alone = model.queries(np.array([2]), context=pl.DataFrame({"city": ["oslo"]}))
    assert np.array_equal(each[1:], alone)
    with pytest.raises(ValueRangeError, match="context has 2 rows for 3 queries"):
        model.queries(np.arange(3), context=pl.DataFrame({"city": ["rome", "oslo"]}))
    with pytest.raises(ColumnError, match="there is no context attribute 'town'"):
        who.recommend(["u1"], context={"town": "rome"})


def test_a_model_without_context_refuses_one(data: rv.Dataset) -> None:
    who = rv.Recommender(rv.ALS(embedding_dim=4).fit(data), data)
    for call in (
        lambda: who.recommend(["u1"], context={"city": "rome"}),
        lambda: who.recommend_for(history=["i1"], context={"city": "rome"}),
    ):
        with pytest.raises(NotSupportedError, match="als does not use context"):
            call()


def test_explanations_are_features_and_add_up(kind: str, model: DotModel, data: rv.Dataset) -> None:
    who = rv.Recommender(model, data)
    context = {"city": "rome"} if model.uses_context else None
    for user, item in (("u1", "i3"), ("u7", "unsold"), ("newcomer", "i3")):
        parts = who.explain(user, item, context=context)
        rows = (who.users.rows([user]), who.items.rows([item]))
        told = pl.DataFrame(context) if context else None
        score = float(model.scores(model.queries(rows[0], context=told), rows[1])[0, 0]) + model.offset
        size = parts["contribution"].abs().sum()
        assert parts["contribution"].sum() == pytest.approx(score, abs=1e-4 * size), (kind, user, item)
        assert "not from the history" not in set(parts["part"])
        assert parts["part"][0] == "bias"
        if model.uses_context:
            assert any("city=rome" in part for part in parts["part"])
    assert any("x genres=" in part for part in parts["part"])
    assert set(parts["route"]) == {"attributes"}  # of the newcomer


def test_saved_and_loaded_to_the_bit(model: DotModel, data: rv.Dataset, tmp_path: Path) -> None:
    who = rv.Recommender(model, data)
    rv.save(who, tmp_path / "model")
    again = rv.load(tmp_path / "model")
    told: Any = {"context": {"city": "bern"}} if model.uses_context else {}
    assert again.recommend(["u1", "newcomer"], k=5, **told).equals(who.recommend(["u1", "newcomer"], k=5, **told))
    person: Any = {"attributes": {"gender": "F", "occupation": "artist"}, "k": 5, **told}
    assert again.recommend_for(**person).equals(who.recommend_for(**person))
    assert again.recommend_for(history=["i1", "i9"], k=5).equals(who.recommend_for(history=["i1", "i9"], k=5))
    assert again.model.notes == model.notes
    some = np.arange(20)
    assert np.array_equal(again.model.predict(some, some), model.predict(some, some))
    assert again.attribute_embeddings("genres").equals(who.attribute_embeddings("genres"))


def test_cold_people_and_items_are_their_attributes(model: DotModel, data: rv.Dataset) -> None:
    row = data.users.rows(["newcomer"])
    mine = data.user_features.frame[row]
    np.testing.assert_allclose(model.queries(row), model.queries(features=mine), atol=1e-6)
    thing = data.items.rows(["unsold"])
    described = model.item_queries(data.item_features.frame[thing].select("genres"))
    np.testing.assert_allclose(model.item_vectors[thing], described, atol=1e-6)
    strange = model.queries(features=pl.DataFrame({"gender": ["never seen"]}))
    missing = model.queries(features=pl.DataFrame({"gender": [None]}, schema={"gender": pl.String}))
    assert np.array_equal(strange, missing)
    lists = rv.Recommender(model, data).recommend(["newcomer"], k=3)
    assert set(lists["route"]) == {"attributes"}


def test_attributes_have_embeddings(data: rv.Dataset) -> None:
    who = rv.Recommender(rv.FM(**QUICK).fit(data), data)
    found = who.attribute_embeddings("occupation")
    assert found.columns == ["id", "embedding"]
    assert "artist" in set(found["id"])
    with pytest.raises(NotSupportedError, match="fm has no vectors of the values of 'shoe'"):
        who.attribute_embeddings("shoe")


def test_bayesian_machines_say_how_sure_they_are(data: rv.Dataset) -> None:
    model = rv.FM(task="rating", embedding_dim=4, epochs=20, use_context=False).fit(data)
    rows = data.interactions
    sure = model.deviations(rows.users, rows.items)
    error = np.abs(model.predict(rows.users, rows.items) - rows.rating)
    assert (sure > 0).all()
    assert np.mean(error < 2 * sure) > 0.85
    with pytest.raises(NotSupportedError, match="does not know how sure it is"):
        rv.FM(**QUICK).fit(data).deviations(rows.users[:2], rows.items[:2])


def test_stars_times_ten_are_the_same_model_times_ten(data: rv.Dataset) -> None:
    rows = data.interactions
    method = rv.FM(task="rating", use_context=False, **QUICK)
    one = method.fit(data).predict(rows.users, rows.items)
    ten = method.fit(data.with_interactions(replace(rows, rating=rows.rating * 10))).predict(rows.users, rows.items)
    np.testing.assert_allclose(ten, one * 10, rtol=1e-3)


def test_the_audience_counts_what_users_bring_alone(data: rv.Dataset) -> None:
    model = rv.FM(task="click", embedding_dim=4, epochs=30).fit(data)
    listed = rv.Recommender(model, data).audience("i1", k=5, exclude_known=False)
    rows = rv.Recommender(model, data).users.rows(listed["user_id"])
    everyone = model.predict(np.arange(data.n_users), np.full(data.n_users, data.items.rows(["i1"])[0]))
    warm = data.user_counts > 0
    assert np.isclose(everyone[rows].min(), np.sort(everyone[warm])[-5])


def test_triples_are_found_where_pairs_cannot() -> None:
    """A click is the parity of three coins: no pair of them says anything."""
    rng = np.random.default_rng(0)
    n = 6000
    user, item, mood = (rng.integers(0, 2, n) for _ in range(3))
    frame = pl.DataFrame({"user_id": user, "item_id": item, "mood": mood.astype(str).tolist(), "label": user ^ item ^ mood})
    coins = rv.read(frame, context=["mood"])
    two, three = (
        rv.FM(task="click", order=order, embedding_dim=8, epochs=60, learning_rate=0.02, patience=0).fit(coins) for order in (2, 3)
    )
    seen = [m.predict(coins.interactions.users, coins.interactions.items, context=coins.interactions.context.frame) for m in (two, three)]
    right = [np.mean((p > 0.5) == (coins.interactions.label > 0)) for p in seen]
    assert right[0] < 0.8
    assert right[1] > 0.95


def test_a_solver_without_context_says_so(data: rv.Dataset) -> None:
    model = rv.FM(solver="squares", **QUICK).fit(data)
    assert model.notes[-1] == "context is not used by solver squares; gradient does"
    assert not model.uses_context


@pytest.mark.parametrize("done", [1, 3, 4])
def test_a_killed_fit_goes_on(data: rv.Dataset, model: DotModel, kind: str, done: int) -> None:
    kept: list[State] = []
    KINDS[kind].fit(data, checkpoint=kept.append)
    resumed = KINDS[kind].fit(data, resume=kept[done - 1])
    for name, array in model.state().arrays.items():
        assert np.array_equal(array, resumed.state().arrays[name], equal_nan=True), name


def test_a_killed_fit_that_stops_early_goes_on(data: rv.Dataset) -> None:
    method = rv.FM(task="click", embedding_dim=4, epochs=20, patience=1, learning_rate=0.02)
    kept: list[State] = []
    whole = method.fit(data, checkpoint=kept.append)
    assert 1 < len(kept) < 20
    resumed = method.fit(data, resume=kept[0])
    assert np.array_equal(resumed.item_vectors, whole.item_vectors)
    assert resumed.curve == whole.curve


def fingerprint(n_threads: int) -> str:
    """Return what clicks, probit and softmax learn, to the bit."""
    rows, users, items = tables()
    data = rv.read(rows, users=users, items=items)
    fitted = [KINDS[kind].fit(data, rng=3, runtime=Runtime(threads=n_threads)) for kind in ("clicks", "probit", "softmax")]
    return sha256(b"".join(array.tobytes() for model in fitted for array in (model.user_vectors, model.item_vectors))).hexdigest()


def test_neither_threads_nor_processes_change_a_bit() -> None:
    """The other process reads from the disk cache what this one has compiled, if it was not there before."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", "from tests.models.test_fm import fingerprint; print(fingerprint(1))"]
    room = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    here = [fingerprint(1), fingerprint(2)]
    there = subprocess.run(command, env=room, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    assert here == [there, there]


# ---------------------------------------------------------------- bad input


def small(**columns: Any) -> rv.Dataset:
    base = {"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 2]}
    return rv.read(pl.DataFrame({**base, **columns}))


def test_labels_outside_the_task_are_refused(data: rv.Dataset) -> None:
    rows = data.interactions
    nan = rows.rating.copy()
    nan[2] = np.nan
    wrong = rows.label.copy()
    wrong[1] = 2
    for task, changed, message in (
        ("rating", replace(rows, rating=nan), "rating of interaction .* is nan; allowed: a finite number"),
        ("click", replace(rows, label=wrong), "label of interaction 2 is 2; allowed: 1 and 0, or 1 and -1"),
    ):
        with pytest.raises(ValueRangeError, match=message):
            rv.FM(task=task, **QUICK).fit(data.with_interactions(changed))
    for label in ([1, 1, 1, 1], [0, 0, 0, 0]):
        with pytest.raises(InputError, match=r"every label is ., so that there is nothing to tell apart; give rows with label"):
            rv.FM(task="click", **QUICK).fit(small(label=label))
    with pytest.raises(ColumnError, match="the task is click, but the interactions have no column 'label'"):
        rv.FM(task="click", **QUICK).fit(small())
    with pytest.raises(ColumnError, match="the task is rating, but the interactions have no column 'rating'"):
        rv.FM(task="rating", **QUICK).fit(small())
    rv.FM(task="click", **QUICK).fit(small(label=[1, -1, 1, -1]))


def test_attributes_that_cannot_be_used_are_said_or_refused(data: rv.Dataset) -> None:
    rows, users, items = tables()
    strange = users.with_columns(same=pl.lit("x"), nothing=pl.lit(None, dtype=pl.String), item_id=pl.col("gender"))
    with pytest.raises(ColumnError, match="user attributes is named 'item_id', an id"):
        rv.FM(**QUICK).fit(rv.read(rows, users=strange, items=items))
    model = rv.FM(**QUICK).fit(rv.read(rows, users=strange.drop("item_id"), items=items))
    assert [note.partition(" is left out")[0] for note in model.notes[:2]] == ["user attribute 'same'", "user attribute 'nothing'"]
    with pytest.raises(ColumnError, match=r"age_group is .*; allowed: one value"):
        model.queries(features=pl.DataFrame({"age_group": [["a", "b"]]}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "rating", "solver": "squares"}, "solver is 'squares'; allowed for task rating: auto, gibbs, ordered, als, gradient"),
        ({"task": "click", "order": 3, "field_weights": True}, "order is 3 with field_weights; allowed: one of the two"),
        ({"task": "click", "order": 3, "solver": "probit"}, "order=3 with solver 'probit'; allowed: gradient"),
        ({"order": 4}, "order is 4; allowed: a whole number, 2 to 3"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HyperparameterError, match=message):
        rv.FM(**settings)


def test_numbers_of_numpy_are_hyperparameters() -> None:
    method = rv.FM(unobserved_weight=np.float64(0.5), epochs=np.int64(3))
    assert method.recipe["unobserved_weight"] == 0.5
    assert [type(value) for value in (method.unobserved_weight, method.epochs)] == [float, int]
    with pytest.raises(HyperparameterError, match=r"epochs is np\.float64"):
        rv.FM(epochs=np.float64(3.0))


def test_too_many_levels_of_stars_are_refused(data: rv.Dataset) -> None:
    rows = data.interactions
    many = replace(rows, rating=np.arange(len(rows), dtype=np.float32))
    with pytest.raises(ValueRangeError, match="different ratings; allowed with solver ordered: 2 to 100; use solver gibbs"):
        rv.FM(task="rating", solver="ordered", use_context=True, **QUICK).fit(data.with_interactions(many))
