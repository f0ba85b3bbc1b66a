"""Candidates and denials: what may appear in whose list."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import recvec as rv
from recvec.data.histories import Histories
from recvec.errors import ColumnError, InputError, UnknownItemError
from recvec.retrieval.limits import either


@pytest.fixture(scope="module")
def who(sample: rv.Dataset) -> rv.Recommender:
    return rv.Recommender(rv.ALS(embedding_dim=8, epochs=3).fit(sample), sample)


def listed(frame: pl.DataFrame, user: str | None = None) -> list[str]:
    return (frame if user is None else frame.filter(pl.col("user_id") == user))["item_id"].to_list()


def test_denied_items_give_way_to_the_next_best(who: rv.Recommender) -> None:
    best = listed(who.recommend(["u1"], k=12))
    gone = best[0:6:2]
    assert listed(who.recommend(["u1"], k=9, deny=gone)) == [i for i in best if i not in gone]
    assert listed(who.recommend(["u1"], k=9, deny=[*gone, "never heard of"])) == [i for i in best if i not in gone]
    history = listed(who.recommend(["u2"], k=3))
    alone = listed(who.recommend_for(history=history, k=5))
    assert listed(who.recommend_for(history=history, k=3, deny=alone[:2])) == alone[2:]


@pytest.mark.parametrize("kind", [pl.DataFrame, pd.DataFrame, lambda t: pl.DataFrame(t).to_arrow(), lambda t: pl.Series(t["item_id"]), lambda t: np.array(t["item_id"]), lambda t: set(t["item_id"]), lambda t: iter(t["item_id"])])  # fmt: skip
def test_denials_come_in_many_kinds(who: rv.Recommender, kind: Any) -> None:
    best = listed(who.recommend(["u1"], k=4))
    assert listed(who.recommend(["u1"], k=2, deny=kind({"item_id": best[:2]}))) == best[2:]


def test_denials_of_one_user_are_that_users_only(who: rv.Recommender) -> None:
    before = who.recommend(["u1", "u2", "u3"], k=8)
    gone = listed(before, "u2")[:3]
    table = pl.DataFrame({"user_id": ["u2"] * 3 + ["nobody", "u1"], "item_id": [*gone, "i1", "never heard of"]})
    after = who.recommend(["u1", "u2", "u3"], k=8, deny=table)
    assert listed(after, "u2")[:5] == listed(before, "u2")[3:]
    for user in ("u1", "u3"):
        assert after.filter(pl.col("user_id") == user).equals(before.filter(pl.col("user_id") == user))


def test_denials_reach_people_without_history() -> None:
    rows = pl.DataFrame({"user_id": ["a", "a", "b", "c"], "item_id": ["x", "y", "x", "z"]})
    data = rv.read(rows, users=pl.DataFrame({"user_id": ["new", "newer"], "age": [1, 2]}))
    who = rv.Recommender(rv.Popularity().fit(data), data)
    table = pl.DataFrame({"user_id": ["new"], "item_id": ["x"]})
    lists = who.recommend(["newer", "new"], k=1, deny=table)
    assert lists.select("user_id", "item_id").rows() == [("newer", "x"), ("new", "y")]


def test_a_rating_of_zero_is_still_known_to_be_met() -> None:
    zero = Histories.from_lists([[1, 3], []], 4, [[0.0, -1.0], []])
    other = Histories.from_lists([[0, 3], [2]], 4)
    both = either(zero, other)
    assert both.items.tolist() == [0, 1, 3, 2]
    assert both.indptr.tolist() == [0, 3, 4]


def test_candidates_and_denials_together(who: rv.Recommender) -> None:
    best = listed(who.recommend(["u1"], k=5))
    assert listed(who.recommend(["u1"], candidates=[*best, best[0]], deny=best[1:3])) == [best[0], *best[3:]]
    assert listed(who.recommend(["u1"], candidates=best, deny=best)) == []
    assert listed(who.recommend(["u1"], candidates=[])) == []
    everything = who.recommend(["u1"], k=5)
    for nothing in ([], pl.DataFrame({"item_id": []}), pl.DataFrame({"user_id": [], "item_id": []})):
        assert who.recommend(["u1"], k=5, deny=nothing).equals(everything)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: w.recommend(["u1"], candidates=["i1", "x"]), UnknownItemError, "item 'x' is not among the 600 items"),
        (lambda w: w.recommend(["u1"], candidates="i1"), InputError, "items are given as 'i1'; allowed: a list of ids"),
        (lambda w: w.recommend(["u1"], deny=pl.DataFrame({"item": ["i1"]})), ColumnError, "deny has no column 'item_id' .nearest: 'item'"),
        (lambda w: w.recommend(["u1"], deny=pl.DataFrame({"item_id": [None, "i1"]})), InputError, "deny, row 1: item_id is missing"),
        (lambda w: w.recommend(["u1"], deny="i1"), InputError, r"deny is 'i1'; allowed: a list of item ids, or a table .*; write \['i1'\]"),
        (lambda w: w.recommend(["u1"], deny=7), InputError, r"deny is 7; allowed: a list"),
        (
            lambda w: w.recommend_for(history=["i1"], deny=pl.DataFrame({"user_id": ["u1"], "item_id": ["i1"]})),
            InputError,
            "deny names users, but this person is not one of them; allowed: item ids; leave user_id out",
        ),
    ],
)
def test_what_is_no_list_of_items_is_refused(who: rv.Recommender, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(who)
