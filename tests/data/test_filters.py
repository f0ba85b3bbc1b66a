"""The core of a table against plain Python, and what was left out against what is there."""

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recvec as rv
from recvec.errors import ColumnError, ValueRangeError

Row = tuple[int, int, int]
SKEWED = st.integers(0, 99).map(lambda n: int(n**3 / 99**2 / 4))  # many small numbers, few large ones
ROWS = st.lists(st.tuples(SKEWED, SKEWED, st.sampled_from([0, 1, 1, 1])), min_size=1, max_size=200)
MINIMUM = st.none() | st.integers(1, 4)


def table(rows: list[Row], *, labels: bool) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "label"], orient="row")
    return frame if labels else frame.drop("label")


def core(rows: list[Row], min_users: int, min_items: int) -> list[Row]:
    """Rows of those who stay, by the slowest way: look at all, take out all that have too few, look again."""
    gone: tuple[set[int], set[int]] = (set(), set())
    while True:
        pairs = {(u, i) for u, i, label in rows if label and u not in gone[0] and i not in gone[1]}
        items, users = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        more = ({u for u, *_ in rows if items[u] < min_users} - gone[0], {i for _, i, _ in rows if users[i] < min_items} - gone[1])
        if not more[0] and not more[1]:
            return [r for r in rows if r[0] not in gone[0] and r[1] not in gone[1]]
        gone[0].update(more[0])
        gone[1].update(more[1])


def rows_of(data: rv.Dataset) -> list[Row]:
    found = data.interactions
    label = np.ones(len(found)) if found.label is None else found.label
    return list(zip(data.users.ids[found.users].to_list(), data.items.ids[found.items].to_list(), label.astype(int).tolist(), strict=True))


def read(frame: pl.DataFrame, **more: Any) -> rv.Dataset | None:
    """Read, or None where nothing is left."""
    try:
        return rv.read(frame, **more)
    except ValueRangeError as error:
        assert str(error).startswith("nothing is left of the table of interactions: ")  # noqa: PT017 - anything else is a failure
        return None


@given(rows=ROWS, labels=st.booleans(), per_user=MINIMUM, per_item=MINIMUM)
def test_the_core_is_what_plain_python_finds(rows: list[Row], labels: bool, per_user: int | None, per_item: int | None) -> None:
    rows = rows if labels else [(u, i, 1) for u, i, _ in rows]
    minimums = {"min_per_user": per_user, "min_per_item": per_item}
    data = read(table(rows, labels=labels), **minimums)
    expected = core(rows, per_user or 0, per_item or 0)
    if data is None:
        assert expected == []
        return
    assert rows_of(data) == expected
    assert data.users.ids.to_list() == sorted({u for u, *_ in expected})
    assert data.items.ids.to_list() == sorted({i for _, i, _ in expected})
    assert sum(n for reason, n in data.left_out.items() if reason.startswith("rows of ")) == len(rows) - len(expected)
    left = [n for reason, n in data.left_out.items() if reason.startswith("users ")]
    assert sum(left) == len({u for u, *_ in rows}) - data.n_users
    left = [n for reason, n in data.left_out.items() if reason.startswith("items ")]
    assert sum(left) == len({i for _, i, _ in rows}) - data.n_items
    assert all(data.left_out.values())  # a reason without a case is not said
    assert (np.diff(data.matrix().indptr) >= (per_user or 0)).all()
    assert (np.bincount(data.matrix().indices, minlength=data.n_items) >= (per_item or 0)).all()
    again = rv.read(table(rows_of(data), labels=labels), **minimums)
    assert again.fingerprint == data.fingerprint
    assert again.left_out == {}


@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_order_of_rows_changes_nothing(rows: list[Row], seed: int) -> None:
    frame = table(rows, labels=True)
    one, two = (read(f, min_per_user=2, min_per_item=2) for f in (frame, frame.sample(fraction=1.0, shuffle=True, seed=seed)))
    assert (one is None) == (two is None)
    if one is not None and two is not None:
        assert sorted(rows_of(one)) == sorted(rows_of(two))
        assert one.left_out == two.left_out


