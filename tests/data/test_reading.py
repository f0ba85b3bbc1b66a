"""The choices of `read`: names, attributes that are used, context, texts of items; each with known answers and its refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recvec as rv
from recvec.data.features import FeatureTable
from recvec.data.histories import Histories
from recvec.data.protocols import PROTOCOLS
from recvec.data.reading import Reading, Wanted
from recvec.errors import ColumnError, ReadError, ValueRangeError

PLAIN = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": [1, 2, 1], "rating": [5.0, 1.0, 3.0]})
ITEMS = pl.DataFrame({"item_id": [1, 2], "genre": ["x", "y"], "year": [1999, 2001]})
USERS = pl.DataFrame({"user_id": ["a", "b"], "age": [30, 40]})
WHAT = "the table of interactions"


def refusal(frame: Any, error: type[rv.InputError] = ColumnError, **more: Any) -> str:
    with pytest.raises(error) as caught:
        rv.read(frame, **more)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- columns


def test_every_table_that_has_the_name_is_meant() -> None:
    frame = PLAIN.rename({"user_id": "uid", "item_id": "iid", "rating": "stars"})
    users, items = USERS.rename({"user_id": "uid"}), ITEMS.rename({"genre": "kind"})
    columns = {"user_id": "uid", "item_id": "iid", "rating": "stars", "genre": "kind", "negative_item_id": "iid"}
    data = rv.read(frame, users=users, items=items, columns={c: t for c, t in columns.items() if c != "negative_item_id"})
    expected = rv.read(PLAIN, users=USERS, items=ITEMS)
    assert data.fingerprint == expected.fingerprint
    assert data.items.ids.name == "item_id"
    assert data.reading.columns == {"user_id": "uid", "item_id": "iid", "rating": "stars", "genre": "kind"}


def test_the_test_part_and_the_negatives_may_have_either_name() -> None:
    data = rv.read(PLAIN.rename({"user_id": "uid"}), columns={"user_id": "uid", "negative_item_id": "not"})
    test = pl.DataFrame({"user_id": ["b"], "item_id": [2]})
    for table in (test, test.rename({"user_id": "uid"})):
        for negatives in (pl.DataFrame({"uid": ["b"], "not": [7]}), pl.DataFrame({"user_id": ["b"], "negative_item_id": [7]})):
            split = rv.split(data, test=table, negatives=negatives)
            assert (split.train.users.ids[split.test.users].to_list(), split.train.items.ids[split.test.items].to_list()) == (["b"], [2])
            assert split.train.items.ids[split.negatives.items].to_list() == [7]


def test_a_given_name_wins_over_our_own() -> None:
    frame = PLAIN.with_columns(uid=pl.Series(["x", "y", "z"]))
    assert rv.read(frame, columns={"user_id": "uid"}).users.ids.to_list() == ["x", "y", "z"]
    swapped = rv.read(PLAIN, columns={"user_id": "item_id", "item_id": "user_id"})
    assert (swapped.users.ids.to_list(), swapped.items.ids.to_list()) == ([1, 2], ["a", "b"])
    items = ITEMS.with_columns(title=pl.Series(["one", "two"]), name=pl.Series(["eins", "zwei"]))
    assert rv.read(PLAIN, items=items, columns={"title": "name"}).item_features.frame["title"].to_list() == ["eins", "zwei"]


def test_names_of_interactions_leave_attributes_alone() -> None:
    frame = PLAIN.rename({"rating": "score"})
    items = ITEMS.rename({"year": "score"})
    data = rv.read(frame, items=items, columns={"rating": "score"})
    assert data.item_features.types == {"genre": "category", "score": "number"}
    assert data.interactions.rating.tolist() == [5, 1, 3]


def test_a_name_for_another_table_takes_nothing_away() -> None:
    picked = Reading(columns={"title": "item_id"}).wanted(("user_id", "item_id"), ()).picked(["user_id", "item_id"])
    assert picked == {"user_id": "user_id", "item_id": "item_id"}


def test_a_nearly_right_name_may_be_named() -> None:
    frame = PLAIN.rename({"rating": "Rating"})
    assert "has a column 'Rating'; allowed: 'rating'" in refusal(frame)
    assert rv.read(frame, columns={"rating": "Rating"}).interactions.rating.tolist() == [5, 1, 3]
    assert rv.read(frame, context=["Rating"]).interactions.rating is None


@given(
    header=st.lists(st.sampled_from("abcdef"), unique=True, max_size=6),
    called=st.dictionaries(st.sampled_from("abcxy"), st.sampled_from("abcdef"), max_size=4),
    names=st.none() | st.lists(st.sampled_from("abcxy"), max_size=5),
)
def test_no_two_columns_get_one_name(header: list[str], called: dict[str, str], names: list[str] | None) -> None:
    if len(set(called.values())) < len(called):
        return  # refused before
    picked = Wanted(None if names is None else tuple(names), (), called).picked(header)
    assert len(set(picked.values())) == len(picked)
    for ours, theirs in called.items():
        if theirs in header and (names is None or ours in names):
            assert picked[theirs] == ours
    others = {c for c in header if c not in called.values() and c not in called and (names is None or c in names)}
    assert all(picked[c] == c for c in others)
    assert set(picked) <= set(header)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": "uidd"}, "columns names 'uidd', which no table has (nearest: 'user_id'); correct the name"),
        ({"rating": "Stars"}, "columns names 'Stars', which no table has"),
        ({"genre": "kind"}, "columns names 'kind', which no table has (such as 'user_id', 'item_id', 'rating'); correct the name"),
        ({"user_id": "x", "item_id": "x"}, "columns gives 'x' for both 'user_id' and 'item_id'; allowed: a column once; correct one"),
        ({"user_id": "item_id"}, f"{WHAT}: columns takes 'item_id' for 'user_id', so that 'item_id' is missing; name a column for it too"),
        ("user_id=uid", "columns is 'user_id=uid'; allowed: a mapping of our name and the name in the files, such as {'user_id': 'uid'}"),
        ({"user_id": 3}, "columns is {'user_id': 3}; allowed: a mapping of our name"),
        (["uid"], "columns is ['uid']; allowed: a mapping"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_meant_are_refused(columns: Any, message: str) -> None:
    assert refusal(PLAIN, columns=columns).startswith(message)


def test_the_negatives_are_asked_for_their_own_column() -> None:
    data = rv.read(PLAIN, columns={"negative_item_id": "not"})
    with pytest.raises(ColumnError, match=r"^the table of negatives has neither the column 'not' nor 'negative_item_id' \(nearest: 'no_t'"):
        rv.split(data, test=PLAIN, negatives=pl.DataFrame({"user_id": ["a"], "no_t": [1]}))


# ---------------------------------------------------------------- attributes


def test_only_the_attributes_named_are_used(tmp_path: Path) -> None:
    ITEMS.write_parquet(tmp_path / "items.parquet")
    more = pl.DataFrame({"item_id": [2, 3], "colour": ["red", "blue"], "year": [1, 2]})
    data = rv.read(PLAIN, users=USERS, items=[tmp_path / "items.parquet", more], use=["colour", "genre"])
    assert data.user_features is None
    assert data.item_features.types == {"genre": "category", "colour": "category"}
    assert data.item_features.frame["colour"].to_list() == [None, "red", "blue"]
    assert data.items.ids.to_list() == [1, 2, 3]
    assert data.has == {"interactions", "ratings", "item attributes"}
    assert rv.read(PLAIN, items=ITEMS, use=[]).item_features is None
    renamed = rv.read(PLAIN, items=ITEMS, use=["kind"], columns={"kind": "genre"})
    assert renamed.item_features.types == {"kind": "category"}
    assert "attribute 'year' is in more than one table of item_id" in refusal(PLAIN, items=[ITEMS, more])


def test_several_files_and_several_rows_of_an_id_are_one_table() -> None:
    tags = pl.DataFrame({"item_id": [1, 1, 2, 1], "tag": ["dark", "slow", "light", "dark"]})
    data = rv.read(PLAIN, items=(ITEMS, tags))
    assert data.item_features.types == {"genre": "category", "year": "number", "tag": "list"}
    assert data.item_features.frame["tag"].to_list() == [["dark", "slow"], ["light"]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"use": ["genres"]}, "use names 'genres', which no table has (nearest: 'genre'); correct the name"),
        ({"use": ["item_id"]}, "use names 'item_id', which no table has (such as 'age', 'genre', 'year'); correct the name"),
        ({"use": "genre"}, "use is 'genre'; allowed: a list of names; write ['genre']"),
        ({"use": ["genre", "genre"]}, "use names 'genre' more than once; name it once"),
        ({"use": [1]}, "use is [1]; allowed: a list of names"),
        ({"types": {"genres": "list"}}, "types names 'genres', which no table has (nearest: 'genre'); correct the name"),
        ({"types": {"genre": "lists"}}, "types gives 'genre' the type 'lists'; allowed: category, number, list, text, vector"),
        ({"types": "genre=list"}, "types is 'genre=list'; allowed: a mapping of an attribute and its type, such as {'age': 'category'}"),
        ({"types": {"genre": "number"}}, "attribute 'genre' of item '1' is 'x'; allowed: a finite number or nothing; correct it"),
        ({"list_separator": ""}, "the separator of lists is empty; allowed: one character or more, such as '|'"),
    ],
)
def test_attributes_that_are_not_there_are_refused(more: dict[str, Any], message: str) -> None:
    assert refusal(PLAIN, users=USERS, items=ITEMS, **more).startswith(message)


def test_a_type_of_an_attribute_that_is_not_used_is_no_error() -> None:
    data = rv.read(PLAIN, items=ITEMS, use=["genre"], types={"year": "category", "genre": "text"})
    assert data.item_features.types == {"genre": "text"}


# ---------------------------------------------------------------- context


DAYS = PLAIN.with_columns(day=pl.Series(["mo", "tu", None]), hour=pl.Series(["1", "2.5", "3"]), tags=pl.Series(["a|b", "b", "c"]))


def test_context_is_typed_row_by_row_and_follows_its_rows() -> None:
    data = rv.read(DAYS, context=["hour", "day", "tags"])
    table = data.interactions.context
    assert table.types == {"hour": "number", "day": "category", "tags": "list"}
    assert table.frame.rows() == [(1.0, "mo", ["a", "b"]), (2.5, "tu", ["b"]), (3.0, None, ["c"])]
    assert "context" in data.has
    assert "context" not in rv.read(DAYS).has
    taken = data.interactions.take(np.array([2, 0], np.int32)).context
    assert taken.frame["hour"].to_list() == [3.0, 1.0]
    assert taken.types == table.types
    assert data.interactions.take(np.array([False, True, False])).context.frame["day"].to_list() == ["tu"]
    assert rv.read(DAYS, context=["hour"], types={"hour": "category"}).interactions.context.frame["hour"].to_list() == ["1", "2.5", "3"]
    assert rv.read(DAYS, context=["tags"], list_separator="b").interactions.context.frame["tags"][0].to_list() == ["a|"]


def test_fingerprints_tell_context_and_text_apart() -> None:
    plain = rv.read(DAYS)
    different = [
        plain,
        rv.read(DAYS, context=["day"]),
        rv.read(DAYS, context=["hour"]),
        rv.read(DAYS, context=["hour"], types={"hour": "category"}),
        rv.read(DAYS.with_columns(day=pl.lit("mo")), context=["day"]),
    ]
    assert len({d.interactions.fingerprint for d in different}) == len(different)
    one, two = (rv.read(DAYS, item_text_from=c).interactions.fingerprint for c in ("day", "hour"))
    assert len({one, two, plain.interactions.fingerprint}) == 3
    assert plain.interactions.fingerprint == rv.read(PLAIN).interactions.fingerprint  # what is not read does not count


def test_a_fingerprint_does_not_depend_on_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    table = FeatureTable(frame=pl.DataFrame({"x": ["a", "b", None]}), types={"x": "category"})
    before = table.fingerprint
    for rows in (1, 2, 3):
        monkeypatch.setattr("recvec.data.features._ROWS_PER_PIECE", rows)
        assert FeatureTable(frame=table.frame, types=table.types).fingerprint == before


def test_the_training_part_settles_the_types_of_the_test_part() -> None:
    data = rv.read(DAYS, context=["hour", "day"])
    test = pl.DataFrame({"user_id": ["a", "b"], "item_id": [2, 2], "hour": ["7", None], "day": ["never seen", "1"]})
    split = rv.split(data, test=test)
    assert split.test.context.types == data.interactions.context.types
    assert split.test.context.frame.rows() == [(7.0, "never seen"), (None, "1")]
    numbers = test.with_columns(day=pl.Series([1, 2]))
    assert rv.split(data, test=numbers).test.context.frame["day"].to_list() == ["1", "2"]
    with pytest.raises(
        ColumnError, match=r"^the test table, row 1: hour is 'noon'; allowed: a finite number or nothing; correct it, or give"
    ):
        rv.split(data, test=test.with_columns(hour=pl.lit("noon")))
    with pytest.raises(
        ColumnError, match=r"^context names 'day', which the test table does not have \(nearest: 'Day'.*\); correct the name$"
    ):
        rv.split(data, test=test.rename({"day": "Day"}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"context": ["dayy"]}, f"context names 'dayy', which {WHAT} does not have (nearest: 'day'); correct the name"),
        ({"context": ["rating"]}, "context names 'rating', which has a meaning of its own; allowed: other columns of the interactions"),
        ({"context": ["user_id"]}, "context names 'user_id', which has a meaning of its own"),
        ({"context": ["day", "day"]}, "context names 'day' more than once; name it once"),
        ({"context": "day"}, "context is 'day'; allowed: a list of names; write ['day']"),
        ({"context": ["day"], "types": {"day": "number"}}, f"{WHAT}, row 1: day is 'mo'; allowed: a finite number or nothing; correct it, or give the column"),
        ({"context": ["odd"]}, f"{WHAT}: odd has type Struct({{'a': Int64}}); allowed: text, numbers, true or false, dates, and lists of these; convert"),
        ({"context": ["day"], "types": {"day": "vector"}}, f"{WHAT}: day has type String; allowed for a vector: a list of numbers; convert it"),
        ({"types": {"day": "category"}}, "types names 'day', which no table has (there is none); correct the name"),
    ],
)  # fmt: skip
def test_context_that_cannot_be_used_is_refused(more: dict[str, Any], message: str) -> None:
    assert refusal(DAYS.with_columns(odd=pl.Series([{"a": 1}] * 3)), **more).startswith(message)


# ---------------------------------------------------------------- texts of items


REVIEWS = pl.DataFrame({"user_id": [1, 2, 3, 1, 2], "item_id": [5, 6, 5, 6, 7], "review": ["fine plot", None, "dull", "", "loud"]})


def test_texts_of_an_item_are_joined_in_file_order() -> None:
    data = rv.read(REVIEWS, item_text_from="review", items=pl.DataFrame({"item_id": [8, 5], "genre": ["x", "y"]}))
    assert data.item_features.types == {"genre": "category", "review": "text"}
    assert data.item_features.frame["review"].to_list() == ["fine plot\ndull", None, "loud", None]
    assert {"text", "item attributes"} <= data.has
    alone = rv.read(REVIEWS, item_text_from="body", columns={"body": "review"})
    assert alone.item_features.frame["body"].to_list() == ["fine plot\ndull", None, "loud"]
    assert alone.interactions.text.to_list() == REVIEWS["review"].to_list()


def words(data: rv.Dataset) -> set[str]:
    return {word for text in data.item_features.frame["note"].drop_nulls() for word in text.split()}


@given(seed=st.integers(0, 9), n=st.integers(10, 40), protocol=st.sampled_from(sorted(PROTOCOLS)))
def test_no_word_of_the_test_part_is_in_the_training_part(seed: int, n: int, protocol: str) -> None:
    """Each row has a word of its own, so that a word of the training part tells which row it came from."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "user_id": np.arange(n) % 5,
            "item_id": rng.permutation(n) % 6,
            "timestamp": rng.permutation(n),
            "rating": rng.integers(1, 6, n),
            "note": [f"word{row}" for row in range(n)],
        }
    )
    data = rv.read(frame, item_text_from="note", items=pl.DataFrame({"item_id": [0, 9], "title": ["zero", "nine"]}))
    assert words(data) == set(frame["note"])
    split = rv.split(data, protocol, seed=seed, test_share=0.3)
    train_rows = split.train.interactions.text.to_list()
    assert words(split.train) == set(train_rows)
    assert not set(split.test.text) & set(train_rows)
    assert split.train.item_features.frame["title"].to_list() == data.item_features.frame["title"].to_list()


