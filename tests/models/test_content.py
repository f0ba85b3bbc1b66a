"""What content methods alone promise: profiles, metrics, new items, reasons by terms."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.data.histories import Histories
from recvec.errors import ColumnError, InputError

ITEMS = pl.DataFrame(
    {
        "item_id": [0, 1, 2, 3, 4, 5],
        "plot": ["a robot in love", "a robot at war", "soldiers at war", "a garden in love", "dogs and a garden", None],
        "genres": ["sf|romance", "sf", "war", "romance", "animals", None],
    }
)
TYPES = {"plot": "text", "genres": "list"}


def toy(**more: object) -> rv.Dataset:
    table = {"user_id": [0, 0, 0, 1, 1, 2], "item_id": [0, 1, 2, 3, 4, 5], "rating": [5.0, 4.0, 1.0, 4.0, 2.0, 3.0], **more}
    return rv.read(pl.DataFrame(table), items=ITEMS, types=TYPES)


def dense(model: rv.ContentTFIDF, **more: object) -> rv.ContentTFIDF:
    return replace(model, embedding_dim=6, min_items=1, **more)


def test_cosine_is_the_cosine_of_a_mean_and_an_item() -> None:
    data = toy()
    model = dense(rv.ContentTFIDF()).fit(data)
    encoder = model.fold_in.encoder
    rows = encoder.matrix(data.item_features).toarray()
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    profile = rows[:3].mean(axis=0)
    expected = rows @ profile / np.linalg.norm(profile)
    np.testing.assert_allclose(model.scores(model.queries(np.array([0])))[0], expected, atol=1e-5)
    np.testing.assert_allclose(model.fold_in.exact_scores(data.histories())[0], expected, atol=1e-5)


def test_disliked_items_are_subtracted() -> None:
    data = toy()
    model = dense(rv.ContentTFIDF(), metric="dot", likes="rating").fit(data)
    assert model.method.neutral_rating == 3.0
    vectors = model.item_vectors
    expected = (2 * vectors[0] + vectors[1] - 2 * vectors[2]) / 5
    np.testing.assert_allclose(model.user_vectors[0], expected, atol=1e-6)
    assert not model.user_vectors[2].any()  # met an item of which nothing is known, and rated it as neither good nor bad
    assert rv.Recommender(model, data).history_value == "rating"


def test_old_interactions_fade() -> None:
    day = 86_400.0
    data = toy(timestamp=[0.0, 10 * day, 20 * day, 5.0, 5.0, 5.0])
    model = dense(rv.ContentTFIDF(), metric="dot", half_life=10.0).fit(data)
    expected = np.array([0.25, 0.5, 1.0]) @ model.item_vectors[:3] / 1.75
    np.testing.assert_allclose(model.user_vectors[0], expected, atol=1e-6)


def test_euclidean_is_half_the_squared_distance() -> None:
    model = dense(rv.ContentTFIDF(), metric="euclidean").fit(toy())
    items = model.item_vectors[:, :-2]
    profile = items[:3].mean(axis=0)
    np.testing.assert_allclose(model.scores(model.queries(np.array([0])))[0], -(((items - profile) ** 2).sum(axis=1)) / 2, atol=1e-5)


def test_new_items_get_vectors_without_a_fit() -> None:
    for metric in ("cosine", "dot", "euclidean"):
        model = dense(rv.ContentTFIDF(), metric=metric).fit(toy())
        new = pl.DataFrame({"plot": ["a robot at war", "entirely unknown words"], "genres": [["sf"], None]})
        found = model.item_queries(new)
        np.testing.assert_allclose(found[0], model.item_vectors[1], atol=1e-5)
        assert not found[1, :6].any()
    with pytest.raises(ColumnError, match="there is no item attribute 'plots'"):
        model.item_queries(pl.DataFrame({"plots": ["x"]}))


def test_an_explanation_names_shared_terms() -> None:
    data = toy()
    model = dense(rv.ContentTFIDF()).fit(data)
    person = Histories.from_lists([[1]], 6)
    found = model.explain(person, 0)
    assert {"robot", "genres=sf"} <= found.parts.keys()
    assert "love" not in found.parts
    assert found.parts["genres=sf"] > 0
    why = rv.Recommender(model, data).explain(0, 3)
    assert {"love", "in", "genres=romance"} <= set(why["part"])


def test_people_without_history_have_the_profile_of_everyone() -> None:
    model = dense(rv.ContentTFIDF()).fit(toy())
    nobody = model.queries(histories=Histories.empty(1, 6))
    everyone = model.item_vectors.mean(axis=0)
    np.testing.assert_allclose(nobody[0], everyone / np.linalg.norm(everyone), atol=1e-5)
    found = model.explain(Histories.empty(1, 6), 0)
    assert found.parts == {"what everyone likes": pytest.approx(found.score)}


def test_an_item_of_which_nothing_is_known_is_similar_to_nothing() -> None:
    model = dense(rv.ContentTFIDF()).fit(toy())
    assert not model.item_vectors[5].any()
    assert (model.scores(model.queries(np.array([0, 1])))[:, 5] == 0).all()


def test_attributes_are_needed_and_must_have_something_in_them() -> None:
    rows = pl.DataFrame({"user_id": [0, 0, 1], "item_id": [0, 1, 1]})
    with pytest.raises(InputError, match="content-tfidf needs item attributes, which the data do not have"):
        rv.ContentTFIDF().fit(rv.read(rows))
    nothing = pl.DataFrame({"item_id": [0, 1], "plot": pl.Series([None, None], dtype=pl.String)})
    with pytest.raises(InputError, match="finds no usable word or attribute value in the item attributes"):
        rv.ContentTFIDF().fit(rv.read(rows, items=nothing, types={"plot": "text"}))


def test_an_update_places_new_items_by_what_they_are() -> None:
    data = toy()
    who = rv.Recommender(dense(rv.ContentTFIDF()).fit(data), data)
    more = pl.DataFrame({"item_id": [9], "plot": ["a robot at war"], "genres": [["sf"]]})
    now, report = who.update(pl.DataFrame({"user_id": [7], "item_id": [9], "rating": [5.0]}), items=more)
    assert report.n_new_items == 1
    np.testing.assert_allclose(now.model.item_vectors[6], now.model.item_vectors[1], atol=1e-5)
    assert np.array_equal(now.model.queries(histories=now.histories), now.model.user_vectors)
    assert now.similar_items(9, k=1)["item_id"].to_list() == [1]
