"""Reasons with ids, and the users for an item."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.errors import NotSupportedError, UnknownItemError, UnknownUserError, ValueRangeError


@pytest.fixture(scope="module")
def data() -> rv.Dataset:
    """The sample, with one user and one item that no interaction names."""
    from recvec.data.synthetic import sample_tables

    rows, users, items = sample_tables(n_users=200, n_items=120, mean_history=20)
    users = pl.concat([users, users.head(1).with_columns(user_id=pl.lit("newcomer"))])
    items = pl.concat([items, items.head(1).with_columns(item_id=pl.lit("unsold"))])
    return rv.read(rows, users=users, items=items)


@pytest.fixture(scope="module")
def who(data: rv.Dataset) -> rv.Recommender:
    return rv.Recommender(rv.ALS(embedding_dim=16).fit(data), data)


def test_the_parts_are_the_history_and_add_up_to_the_score_of_the_list(who: rv.Recommender) -> None:
    best = who.recommend(["u7"], k=1)
    parts = who.explain("u7", best["item_id"][0])
    assert parts.columns == ["part", "item_id", "contribution", "route"]
    met = who.items.ids[who.histories.take(who.users.rows(["u7"])).items]
    assert set(parts["item_id"]) == set(met)
    assert set(parts["part"]) == {"history"}
    assert set(parts["route"]) == {"stored"}
    assert parts["contribution"].sum() == pytest.approx(best["score"][0], rel=1e-4)


def test_what_speaks_against_an_item_stands_among_the_largest_parts(who: rv.Recommender) -> None:
    worst = who.recommend(["u7"], k=1000)["item_id"][-1]
    added = who.explain("u7", worst)["contribution"]
    assert added.min() < 0 < added.max()
    assert added.abs().is_sorted(descending=True)
    assert not added.is_sorted(descending=True)


def test_als_is_explained_by_the_persons_own_system(who: rv.Recommender) -> None:
    """Hu, Koren, Volinsky 2008, section 5, written out: q_j' (a0 Y'Y + sum_i w_i q_i q_i' + reg I)^-1 q_i w_i."""
    method, q = who.model.method, who.model.item_vectors.astype(np.float64)
    mine = who.histories.take(who.users.rows(["u3"]))
    y, w = q[mine.items], mine.weights.astype(np.float64)
    reg = method.reg * (len(w) + method.unobserved_weight * len(q))
    system = method.unobserved_weight * q.T @ q + y.T @ np.diag(w) @ y + reg * np.eye(16)
    wanted = who.items.rows(["i5"])
    expected = dict(zip(who.items.ids[mine.items], (q[wanted] @ np.linalg.inv(system) @ y.T * w)[0], strict=True))
    parts = who.explain("u3", "i5")
    found = dict(zip(parts["item_id"], parts["contribution"], strict=True))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_copy_of_the_item_is_the_best_reason(data: rv.Dataset) -> None:
    """Items 1 and 2 are met by the same people; whoever met 2 and 9 is offered 1 because of 2."""
    pairs = [(u, i) for u in range(20) for i in ((1, 2) if u % 2 else (7, 8, 9))] + [(99, 2), (99, 9)]
    small = rv.read(pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"))
    for method in (rv.ALS(embedding_dim=2), rv.SVD(embedding_dim=2)):
        parts = rv.Recommender(method.fit(small), small).explain(99, 1)
        assert parts["item_id"][0] == 2
        assert parts["contribution"][0] > 5 * abs(parts["contribution"][1])


def test_ratings_are_mean_biases_and_what_the_person_rated_otherwise(data: rv.Dataset) -> None:
    who = rv.Recommender(rv.SVD(embedding_dim=8, task="rating").fit(data), data)
    parts = who.explain("u7", "i5")
    assert parts["part"].to_list()[:3] == ["mean rating", "user bias", "item bias"]
    assert parts["item_id"].to_list()[:3] == [None] * 3
    assert set(parts["part"][3:]) == {"history"}
    assert parts["contribution"][0] == pytest.approx(data.interactions.rating.mean(), rel=1e-5)
    predicted = who.model.predict(who.users.rows(["u7"]), who.items.rows(["i5"]))[0]
    assert parts["contribution"].sum() == pytest.approx(predicted, rel=1e-5)  # inside the bounds, nothing is clipped
    nothing = who.explain_for(item="i5")
    assert nothing["part"].to_list() == ["interactions of the item"]  # the popular rung answers


def test_whoever_has_no_history_is_explained_by_the_rung_that_answers(who: rv.Recommender) -> None:
    count = who.train.item_counts[who.items.rows(["i5"])[0]]
    for parts in (who.explain("newcomer", "i5"), who.explain_for(item="i5")):
        assert parts.drop("route").rows() == [("interactions of the item", None, count)]
        assert set(parts["route"]) == {"popular"}


def test_a_stranger_with_a_users_history_has_that_users_reasons(who: rv.Recommender) -> None:
    history = who.items.ids[who.histories.take(who.users.rows(["u3"])).items].to_list()
    stored, folded = who.explain("u3", "i5"), who.explain_for(history=history, item="i5")
    assert folded.drop("route").equals(stored.drop("route"))
    assert set(folded["route"]) == {"history"}
    heavy = who.explain_for(history=history[:2], weights=[9, 1], item="i5")
    assert heavy["contribution"].to_list() != who.explain_for(history=history[:2], item="i5")["contribution"].to_list()


def test_an_item_that_was_met_speaks_for_itself(who: rv.Recommender) -> None:
    parts = who.explain_for(history=["i5", "i9"], item="i5")
    assert parts["item_id"][0] == "i5"
    assert parts["contribution"][0] > 0


def test_an_item_that_nobody_met_has_no_parts(who: rv.Recommender) -> None:
    parts = who.explain("u3", "unsold")
    assert parts.height == 0
    assert parts.columns == ["part", "item_id", "contribution", "route"]


def test_what_the_history_does_not_give_is_a_part_of_its_own(who: rv.Recommender) -> None:
    """A vector that was not made from the history, as an update may leave it."""
    row = who.users.rows(["u3"])[0]
    vectors = who.model.user_vectors.copy()
    vectors[row] *= 1.5
    moved = rv.Recommender(replace(who.model, user_vectors=vectors), who.train)
    parts = moved.explain("u3", "i5")
    before = who.explain("u3", "i5")
    assert parts["part"][0] == "not from the history"
    assert parts["contribution"][0] == pytest.approx(before["contribution"].sum() / 2, rel=1e-3)
    assert parts[1:].equals(before)
    score = moved.model.scores(moved.model.queries(np.array([row])), moved.items.rows(["i5"]))[0, 0]
    assert parts["contribution"].sum() == pytest.approx(score, rel=1e-4)


# ---------------------------------------------------------------- the users for an item


def test_the_audience_is_who_would_be_offered_the_item(who: rv.Recommender) -> None:
    found = who.audience("i5", k=7)
    assert found.columns == ["user_id", "score", "rank"]
    assert found["rank"].to_list() == list(range(1, 8))
    assert found["score"].is_sorted(descending=True)
    lists = who.recommend(who.users.ids, k=who.train.n_items).filter((pl.col("item_id") == "i5") & (pl.col("route") == "stored"))
    expected = lists.sort("score", descending=True).head(7)
    assert found["user_id"].to_list() == expected["user_id"].to_list()
    assert found["score"].to_list() == pytest.approx(expected["score"].to_list(), rel=1e-5)


def test_who_has_met_the_item_is_left_out_unless_asked_for(who: rv.Recommender) -> None:
    met = set(pl.Series(who.users.ids)[(who.train.matrix()[:, who.items.rows(["i5"])].toarray()[:, 0] > 0).nonzero()[0].tolist()])
    assert met
    everyone = set(who.users.ids) - {"newcomer"}  # of whom nothing is known
    assert set(who.audience("i5", k=10_000)["user_id"]) == everyone - met
    assert set(who.audience("i5", k=10_000, exclude_known=False)["user_id"]) == everyone
    assert set(who.audience("unsold", k=10**12)["user_id"]) == everyone


def test_ties_go_to_the_first_users() -> None:
    rows = pl.DataFrame({"user_id": ["c", "a", "b", "b"], "item_id": ["x", "x", "x", "y"]})
    data = rv.read(rows)
    who = rv.Recommender(rv.Popularity().fit(data), data)
    assert who.audience("y").rows() == [("a", 1.0, 1), ("c", 1.0, 2)]
    assert who.audience("x").height == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: w.explain("nobody", "i5"), UnknownUserError, "user 'nobody' is not among the 201 users"),
        (lambda w: w.explain("u1", "x"), UnknownItemError, "item 'x' is not among the 121 items"),
        (lambda w: w.explain_for(history=["x"], item="i1"), UnknownItemError, "item 'x' is not among"),
        (lambda w: w.audience("x"), UnknownItemError, "item 'x' is not among"),
        (lambda w: w.audience("i1", k=0), ValueRangeError, "k is 0; allowed: a whole number, 1 or more"),
    ],
)
def test_bad_calls(who: rv.Recommender, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(who)


def test_noise_has_no_reasons(data: rv.Dataset) -> None:
    who = rv.Recommender(rv.Random().fit(data), data)
    with pytest.raises(NotSupportedError, match="random has no reasons for its scores; use a method that learns, such as als or svd"):
        who.explain("u1", "i1")
