"""Ids outside, row numbers inside: both ways, for any ids, and never a near miss taken for a hit."""

import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recvec.data.vocabulary import Vocabulary, as_ids, shown
from recvec.errors import InputError, UnknownItemError, UnknownUserError

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
ODD = st.sampled_from(
    ["007", "7", "-0", "0", "+7", " 7", "7 ", "1.0", "1e3", "x" * 500, str(2**63), str(2**63 - 1), str(-(2**63)), "é", "e\u0301"]
)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-50, 50)
IDS = st.one_of(*(st.lists(kind, min_size=1, max_size=20) for kind in (TEXT, ODD, st.one_of(TEXT, ODD), INTEGERS, SMALL)))


def vocabulary(*parts: list[object], side: str = "item") -> Vocabulary:
    return Vocabulary.of([pl.Series("id", part) for part in parts], side)


@given(ids=IDS)
def test_every_id_has_one_row_and_comes_back(ids: list[object]) -> None:
    mine = vocabulary(ids)
    back = mine.ids.to_list()
    assert sorted(map(str, back)) == sorted({str(i) for i in ids})
    assert back == sorted(back)
    rows = mine.rows(pl.Series(ids))
    assert rows.dtype == np.int32
    assert [str(back[r]) for r in rows] == [str(i) for i in ids]
    assert mine.rows(ids).tolist() == rows.tolist()
    assert mine.rows([str(i) for i in ids]).tolist() == rows.tolist()


@given(ids=IDS, others=IDS)
def test_only_equal_ids_are_found(ids: list[object], others: list[object]) -> None:
    mine = vocabulary(ids)
    place = {str(i): n for n, i in enumerate(mine.ids)}
    expected = [place.get(str(o), -1) for o in others]
    assert mine.lookup(pl.Series(others)).tolist() == expected
    assert mine.lookup(others).tolist() == expected


@given(ids=IDS, others=IDS)
def test_the_order_of_parts_and_repetitions_change_nothing(ids: list[object], others: list[object]) -> None:
    one, two = vocabulary(ids, others), vocabulary(others, ids, ids, others)
    assert one.ids.to_list() == two.ids.to_list()
    assert one.ids.dtype == two.ids.dtype
    assert one.fingerprint == two.fingerprint


@given(ids=IDS, others=IDS)
def test_extending_keeps_old_rows(ids: list[object], others: list[object]) -> None:
    mine = vocabulary(ids)
    more = mine.extended(pl.Series(others))
    assert more.ids.name == mine.ids.name
    assert [str(i) for i in more.ids[: len(mine)]] == [str(i) for i in mine.ids]
    assert more.ids.name == mine.ids.name  # by it a saved model finds its ids again
    assert sorted(map(str, more.ids)) == sorted({str(i) for i in [*ids, *others]})
    assert (more.lookup(others) >= 0).all()
    assert more.rows(ids).tolist() == mine.rows(ids).tolist()


@pytest.mark.parametrize(
    ("values", "expected", "dtype"),
    [
        (["1", "-2", "0"], [1, -2, 0], pl.Int64),
        (["007", "8"], ["007", "8"], pl.String),
        (["-0"], ["-0"], pl.String),
        (["1", " 2"], ["1", " 2"], pl.String),
        ([1, "a"], ["1", "a"], pl.String),
        (["9" * 18], [10**18 - 1], pl.Int64),
        (["9" * 19], ["9" * 19], pl.String),
        (["9" * 19, "1"], ["9" * 19, "1"], pl.String),
        ([str(2**63 - 1), str(-(2**63))], [2**63 - 1, -(2**63)], pl.Int64),
        ([str(2**63), "1"], [str(2**63), "1"], pl.String),
        ([np.int64(5), np.str_("6")], [5, 6], pl.Int64),
        ([], [], pl.String),
        (pl.Series([2**63 - 1, -(2**63)]), [2**63 - 1, -(2**63)], pl.Int64),
        (pl.Series([5], dtype=pl.UInt64), [5], pl.Int64),
        (pl.Series([2**63], dtype=pl.UInt64), [str(2**63)], pl.String),
        (pl.Series([2**100, 1], dtype=pl.Int128), [str(2**100), "1"], pl.String),
        (pl.Series([1], dtype=pl.Int128), [1], pl.Int64),
        (pl.Series(["b", "a"], dtype=pl.Categorical), ["b", "a"], pl.String),
        (["\udcff"], ["\\udcff"], pl.String),
    ],
)
def test_ids_are_integers_only_where_all_are(values: list[object] | pl.Series, expected: list[object], dtype: pl.DataType) -> None:
    found = as_ids(values, "x")
    assert found.to_list() == expected
    assert found.dtype == dtype
    assert found.name == "x"


