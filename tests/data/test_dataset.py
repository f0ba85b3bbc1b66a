"""Merging, histories, splits and the sample, against plain Python."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recvec as rv
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.synthetic import sample_tables
from recvec.errors import ColumnError, InputError, ValueRangeError


def table(rows: list[tuple[int, int, float, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")


ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5), st.sampled_from([1.0, 2.0, 3.0]), st.one_of(st.none(), st.integers(0, 3))),
    min_size=1,
    max_size=40,
)


@given(ROWS)
def test_matrices_merge_as_plain_python_does(rows: list[tuple[int, int, float, float | None]]) -> None:
    data = rv.read(table(rows))
    counts: dict[tuple[int, int], float] = {}
    last: dict[tuple[int, int], float] = {}
    for u, i, rating, _ in sorted(rows, key=lambda r: -1 if r[3] is None else r[3]):
        counts[u, i] = counts.get((u, i), 0) + 1
        last[u, i] = rating
    for value, expected in (("weight", counts), ("rating", last)):
        found = data.matrix(value).tocoo()
        ids = zip(data.users.ids[found.coords[0]], data.items.ids[found.coords[1]], strict=True)
        assert dict(zip(ids, found.data.tolist(), strict=True)) == expected


@given(ROWS)
def test_histories_keep_the_order_of_events(rows: list[tuple[int, int, float, float | None]]) -> None:
    data = rv.read(table(rows))
    histories = data.histories()
    if histories.order is None:
        assert all(r[3] is None for r in rows)
        return
    for u in range(data.n_users):
        mine = slice(histories.indptr[u], histories.indptr[u + 1])
        items = data.items.ids[histories.items[mine]].to_list()
        order = histories.order[mine]
        by_time = [i for i, _ in sorted(zip(items, order, strict=True), key=lambda p: p[1])]
        wanted: list[int] = []
        for _, i, _, _ in sorted((r for r in rows if r[0] == data.users.ids[u]), key=lambda r: -1 if r[3] is None else r[3]):
            wanted = [w for w in wanted if w != i] + [i]
        assert by_time == wanted


def test_weights_add_up_and_labels_choose() -> None:
    data = rv.read(pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 1, 1, 2], "weight": [2.0, 3.0, 1.0, 0.5]}))
    assert data.matrix().toarray().tolist() == [[5.0, 0.0], [1.0, 0.5]]
    shown = rv.read(pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 2], "label": [1, 0, -1, 1]}))
    assert shown.matrix().toarray().tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert shown.item_counts.tolist() == [1, 1]
    with pytest.raises(ColumnError, match="no column 'rating'"):
        shown.matrix("rating")


def test_fingerprints_tell_data_apart(sample: Dataset) -> None:
    rows = sample.interactions
    assert sample.fingerprint == rv.sample(seed=0).fingerprint
    assert sample.fingerprint != sample.with_interactions(rows.take(np.arange(len(rows)) > 0)).fingerprint
    assert sample.fingerprint != rv.sample(seed=1).fingerprint


def test_histories_round_trip_through_a_dataset(sample: Dataset) -> None:
    histories = sample.histories("rating")
    again = Dataset.from_histories(histories, users=sample.users, items=sample.items, value="rating").histories("rating")
    for name in ("indptr", "items", "weights", "times", "order"):
        assert np.array_equal(getattr(histories, name), getattr(again, name)), name


def test_taking_histories() -> None:
    histories = Histories.from_lists([[3, 1], [], [2, 2]], 4, [[1.0, 2.0], [], [1.0, 1.0]])
    assert histories.items.tolist() == [1, 3, 2]
    assert histories.weights.tolist() == [2.0, 1.0, 2.0]
    taken = histories.take(np.array([2, 0, 1, 2]))
    assert taken.indptr.tolist() == [0, 1, 3, 3, 4]
    assert taken.items.tolist() == [2, 1, 3, 2]
    with pytest.raises(ValueRangeError, match="item row 9; allowed: 0 to 3"):
        Histories.from_lists([[9]], 4)
    with pytest.raises(ValueRangeError, match="not a finite number"):
        Histories.from_lists([[1]], 4, [[float("nan")]])


# ---------------------------------------------------------------- splits


@given(ROWS)
def test_leave_last_out_takes_the_latest_row(rows: list[tuple[int, int, float, float | None]]) -> None:
    users = {u for u, *_ in rows}
    expected = {}
    for u in users:
        mine = [(-1 if r[3] is None else r[3], n) for n, r in enumerate(rows) if r[0] == u]
        if len(mine) > 1:
            expected[u] = max(mine)[1]
    data = rv.read(table(rows))
    if not expected:
        with pytest.raises(InputError, match="left no test row"):
            rv.split(data)
        return
    split = rv.split(data)
    found = sorted(zip(split.test.users.tolist(), split.test.items.tolist(), split.test.rating.tolist(), strict=True))
    wanted = sorted((int(data.users.rows([u])[0]), int(data.items.rows([rows[n][1]])[0]), rows[n][2]) for u, n in expected.items())
    assert found == wanted
    assert len(split.train.interactions) + len(split.test) == len(rows)


def test_random_split_is_the_documented_permutation(sample: Dataset) -> None:
    split = rv.split(sample, "random", seed=3, test_share=0.25)
    n = len(sample.interactions)
    held_out = np.sort(np.random.default_rng(3).permutation(n)[: n // 4])
    assert np.array_equal(split.test.items, sample.interactions.items[held_out])


def test_given_parts_join_the_vocabulary_and_old_rows_stay() -> None:
    data = rv.read(pl.DataFrame({"user_id": [1, 2, 2], "item_id": [10, 20, 10]}), items=pl.DataFrame({"item_id": [10], "title": ["ten"]}))
    test = pl.DataFrame({"user_id": [2, 3], "item_id": [5, 20]})
    negatives = pl.DataFrame({"user_id": [2, 2, 3], "negative_item_id": [10, 99, 10]})
    split = rv.split(data, test=test, negatives=negatives)
    assert split.train.users.ids.to_list() == [1, 2, 3]
    assert split.train.items.ids.to_list() == [10, 20, 5, 99]
    assert split.train.item_features.frame["title"].to_list() == ["ten", None, None, None]
    assert (split.n_unseen_users, split.n_unseen_items) == (1, 1)
    assert split.negatives.indptr.tolist() == [0, 0, 2, 3]


def test_ids_of_another_type_make_all_ids_text() -> None:
    data = rv.read(pl.DataFrame({"user_id": [1, 2, 2], "item_id": [10, 20, 10]}))
    split = rv.split(data, test=pl.DataFrame({"user_id": ["2", "new"], "item_id": ["20", "x"]}))
    assert split.train.users.ids.to_list() == ["1", "2", "new"]
    assert split.test.users.tolist() == [1, 2]


def test_repeated_pairs_are_left_out_and_counted() -> None:
    data = rv.read(pl.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 1]}))
    split = rv.split(data, test=pl.DataFrame({"user_id": [1, 2, 2], "item_id": [1, 2, 2]}))
    assert split.n_repeated == 1
    assert split.relevant.items.tolist() == [1]
    assert split.relevant.indptr.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: rv.split(d, "leave-one-in"), "no protocol 'leave-one-in'; allowed: random, leave-last-out"),
        (lambda d: rv.split(d, "random", test_share=1.0), "test share is 1.0; allowed: more than 0 and less than 1"),
        (lambda d: rv.split(d, "random", test_share=1e-9), "left no test row"),
    ],
)
def test_bad_splits(sample: Dataset, call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(sample)


# ---------------------------------------------------------------- sample


def test_the_sample_has_the_structure_it_promises(sample: Dataset) -> None:
    counts = np.sort(sample.item_counts)[::-1]
    assert counts[:60].sum() > 0.3 * counts.sum()  # a tenth of the items has more than three times its share
    assert sample.has == {"interactions", "ratings", "user attributes", "item attributes", "text"}
    assert sample.user_features.types == {"age_group": "category", "gender": "category", "occupation": "category"}
    assert sample.item_features.types == {"title": "text", "genres": "list", "plot": "text"}
    assert sample.item_features.frame["title"].n_unique() == sample.n_items


def test_attributes_of_the_sample_matter(sample: Dataset) -> None:
    """Occupations differ in the genres they meet by more than chance: a chi-square far above its degrees of freedom."""
    genres = sample.item_features.frame["genres"].list.first().to_numpy()[sample.interactions.items]
    jobs = sample.user_features.frame["occupation"].to_numpy()[sample.interactions.users]
    _, g = np.unique(genres, return_inverse=True)
    _, j = np.unique(jobs, return_inverse=True)
    seen = np.zeros((j.max() + 1, g.max() + 1))
    np.add.at(seen, (j, g), 1)
    expected = seen.sum(1, keepdims=True) * seen.sum(0) / seen.sum()
    assert ((seen - expected) ** 2 / expected).sum() > 20 * (seen.shape[0] - 1) * (seen.shape[1] - 1)


@settings(max_examples=5)
@given(st.integers(10, 40), st.integers(10, 40), st.integers(0, 5))
def test_samples_of_any_size(n_users: int, n_items: int, seed: int) -> None:
    interactions, users, items = sample_tables(n_users=n_users, n_items=n_items, mean_history=5, seed=seed)
    assert (len(users), len(items)) == (n_users, n_items)
    assert interactions.select("user_id", "item_id").is_unique().all()
    assert interactions["rating"].is_between(1, 5).all()


def test_a_sample_too_small() -> None:
    with pytest.raises(ValueRangeError, match="a sample of 3 users and 600 items is too small"):
        rv.sample(n_users=3)