def test_a_test_table_gives_no_text_and_needs_none() -> None:
    data = rv.read(REVIEWS, item_text_from="review")
    test = pl.DataFrame({"user_id": [1], "item_id": [9]})
    for table in (test, test.with_columns(review=pl.lit("secret"))):
        split = rv.split(data, test=table)
        assert split.test.text is None
        assert split.train.item_features.frame["review"].to_list() == ["fine plot\ndull", None, "loud", None]


def test_rows_without_text_leave_no_word_behind() -> None:
    data = rv.read(REVIEWS, item_text_from="review")
    histories = data.histories()
    bare = rv.Dataset.from_histories(histories, users=data.users, items=data.items).interactions
    assert data.with_interactions(bare).item_features.frame["review"].to_list() == [None, None, None]
    assert isinstance(histories, Histories)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"item_text_from": "reviews"}, f"item_text_from names 'reviews', which {WHAT} does not have (nearest: 'review'); correct the name"),
        ({"item_text_from": "user_id"}, "item_text_from names 'user_id', which has a meaning of its own; allowed: other columns"),
        ({"item_text_from": ""}, f"item_text_from names '', which {WHAT} does not have"),
        ({"item_text_from": "n"}, f"{WHAT}: n has type Int64; allowed: text; name a column of text"),
        ({"item_text_from": "review", "types": {"review": "list"}}, "types gives 'review' another type than item_text_from, which makes it text; leave it out"),
        ({"item_text_from": "review", "items": pl.DataFrame({"item_id": [5], "review": ["x"]})}, "item_text_from makes an attribute 'review' of items, which the table of items has too; rename one"),
    ],
)  # fmt: skip
def test_texts_that_cannot_be_used_are_refused(more: dict[str, Any], message: str) -> None:
    assert refusal(REVIEWS.with_columns(n=pl.Series([1, 2, 3, 4, 5])), **more).startswith(message)


