"""The ladder: who gets which list by which route."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import recvec as rv
from recvec.errors import InputError, NotSupportedError, UnknownItemError, UnknownUserError, ValueRangeError


@pytest.fixture(scope="module")
def who() -> rv.Recommender:
    """ALS on the sample, with one user and one item that no interaction names."""
    from recvec.data.synthetic import sample_tables

    rows, users, items = sample_tables()
    users = pl.concat([users, users.head(1).with_columns(user_id=pl.lit("newcomer"))])
    items = pl.concat([items, items.head(1).with_columns(item_id=pl.lit("unsold"), title=pl.lit("Unsold"))])
    data = rv.read(rows, users=users, items=items)
    return rv.Recommender(rv.ALS(embedding_dim=16).fit(data), data)


def test_known_users_get_their_stored_list_without_what_they_know(who: rv.Recommender) -> None:
    lists = who.recommend(["u7", "u1"], k=5)
    assert lists.columns == ["user_id", "item_id", "score", "rank", "route"]
    assert lists["user_id"].to_list() == ["u7"] * 5 + ["u1"] * 5
    assert lists["rank"].to_list() == [1, 2, 3, 4, 5] * 2
    assert set(lists["route"]) == {"stored"}
    assert (lists["score"].diff().drop_nulls()[[0, 1, 2, 3, 5, 6, 7, 8]] <= 0).all()
    row = who.users.rows(["u7"])
    known = who.items.ids[who.histories.take(row).items]
    assert not set(known) & set(lists.filter(pl.col("user_id") == "u7")["item_id"])


def test_the_ladder_goes_down_as_less_is_known(who: rv.Recommender) -> None:
    assert set(who.recommend(["newcomer"])["route"]) == {"popular"}
    assert set(who.recommend_for(history=["i1", "i5"])["route"]) == {"history"}
    assert set(who.recommend_for()["route"]) == {"popular"}
    assert set(who.recommend_for(attributes={})["route"]) == {"popular"}
    assert set(who.recommend_for(history=["i1"], attributes={"age_group": "25-34"})["route"]) == {"history"}
    mixed = who.recommend(["newcomer", "u1", "newcomer"], k=2)
    assert mixed["user_id"].to_list() == ["newcomer"] * 2 + ["u1"] * 2 + ["newcomer"] * 2
    assert mixed["route"].to_list() == ["popular"] * 2 + ["stored"] * 2 + ["popular"] * 2


def test_the_popular_list_is_by_number_of_rows(who: rv.Recommender) -> None:
    best = who.items.ids[np.argsort(-who.train.item_counts, kind="stable")[:10]].to_list()
    assert who.recommend_for(k=10)["item_id"].to_list() == best


def test_a_training_history_folded_in_gives_the_stored_list(who: rv.Recommender) -> None:
    row = who.users.rows(["u3"])
    history = who.items.ids[who.histories.take(row).items].to_list()
    stored, folded = who.recommend(["u3"]).drop("user_id", "route"), who.recommend_for(history=history).drop("route")
    assert_frame_equal(stored, folded, rel_tol=1e-5)  # alone, a person takes another product than in company


def test_history_items_are_left_out_and_weights_matter(who: rv.Recommender) -> None:
    assert not {"i1", "i5"} & set(who.recommend_for(history=["i1", "i5"], k=600)["item_id"])
    one, other = (who.recommend_for(history=["i1", "i5"], weights=w)["score"].to_list() for w in ([1, 9], [9, 1]))
    assert one != other


def test_beyond_the_catalogue_the_list_is_shorter(who: rv.Recommender) -> None:
    for k in (10_000, 10**12):
        assert len(who.recommend_for(history=["i1"], k=k)) == who.train.n_items - 1
        assert len(who.recommend(["newcomer"], k=k)) == who.train.n_items
        assert len(who.similar_items("i1", k)) == who.train.n_items - 1


def test_candidates_are_the_only_items(who: rv.Recommender) -> None:
    assert set(who.recommend(["newcomer", "u1"], candidates=["i1", "i2", "unsold"])["item_id"]) <= {"i1", "i2", "unsold"}


def test_attributes_that_nothing_can_use_are_refused(who: rv.Recommender) -> None:
    with pytest.raises(NotSupportedError, match="no rung for attributes; leave attributes out for the popular list, or give"):
        who.recommend_for(attributes={"age_group": "25-34"})
    able = rv.Recommender(who.model, who.train, rungs={"attributes": rv.Popularity()})
    assert set(able.recommend_for(attributes={"age_group": "25-34"})["route"]) == {"attributes"}
    assert set(able.recommend(["newcomer"])["route"]) == {"attributes"}


def test_rungs_can_be_given_or_left_out(who: rv.Recommender) -> None:
    alone = rv.Recommender(who.model, who.train, rungs={})
    for call in (alone.recommend_for, lambda: alone.recommend(["u1", "newcomer"]), lambda: alone.explain("newcomer", "i1")):
        with pytest.raises(NotSupportedError, match="no rung for people without history"):
            call()
    assert alone.recommend(["u1"]).equals(who.recommend(["u1"]))  # those with a history need no other rung
    other = rv.Recommender(who.model, who.train, rungs={"popular": rv.Random()})
    assert set(other.rungs) == {"popular"}
    assert other.recommend_for(k=3)["item_id"].to_list() != who.recommend_for(k=3)["item_id"].to_list()
    with pytest.raises(InputError, match="no rung 'fallback'; allowed: attributes, content, popular"):
        rv.Recommender(who.model, who.train, rungs={"fallback": rv.Popularity()})


def test_similar_items_and_users_have_ids(who: rv.Recommender) -> None:
    items, users = who.similar_items("i1", 4), who.similar_users("u1", 4, metric="euclidean")
    assert items.columns == ["item_id", "score", "rank"]
    assert users.columns == ["user_id", "score", "rank"]
    assert "i1" not in set(items["item_id"])
    assert len(users) == 4
    vectors = dict(who.item_embeddings().iter_rows())
    a, b = np.array(vectors["i1"]), np.array(vectors[items["item_id"][0]])
    assert items["score"][0] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-4)


def test_embeddings_come_with_ids(who: rv.Recommender) -> None:
    frame = who.user_embeddings()
    assert frame.columns == ["id", "embedding"]
    assert frame["embedding"].dtype == pl.List(pl.Float32)
    assert frame["id"].to_list() == who.users.ids.to_list()
    assert np.array_equal(np.array(frame["embedding"].to_list(), dtype=np.float32), who.model.user_vectors)


def test_embeddings_of_attributes_are_for_methods_that_have_them(who: rv.Recommender) -> None:
    with pytest.raises(NotSupportedError, match="als has no vectors of the values of 'age_group'; use user_embeddings or item_embeddings"):
        who.attribute_embeddings("age_group")


def test_titles_are_null_where_nothing_is_known(who: rv.Recommender) -> None:
    assert who.titles(pl.Series(["unsold", None, "never heard of"])).to_list() == ["Unsold", None, None]


def test_integer_ids_come_back_as_integers_and_may_be_given_as_text() -> None:
    data = rv.read(pl.DataFrame({"user_id": [7, 7, 8, 9], "item_id": [100, 200, 100, 300]}))
    who = rv.Recommender(rv.Popularity().fit(data), data)
    assert who.recommend([8])["item_id"].to_list() == [200, 300]
    assert who.recommend(["8"]).equals(who.recommend([8]))
    assert who.recommend([]).height == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: w.recommend(["u1", "nobody"]), UnknownUserError, r"user 'nobody' is not among the 1,001 users .*nearest|such as"),
        (lambda w: w.recommend_for(history=["i9999"]), UnknownItemError, "item 'i9999' is not among the 601 items.*nearest: 'i99"),
        (lambda w: w.similar_items("x"), UnknownItemError, "item 'x' is not among"),
        (lambda w: w.recommend(["u1"], k=0), ValueRangeError, "k is 0; allowed: a whole number, 1 or more"),
        (lambda w: w.recommend_for(history=["i1"], weights=[1, 2]), InputError, "2 weights for a history of 1 items"),
        (lambda w: w.recommend_for(history=["i1"], weights=[float("inf")]), ValueRangeError, "not a finite number"),
        (
            lambda w: rv.Recommender(w.model, rv.sample()),
            InputError,
            "the model knows 1001 users and 601 items, the data have 1000 and 600",
        ),
    ],
)
def test_bad_calls(who: rv.Recommender, call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(who)
