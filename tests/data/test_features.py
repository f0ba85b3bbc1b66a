"""Attribute tables: each column with a type, each value kept or refused, in the vocabulary's order."""

import datetime as dt
from typing import Any

import polars as pl
import pytest

from recvec.data.features import FeatureTable
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ColumnError

NAN = float("nan")


def table(values: Any, ids: list[Any] | None = None, *, name: str = "x", dtype: Any = None, **more: Any) -> FeatureTable:
    """An attribute of the items 1, 2, 3 of a vocabulary."""
    column = values if isinstance(values, pl.Series) else pl.Series(name, values, dtype=dtype)
    rows = pl.DataFrame({"item_id": ids or [1, 2, 3], name: column})
    return FeatureTable.of(rows, Vocabulary(pl.Series("item_id", [1, 2, 3]), "item"), **more)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", "b", None], "category", ["a", "b", None]),
        (["1", "2.5", None], "number", [1.0, 2.5, None]),
        (["1", "nan", "3"], "number", [1.0, None, 3.0]),
        ([1, None, 3], "number", [1.0, None, 3.0]),
        ([1.5, NAN, None], "number", [1.5, None, None]),
        (["01234", "99999", None], "category", ["01234", "99999", None]),
        (["0.5", "0", "-0.25"], "number", [0.5, 0.0, -0.25]),
        ([True, False, None], "category", ["true", "false", None]),
        (["a|b", "b", None], "list", [["a", "b"], ["b"], None]),
        (["a||a|", "|", "b|c"], "list", [["a"], [], ["b", "c"]]),
        ([["a", "b"], [], None], "list", [["a", "b"], [], None]),
        ([[1, 2], [3], None], "list", [["1", "2"], ["3"], None]),
        ([[1.0, 2.0], [3.0, 4.0], None], "vector", [[1.0, 2.0], [3.0, 4.0], None]),
        (["a story of five whole words", "another story of five words", None], "text", ["a story of five whole words", "another story of five words", None]),
        ([None, None, None], "category", [None, None, None]),
        (["", "", ""], "category", ["", "", ""]),
        ([dt.date(2024, 5, 1), None, dt.date(2024, 5, 1)], "category", ["2024-05-01", None, "2024-05-01"]),
        (pl.Series(["b", "a", None], dtype=pl.Categorical), "category", ["b", "a", None]),
        (pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int32, 2)), "vector", [[1.0, 2.0], [3.0, 4.0], None]),
    ],
)  # fmt: skip
def test_types_are_settled_by_what_the_values_show(values: Any, kind: str, expected: list[Any]) -> None:
    found = table(values)
    assert found.types == {"x": kind}
    assert found.frame["x"].to_list() == expected
    assert found.of_type(kind) == ["x"]  # type: ignore[arg-type]


def test_rows_follow_the_vocabulary_and_unknown_is_null() -> None:
    assert table(["c", "a"], [3, 1]).frame["x"].to_list() == ["a", None, "c"]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", "b", "a"], "list", [["a", "b"], ["a"], None]),
        (["a", "a", "b"], "category", ["a", "b", None]),
        (["a", None, "b"], "category", ["a", "b", None]),
        ([None, None, "b"], "category", [None, "b", None]),
        ([1, 2, 3], "list", [["1", "2"], ["3"], None]),
        ([1, 1, 3], "number", [1.0, 3.0, None]),
        ([1.5, 2.5, 3.0], "list", [["1.5", "2.5"], ["3.0"], None]),
        (["a|b", "b|c", "d"], "list", [["a", "b", "c"], ["d"], None]),
        ([["a", "b"], ["b", "c"], ["d"]], "list", [["a", "b", "c"], ["d"], None]),
        ([[1], [2], [2]], "list", [["1", "2"], ["2"], None]),
        ([[1.0], [1.0], [2.0]], "vector", [[1.0], [2.0], None]),
    ],
)
def test_several_rows_of_one_id_lose_nothing(values: Any, kind: str, expected: list[Any]) -> None:
    found = table(values, [1, 1, 2])
    assert found.types == {"x": kind}
    assert found.frame["x"].to_list() == expected


def test_several_titles_stay_one_text() -> None:
    found = table(["Heat", "Heat (1995)", "Up"], [1, 1, 2], name="title")
    assert found.types == {"title": "text"}
    assert found.title == "title"
    assert found.frame["title"].to_list() == ["Heat / Heat (1995)", "Up", None]


