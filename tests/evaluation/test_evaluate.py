"""The protocol on tables small enough to be judged by hand, and invariances on larger ones."""

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.errors import InputError, ValueRangeError


def small() -> rv.Split:
    """Item counts in train: a 3, b 2, c 1, d 0; user 3 has no test row; user 9 is unseen in train."""
    train = pl.DataFrame({"user_id": [1, 2, 3, 1, 2, 3], "item_id": ["a", "a", "a", "b", "b", "c"]})
    test = pl.DataFrame({"user_id": [1, 2, 2, 9], "item_id": ["c", "d", "c", "a"]})
    return rv.split(rv.read(train), test=test)


def test_popularity_by_hand() -> None:
    split = small()
    result = rv.evaluate(rv.Popularity().fit(split.train), split, k=[1, 2])
    # user 1: list c, d -> c hit at 1; user 2: c, d both relevant; user 9: a, b -> a hit at 1
    assert result.metrics["recall@1"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert result.metrics["recall@2"] == pytest.approx(1)
    assert result.metrics["precision@2"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert result.metrics["ndcg@2"] == pytest.approx(1)
    assert result.counts == {
        "n_users_evaluated": 3, "n_users_without_test": 1, "n_unseen_users": 1, "n_unseen_items": 1,
        "n_distinct_unseen_items": 1,        "n_test_rows": 4, "n_test_pairs_in_train": 0,
    }  # fmt: skip
    assert split.train.users.ids[result.users].to_list() == [1, 2, 9]


def test_a_callable_is_measured_by_the_same_code(sample_split: rv.Split) -> None:
    model = rv.ALS(embedding_dim=8, epochs=3).fit(sample_split.train)

    def competitor(users: np.ndarray) -> np.ndarray:
        return model.user_vectors[users] @ model.item_vectors.T

    mine, theirs = rv.evaluate(model, sample_split, k=[5, 10]), rv.evaluate(competitor, sample_split, k=[5, 10])
    assert theirs.method == "competitor"
    for name, value in mine.metrics.items():
        assert theirs.metrics[name] == pytest.approx(value, abs=2e-3), name  # single items may swap where scores tie
    negatives = _negatives(sample_split)
    assert rv.evaluate(competitor, negatives).metrics == pytest.approx(rv.evaluate(model, negatives).metrics, abs=2e-3)


def _negatives(split: rv.Split) -> rv.Split:
    rng = np.random.default_rng(0)
    users = np.repeat(split.train.users.ids.to_numpy(), 30)
    table = pl.DataFrame({"user_id": users, "negative_item_id": rng.choice(split.train.items.ids.to_numpy(), len(users))})
    data = split.train
    test = pl.DataFrame({"user_id": data.users.ids[split.test.users], "item_id": data.items.ids[split.test.items]})
    return rv.split(data, test=test, negatives=table)


def test_sampled_negatives_by_hand() -> None:
    train = pl.DataFrame({"user_id": [1, 2, 3, 4, 1, 2, 3, 1], "item_id": ["a", "a", "a", "a", "b", "b", "c", "d"]})
    test = pl.DataFrame({"user_id": [4, 3], "item_id": ["b", "b"]})
    negatives = pl.DataFrame({"user_id": [4, 4, 4, 3, 3], "negative_item_id": ["c", "d", "b", "d", "new"]})
    split = rv.split(rv.read(train), test=test, negatives=negatives)
    result = rv.evaluate(rv.Popularity().fit(split.train), split, k=1)
    # counts a 4, b 2, c 1, d 1, new 0. User 4: b against c, d (its own b is dropped): rank 1. User 3: b against d, new: rank 1
    assert result.sampled
    assert result.metrics["hit_rate@1"] == 1.0
    assert "ranked among sampled negatives" in str(result)
    tied = rv.evaluate(lambda users: np.zeros((len(users), split.train.n_items)), split, k=[1, 2])
    # all scores equal: mean rank 1 + 2 / 2 = 2 for both users
    assert (tied.metrics["hit_rate@1"], tied.metrics["hit_rate@2"]) == (0.0, 1.0)
    assert tied.metrics["ndcg@2"] == pytest.approx(1 / np.log2(3))


def test_full_ranking_ties_go_to_the_smaller_row() -> None:
    split = small()
    result = rv.evaluate(lambda users: np.zeros((len(users), split.train.n_items)), split, k=1)
    # rows a b c d: user 1 and 2 get c first, user 9 gets a first
    assert result.metrics["hit_rate@1"] == 1.0


def test_ratings_by_hand() -> None:
    rows = {"user_id": [1, 1, 2, 2], "item_id": ["a", "b", "a", "b"], "rating": [1.0, 5.0, 3.0, 3.0]}
    test = pl.DataFrame({"user_id": [1, 2, 2], "item_id": ["a", "a", "b"], "rating": [2.0, 9.0, 4.0]})
    split = rv.split(rv.read(pl.DataFrame(rows)), test=test)
    scores = np.array([[2.5, 0.0], [7.0, 3.0]])
    result = rv.evaluate(lambda users: scores[users], split, task="rating")
    # predictions are clipped to the training range 1 to 5: errors .5, 5 - 9 = -4, -1
    assert result.metrics["rmse"] == pytest.approx(np.sqrt((0.25 + 16 + 1) / 3))
    assert result.metrics["mae"] == pytest.approx(5.5 / 3)
    low, high = result.intervals["rmse"]
    assert low <= result.metrics["rmse"] <= high


def test_block_size_changes_nothing(sample_split: rv.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    model = rv.SVD(embedding_dim=8).fit(sample_split.train)
    whole = rv.evaluate(model, sample_split).per_user["ndcg@10"]
    monkeypatch.setattr("recvec.evaluation.ranking._USERS_PER_BLOCK", 37)
    assert np.array_equal(whole, rv.evaluate(model, sample_split).per_user["ndcg@10"])


def test_results_read_well(sample_split: rv.Split) -> None:
    result = rv.evaluate(rv.Popularity().fit(sample_split.train), sample_split, k=10)
    assert result.frame().columns == ["metric", "value", "low", "high"]
    content = result.json()
    assert content["metrics"]["recall@10"] == result.metrics["recall@10"]
    assert content["n_users_evaluated"] == 1000
    assert str(result).splitlines()[0] == "popularity, leave-last-out, task ranking, 1,000 users"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda s: rv.evaluate(rv.Popularity().fit(rv.sample(n_users=50)), s),
            InputError,
            "the model knows 50 users .*; fit the method on",
        ),
        (lambda s: rv.evaluate(lambda u: np.zeros((len(u), 3)), s), InputError, r"scores of shape \(256, 3\); allowed: \(256, 600\)"),
        (lambda s: rv.evaluate(rv.Popularity().fit(s.train), s, k=0), ValueRangeError, "k is 0"),
        (lambda s: rv.evaluate(rv.Popularity().fit(s.train), s, k=10**9), ValueRangeError, "k is 1000000000; allowed: up to 1000 here"),
        (
            lambda s: rv.evaluate(rv.Popularity().fit(s.train), s, task="rating"),
            InputError,
            "'rating', but the model was fitted for ranking",
        ),
        (lambda s: rv.evaluate(rv.Popularity().fit(s.train), s, task="clicks"), InputError, "the task is 'clicks'.*allowed: ranking"),
    ],
)
def test_what_does_not_belong_together_is_refused(sample_split: rv.Split, call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(sample_split)
