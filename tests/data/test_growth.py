"""A grown dataset is the dataset of all rows: the same histories, old row numbers, attributes of new ids."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recvec as rv
from recvec.data.dataset import Dataset, Value
from recvec.data.growth import grow
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.errors import ColumnError, ReadError, ValueRangeError

rows = st.lists(
    st.tuples(
        st.integers(0, 7), st.integers(0, 6), st.integers(0, 4).map(float), st.one_of(st.none(), st.integers(0, 5).map(float))
    ),
    min_size=1, max_size=40,
)  # fmt: skip


def table(given: list[tuple[int, int, float, float | None]], column: str, *, dated: bool) -> pl.DataFrame:
    schema = {"user_id": pl.Int64, "item_id": pl.Int64, column: pl.Float64, "timestamp": pl.Float64}
    frame = pl.DataFrame(given, schema=schema, orient="row")
    return frame if dated else frame.drop("timestamp")


def plain(dataset: Dataset, histories: Histories) -> list[tuple[object, ...]]:
    """Histories by id: who, what, how much, when, in which turn."""
    people = np.repeat(np.arange(len(histories)), histories.lengths)
    columns = [dataset.users.ids[people].to_list(), dataset.items.ids[histories.items].to_list(), histories.weights.tolist()]
    if histories.times is not None:
        columns += [np.nan_to_num(histories.times, nan=-1).tolist(), histories.order.tolist()]
    return sorted(zip(*columns, strict=True))


@given(first=rows, second=rows, dated=st.booleans(), value=st.sampled_from(["weight", "rating"]))
def test_growing_equals_reading_it_all(first: list, second: list, dated: bool, value: Value) -> None:
    old, new = (table(part, value, dated=dated) for part in (first, second))
    before = rv.read(old)
    grown, added = grow(before, before.histories(value), value, new)
    whole = rv.read(pl.concat([old, new]))
    assert plain(grown, grown.histories(value)) == plain(whole, whole.histories(value))
    assert grown.users.ids[: before.n_users].equals(before.users.ids)
    assert grown.items.ids[: before.n_items].equals(before.items.ids)
    assert grown.items.ids[added.items].to_list() == new["item_id"].to_list()
    for n in range(len(grown.histories(value))):  # rows stay sorted and distinct
        assert (np.diff(grown.histories(value).take(np.array([n])).items) > 0).all()


def test_undated_rows_count_as_oldest_in_a_dated_history() -> None:
    before = rv.read(pl.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "timestamp": [5.0, 4.0]}))
    grown, _ = grow(before, before.histories(), "weight", pl.DataFrame({"user_id": [1, 1], "item_id": [3, 2]}))
    histories = grown.histories()
    assert histories.items.tolist() == [0, 1, 2]
    assert histories.weights.tolist() == [1, 2, 1]
    assert histories.order.tolist() == [2, 1, 0]
    dated = pl.DataFrame({"user_id": [2, 1], "item_id": [1, 3], "timestamp": [9.0, 9.0]})
    undated = rv.read(pl.DataFrame({"user_id": [1, 1], "item_id": [1, 2]}))
    grown, _ = grow(undated, undated.histories(), "weight", dated)
    assert grown.histories().order.tolist() == [0, 1, 2, 0]


def test_the_histories_are_not_counted_again() -> None:
    data = rv.sample(n_users=30, n_items=20)
    histories = data.histories()
    kept = Dataset.from_histories(histories, users=data.users, items=data.items)
    assert kept.histories() is histories
    assert np.shares_memory(kept.matrix().data, histories.weights)
    fewer = kept.with_interactions(kept.interactions.take(kept.interactions.users != 3))
    assert fewer.histories().lengths[3] == 0  # other rows are counted
    rows = kept.interactions
    moved = kept.with_interactions(Interactions(users=rows.users, items=rows.items[::-1].copy(), weight=rows.weight))
    assert moved.matrix().sum(axis=0).tolist() == kept.matrix().sum(axis=0).tolist()
    assert not np.array_equal(moved.histories().items, histories.items)
    longer = rv.split(kept, test=pl.DataFrame({"user_id": ["u1", "stranger"], "item_id": ["i1", "i2"]})).train
    assert len(longer.histories()) == 31
    with pytest.raises(ColumnError, match="the task is rating, but the interactions have no column 'rating'"):
        kept.histories("rating")


def test_rows_of_label_0_bring_ids_but_no_history() -> None:
    before = rv.read(pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2]}))
    grown, added = grow(before, before.histories(), "weight", pl.DataFrame({"user_id": [3], "item_id": [1], "label": [0]}))
    assert grown.users.ids.to_list() == [1, 2, 3]
    assert grown.histories().lengths.tolist() == [1, 1, 0]
    assert len(added) == 1


def test_ids_of_another_type_become_text() -> None:
    before = rv.read(pl.DataFrame({"user_id": [7, 8], "item_id": [1, 2]}))
    grown, _ = grow(before, before.histories(), "weight", pl.DataFrame({"user_id": ["x", "7"], "item_id": [1, 1]}))
    assert grown.users.ids.to_list() == ["7", "8", "x"]
    assert grown.histories().weights.tolist() == [2, 1, 1]


ITEMS = pl.DataFrame(
    {"item_id": ["a", "b"], "title": ["A", "B"], "year": [1990, 2000], "genres": ["x|y", "x|z"], "vector": [[1.0, 2.0], [3.0, 4.0]]}
)


def test_new_items_take_attributes_in_the_types_that_there_are() -> None:
    before = rv.read(pl.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"]}), items=ITEMS)
    more = pl.DataFrame({"item_id": ["a", "c", "d"], "title": ["other", "C", None], "genres": ["q", "x", "y|z"], "year": ["1", "2", "3"]})
    grown, _ = grow(before, before.histories(), "weight", pl.DataFrame({"user_id": ["u"], "item_id": ["c"]}), items=more)
    features = grown.item_features
    assert grown.items.ids.to_list() == ["a", "b", "c", "d"]
    assert features.types == before.item_features.types
    assert features.frame["title"].to_list() == ["A", "B", "C", None]
    assert features.frame["year"].to_list() == [1990, 2000, 2, 3]
    assert features.frame["genres"].to_list() == [["x", "y"], ["x", "z"], ["x"], ["y", "z"]]
    assert features.frame["vector"].to_list() == [[1, 2], [3, 4], None, None]
    assert features.frame.schema == before.item_features.frame.schema
    bare, _ = grow(before, before.histories(), "weight", pl.DataFrame({"user_id": ["w"], "item_id": ["c"]}))
    assert bare.item_features.frame["title"].to_list() == ["A", "B", None]


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"new": pl.DataFrame({"user_id": ["u"]})}, ColumnError, "the table of new interactions has no column 'item_id'"),
        ({"new": pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "weight": [-1]})}, ValueRangeError, "row 1: weight is '-1'"),
        ({"new": pl.DataFrame({"user_id": [], "item_id": []}, schema={"user_id": pl.String, "item_id": pl.String})}, ReadError, "no rows"),
        ({"users": pl.DataFrame({"user_id": ["w"], "age": [3]})}, ColumnError, "the model has no attributes of users; allowed: none for new users; leave"),
        ({"items": ITEMS.rename({"title": "tite"})}, ColumnError, "the attribute 'tite', which the model has not .nearest: 'title'.*; rename or remove it"),
        ({"items": [ITEMS, ITEMS]}, ColumnError, "the attribute 'title', which another table has too; rename or remove it"),
        ({"items": pl.DataFrame({"item_id": ["c"], "year": ["soon"]})}, ColumnError, "attribute 'year' of item 'c' is 'soon'; allowed: a finite number"),
        ({"items": pl.DataFrame({"item_id": ["c"]})}, ColumnError, "the table of items has only the column 'item_id'"),
    ],
)  # fmt: skip
def test_bad_tables(more: dict, error: type[Exception], message: str) -> None:
    before = rv.read(pl.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"]}), items=ITEMS)
    new = more.pop("new", pl.DataFrame({"user_id": ["u"], "item_id": ["c"]}))
    with pytest.raises(error, match=message):
        grow(before, before.histories(), "weight", new, **more)


def test_ratings_need_ratings_and_times_on_both_sides() -> None:
    one = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "rating": [3.0, 4.0]})
    dated = one.with_columns(timestamp=pl.lit(1.0))
    before, before_dated = rv.read(one), rv.read(dated)
    with pytest.raises(ColumnError, match="the table of new interactions has no column 'rating'"):
        grow(before, before.histories("rating"), "rating", one.drop("rating"))
    with pytest.raises(ColumnError, match="the new table has timestamps and the model's has none; allowed: both or neither"):
        grow(before, before.histories("rating"), "rating", dated)
    with pytest.raises(ColumnError, match="the model's table has timestamps and the new has none"):
        grow(before_dated, before_dated.histories("rating"), "rating", one)
