"""What is asked under each protocol, on tables small enough to be judged by hand."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.contract import Cost, DataShape, DotModel, LinearFoldIn, Method, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.errors import InputError, ValueRangeError
from recvec.kernels.metrics import RANKING


def dataset(rows: list[tuple[object, object]], **columns: list[object]) -> rv.Dataset:
    return rv.read(pl.DataFrame({"user_id": [u for u, _ in rows], "item_id": [i for _, i in rows], **columns}))


def test_new_items_are_ranked_among_the_held_out_ones_with_the_whole_catalogue_beside() -> None:
    rows = [(1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "d"), (3, "b"), (3, "d")]
    split = next(s for s in rv.folds(dataset(rows), "new-items", 2) if "a" in s.train.items.ids[s.candidates].to_list())
    held_out = split.train.items.ids[split.candidates].to_list()
    assert held_out == ["a", "c"]
    scores = np.array([2.0, 4.0, 3.0, 1.0], np.float32)  # b first, then c, a, d
    result = rv.evaluate(lambda users: np.tile(scores, (len(users), 1)), split, k=1)
    # user 1 (knows b): c is first of both catalogues, one of its two; user 2 (knows d): c is first, but it met a
    assert result.per_user["recall@1"].tolist() == [0.5, 0.0]
    assert result.per_user["auc"].tolist()[1] == 0.0
    # in the whole catalogue b is first for user 2, and known to user 1
    assert result.per_user["recall_all@1"].tolist() == [0.5, 0.0]
    assert result.metrics["coverage@1"] == 0.5
    three = rv.evaluate(lambda users: np.tile(scores, (len(users), 1)), split, k=2)
    assert three.per_user["recall@2"].tolist() == [1.0, 1.0]  # c, a
    assert three.per_user["recall_all@2"].tolist() == [1.0, 0.0]  # user 2: b, c


def test_held_out_people_are_asked_by_the_rows_folded_in(sample: rv.Dataset) -> None:
    split = rv.split(sample, "strong")
    model = rv.ALS(embedding_dim=16).fit(split.train)
    result = rv.evaluate(model, split)
    lists = model.recommend(model.queries(histories=split.histories().take(result.users)), 10, exclude=split.histories().take(result.users))
    relevant = split.relevant.take(result.users)
    found = [len(set(lists.rows[n]) & set(relevant.items[relevant.indptr[n] : relevant.indptr[n + 1]])) for n in range(len(result.users))]
    np.testing.assert_allclose(result.per_user["recall@10"], np.array(found) / relevant.lengths)
    cold = rv.evaluate(rv.Popularity().fit(split.train), split)
    assert result.metrics["recall@10"] > 1.5 * cold.metrics["recall@10"]


def test_strong_is_for_rankings(sample: rv.Dataset) -> None:
    split = rv.split(sample, "strong")
    with pytest.raises(InputError, match="protocol strong is for rankings"):
        rv.evaluate(rv.SVD(task="rating", embedding_dim=4).fit(split.train), split)


def test_folds_are_pooled_user_by_user(sample: rv.Dataset) -> None:
    splits = rv.folds(sample, "new-users", 4)
    pooled = rv.cross_validate(rv.Popularity(), splits)
    apart = [rv.evaluate(rv.Popularity().fit(s.train), s) for s in splits]
    assert pooled.n_folds == 4
    assert pooled.counts["n_users_evaluated"] == pooled.counts["n_unseen_users"] == sample.n_users
    assert np.array_equal(np.concatenate([r.users for r in apart]), pooled.users)
    for name in ("recall@10", "auc"):
        assert pooled.metrics[name] == pytest.approx(np.concatenate([r.per_user[name] for r in apart]).mean())
    assert pooled.metrics["coverage@10"] >= max(r.metrics["coverage@10"] for r in apart)


def test_intervals_of_new_items_know_that_items_were_drawn_too(sample: rv.Dataset) -> None:
    splits = rv.folds(sample, "new-items", 5)

    def by_row(users: np.ndarray) -> np.ndarray:
        return np.tile(-np.arange(sample.n_items, dtype=np.float32), (len(users), 1))

    one = rv.evaluate(by_row, splits[0])
    low, high = one.intervals["recall@10"]
    users_only = one.per_user["recall@10"]
    assert low < one.metrics["recall@10"] < high
    assert high - low > 3 * 3.92 * users_only.std() / np.sqrt(len(users_only)) / 2  # far wider than with users alone


def test_seeds_are_averaged_and_their_noise_is_in_the_interval(sample_split: rv.Split) -> None:
    several = rv.cross_validate(rv.Random(), [sample_split], seeds=(3, 4, 5))
    each = [rv.evaluate(rv.Random().fit(sample_split.train, rng=s), sample_split) for s in (3, 4, 5)]
    assert several.n_seeds == 3
    assert several.by_seed["auc"] == pytest.approx([r.metrics["auc"] for r in each])
    assert several.metrics["auc"] == pytest.approx(np.mean([r.metrics["auc"] for r in each]))
    assert several.metrics["coverage@10"] == pytest.approx(np.mean([r.metrics["coverage@10"] for r in each]))
    assert several.title.endswith("1,000 users, 3 seeds")


def test_a_model_answers_for_people_and_items_newer_than_itself() -> None:
    data = dataset([(1, "a"), (2, "a"), (3, "a"), (1, "b"), (2, "b"), (3, "c")])
    model = rv.Popularity().fit(data)
    test = pl.DataFrame({"user_id": [1, 9, 9, 3], "item_id": ["c", "a", "new", "new"]})
    split = rv.split(data, test=test)
    assert (split.n_known, split.train.n_users, split.train.n_items) == ((3, 3), 4, 4)
    result = rv.evaluate(model, split, k=1)
    # 1: c is all that is left, found; 3: the list is b, the new item is not there; 9: a is found, one of two
    assert result.per_user["recall@1"].tolist() == [1.0, 0.0, 0.5]
    assert (result.counts["n_unseen_users"], result.counts["n_unseen_items"], result.counts["n_distinct_unseen_items"]) == (1, 2, 1)
    # the new item ranks last: below b for 3; for 9, a is above b and c, the new item below both
    assert result.per_user["auc"].tolist() == [1.0, 0.0, 0.5]


def test_predictions_for_unknown_sides_are_the_mean_rating() -> None:
    data = dataset([(1, "a"), (2, "a"), (1, "b"), (2, "b")], rating=[1.0, 2.0, 4.0, 5.0])
    model = rv.SVD(task="rating", embedding_dim=1).fit(data)
    split = rv.split(data, test=pl.DataFrame({"user_id": [8, 8], "item_id": ["a", "new"], "rating": [3.0, 5.0]}))
    assert rv.evaluate(model, split).metrics["mae"] == pytest.approx(1.0)  # 3 is predicted twice


def test_auc_novelty_and_lift_by_hand() -> None:
    data = dataset([(1, "a"), (2, "a"), (3, "a"), (4, "a"), (2, "b"), (3, "b"), (1, "d"), (4, "c")])
    split = rv.split(data, test=pl.DataFrame({"user_id": [1, 4], "item_id": ["b", "d"]}))
    result = rv.evaluate(rv.Popularity().fit(split.train), split, k=1)
    # counts a 4, b 2, c 1, d 1. User 1 (a, d): b before c, found, auc 1. User 4 (a, c): b before d, auc 0
    assert result.per_user["auc"].tolist() == [1.0, 0.0]
    assert result.metrics["novelty@1"] == pytest.approx(-np.log2(2 / 4))
    assert result.metrics["popularity_lift@1"] == pytest.approx(2 / 2.5)
    assert result.metrics["coverage@1"] == 1 / 4
    assert result.metrics["gini@1"] == pytest.approx(3 / 4)
    assert np.isnan(result.intervals["coverage@1"][0])
    assert result.frame().filter(metric="coverage@1")["low"].to_list() == [None]


def test_a_tied_score_is_half_right_among_negatives() -> None:
    data = dataset([(1, "a"), (2, "a"), (1, "b"), (2, "c")])
    negatives = pl.DataFrame({"user_id": [2, 2], "negative_item_id": ["c", "d"]})
    split = rv.split(data, test=pl.DataFrame({"user_id": [2], "item_id": ["b"]}), negatives=negatives)
    result = rv.evaluate(rv.Popularity().fit(split.train), split, k=2)
    assert result.metrics["auc"] == 0.75  # b ties with c and is before d
    assert "coverage@2" not in result.metrics  # no lists are made


def test_parts_of_people_and_items(sample: rv.Dataset) -> None:
    split = rv.split(sample)
    result = rv.evaluate(rv.Popularity().fit(split.train), split, k=(5, 10))
    parts = result.slices
    assert parts.columns == ["slice", "group", "n", "recall@10", "ndcg@10"]
    for name in ("history length", "occupation"):
        mine = parts.filter(slice=name)
        assert mine["n"].sum() == 1000
        assert (mine["n"] * mine["ndcg@10"]).sum() / 1000 == pytest.approx(result.metrics["ndcg@10"])
    items = parts.filter(slice="item popularity")
    assert items["n"].sum() == len(split.relevant.items)
    assert (items["n"] * items["recall@10"]).sum() / items["n"].sum() == pytest.approx(result.metrics["recall@10"])  # one item a user
    counts = split.train.item_counts[split.test.items]
    assert items.filter(group="6 to 20")["n"].to_list() == [int(((counts > 5) & (counts <= 20)).sum())]
    lengths = split.train.histories().lengths
    assert parts.filter(slice="history length", group="1 to 5")["n"].to_list() == [int((lengths <= 5).sum())]


def test_numbers_are_shown_by_value_or_by_quarters() -> None:
    rows = [(u, i) for u in range(40) for i in ("x", f"i{u % 7}")]
    users = pl.DataFrame({"user_id": range(40), "age": [float(u) if u else None for u in range(40)], "level": [u % 3 for u in range(40)]})
    split = rv.split(rv.read(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"), users=users))
    parts = rv.evaluate(rv.Popularity().fit(split.train), split).slices
    assert parts.filter(slice="level")["group"].to_list() == ["0", "1", "2"]
    assert parts.filter(slice="age")["group"].to_list() == [
        "up to 10.5",
        "above 10.5, up to 20",
        "above 20, up to 29.5",
        "above 29.5",
        "unknown",
    ]
    assert parts.filter(slice="age")["n"].to_list() == [10, 10, 9, 10, 1]


# ---------------------------------------------------------------- clicks


def clicks() -> rv.Split:
    rng = np.random.default_rng(0)
    rows = [(u, i) for u in range(30) for i in range(8)]
    train = dataset(rows, label=(rng.random(240) < 0.5).astype(float).tolist())
    return rv.split(train, test=pl.DataFrame({"user_id": [0, 0, 1, 2], "item_id": [1, 2, 3, 4], "label": [1, 0, 1, 0]}))


def test_clicks_by_hand() -> None:
    split = clicks()
    of_items = np.array([0.5, 0.8, 0.4, 0.4, 0.1, 0.5, 0.5, 0.5], np.float32)
    result = rv.evaluate(lambda users: np.tile(of_items, (len(users), 1)), split, task="click")
    # positives .8 and .4 against .4 and .1: three and a half of four
    assert result.metrics["auc"] == pytest.approx(3.5 / 4)
    assert result.metrics["logloss"] == pytest.approx(-np.mean(np.log([0.8, 0.6, 0.4, 0.9])))
    assert result.headline == "auc"
    assert result.slices["n"].sum() == 3 + 4
    low, high = result.intervals["logloss"]
    assert low < result.metrics["logloss"] < high


def test_clicks_need_probabilities_and_both_labels() -> None:
    split = clicks()
    with pytest.raises(InputError, match="predicts 1 to 4; allowed: probabilities"):
        rv.evaluate(lambda users: np.tile(np.arange(8, dtype=np.float32), (len(users), 1)), split, task="click")
    one_kind = rv.split(split.train, test=pl.DataFrame({"user_id": [0], "item_id": [1], "label": [1]}))
    with pytest.raises(InputError, match="no column 'label' with both 1 and 0"):
        rv.evaluate(lambda users: np.zeros((len(users), 8)), one_kind, task="click")


# ---------------------------------------------------------------- placebo and differences


@dataclass(frozen=True, kw_only=True)
class ByOccupation(Method):
    """Popularity within an occupation: a method that lives on attributes alone."""

    name: ClassVar[str] = "by-occupation"
    family: ClassVar[str] = "test"
    gives: ClassVar[str] = "counts"
    needs: ClassVar[frozenset[str]] = frozenset({"user attributes"})

    column: str = param("occupation", "attribute")

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        groups = dataset.user_features.frame[self.column].cast(pl.Categorical).to_physical().to_numpy()
        one_hot = np.eye(groups.max() + 1, dtype=np.float32)[groups]
        counts = dataset.matrix().T @ one_hot
        fold_in = LinearFoldIn(self.name, counts, "unit")
        return DotModel(method=self, user_vectors=one_hot, item_vectors=counts, fold_in=fold_in)

    def restore(self, state: State) -> DotModel:
        raise NotImplementedError

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        return Cost(operations=1, bytes_moved=1, memory=1)


def with_taste_by_occupation() -> rv.Dataset:
    rng = np.random.default_rng(0)
    jobs = rng.integers(0, 4, 200)
    rows = [(u, int(i)) for u in range(200) for i in rng.choice(20, 6, replace=False) + 20 * jobs[u]]
    users = pl.DataFrame({"user_id": range(200), "occupation": [f"job {j}" for j in jobs]})
    return rv.read(pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"), users=users)


def test_a_placebo_shows_that_attributes_help() -> None:
    splits = rv.folds(with_taste_by_occupation(), "new-users", 4)
    result = rv.cross_validate(ByOccupation(), splits)
    found = rv.placebo(ByOccupation(), splits, result)
    assert found.metric == "ndcg@10"
    assert found.value == result.metrics["ndcg@10"] > 2 * max(found.shuffled)
    assert len(found.shuffled) == 20
    assert found.p_value == pytest.approx(1 / 21)
    assert str(found).endswith("p = 0.048")


def test_a_placebo_of_noise_is_not_beaten() -> None:
    data = with_taste_by_occupation()
    jobs = data.user_features.frame["occupation"].shuffle(seed=7)
    rows = pl.DataFrame({"user_id": data.users.ids[data.interactions.users], "item_id": data.items.ids[data.interactions.items]})
    noise = rv.read(rows, users=pl.DataFrame({"user_id": data.users.ids, "occupation": jobs}))
    splits = rv.folds(noise, "new-users", 4)
    assert rv.placebo(ByOccupation(), splits, rv.cross_validate(ByOccupation(), splits)).p_value > 0.1


def test_a_placebo_of_a_method_that_reads_no_attributes_says_so(sample_split: rv.Split) -> None:
    fits = []

    def fit(data: Dataset, seed: int) -> DotModel:
        fits.append(seed)
        return rv.Popularity().fit(data)

    result = rv.cross_validate(rv.Popularity(), [sample_split])
    found = rv.placebo(rv.Popularity(), [sample_split], result, fit=fit)
    assert found.p_value == 1.0
    assert "the method does not use them" in str(found)
    assert len(fits) == 1
    bare = rv.split(dataset([(1, "a"), (1, "b"), (2, "a"), (2, "b")]))
    with pytest.raises(InputError, match="the data have none; give --users or --items"):
        rv.placebo(rv.Popularity(), [bare], rv.cross_validate(rv.Popularity(), [bare]))


def test_a_placebo_never_deals_between_people_of_training_and_test() -> None:
    split = rv.folds(with_taste_by_occupation(), "new-users", 4)[0]
    seen: list[Dataset] = []

    def fit(data: Dataset, seed: int) -> DotModel:
        seen.append(data)
        return ByOccupation().fit(data)

    rv.placebo(ByOccupation(), [split], rv.cross_validate(ByOccupation(), [split]), n_shuffles=2, fit=fit)
    trained = split.train.user_counts > 0
    for data in seen:
        for group in (trained, ~trained):
            mine, theirs = (d.user_features.frame["occupation"].filter(pl.Series(group)) for d in (split.train, data))
            assert mine.sort().equals(theirs.sort())
            assert not mine.equals(theirs)


def test_differences_are_paired_by_user(sample_split: rv.Split) -> None:
    models = {"popularity": rv.Popularity(), "als": rv.ALS(embedding_dim=16), "random": rv.Random()}
    results = {name: rv.evaluate(m.fit(sample_split.train), sample_split) for name, m in models.items()}
    table = rv.differences(results)
    assert table["method"].to_list() == ["als", "random"]
    assert table["reference"].unique().to_list() == ["popularity"]
    expected = results["als"].metrics["ndcg@10"] - results["popularity"].metrics["ndcg@10"]
    assert table["difference"][0] == pytest.approx(expected)
    assert (table["p_holm"] >= table["p"]).all()
    assert table["not_below"].to_list() == [True, False]
    assert table["low"][0] < expected < table["high"][0]
    same = rv.differences({"a": results["als"], "b": results["als"]})
    assert (same["difference"][0], same["p"][0], same["not_below"][0]) == (0.0, 1.0, True)


def test_smaller_errors_are_better() -> None:
    truth = {"user_id": [1, 2, 3, 4], "item_id": ["a"] * 4, "rating": [1.0, 2.0, 4.0, 5.0]}
    split = rv.split(dataset([(u, i) for u in (1, 2, 3, 4) for i in "ab"], rating=[1.0, 5.0] * 4), test=pl.DataFrame(truth))
    near, far = (
        rv.evaluate(
            lambda users, off=off: np.array([[1.0 + off, 0], [2 + off, 0], [4 - off, 0], [5 - off, 0]])[users], split, task="rating"
        )
        for off in (0.1, 0.5)
    )
    table = rv.differences({"far": far, "near": near}, metric="mae")
    assert table["difference"][0] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: rv.differences({"a": r}), "needs two results or more, not 1"),
        (lambda r: rv.differences({"a": r, "b": r}, reference="c"), "the reference is 'c'; allowed: a, b"),
        (lambda r: rv.differences({"a": r, "b": r}, metric="coverage@10"), "'coverage@10' has no values of single users"),
    ],
)
def test_what_cannot_be_compared_is_refused(sample_split: rv.Split, call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(rv.evaluate(rv.Popularity().fit(sample_split.train), sample_split))
    other = rv.split(rv.sample(n_users=300))
    pair = [rv.evaluate(rv.Popularity().fit(s.train), s) for s in (sample_split, other)]
    with pytest.raises(InputError, match="'b' was measured on other users"):
        rv.differences(dict(zip("ab", pair, strict=True)))


def test_every_metric_is_reported_for_every_length(sample_split: rv.Split) -> None:
    result = rv.evaluate(rv.Popularity().fit(sample_split.train), sample_split, k=(3, 7))
    names = [*RANKING, "novelty", "popularity_lift", "coverage", "gini"]
    assert set(result.metrics) == {f"{name}@{k}" for name in names for k in (3, 7)} | {"auc"}
    content = result.json()
    assert set(content["metrics"]) == set(content["intervals"]) == set(content["by_seed"]) == set(result.metrics)
    assert content["intervals"]["gini@7"] == [None, None]


# ---------------------------------------------------------------- diversity


def test_the_cost_of_diversity_is_measured_beside_the_plain_lists(sample_split: rv.Split) -> None:
    model = rv.ALS(embedding_dim=16).fit(sample_split.train)
    plain, result = rv.evaluate(model, sample_split, k=(5, 10)), rv.evaluate(model, sample_split, k=(5, 10), diversity=0.8)
    assert {name: result.metrics[name] for name in plain.metrics} == dict(plain.metrics)
    for k in (5, 10):
        assert result.metrics[f"ndcg_diverse@{k}"] < plain.metrics[f"ndcg@{k}"]
        assert result.metrics[f"similarity_diverse@{k}"] < result.metrics[f"similarity@{k}"] - 0.1
    who = rv.Recommender(model, sample_split.train)
    lists = who.recommend(sample_split.train.users.ids, 10, diversity=0.8)
    asked = pl.DataFrame(
        {"user_id": sample_split.train.users.ids[sample_split.test.users], "item_id": sample_split.train.items.ids[sample_split.test.items]}
    )
    assert asked.join(lists, on=["user_id", "item_id"]).height / asked.height == pytest.approx(result.metrics["recall_diverse@10"])


def test_diversity_that_cannot_be_measured_is_refused(sample_split: rv.Split, sample: rv.Dataset) -> None:
    model = rv.SVD(embedding_dim=4).fit(sample_split.train)
    with pytest.raises(ValueRangeError, match=r"diversity is 1\.5; allowed: a number from 0"):
        rv.evaluate(model, sample_split, diversity=1.5)
    with pytest.raises(InputError, match="a function has none; leave diversity out"):
        rv.evaluate(lambda users: np.zeros((len(users), sample_split.train.n_items)), sample_split, diversity=0.5)
    sampled = rv.split(sample, negatives=pl.DataFrame({"user_id": ["u1"], "negative_item_id": ["i1"]}))
    with pytest.raises(InputError, match="among given negatives no lists are made"):
        rv.evaluate(model, sampled, diversity=0.5)
    rated = rv.split(sample, "random")
    with pytest.raises(InputError, match="re-ranks lists, and the task is rating"):
        rv.evaluate(rv.SVD(embedding_dim=4, task="rating").fit(rated.train), rated, diversity=0.5)
