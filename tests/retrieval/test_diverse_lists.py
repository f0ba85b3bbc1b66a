"""Lists that differ: from which pool, by which vectors, for whom."""

import numpy as np
import pytest

import recvec as rv
from recvec.contract import Runtime
from recvec.errors import ValueRangeError
from recvec.kernels.diversity import intra_list_similarity, mmr
from recvec.retrieval import diversity


@pytest.fixture(scope="module")
def who(sample: rv.Dataset) -> rv.Recommender:
    return rv.Recommender(rv.ALS(embedding_dim=16).fit(sample), sample)


def test_none_is_the_plain_list(who: rv.Recommender) -> None:
    assert who.recommend(["u1", "u2"], k=7, diversity=0).equals(who.recommend(["u1", "u2"], k=7))
    tiny = who.recommend(["u1", "u2"], k=7, diversity=1e-12)
    assert tiny.drop("score").equals(who.recommend(["u1", "u2"], k=7).drop("score"))


@pytest.mark.parametrize(("k", "pool"), [(5, 100), (30, 150), (500, 600)])
def test_it_is_the_kernel_over_the_pool(who: rv.Recommender, k: int, pool: int) -> None:
    row = who.users.rows(["u7"])
    best = who.model.recommend(who.model.queries(row), pool, exclude=who.histories.take(row))
    rows, scores = mmr(best.rows, best.scores, who.model.item_vectors, k, 0.4, executor=who.runtime.executor)
    found = who.recommend(["u7"], k=k, diversity=0.4)
    assert np.array_equal(who.items.rows(found["item_id"]), rows[0])
    np.testing.assert_allclose(found["score"].to_numpy(), scores[0], rtol=1e-5)
    assert found["rank"].to_list() == list(range(1, k + 1))


def test_lists_differ_more_and_leave_out_the_same(who: rv.Recommender) -> None:
    some = who.users.ids[:50]
    best = who.recommend(some, k=10)["item_id"].unique(maintain_order=True)
    alike = []
    for level in (0.0, 0.5, 1.0):
        lists = who.recommend(some, k=10, diversity=level, deny=best[:20])
        assert len(lists) == 500
        assert not set(lists["item_id"]) & set(best[:20])
        known = who.train.matrix()[who.users.rows(lists["user_id"]), who.items.rows(lists["item_id"])]
        assert not np.asarray(known).any()
        alike.append(
            intra_list_similarity(
                who.items.rows(lists["item_id"]).reshape(50, 10), who.model.item_vectors, executor=who.runtime.executor
            ).mean()
        )
    assert alike[0] > alike[1] + 0.05 > alike[2] + 0.05


def test_every_route_is_compared_by_the_vectors_of_the_model(who: rv.Recommender) -> None:
    """The popular rung has one number an item, by which all are alike."""
    plain, diverse = who.recommend_for(k=10), who.recommend_for(k=10, diversity=0.7)
    assert set(diverse["route"]) == {"popular"}
    assert diverse["item_id"][0] == plain["item_id"][0]
    assert diverse["item_id"].to_list() != plain["item_id"].to_list()
    assert set(who.recommend_for(history=["i1"], diversity=0.7)["route"]) == {"history"}


def test_extra_columns_do_not_count(sample: rv.Dataset) -> None:
    model = rv.SVD(embedding_dim=8, task="rating").fit(sample)
    who = rv.Recommender(model, sample)
    row = who.users.rows(["u7"])
    best = model.recommend(model.queries(row), 100, exclude=who.histories.take(row))
    rows, _ = mmr(best.rows, best.scores, model.item_vectors[:, :8], 10, 0.5, executor=who.runtime.executor)
    assert np.array_equal(who.items.rows(who.recommend(["u7"], diversity=0.5)["item_id"]), rows[0])


def test_blocks_of_people_and_threads_change_nothing(who: rv.Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = who.recommend(who.users.ids[:700], k=5, diversity=0.3)
    monkeypatch.setattr(diversity, "PEOPLE_PER_BLOCK", 512)
    for threads in (1, 2):
        again = rv.Recommender(who.model, who.train, rungs=who.rungs, runtime=Runtime(threads=threads))
        assert again.recommend(who.users.ids[:700], k=5, diversity=0.3).drop("score").equals(whole.drop("score"))


def test_shorter_than_asked_for_where_little_is_left(who: rv.Recommender) -> None:
    allowed = who.recommend(["u1"], k=3)["item_id"]
    lists = who.recommend(["u1"], k=10, candidates=allowed, diversity=0.5)
    assert set(lists["item_id"]) == set(allowed)
    assert who.recommend([], diversity=0.5).height == 0


@pytest.mark.parametrize("wrong", [-0.5, 2, float("nan")])
def test_what_is_no_diversity_is_refused(who: rv.Recommender, wrong: float) -> None:
    for call in (lambda: who.recommend(["u1"], diversity=wrong), lambda: who.recommend_for(history=["i1"], diversity=wrong)):
        with pytest.raises(ValueRangeError, match=r"diversity is .*; allowed: a number from 0"):
            call()
