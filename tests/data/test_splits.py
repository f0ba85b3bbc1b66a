"""Every protocol: who goes where, by hand and as properties of any table."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import recvec as rv
from recvec.data.protocols import ALL_FOLDS, FOLDED, PROTOCOLS
from recvec.errors import ColumnError, InputError, RecvecError, ValueRangeError


def table(**columns: list[object]) -> rv.Dataset:
    return rv.read(pl.DataFrame(columns))


def pairs(data: rv.Dataset, rows: object) -> list[tuple[object, object]]:
    return list(zip(data.users.ids[rows.users].to_list(), data.items.ids[rows.items].to_list(), strict=True))


def test_time_takes_the_last_rows_of_the_whole_table() -> None:
    data = table(user_id=[1, 2, 1, 3, 2], item_id=list("abcde"), timestamp=[5, 1, 5, 9, 2])
    split = rv.split(data, "time", test_share=0.4)
    assert pairs(data, split.test) == [(1, "c"), (3, "d")]  # of the two equal times the later row of the file
    assert split.n_unseen_users == 1
    assert len(split.train.interactions) == 3


def test_time_refuses_rows_without_a_time() -> None:
    data = table(user_id=[1, 2, 1], item_id=list("abc"), timestamp=[5, None, None])
    with pytest.raises(InputError, match="needs a time in every row; 2 of 3 rows have none; use --drop-undated"):
        rv.split(data, "time")
    with pytest.raises(ColumnError, match="protocol time needs a column 'timestamp'"):
        rv.split(table(user_id=[1, 2], item_id=list("ab")), "time")


def test_new_users_ask_about_everybody_once_with_all_their_rows(sample: rv.Dataset) -> None:
    splits = rv.folds(sample, "new-users", 5, seed=3)
    asked = [np.unique(s.test.users) for s in splits]
    assert sorted(np.concatenate(asked).tolist()) == list(range(sample.n_users))
    for split, users in zip(splits, asked, strict=True):
        assert not np.isin(split.train.interactions.users, users).any()
        assert split.n_unseen_users == len(users) == 200
        assert split.candidates is None
    first = rv.split(sample, "new-users", seed=3)
    assert np.array_equal(first.test.users, splits[0].test.users)


def test_new_items_compete_among_themselves(sample: rv.Dataset) -> None:
    splits = rv.folds(sample, "new-items", 4)
    for split in splits:
        assert split.candidates is not None
        assert np.array_equal(split.candidates, np.unique(split.test.items))
        assert not np.isin(split.train.interactions.items, split.candidates).any()
    assert sum(len(s.test) for s in splits) == len(sample.interactions)


def test_strong_folds_in_four_fifths_of_each_held_out_user(sample: rv.Dataset) -> None:
    split = rv.split(sample, "strong")
    assert split.folded is not None
    held_out = np.unique(split.folded.users)
    assert len(held_out) == 200
    assert not np.isin(split.train.interactions.users, held_out).any()
    shown, asked = (np.bincount(r.users, minlength=sample.n_users) for r in (split.folded, split.test))
    assert np.array_equal(shown[held_out], (shown + asked)[held_out] * 4 // 5)
    known = split.histories()
    assert np.array_equal(known.lengths[held_out], shown[held_out])
    assert len(known.items) == len(split.train.interactions) + len(split.folded)


def test_a_user_with_one_row_shows_it() -> None:
    data = table(user_id=[1, 1, 2, 3, 3, 3], item_id=list("abcabc"))
    asked = [pairs(data, s.test) for s in rv.folds(data, "strong", 2, seed=1)]
    assert sorted(user for part in asked for user, _ in part) == [1, 3]


def test_folds_of_rows_are_the_parts_of_one_permutation(sample: rv.Dataset) -> None:
    splits = rv.folds(sample, "random", 4, seed=5)
    order = np.random.default_rng(5).permutation(len(sample.interactions))
    for split, part in zip(splits, np.array_split(order, 4), strict=True):
        assert np.array_equal(split.test.items, sample.interactions.items[np.sort(part)])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: rv.split(d, "tomorrow"), InputError, "no protocol 'tomorrow'; allowed: random, leave-last-out, time, strong"),
        (lambda d: rv.folds(d, "leave-last-out"), InputError, "leave-last-out cannot be cut into folds; allowed: random, strong"),
        (lambda d: rv.folds(d, "time", 3), InputError, "time cannot be cut into folds"),
        (lambda d: rv.folds(d, "random", 1), ValueRangeError, "number of folds is 1; allowed: 2 or more"),
        (lambda d: rv.folds(d, "random", -3), ValueRangeError, "number of folds is -3"),
        (lambda d: rv.folds(d, "new-users", 4), ValueRangeError, "number of folds is 4, but there are 3 users; allowed: 2 to 3"),
        (lambda d: rv.split(d, "new-users"), ValueRangeError, "number of folds is 5, but there are 3 users"),
        (lambda d: rv.split(d, "time", test_share=1.0), ValueRangeError, "test share is 1.0"),
        (lambda d: rv.split(d, "time", test_share=0.1), InputError, "protocol time left no test row"),
        (
            lambda d: rv.folds(d, "new-items", 2, negatives=pl.DataFrame({"user_id": [1], "negative_item_id": ["a"]})),
            InputError,
            "new-items ranks among the held-out items, so it takes no negatives",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused(call: object, error: type[Exception], message: str) -> None:
    data = table(user_id=[1, 2, 1, 3], item_id=list("abca"), timestamp=[1, 2, 3, 4])
    with pytest.raises(error, match=message):
        call(data)


tables = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60)


@given(rows=tables, protocol=st.sampled_from(sorted(PROTOCOLS)), seed=st.integers(0, 3))
def test_no_row_is_lost_and_none_is_in_two_places(rows: list[tuple[int, int]], protocol: str, seed: int) -> None:
    data = table(user_id=[u for u, _ in rows], item_id=[i for _, i in rows], timestamp=[float(n // 2) for n in range(len(rows))])
    try:
        split = rv.split(data, protocol, seed=seed, test_share=0.3)
    except RecvecError:  # too few rows, users or items
        assume(False)
    parts = [split.train.interactions, split.test, *([split.folded] if split.folded is not None else [])]
    found = np.concatenate([p.timestamp * 2 * 100 + p.users * 10 + p.items for p in parts])
    whole = data.interactions
    assert sorted(found) == sorted(whole.timestamp * 2 * 100 + whole.users * 10 + whole.items)
    again = rv.split(data, protocol, seed=seed, test_share=0.3)
    assert np.array_equal(again.test.items, split.test.items)
    known = split.histories().matrix()
    assert split.relevant.matrix().multiply(known != 0).nnz == 0
    assert len(split.relevant.items) + split.n_repeated == len({(u, i) for u, i in pairs(data, split.test)})


@given(rows=tables, protocol=st.sampled_from(FOLDED), n_folds=st.integers(2, 5))
def test_folds_ask_about_every_row_or_user_once(rows: list[tuple[int, int]], protocol: str, n_folds: int) -> None:
    data = table(user_id=[u for u, _ in rows], item_id=[i for _, i in rows])
    try:
        splits = rv.folds(data, protocol, n_folds)
    except RecvecError:
        assume(False)
    assert len(splits) == n_folds
    asked = sum(len(s.test) + (0 if s.folded is None else len(s.folded)) for s in splits)
    assert asked == len(rows)
    assert set(ALL_FOLDS) < set(FOLDED)
