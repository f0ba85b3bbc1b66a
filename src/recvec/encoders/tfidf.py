"""TF-IDF of items, and its truncated singular value decomposition as their embedding (latent semantic analysis).

An item with terms t (`encoders.terms`) that occur n_t times weighs them by ::

    x_t = (1 + log n_t) (1 + log((1 + n) / (1 + df_t))) w_t ,   x / |x|

n the number of items, df_t how many of them have the term, w_t 1 for words and `attribute_weight` for attribute values. With
the singular vectors V of X (n, t) the embedding is E = X V, (n, d): for d as large as the rank, E E' = X X', the cosines
themselves; a smaller d lets items meet by words that go together, too.

Saved as arrays and JSON: terms, their weights and V. Cost: the words of the table once, and the decomposition, `4 nnz 4d`.

Source: Deerwester et al., "Indexing by latent semantic analysis", JASIS 1990; weights as in scikit-learn's TfidfVectorizer.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import Runtime
from recvec.contract.extras import require
from recvec.encoders.terms import TermEncoder, TermReader, as_table, no_terms
from recvec.encoders.words import packed, unpacked
from recvec.kernels.factorization import truncated_svd
from recvec.types import F32, Array, Executor, Json

_FEW = 10  # a word of so many items is never too common
_SLICE = 1000  # items whose terms are objects at the same time


@dataclass(frozen=True, eq=False)
class TfidfEncoder(TermEncoder):
    """TF-IDF rows and their singular vectors; frozen.

    Parameters
    ----------
    reader : TermReader
        What becomes a term.
    terms : list of str
        The vocabulary, ascending, t terms.
    weights : F32, shape (t,)
        idf_t w_t.
    vectors : F32, shape (t, d)
        V.

    Examples
    --------
    >>> import polars as pl
    >>> items = pl.DataFrame({"plot": ["a robot in love", "a robot at war", "love and war and love"], "year": [1999, 2001, 2003]})
    >>> encoder = TfidfEncoder.fit(items, types={"plot": "text"}, embedding_dim=2, min_items=1)
    >>> encoder.transform(items).shape
    (3, 2)
    """

    reader: TermReader
    terms: list[str]
    weights: F32
    vectors: F32

    @classmethod
    def fit(
        cls,
        items: Any,
        *,
        types: Mapping[str, str] | None = None,
        embedding_dim: int = 256,
        min_items: int = 2,
        max_share: float = 0.5,
        max_terms: int = 50_000,
        attribute_weight: float = 1.0,
        rng: np.random.Generator | None = None,
        executor: Executor | None = None,
    ) -> "TfidfEncoder":
        """Learn vocabulary, weights and singular vectors.

        Parameters
        ----------
        items : FeatureTable or table
            One row an item, without its id.
        types : mapping, optional
            Types of columns whose values mislead, as for `recvec.read`; not for a `FeatureTable`.
        embedding_dim : int
            d.
        min_items : int
            Terms of fewer items are left out.
        max_share : float
            Words of a larger share of the items, and of more than 10, are left out; attribute values stay.
        max_terms : int
            The most frequent terms that are kept.
        attribute_weight : float
            w of attribute values.
        rng : numpy.random.Generator, optional
            For the decomposition of a large table.
        executor : Executor, optional
            Runs the blocks; the bits do not depend on it.

        Raises
        ------
        InputError
            Where no term is left.
        MissingExtraError
            Where scikit-learn is not installed.
        """
        table = as_table(items, types)
        reader = TermReader.fit(table)
        rows = reader.terms(table.frame)
        terms, weights = _vocabulary(rows, min_items, max_share, max_terms, attribute_weight)
        bare = cls(reader, terms, weights, np.zeros((len(terms), embedding_dim), np.float32))
        matrix = bare.weigh_terms(rows)
        _, _, v = truncated_svd(matrix, embedding_dim, rng=rng or np.random.default_rng(0), executor=executor or Runtime().executor)
        return cls(reader, terms, weights, v)

    def weigh(self, frame: pl.DataFrame) -> sp.csr_array:
        """See `TermEncoder.weigh`; rows of unit length, zeros for an item without a known term."""
        return self.weigh_terms(self.reader.terms(frame))

    def weigh_terms(self, rows: pl.Series) -> sp.csr_array:
        """Return X of rows of terms."""
        matrix = sp.csr_array(self._vectorizer.transform(_documents(rows))).astype(np.float32)
        matrix.sort_indices()
        return matrix

    @cached_property
    def _vectorizer(self) -> Any:
        vectorizer = _sklearn().TfidfVectorizer(analyzer=_as_it_is, vocabulary=self.terms, sublinear_tf=True, dtype=np.float32)
        vectorizer.idf_ = self.weights
        return vectorizer

    def arrays(self) -> dict[str, Array]:
        """See `TermEncoder.arrays`."""
        text, ends = packed(self.terms)
        return {"text": text, "ends": ends, "weights": self.weights, "vectors": self.vectors}

    def meta(self) -> dict[str, Json]:
        """See `TermEncoder.meta`."""
        return self.reader.meta()

    @classmethod
    def restore(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> "TfidfEncoder":
        """Build an encoder again from `meta` and `arrays`."""
        return cls(TermReader.restore(meta), unpacked(arrays["text"], arrays["ends"]), arrays["weights"], arrays["vectors"])


def _vocabulary(rows: pl.Series, min_items: int, max_share: float, max_terms: int, attribute_weight: float) -> tuple[list[str], F32]:
    """Return the terms that are kept, ascending, and idf times what an attribute value counts."""
    n = len(rows)
    vectorizer = _sklearn().TfidfVectorizer(analyzer=_as_it_is, min_df=min(min_items, n), max_features=max_terms)
    try:
        vectorizer.fit(_documents(rows))
    except ValueError as error:  # what scikit-learn says of an empty vocabulary
        raise no_terms("TF-IDF", f"give texts or attributes, or lower min_items (it is {min_items})") from error
    terms, idf = vectorizer.get_feature_names_out(), vectorizer.idf_
    attribute = np.array(["=" in term for term in terms])
    shared = np.exp(1 - idf) * (1 + n) - 1  # df, by which idf = 1 + log((1 + n) / (1 + df))
    kept = attribute | (shared <= max(max_share * n, _FEW) + 1e-6)
    if not kept.any():
        raise no_terms("TF-IDF", f"raise max_share (it is {max_share:g})")
    weights = idf * np.where(attribute, attribute_weight, 1.0)
    return terms[kept].tolist(), weights[kept].astype(np.float32)


def _documents(rows: pl.Series) -> Iterator[list[str]]:
    for part in rows.to_frame().iter_slices(_SLICE):
        yield from part.to_series().to_list()


def _as_it_is(document: list[str]) -> list[str]:
    return document


def _sklearn() -> Any:
    require("sklearn", "TF-IDF")
    return importlib.import_module("sklearn.feature_extraction.text")
