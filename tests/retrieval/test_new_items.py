"""Items that nobody has met, in the space of a collaborative model."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.errors import InputError, NotSupportedError
from recvec.retrieval.new_items import ItemMap, with_new_items


def test_a_linear_map_is_found() -> None:
    rng = np.random.default_rng(0)
    content, users = rng.standard_normal((200, 6)).astype(np.float32), rng.standard_normal((50, 3)).astype(np.float32)
    vectors = content @ rng.standard_normal((6, 3)).astype(np.float32) + np.float32(2)
    made = ItemMap.fit(content, vectors, users, np.arange(150), rng=rng)
    np.testing.assert_allclose(made.vectors(content[150:]), vectors[150:], atol=0.05)
    assert made.reg == 1e-3
    assert made.explained > 0.99
    np.testing.assert_allclose(made.vectors(np.zeros((1, 6), np.float32))[0], vectors[:150].mean(axis=0), rtol=1e-4)


def test_content_that_says_nothing_gives_the_mean() -> None:
    rng = np.random.default_rng(1)
    content, vectors, users = (rng.standard_normal((300, d)).astype(np.float32) for d in (40, 3, 3))
    made = ItemMap.fit(content, vectors, users, np.arange(300), rng=rng)
    spread = np.linalg.norm(made.vectors(content) - vectors.mean(axis=0)) / np.linalg.norm(vectors - vectors.mean(axis=0))
    assert spread < 0.3
    assert made.explained < 0.1


@pytest.fixture(scope="module")
def cold() -> tuple[rv.Dataset, rv.Split]:
    split = rv.split(rv.sample(), "new-items", seed=0)
    return split.train, split


def test_new_items_are_ranked_better_than_by_chance(cold: tuple[rv.Dataset, rv.Split]) -> None:
    train, split = cold
    als, content = rv.ALS(embedding_dim=16).fit(train), rv.ContentTFIDF(embedding_dim=64).fit(train)
    made, _ = with_new_items(als, content, train.item_counts)
    chance, mapped = (rv.evaluate(m, split, k=20).metrics["recall@20"] for m in (rv.Random().fit(train), made))
    assert mapped > 1.2 * chance
    met = train.item_counts > 0
    assert np.array_equal(made.item_vectors[met], als.item_vectors[met])
    again, _ = with_new_items(als, content, train.item_counts)
    assert np.array_equal(made.item_vectors, again.item_vectors)


def test_a_recommender_with_a_content_rung_lists_new_items(cold: tuple[rv.Dataset, rv.Split], tmp_path: Path) -> None:
    train, _ = cold
    who = rv.Recommender(rv.ALS(embedding_dim=16).fit(train), train, rungs={"content": rv.ContentTFIDF(embedding_dim=64)})
    new = train.items.ids.filter(pl.Series(train.item_counts == 0))
    assert who.recommend(["u1"], k=5, candidates=new)["score"].n_unique() == 5
    assert len(who.similar_items(new[0], k=3)) == 3
    assert who.audience(new[0], k=3).height == 3
    found = who.audience_for({"genres": ["Comedy"], "plot": "A story of wedding and prank"}, k=4)
    assert found.columns == ["user_id", "score", "rank"]
    rv.save(who, tmp_path / "model")
    again = rv.load(tmp_path / "model")
    assert again.recommend(["u1", "u2"], k=8).equals(who.recommend(["u1", "u2"], k=8))
    assert again.audience_for({"genres": ["Comedy"], "plot": "A story of wedding and prank"}, k=4).equals(found)


def test_a_content_model_needs_no_rung_for_new_items(cold: tuple[rv.Dataset, rv.Split]) -> None:
    train, _ = cold
    who = rv.Recommender(rv.ContentTFIDF(embedding_dim=64).fit(train), train)
    assert who.audience_for({"genres": ["Comedy"]}, k=4).height == 4


def test_what_cannot_be_mapped_is_refused(cold: tuple[rv.Dataset, rv.Split]) -> None:
    train, _ = cold
    content = rv.ContentTFIDF(embedding_dim=8).fit(train)
    with pytest.raises(NotSupportedError, match="ease scores items by more than their vectors; use als"):
        rv.Recommender(rv.EASE().fit(train), train, rungs={"content": content})
    with pytest.raises(NotSupportedError, match="knows items by their interactions only"):
        rv.Recommender(rv.ALS(embedding_dim=4, epochs=1).fit(train), train).audience_for({"genres": ["Comedy"]})
    few, rng = np.ones((9, 2), np.float32), np.random.default_rng(0)
    with pytest.raises(InputError, match="9 items have both content and interactions; allowed: 10 or more"):
        ItemMap.fit(few, few, few, np.arange(9), rng=rng)


def test_all_items_met_changes_nothing() -> None:
    data = rv.read(pl.DataFrame({"user_id": [0, 0, 1], "item_id": [0, 1, 1]}), items=pl.DataFrame({"item_id": [0, 1], "kind": ["a", "b"]}))
    model = rv.Popularity().fit(data)
    who = rv.Recommender(model, data, rungs={"content": rv.ContentTFIDF(embedding_dim=2, min_items=1)})
    assert who.item_embeddings()["embedding"].to_list() == [[1.0], [2.0]]