def test_the_text_may_be_named_among_types_and_used() -> None:
    data = rv.read(REVIEWS, item_text_from="review", types={"review": "text"}, use=["review"], items=ITEMS)
    assert data.item_features.types == {"review": "text"}


# ---------------------------------------------------------------- ratings of the test part


def test_positive_from_holds_for_the_test_part() -> None:
    data = rv.read(PLAIN, positive_from=3)
    split = rv.split(data, test=pl.DataFrame({"user_id": ["b", "b"], "item_id": [2, 3], "rating": [2, 4]}))
    assert split.test.label.tolist() == [0, 1]
    assert split.train.items.ids[split.relevant.items].to_list() == [3]
    with pytest.raises(ColumnError, match=r"^the test table has no column 'rating', which positive_from compares; leave positive_from out"):
        rv.split(data, test=PLAIN.drop("rating"))


def test_every_row_of_a_test_part_is_asked_about() -> None:
    dated = PLAIN.with_columns(timestamp=pl.Series([1, 2, None]))
    data = rv.read(dated, drop_undated=True, min_per_user=2)
    assert data.users.ids.to_list() == ["a"]
    split = rv.split(data, test=pl.DataFrame({"user_id": ["b", "a"], "item_id": [1, 3]}))
    assert len(split.test) == 2
    assert split.n_unseen_users == 1


def test_a_reading_knows_its_own_limits() -> None:
    with pytest.raises(ValueRangeError, match=r"^min_per_user is -1; allowed"):
        Reading(min_per_user=-1)
    with pytest.raises(ReadError, match=r"^none\.csv does not exist"):
        rv.read(PLAIN, items=["none.csv"])
