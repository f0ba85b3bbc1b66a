"""Walks as retrieval and as re-ranking, the paths between a person and an item, and the picture of them."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.errors import HyperparameterError, InputError, NotSupportedError, UnknownItemError, ValueRangeError
from recvec.retrieval.graph_picture import Drawing, draw
from recvec.retrieval.graph_walk import WalkScorer, walker

KINDS = (rv.GraphWalk(), rv.GraphWalk(kind="sampled", n_walks=200), rv.GraphWalk(kind="rp3beta"))
each_kind = pytest.mark.parametrize("walk", KINDS, ids=lambda w: w.kind)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return rv.sample(n_users=120, n_items=90, mean_history=12)


@pytest.fixture(scope="module")
def who(data: Dataset) -> rv.Recommender:
    return rv.Recommender(rv.SVD(embedding_dim=8).fit(data), data)


# ---------------------------------------------------------------- walks


@each_kind
def test_known_and_new_people_with_one_history_get_one_list(who: rv.Recommender, walk: rv.GraphWalk) -> None:
    known = who.recommend(["u3", "u5"], k=8, retrieval=walk)
    met = who.items.ids[who.histories.take(who.users.rows(["u3"])).items].to_list()
    new = who.recommend_for(history=met, k=8, retrieval=walk)
    mine = known.filter(pl.col("user_id") == "u3").drop("user_id")
    assert set(known["route"]) == {"history"}
    assert new.equals(mine)
    assert not set(mine["item_id"]) & set(met)
    assert mine["score"].is_sorted(descending=True)


@each_kind
def test_the_number_of_threads_changes_nothing(data: Dataset, walk: rv.GraphWalk) -> None:
    histories = data.histories()
    one, two = (walker(walk, histories, runtime=rv.Runtime(threads=n)).scores(histories, rv.Runtime(threads=n)) for n in (1, 3))
    assert np.array_equal(one, two)
    assert np.isfinite(one).all()


def test_rp3beta_gives_the_lists_of_the_method(data: Dataset) -> None:
    how = {"alpha": 0.7, "beta": 0.3, "n_neighbours": 20, "normalize": False}
    who = rv.Recommender(rv.RP3Beta(embedding_dim=4, **how).fit(data), data)
    users = who.users.ids[:50]
    walked = who.recommend(users, k=10, retrieval=rv.GraphWalk(kind="rp3beta", **how))
    assert walked.drop("route").equals(who.recommend(users, k=10).drop("route"))


def test_a_walk_beats_popularity_without_training() -> None:
    split = rv.split(rv.sample(), "leave-last-out", seed=0)
    ready = walker(rv.GraphWalk(), split.train.histories())
    mine = rv.evaluate(WalkScorer(ready, split.histories(), rv.Runtime()), split)
    assert mine.method == "walk"
    assert mine.metrics["hit_rate@10"] >= 0.25  # popularity: .2


def test_candidates_of_a_model_are_ranked_again(who: rv.Recommender, data: Dataset) -> None:
    pool = who.recommend(["u1"], k=15)
    again = who.recommend(["u1"], k=5, retrieval=rv.GraphWalk(n_candidates=15))
    walked = who.recommend(["u1"], k=90, retrieval="walk").filter(pl.col("item_id").is_in(pool["item_id"].to_list()))
    assert again["item_id"].to_list() == walked["item_id"][:5].to_list()
    np.testing.assert_allclose(again["score"], walked["score"][:5])
    whole = who.recommend(["u1"], k=20, retrieval=rv.GraphWalk(n_candidates=3))  # a longer list has more candidates
    assert len(whole) == 20
    stay = who.recommend(["u1"], k=4, retrieval=rv.GraphWalk(n_candidates=15, restart=1.0))  # all scores 0: the model's order
    assert stay["item_id"].to_list() == pool["item_id"][:4].to_list()


def test_measured_candidates_are_those_of_the_list(data: Dataset) -> None:
    split = rv.split(data, "leave-last-out", seed=0)
    model = rv.SVD(embedding_dim=8).fit(split.train)
    known = split.histories()
    ready = walker(rv.GraphWalk(n_candidates=12), known, model=model)
    scores = WalkScorer(ready, known, rv.Runtime())(np.arange(7))
    lists = rv.Recommender(model, split.train).recommend(split.train.users.ids[:7], k=5, retrieval=rv.GraphWalk(n_candidates=12))
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert split.train.items.ids[rows.ravel()].to_list() == lists["item_id"].to_list()
    assert (np.isfinite(scores).sum(axis=1) == 12).all()


def test_limits_hold_for_walks_too(who: rv.Recommender) -> None:
    first = who.recommend(["u1"], k=3, retrieval="walk")["item_id"].to_list()
    assert not set(first[:1]) & set(who.recommend(["u1"], k=10, deny=first[:1], retrieval="walk")["item_id"])
    assert set(who.recommend(["u1"], k=5, candidates=first, retrieval="walk")["item_id"]) == set(first)
    assert len(who.recommend(["u1"], k=5, diversity=0.7, retrieval="walk")) == 5
    assert len(who.recommend(["u1"], k=5, diversity=0.7, retrieval=rv.GraphWalk(n_candidates=30))) == 5


@each_kind
def test_people_and_items_without_edges_and_endless_walks(walk: rv.GraphWalk) -> None:
    pairs = pl.DataFrame(
        {"user_id": ["a", "a", "b", "c", "c", "c"], "item_id": ["x", "y", "y", "z", "z", "z"], "weight": [1.0, 2, 1, 0, 0, 0]}
    )
    data = rv.read(
        pairs, users=pl.DataFrame({"user_id": ["nobody"], "age": [3]}), items=pl.DataFrame({"item_id": ["nothing"], "size": [3]})
    )
    far = replace(walk, steps=999) if walk.kind != "rp3beta" else walk  # more steps than the graph has nodes
    for restart in (0.0, 0.3, 1.0):
        scores = walker(replace(far, restart=restart), data.histories()).scores(data.histories())
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        assert not scores[data.users.rows(["nobody", "c"])].any()
        assert not scores[:, data.items.rows(["nothing"])].any()
    who = rv.Recommender(rv.Random(embedding_dim=4).fit(data), data)
    assert who.recommend(["nobody"], k=2, retrieval=walk)["route"][0] == "popular"
    assert len(who.recommend(["c"], k=9, retrieval=walk)) == 3
    assert who.recommend_for(k=2, retrieval=walk)["route"][0] == "popular"


def test_ratings_are_no_strengths(data: Dataset) -> None:
    stars = rv.Recommender(rv.SVD(embedding_dim=4, task="rating").fit(data), data)
    plain = rv.Recommender(rv.Popularity().fit(data), data)
    assert stars.recommend(["u1"], retrieval="walk").equals(plain.recommend(["u1"], retrieval="walk"))
    assert stars.graph.paths("u1", "i5").equals(plain.graph.paths("u1", "i5"))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: rv.GraphWalk(restart=1.5), HyperparameterError, r"walk: restart is 1.5; allowed: a number, 0 to 1 \(default 0.5\)"),
        (lambda _: rv.GraphWalk(restart=float("nan")), HyperparameterError, "walk: restart is nan; allowed: a number, 0 to 1"),
        (lambda _: rv.GraphWalk(kind="dance"), HyperparameterError, "walk: kind is 'dance'; allowed: pagerank, sampled, rp3beta"),
        (lambda _: rv.GraphWalk(steps=1), HyperparameterError, "walk: steps is 1; allowed: a whole number, 3 to 999"),
        (lambda w: w.recommend(["u1"], retrieval="dance"), InputError, "retrieval is 'dance'; allowed: exact, walk"),
        (
            lambda w: w.recommend(["u1"], retrieval="walk", context={"day": "sunday"}),
            NotSupportedError,
            "knows of no context; leave it out",
        ),
        (
            lambda w: w.graph.walker(rv.GraphWalk()).scores(Histories.from_lists([[1]], 90, [[-2.0]])),
            ValueRangeError,
            "a weight of a history is -2; allowed for a walk: 0 or more",
        ),
        (
            lambda w: w.graph.walker(rv.GraphWalk()).scores(Histories.empty(1, 3)),
            ValueRangeError,
            "over 3 items; allowed: the 90 of the graph",
        ),
        (lambda w: w.graph.paths("u1", "xx"), UnknownItemError, "item 'xx' is not among the 90 items"),
        (lambda w: w.graph.paths("u1", "i5", 0), ValueRangeError, "k is 0; allowed"),
        (lambda w: w.graph.picture(), InputError, "a picture is around a user or an item; give one"),
    ],
)
def test_bad_calls_get_one_clear_line(who: rv.Recommender, call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(who)  # type: ignore[operator]


def test_without_histories_there_is_no_graph(who: rv.Recommender, tmp_path: Path) -> None:
    rv.save(who, tmp_path / "model", histories=False)
    without = rv.load(tmp_path / "model")
    for call in (lambda: without.recommend(["u1"], exclude_known=False, retrieval="walk"), lambda: without.graph):
        with pytest.raises(
            NotSupportedError, match="saved without histories, so there is no graph for walks and paths; fit again with them"
        ):
            call()


# ---------------------------------------------------------------- paths


def test_paths_are_all_walks_of_three_steps_over_others(who: rv.Recommender, data: Dataset) -> None:
    x = data.matrix().toarray().astype(np.float64)
    to_users, to_items = (m / np.maximum(m.sum(axis=1, keepdims=True), 1) for m in (x.T, x))
    user, item = 0, int(data.items.rows(["i5"])[0])
    expected = {
        (i, v): to_items[user, i] * to_users[i, v] * to_items[v, item]
        for i in range(x.shape[1])
        for v in range(x.shape[0])
        if i != item and v != user and x[user, i] * x[v, i] * x[v, item]
    }
    found = who.graph.paths(who.users.ids[user], "i5", 100_000)
    pairs = zip(who.items.rows(found["item_id"]).tolist(), who.users.rows(found["user_id"]).tolist(), strict=True)
    assert dict(zip(pairs, found["weight"], strict=True)) == pytest.approx(expected)
    assert found["weight"].is_sorted(descending=True)
    assert who.graph.paths(who.users.ids[user], "i5", 3).equals(found.head(3))


def test_a_stranger_has_paths_and_a_lonely_user_none(who: rv.Recommender) -> None:
    assert set(who.graph.paths(None, "i5", 5, history=["i1", "i2"])["item_id"]) <= {"i1", "i2"}
    assert who.graph.paths(None, "i5", 5, history=["i5"]).is_empty()
    assert who.graph.paths(None, "i5", 5, history=[]).is_empty()


# ---------------------------------------------------------------- pictures

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  our own text


def test_a_picture_holds_the_strongest_paths(who: rv.Recommender) -> None:
    svg = who.graph.picture("u1", "i5", 4)
    best = who.graph.paths("u1", "i5", 4)
    drawn = words(svg)
    assert "user u1" in drawn
    assert set(best["user_id"]) <= set(drawn)
    assert set(who.titles(best["item_id"])) <= set(drawn)
    assert len(ET.fromstring(svg).findall(f"{SVG}path")) == len(set(best["item_id"])) + 4 + len(set(best["user_id"]))  # noqa: S314
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")  # self-contained


def test_pictures_around_a_user_a_person_and_an_item(who: rv.Recommender) -> None:
    assert "The graph around user u1" in words(who.graph.picture("u1"))
    assert "this person" in words(who.graph.picture(history=["i1", "i2"]))
    assert any(w.startswith("The graph around item ") for w in words(who.graph.picture(item="i5")))
    assert "no path" in words(who.graph.picture(history=["i5"], item="i5"))


def test_hostile_labels_stay_text() -> None:
    long, evil = "x" * 60, "<script>&\x00\x1b\ud800"
    a, b = ("user", 0), ("item", 0)
    svg = draw(Drawing(title=evil, subtitle="", columns=("a", "b"), paths=[((a, b), 1.0)], labels={a: long, b: "\u4e2d" * 30}))
    drawn = words(svg)
    assert drawn[0] == "<script>&\ufffd\ufffd\ufffd"
    assert "x" * 25 + "\u2026" in drawn
    assert "\u4e2d" * 12 + "\u2026" in drawn