def test_integer_ids_do_not_take_other_writings() -> None:
    for mine in (vocabulary([7, 8, 1000]), vocabulary([7, 2**60, -(2**60)])):
        assert mine.lookup(["007", "+7", "7.0", " 7", "7", "x", "", str(10**30)]).tolist() == [
            -1,
            -1,
            -1,
            -1,
            mine.rows([7])[0],
            -1,
            -1,
            -1,
        ]


def test_numbers_beyond_two_to_the_53_stay_apart() -> None:
    ids = [2**53, 2**53 + 1, 2**53 + 2]
    assert vocabulary(ids).rows(ids).tolist() == [0, 1, 2]
    assert vocabulary([str(i) for i in ids]).rows(ids).tolist() == [0, 1, 2]


def test_a_column_with_gaps_finds_nothing_there() -> None:
    assert vocabulary([7, 8]).lookup(pl.Series([7, None, 8])).tolist() == [0, -1, 1]
    assert vocabulary(["a", "b"]).lookup(pl.Series(["b", None])).tolist() == [1, -1]


def test_an_empty_vocabulary_finds_nothing() -> None:
    empty = Vocabulary.of([], "user")
    assert len(empty) == 0
    assert empty.lookup(["a", 1]).tolist() == [-1, -1]
    with pytest.raises(UnknownUserError, match=r"^user 'a' is not among the 0 users of this model \(there is none\); fit again"):
        empty.rows(["a"])


def test_an_unknown_id_names_its_nearest() -> None:
    people = vocabulary(["anna", "bernd", "carla"], side="user")
    with pytest.raises(
        UnknownUserError,
        match=r"^user 'ana' is not among the 3 users of this model \(nearest: 'anna'.*\); fit again with it, or use recommend_for",
    ):
        people.rows(["bernd", "ana", "nobody"])
    with pytest.raises(UnknownItemError, match=r"^item '99' is not among the 2 items of this model \(nearest: '9'\)"):
        vocabulary([1, 9]).rows([99])


def test_long_ids_make_short_messages_in_no_time() -> None:
    many = vocabulary([f"{'x' * 400}{i}" for i in range(5000)])
    begun = time.perf_counter()
    with pytest.raises(UnknownItemError) as caught:
        many.rows(["x" * 100_000])
    with pytest.raises(UnknownItemError, match="not among the 5,000 items"):
        many.rows(["short"])
    assert time.perf_counter() - begun < 2
    assert len(str(caught.value)) < 800
    assert "(100,000 characters)" in str(caught.value)


@pytest.mark.parametrize("ids", ["u1", b"u1", 7, None])
def test_one_id_instead_of_a_list_is_refused(ids: object) -> None:
    with pytest.raises(InputError, match=r"^users are given as .*; allowed: a list of ids; write \["):
        vocabulary(["u1"], side="user").rows(ids)  # type: ignore[arg-type]


def test_what_is_shown_is_short() -> None:
    assert shown("a" * 100) == "a" * 100
    assert shown("a" * 60 + "b" * 60) == "a" * 50 + "..." + "b" * 50 + " (120 characters)"
    assert shown(3.5) == "3.5"


def test_fingerprints_tell_ids_apart() -> None:
    different = [
        vocabulary(["a", "b"]),
        vocabulary(["a", "c"]),
        vocabulary(["ab"]),
        vocabulary([1, 2]),
        vocabulary([1, 3]),
        vocabulary(["1x", "2"]),
    ]
    assert len({v.fingerprint for v in different}) == len(different)
    assert vocabulary(["1", "2"]).fingerprint == vocabulary([2, 1]).fingerprint


@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [0, 5, 10**9]])
def test_many_integers_are_looked_up_piece_by_piece(ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recvec.data.vocabulary._PIECE", 3)
    vocabulary = Vocabulary.of([pl.Series(ids)], "user")
    asked = pl.Series([5, 0, 0, 10**9, 7, 1, 3], dtype=pl.Int64)
    assert vocabulary.lookup(asked).tolist() == [ids.index(i) if i in ids else -1 for i in asked]


def test_text_behind_many_integers_is_still_text() -> None:
    ids = as_ids(pl.Series([str(i) for i in range(1500)] + ["007"]))
    assert ids.dtype == pl.String
