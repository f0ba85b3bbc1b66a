"""TF-IDF of item tables: against scikit-learn, alone on a table, and with bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from recvec.data.features import FeatureTable
from recvec.encoders.terms import TermReader
from recvec.encoders.tfidf import TfidfEncoder
from recvec.errors import ColumnError, InputError

ITEMS = pl.DataFrame(
    {
        "plot": ["A robot in love", "A robot at war", "Love, and war, and love", None, "<p>Robot</p> &amp; dog"],
        "genres": [["sf", "romance"], ["sf"], ["romance"], None, []],
        "studio": ["x", "y", "x", None, "y"],
        "year": [1999.0, 2001.0, 2003.0, None, 1999.0],
    }
)
TYPES = {"plot": "text", "genres": "list", "studio": "category", "year": "number"}


def fitted(**more: object) -> TfidfEncoder:
    return TfidfEncoder.fit(ITEMS, types=TYPES, **{"embedding_dim": 8, "min_items": 1, **more})


def test_terms_are_words_and_attribute_values() -> None:
    table = FeatureTable.of_rows(ITEMS, "items", types=TYPES)
    rows = TermReader.fit(table).terms(table.frame).to_list()
    assert rows[0] == ["robot", "in", "love", "genres=sf", "genres=romance", "studio=x", "year=below 2001"]
    assert rows[3] == []
    assert rows[4] == ["robot", "dog", "studio=y", "year=below 2001"]


def test_rows_are_those_of_scikit_learn() -> None:
    table = FeatureTable.of_rows(ITEMS, "items", types=TYPES)
    documents = TermReader.fit(table).terms(table.frame).to_list()
    vectorizer = TfidfVectorizer(analyzer=lambda d: d, sublinear_tf=True)
    expected = vectorizer.fit_transform(documents).toarray()
    encoder = fitted()
    assert encoder.terms == vectorizer.get_feature_names_out().tolist()
    np.testing.assert_allclose(encoder.matrix(ITEMS).toarray(), expected, atol=1e-6)


def test_an_embedding_of_full_rank_keeps_every_cosine() -> None:
    encoder = fitted()
    vectors, rows = encoder.transform(ITEMS), encoder.matrix(ITEMS).toarray()
    np.testing.assert_allclose(vectors @ vectors.T, rows @ rows.T, atol=1e-5)
    assert not vectors[3].any()


def test_attributes_count_as_told() -> None:
    light, heavy = (fitted(attribute_weight=w) for w in (1.0, 3.0))
    at = light.terms.index("genres=sf"), light.terms.index("robot")
    ratio = [e.matrix(ITEMS).toarray()[1][list(at)] for e in (light, heavy)]
    np.testing.assert_allclose(ratio[1][0] / ratio[1][1], 3 * ratio[0][0] / ratio[0][1], rtol=1e-5)


def test_rare_and_common_words_are_left_out() -> None:
    many = pl.DataFrame({"text": [f"same word{n % 20} only{n}" for n in range(60)], "kind": ["a"] * 60})
    encoder = TfidfEncoder.fit(many, types={"text": "text"}, embedding_dim=4)
    assert encoder.terms == ["kind=a", *sorted(f"word{n}" for n in range(20))]
    assert len(TfidfEncoder.fit(many, types={"text": "text"}, embedding_dim=4, max_terms=5).terms) <= 5


def test_it_comes_back_from_arrays_and_json() -> None:
    encoder = fitted()
    again = TfidfEncoder.restore(encoder.meta(), encoder.arrays())
    assert np.array_equal(again.transform(ITEMS), encoder.transform(ITEMS))
    assert again.terms == encoder.terms


def test_pandas_tables_and_missing_columns_are_fine() -> None:
    encoder = fitted()
    some = encoder.transform(pd.DataFrame({"plot": ["robot love", None], "year": [2001.0, float("nan")]}))
    assert some[0].any()
    assert not some[1].any()
    assert encoder.transform(ITEMS.select("genres")).shape == (5, 8)


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        (pl.DataFrame({"plott": ["x"]}), ColumnError, "there is no item attribute 'plott' \\(nearest: 'plot'\\); allowed: plot, genres"),
        (pl.DataFrame({"year": ["soon"]}), ColumnError, "year is 'soon'; allowed: a finite number"),
    ],
)
def test_strange_rows_are_refused(items: pl.DataFrame, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fitted().transform(items)


@pytest.mark.parametrize("items", [pl.DataFrame({"plot": [None, ""]}), pl.DataFrame({"plot": ["one two", "three four"]})])
def test_a_table_without_a_usable_term_is_refused(items: pl.DataFrame) -> None:
    with pytest.raises(InputError, match=r"finds no usable word or attribute value in the item attributes; .*lower min_items"):
        TfidfEncoder.fit(items, types={"plot": "text"})


def test_what_is_left_out_is_said() -> None:
    items = pl.DataFrame({"text": ["a long text " * 100_000, "short text"], "v": [[0.1, 0.2], [0.3, 0.4]], "none": [None, None]})
    notes = TfidfEncoder.fit(items, types={"text": "text"}, min_items=1).reader.notes
    assert notes[0] == "1 text(s) of item attribute 'text' are read up to their first 1,000,000 characters"
    assert notes[1] == "item attribute 'v' is left out: a vector is no term"
    assert notes[2] == "item attribute 'none' is left out: it has no value"