def test_a_long_chain_falls_link_by_link() -> None:
    n = 3000  # each person met two items in a row, so that only the ends have too little, then the new ends, ...
    chain = pl.DataFrame({"user_id": np.repeat(np.arange(n), 2), "item_id": np.repeat(np.arange(n + 1), 2)[1:-1]})
    ring = pl.DataFrame({"user_id": [-1, -1, -2, -2], "item_id": [-1, -2, -1, -2]})
    data = rv.read(pl.concat([chain, ring]), min_per_user=2, min_per_item=2)
    assert rows_of(data) == [(-1, -1, 1), (-1, -2, 1), (-2, -1, 1), (-2, -2, 1)]
    assert data.left_out == {
        "rows of users with fewer than 2 items": 2 * n,
        "users with fewer than 2 items": n,
        "items with fewer than 2 users": n + 1,
    }


def test_repeated_rows_count_once_and_stay() -> None:
    frame = pl.DataFrame({"user_id": [1, 1, 1, 2, 2], "item_id": [1, 1, 1, 1, 2]})
    data = rv.read(frame, min_per_user=2)
    assert rows_of(data) == [(2, 1, 1), (2, 2, 1)]
    assert data.left_out == {"rows of users with fewer than 2 items": 3, "users with fewer than 2 items": 1}
    data = rv.read(pl.DataFrame({"user_id": [1] * 300 + [1], "item_id": [1] * 300 + [2]}), min_per_user=2)
    assert len(data.interactions) == 301  # more repetitions than a small counter holds


def test_people_without_history_stay_and_those_with_too_little_go() -> None:
    frame = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": [1, 2, 1]})
    users = pl.DataFrame({"user_id": ["b", "new", "a", "b"], "age": [30, 40, 50, 31]})
    items = pl.DataFrame({"item_id": [9, 2], "title": ["nine", "two"]})
    data = rv.read(frame, users=users, items=items, min_per_user=2, types={"age": "number"})
    assert data.users.ids.to_list() == ["a", "new"]
    assert data.user_features.frame["age"].to_list() == [50, 40]
    assert data.items.ids.to_list() == [1, 2, 9]
    assert data.item_features.frame["title"].to_list() == [None, "two", "nine"]
    assert data.left_out == {"rows of users with fewer than 2 items": 1, "users with fewer than 2 items": 1}


def test_who_loses_all_partners_goes_too() -> None:
    data = rv.read(pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 1, 2]}), min_per_item=2)
    assert data.users.ids.to_list() == [1, 2]
    assert data.left_out == {
        "rows of items with fewer than 2 users": 1,
        "items with fewer than 2 users": 1,
        "users without a row left": 1,
    }


def test_ids_that_are_left_may_be_integers_again() -> None:
    data = rv.read(pl.DataFrame({"user_id": ["10", "10", "9", "9", "x"], "item_id": [1, 2, 1, 2, 1]}), min_per_user=2)
    assert data.users.ids.to_list() == [9, 10]
    assert rows_of(data) == [(10, 1, 1), (10, 2, 1), (9, 1, 1), (9, 2, 1)]


def test_labels_of_zero_do_not_count_and_stay_with_those_who_do() -> None:
    frame = pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 3], "item_id": [1, 2, 3, 1, 2, 3], "rating": [5, 5, 1, 5, 1, 1]})
    data = rv.read(frame, positive_from=4, min_per_user=2)
    assert rows_of(data) == [(1, 1, 1), (1, 2, 1), (1, 3, 0)]
    assert data.left_out == {
        "rows of users with fewer than 2 items": 3,
        "users with fewer than 2 items": 2,
        "rows with a rating below 4 (of rankings only)": 1,
    }


# ---------------------------------------------------------------- timestamps and ratings


@given(times=st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=30), per_user=MINIMUM)
def test_undated_rows_are_dropped_and_counted(times: list[int | None], per_user: int | None) -> None:
    users = [n % 5 for n in range(len(times))]
    frame = pl.DataFrame({"user_id": users, "item_id": range(len(times)), "timestamp": pl.Series(times, dtype=pl.Int64)})
    data = read(frame, drop_undated=True, min_per_user=per_user)
    dated = [(u, n, 1) for n, (u, t) in enumerate(zip(users, times, strict=True)) if t is not None]
    expected = core(dated, per_user or 0, 0)
    assert (data is None) == (not expected)
    if data is not None:
        assert rows_of(data) == expected
        assert np.isfinite(data.interactions.timestamp).all()
        assert data.left_out.get("rows without timestamp", 0) == len(times) - len(dated)
        assert sum(n for reason, n in data.left_out.items() if reason.startswith("rows ")) == len(times) - len(expected)