def test_any_column_name_works() -> None:
    for name in ("row", "value", "id", "user_id", "", "é"):
        assert table(["a", "b", "c"], name=name).frame[name].to_list() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1", "2", None], "category", ["1", "2", None]),
        ([1, 2, None], "category", ["1", "2", None]),
        ([1, 2, None], "text", ["1", "2", None]),
        ([True, False, None], "number", [1.0, 0.0, None]),
        (["a", "b", None], "list", [["a"], ["b"], None]),
        ([["a", "b"], ["c"], None], "text", ["a / b", "c", None]),
        ([[1, 2], [3, 4], None], "vector", [[1.0, 2.0], [3.0, 4.0], None]),
    ],
)
def test_a_type_that_is_given_wins(values: Any, kind: str, expected: list[Any]) -> None:
    found = table(values, types={"x": kind})
    assert found.types == {"x": kind}
    assert found.frame["x"].to_list() == expected


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (["1", "abc", "3"], {"types": {"x": "number"}}, r"^attribute 'x' of item '2' is 'abc'; allowed: a finite number or nothing; correct it, or give"),
        ([1.0, float("inf"), 3.0], {}, r"^attribute 'x' of item '2' is 'inf'; allowed: a finite number or nothing"),
        ([[1.0], [1.0, 2.0], None], {}, r"^attribute 'x' of item '2' is '\[1.0, 2.0\]'; allowed: 1 finite numbers as in the first vector"),
        ([[1.0], [NAN], None], {}, r"^attribute 'x' of item '2' is '\[nan\]'; allowed: 1 finite numbers"),
        ([[1.0], [None], None], {}, r"^attribute 'x' of item '2' is '\[None\]'; allowed: 1 finite numbers"),
        (["a", "b", "c"], {"types": {"x": "vector"}}, r"^attribute 'x' has type String; allowed for a vector: a list of numbers; convert it$"),
        ([["a"], ["b"], ["c"]], {"types": {"x": "vector"}}, r"^attribute 'x' has type List\(String\); allowed for a vector"),
        ([[1], [2], [3]], {"types": {"x": "number"}}, r"^attribute 'x' of item '1' is '\[1\]'; allowed: one value an id; remove the others, or give 'x' the type list$"),
        ([["a"], ["b"], ["c"]], {"types": {"x": "category"}}, r"allowed: one value an id"),
        (["a", "b", "c"], {"types": {"y": "list"}}, r"^type 'y=list' is not usable; allowed: columns item_id, x; types category, number, list, text, vector$"),
        (["a", "b", "c"], {"types": {"x": "lists"}}, r"^type 'x=lists' is not usable; allowed: columns"),
        (["a", "b", "c"], {"separator": ""}, r"^the separator of lists is empty; allowed: one character or more, such as '\|'$"),
        ([{"a": 1}, None, None], {}, r"^attribute 'x' has type Struct\(.*\); allowed: text, numbers, true or false, dates, and lists of these; convert or remove"),
        ([b"a", None, None], {}, r"^attribute 'x' has type Binary; allowed"),
        ([dt.timedelta(1), None, None], {}, r"^attribute 'x' has type Duration\(.*\); allowed"),
        ([object(), object(), object()], {}, r"^attribute 'x' has type Object; allowed"),
        ([[[1]], [[2]], None], {}, r"^attribute 'x' has type List\(List\(Int64\)\); allowed"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named(values: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        table(values, **more)


def test_two_vectors_of_one_id_are_refused() -> None:
    with pytest.raises(ColumnError, match=r"^attribute 'x' of item '1' has 2 different vectors; allowed: one; remove the others$"):
        table([[1.0], [2.0], [3.0]], [1, 1, 2])


def test_several_values_where_one_is_asked_for_are_refused() -> None:
    with pytest.raises(ColumnError, match=r"^attribute 'x' of item '1' is '\['a', 'b'\]'; allowed: one value an id"):
        table(["a", "b", "c"], [1, 1, 2], types={"x": "category"})


def test_a_separator_of_ones_own() -> None:
    assert table(["a;b", "b", "c|d"], separator=";").frame["x"].to_list() == [["a", "b"], ["b"], ["c|d"]]


def test_fingerprints_tell_values_and_types_apart() -> None:
    tables = [
        table(["1", "2", "3"]),
        table(["1", "2", "4"]),
        table(["1", "2", "3"], types={"x": "category"}),
        table(["1", "2", "3"], name="y"),
    ]
    assert len({t.fingerprint for t in tables}) == 4
    assert table(["1", "2", "3"]).fingerprint == table([1, 2, 3]).fingerprint
