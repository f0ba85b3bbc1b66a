"""Attributes as features: what each kind becomes, what is missing or new, and what is said."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recvec.data.features import FeatureTable
from recvec.encoders.attributes import AttributeCoder
from recvec.encoders.blocks import SideCoder
from recvec.errors import ColumnError


def table(types: dict[str, str] | None = None, **columns: Any) -> FeatureTable:
    return FeatureTable.of_rows(pl.DataFrame(columns, strict=False), "a table", types=types)


def coded(found: FeatureTable, **how: Any) -> np.ndarray:
    return AttributeCoder.fit(found, "user", **how).encode(found.frame).toarray()


def test_a_category_is_one_hot_and_a_missing_one_is_nothing() -> None:
    coder = AttributeCoder.fit(found := table(job=["b", "a", None, "b"]), "user")
    assert coder.encode(found.frame).toarray().tolist() == [[0, 1], [1, 0], [0, 0], [0, 1]]
    assert [coder.label(f) for f in range(2)] == ["job=a", "job=b"]


def test_numbers_are_standardised() -> None:
    values = coded(table(age=[10.0, 20.0, None, 60.0]))[:, 0]
    known = np.array([10.0, 20.0, 60.0])
    np.testing.assert_allclose(values[[0, 1, 3]], (known - 30) / known.std(), rtol=1e-6)
    assert values[2] == 0


def test_numbers_are_bucketed_by_quantiles() -> None:
    found = table(age=[float(n) for n in range(100)])
    coder = AttributeCoder.fit(found, "user", numbers="bucketed")
    x = coder.encode(found.frame).toarray()
    assert x.sum(axis=0).tolist() == [10.0] * 10
    assert (x.sum(axis=1) == 1).all()
    assert coder.label(0) == "age=below 10"
    assert coder.label(9) == "age=90 and above"
    few = AttributeCoder.fit(found := table(flag=[0, 1, 1, 1]), "user", numbers="bucketed")
    assert few.encode(found.frame).toarray().tolist() == [[1, 0], [0, 1], [0, 1], [0, 1]]


def test_a_list_is_averaged_and_scaled_to_a_mean_square_of_one() -> None:
    x = coded(table(genres=["A|B", "A", "C|B|A", None], types={"genres": "list"}))
    scale = 1 / np.sqrt((1 / 2 + 1 + 1 / 3) / 3)
    np.testing.assert_allclose(x, scale * np.array([[1 / 2, 1 / 2, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 0]]), rtol=1e-6)


def test_a_vector_is_scaled_as_a_whole() -> None:
    x = coded(table(v=[[3.0, 4.0], None, [0.0, 5.0]]))
    np.testing.assert_allclose(x, np.array([[3, 4], [0, 0], [0, 5]]) / 5, rtol=1e-6)


@pytest.mark.parametrize(
    ("columns", "types", "note"),
    [
        ({"plot": ["a long story of two", "b long story of two"]}, {"plot": "text"}, "free text is not used"),
        ({"job": ["a", "a"]}, {}, "it has the same value throughout"),
        ({"job": [None, None]}, {}, "it has no value"),
        ({"age": [3.0, None]}, {}, "it has the same value throughout"),
        ({"tags": ["", ""]}, {"tags": "list"}, "it has no value"),
        ({"v": [[0.0, 0.0], None]}, {}, "it has the same value throughout"),
    ],
)
def test_what_says_nothing_is_left_out_and_said(columns: dict[str, Any], types: dict[str, str], note: str) -> None:
    coder = AttributeCoder.fit(table(types, **columns, other=["x", "y"]), "user")
    assert [c.name for c in coder.columns] == ["other"]
    assert coder.notes[0].startswith(f"user attribute '{next(iter(columns))}' is left out: {note}")
    frame = pl.DataFrame({name: values[:1] for name, values in columns.items()}, strict=False)
    assert coder.encode(coder.typed(frame)).shape == (1, 2)  # such a column may be there later, too


def test_many_levels_are_said_and_hashed_only_if_asked() -> None:
    found = table(zip=[f"z{n}" for n in range(20_000)])
    coder = AttributeCoder.fit(found, "user")
    assert coder.n_features == 20_000
    assert coder.notes == ("user attribute 'zip' has 20,000 levels: each has a vector; set hash_levels to share vectors",)
    hashed = AttributeCoder.fit(found, "user", hash_levels=64)
    assert hashed.n_features == 64
    assert hashed.notes == ("user attribute 'zip' has 20,000 levels: hashed into 64",)
    x = hashed.encode(found.frame)
    assert (x.sum(axis=1) == 1).all()
    assert x.sum(axis=0).min() > 200
    assert hashed.encode(pl.DataFrame({"zip": ["never seen"]})).nnz == 1


def test_numbers_that_a_word_makes_a_category_are_said() -> None:
    coder = AttributeCoder.fit(table(age=["31", "thirty", "47", None, "18"]), "user")
    assert coder.notes == ("user attribute 'age' is a category because 'thirty' is no number; correct it if it should be one",)
    assert AttributeCoder.fit(table(age=["young", "old", "7"], zone=["1", "2", "3"]), "user").notes == ()


def test_a_name_of_an_id_is_refused() -> None:
    with pytest.raises(ColumnError, match="user attributes is named 'item_id', an id; rename it"):
        AttributeCoder.fit(table(item_id=["a", "b"]), "user")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"jobs": ["a"]}, r"there is no user attribute 'jobs' \(nearest: 'job'; allowed: job, age, v, genres\)"),
        ({"age": ["old"]}, "user attributes, row 1: age is 'old'; allowed: a finite number or nothing"),
        ({"age": [[1.0, 2.0]]}, "user attributes, row 1: age is .*; allowed: one value"),
        ({"job": [["a", "b"]]}, "user attributes, row 1: job is .*; allowed: one value"),
        ({"v": ["text"]}, "user attributes: v has type String; allowed for a vector"),
        ({"v": [[1.0]]}, "v is a vector of 1 numbers; allowed: 2, as in training"),
    ],
)
def test_what_does_not_fit_at_prediction_is_refused(frame: dict[str, Any], message: str) -> None:
    coder = AttributeCoder.fit(table(job=["a", "b"], age=[1.0, 2.0], v=[[1.0, 2.0], [0.0, 1.0]], genres=[["x"], ["y"]]), "user")
    with pytest.raises(ColumnError, match=message):
        coder.encode(coder.typed(pl.DataFrame(frame)))


def test_what_fits_at_prediction_is_encoded_as_in_training() -> None:
    coder = AttributeCoder.fit(
        table(job=["a", "b"], age=[1.0, 3.0], v=[[1.0, 2.0], [0.0, 1.0]], genres=["x|y", "y"], types={"genres": "list"}), "user"
    )
    given = coder.encode(coder.typed(pl.DataFrame({"genres": [["y"]], "age": [3], "v": [[0, 1]], "job": ["c"]})))
    mine = coder.encode(coder.typed(pl.DataFrame({"job": [None], "age": [3.0], "v": [[0.0, 1.0]], "genres": ["y"]}, strict=False)))
    assert given.toarray().tolist() == mine.toarray().tolist()
    assert given.nnz == 4  # age, v (a zero is stored), genres; an unseen job is nothing


scalars = st.one_of(st.none(), st.sampled_from(["a", "b", "ü"]))
numbers = st.one_of(st.none(), st.floats(-1e12, 1e12, allow_subnormal=False))
lists = st.one_of(st.none(), st.lists(st.sampled_from(["x", "y", "z"]), unique=True))


@given(
    st.lists(st.tuples(scalars, numbers, lists), min_size=1, max_size=20),
    st.sampled_from(["standardized", "bucketed"]),
    st.sampled_from([0, 2]),
)
def test_any_table_is_finite_of_unit_size_and_restored_to_the_bit(rows: Any, how: str, hashed: int) -> None:
    job, age, genres = zip(*rows, strict=True)
    frame = pl.DataFrame(
        {"job": job, "age": age, "genres": genres}, schema={"job": pl.String, "age": pl.Float64, "genres": pl.List(pl.String)}
    )
    found = FeatureTable(frame=frame, types={"job": "category", "age": "number", "genres": "list"})
    coder = AttributeCoder.fit(found, "item", numbers=how, hash_levels=hashed)
    x = coder.encode(frame)
    assert x.shape == (len(rows), coder.n_features)
    assert np.isfinite(x.data).all()
    for n, column in enumerate(coder.columns):
        mine = x[:, coder.starts[n] : coder.starts[n + 1]].toarray()
        has = (mine != 0).any(axis=1)
        if column.name != "age" or how == "bucketed":
            assert np.square(mine[has]).sum() / has.sum() == pytest.approx(1, rel=1e-5)
    again = AttributeCoder.restore(coder.meta(), coder.arrays())
    assert (again.encode(frame) != x).nnz == 0
    assert [again.label(f) for f in range(again.n_features)] == [coder.label(f) for f in range(coder.n_features)]
    alone = [coder.encode(frame[n : n + 1]).toarray()[0] for n in range(len(rows))]
    assert np.array_equal(np.array(alone), x.toarray())  # a row does not depend on its table


def test_a_side_is_the_id_the_attributes_and_the_history() -> None:
    coder = AttributeCoder.fit(found := table(job=["a", "b", "a"]), "user")
    side = SideCoder(coder, n_ids=3, n_met=4)
    met = sp.csr_array(np.array([[1.0, 0, 5, 0], [0, 0, 0, 0], [0, 1, 1, 1]], np.float32))
    features = side.rows(coder.encode(found.frame), met, np.array([0, 3, 2], np.int32))
    third, half = 1 / np.sqrt(3), 1 / np.sqrt(2)
    expected = [[1, 0, 0, 0, 1, 0, half, 0, half, 0], [0, 0, 0, 1, 0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0, 0, third, third, third]]
    np.testing.assert_allclose(features.toarray(), expected, rtol=1e-6)
    assert side.groups.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert side.n_groups == 3
    assert features.dtype == np.float32
    assert features.indices.dtype == np.int32
    assert features.has_sorted_indices
    assert [side.label(f) for f in (0, 4, 9)] == ["user", "job=a", "history of the user"]
    stranger = side.rows(side.encode(pl.DataFrame({"job": ["b"]})))
    assert stranger.toarray().tolist() == [[0, 0, 0, 1, 0, 1, 0, 0, 0, 0]]
    again = SideCoder.restore(side.meta(), coder.arrays())
    assert (again.groups == side.groups).all()
    context = SideCoder(coder)
    assert context.rows(coder.encode(found.frame)).toarray().tolist() == coder.encode(found.frame).toarray().tolist()
    assert context.groups.tolist() == [0, 0]