def test_a_person_whose_rows_are_all_undated_stays_where_attributes_name_them() -> None:
    frame = pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 1, 1], "timestamp": [5, None, None]})
    data = rv.read(frame, users=pl.DataFrame({"user_id": [2], "age": [30]}), drop_undated=True)
    assert data.users.ids.to_list() == [1, 2]
    assert data.left_out == {"rows without timestamp": 2}


@given(ratings=st.lists(st.sampled_from([0.5, 3.9, 4.0, 5.0]), min_size=1, max_size=20), least=st.sampled_from([0.5, 4, 4.0, 6]))
def test_positive_from_labels_and_drops_nothing(ratings: list[float], least: float) -> None:
    frame = pl.DataFrame({"user_id": range(len(ratings)), "item_id": [1] * len(ratings), "rating": ratings})
    data = rv.read(frame, positive_from=least)
    assert data.interactions.label.tolist() == [float(r >= least) for r in ratings]
    assert data.interactions.rating.tolist() == np.float32(ratings).tolist()
    below = sum(r < least for r in ratings)
    assert data.left_out == ({f"rows with a rating below {least:g} (of rankings only)": below} if below else {})
    assert data.matrix().sum() == len(ratings) - below
    assert data.matrix("rating").nnz == len(ratings)


def test_repr_says_what_was_left_out() -> None:
    frame = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 1], "timestamp": [1, 2, None]})
    assert repr(rv.read(frame)) == "Dataset(3 interactions, 2 users, 2 items)"
    assert repr(rv.read(frame, drop_undated=True)) == "Dataset(2 interactions, 1 users, 2 items; left out 1 rows without timestamp)"


FRAME = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "rating": [1, 2], "timestamp": [None, None]})
WHAT = "the table of interactions"


@pytest.mark.parametrize(
    ("frame", "more", "error", "message"),
    [
        (FRAME, {"min_per_user": 2}, ValueRangeError, f"nothing is left of {WHAT}: 2 rows of users with fewer than 2 items, 2 users with fewer than 2 items, 2 items without a row left are left out; allowed: at least one row; use smaller minimums"),
        (FRAME, {"drop_undated": True}, ValueRangeError, f"nothing is left of {WHAT}: 2 rows without timestamp are left out; allowed: at least one row; give timestamps, or leave drop_undated out"),
        (FRAME.drop("timestamp"), {"drop_undated": True}, ColumnError, f"{WHAT} has no column 'timestamp', so that every row is undated; leave drop_undated out"),
        (FRAME.drop("rating"), {"positive_from": 4}, ColumnError, f"{WHAT} has no column 'rating', which positive_from compares; leave positive_from out, or name the column"),
        (FRAME.with_columns(label=1), {"positive_from": 4}, ColumnError, f"{WHAT} has a column 'label', which positive_from would overrule; leave positive_from or the column out"),
        (FRAME, {"positive_from": float("nan")}, ValueRangeError, "positive_from is nan; allowed: a finite number, the lowest rating that counts as positive"),
        (FRAME, {"positive_from": "4"}, ValueRangeError, "positive_from is '4'; allowed: a finite number"),
        (FRAME, {"positive_from": True}, ValueRangeError, "positive_from is True; allowed: a finite number"),
        (FRAME, {"min_per_user": 0}, ValueRangeError, "min_per_user is 0; allowed: a whole number, 1 or more"),
        (FRAME, {"min_per_item": 2.0}, ValueRangeError, "min_per_item is 2.0; allowed: a whole number, 1 or more"),
        (FRAME, {"min_per_item": True}, ValueRangeError, "min_per_item is True; allowed: a whole number, 1 or more"),
    ],
)  # fmt: skip
def test_filters_that_cannot_work_are_refused(frame: pl.DataFrame, more: dict[str, Any], error: type[rv.InputError], message: str) -> None:
    with pytest.raises(error) as caught:
        rv.read(frame, **more)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
