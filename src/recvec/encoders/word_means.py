"""Items as weighted means of the vectors of their terms: plain, or by smooth inverse frequency (SIF).

::

    e = sum_t n_t a_t w_t / sum_t n_t       t the terms of the item that have a vector w_t, n_t how often each occurs
    a_t = 1                                 mean
    a_t = s / (s + p_t)                     SIF, p_t the share of t among all terms of the table
    e - U U' e                              without the first singular vectors U of the table, common to everything

Terms are those of `encoders.terms`. Attribute values count `attribute_weight` times. With vectors from a file a value such as
``genres=Science Fiction`` is looked up as the phrase ``Science Fiction``; trained on the table, it is a term of its own.
A new item may have words that the table did not have: those of the file's first `n_spare` words are kept for it.

Source: Arora, Liang, Ma, "A simple but tough-to-beat baseline for sentence embeddings", ICLR 2017.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import Runtime
from recvec.encoders.terms import TermEncoder, TermReader, as_table, no_terms
from recvec.encoders.word_vectors import WordVectors
from recvec.encoders.words import packed, unpacked
from recvec.kernels.factorization import truncated_svd
from recvec.types import F32, F64, Array, Executor, Json


class Trainer(Protocol):
    """Learns vectors of terms from rows of terms."""

    def __call__(self, rows: pl.Series, terms: pl.Series) -> F32:
        """Return one vector for each of the `terms`, (t, d), learned from `rows`, List(String)."""


@dataclass(frozen=True, eq=False)
class WordMeanEncoder(TermEncoder):
    """Weighted means of word vectors; frozen.

    Parameters
    ----------
    reader : TermReader
        What becomes a term.
    terms : list of str
        Terms that have a vector, t of them.
    weights : F32, shape (t,)
        a_t, times what an attribute value counts.
    vectors : F32, shape (t, d)
        Vectors of terms, without the directions that were removed.

    Examples
    --------
    >>> import polars as pl
    >>> words = WordVectors(pl.Series(["robot", "love", "war"]), np.eye(3, dtype=np.float32))
    >>> items = pl.DataFrame({"plot": ["a robot in love", "a robot at war", "war and war and love"]})
    >>> encoder = WordMeanEncoder.fit(items, words, types={"plot": "text"}, weighting="mean", n_removed=0)
    >>> [round(x, 2) for x in encoder.transform(items)[2].tolist()]
    [0.0, 0.33, 0.67]
    """

    reader: TermReader
    terms: list[str]
    weights: F32
    vectors: F32

    @classmethod
    def fit(
        cls,
        items: Any,
        source: WordVectors | Trainer,
        *,
        types: Mapping[str, str] | None = None,
        min_items: int = 1,
        weighting: str = "sif",
        sif: float = 1e-3,
        n_removed: int = 1,
        attribute_weight: float = 1.0,
        n_spare: int = 0,
        rng: np.random.Generator | None = None,
        executor: Executor | None = None,
    ) -> "WordMeanEncoder":
        """Find or learn the vectors of the terms, settle weights and what is removed.

        Parameters
        ----------
        items : FeatureTable or table
            One row an item, without its id.
        source : WordVectors or Trainer
            Vectors by word, or what learns them from the terms of the table.
        types : mapping, optional
            Types of columns whose values mislead, as for `recvec.read`.
        min_items : int
            Terms of fewer items are left out.
        weighting : str
            ``"sif"`` or ``"mean"``.
        sif : float
            s.
        n_removed : int
            Number of singular vectors that are removed.
        attribute_weight : float
            What an attribute value counts.
        n_spare : int
            Words of a file, from its first on, that are kept for new items beside those of the table.
        rng, executor
            For the singular vectors.

        Raises
        ------
        InputError
            Where no term has a vector.
        """
        table = as_table(items, types)
        reader = TermReader.fit(table)
        rows = reader.terms(table.frame)
        terms, counts = _frequent(rows, min_items)
        if not len(terms):
            raise no_terms("the mean of word vectors", f"give texts or attributes, or lower min_items (it is {min_items})")
        total = float(counts.sum())
        if isinstance(source, WordVectors):
            terms, counts, vectors, note = _looked_up(source, terms, counts, n_spare)
            reader = replace(reader, notes=(*reader.notes, note))
        else:
            vectors = source(rows, terms)
        weights = np.full(len(terms), 1.0) if weighting == "mean" else sif / (sif + counts / total)
        weights = np.where(terms.str.contains("=", literal=True).to_numpy(), attribute_weight * weights, weights)
        encoder = cls(reader, terms.to_list(), weights.astype(np.float32), vectors)
        return encoder._without_common(rows, n_removed, rng or np.random.default_rng(0), executor or Runtime().executor)

    def _without_common(self, rows: pl.Series, n: int, rng: np.random.Generator, executor: Executor) -> "WordMeanEncoder":
        """Return the encoder whose vectors lack the first singular vectors of the items."""
        if not n:
            return self
        found = self.embed(self.weigh_terms(rows), executor=executor)
        _, _, common = truncated_svd(found, min(n, found.shape[1]), rng=rng, executor=executor)  # (d, n)
        left = self.vectors - executor.map(lambda v: (v @ common) @ common.T, [self.vectors])[0]
        return replace(self, vectors=np.ascontiguousarray(left, np.float32))

    def weigh(self, frame: pl.DataFrame) -> sp.csr_array:
        """See `TermEncoder.weigh`: n_t a_t over the number of terms that have a vector."""
        return self.weigh_terms(self.reader.terms(frame))

    def weigh_terms(self, rows: pl.Series) -> sp.csr_array:
        """Return X of rows of terms."""
        pieces = _pieces(rows).join(self._table, on="term", how="inner").group_by("row", "column").len().sort("row", "column")
        row, column, times = (pieces[name].to_numpy() for name in ("row", "column", "len"))
        size = np.bincount(row, times, minlength=len(rows))
        values = (times * self.weights[column] / size[row]).astype(np.float32)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(rows)))])
        return sp.csr_array((values, column.astype(np.int32), indptr.astype(np.int32)), shape=(len(rows), len(self.terms)))

    @cached_property
    def _table(self) -> pl.DataFrame:
        return pl.DataFrame({"term": pl.Series(self.terms, dtype=pl.String), "column": np.arange(len(self.terms), dtype=np.int32)})

    def arrays(self) -> dict[str, Array]:
        """See `TermEncoder.arrays`."""
        text, ends = packed(self.terms)
        return {"text": text, "ends": ends, "weights": self.weights, "vectors": self.vectors}

    def meta(self) -> dict[str, Json]:
        """See `TermEncoder.meta`."""
        return self.reader.meta()

    @classmethod
    def restore(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> "WordMeanEncoder":
        """Build an encoder again from `meta` and `arrays`."""
        return cls(TermReader.restore(meta), unpacked(arrays["text"], arrays["ends"]), arrays["weights"], arrays["vectors"])


def _pieces(rows: pl.Series) -> pl.DataFrame:
    """Return one line for each term of each row."""
    table = pl.DataFrame({"row": np.arange(len(rows), dtype=np.int32), "term": rows})
    return table.filter(pl.col("term").list.len() > 0).explode("term").drop_nulls()


def _frequent(rows: pl.Series, min_items: int) -> tuple[pl.Series, F64]:
    """Return the terms of at least so many items, ascending, and how often each occurs."""
    found = _pieces(rows).group_by("term").agg(pl.len().alias("n"), pl.col("row").n_unique().alias("items"))
    kept = found.filter(pl.col("items") >= min(min_items, len(rows))).sort("term")
    return kept["term"], kept["n"].to_numpy().astype(np.float64)


def _looked_up(source: WordVectors, terms: pl.Series, counts: F64, n_spare: int) -> tuple[pl.Series, F64, F32, str]:
    """Return the terms that have a vector and spare words behind them, their counts and vectors, and what is said of it."""
    plain = terms.str.replace(r"^[^=]*=", "")  # the name of the attribute says nothing
    vectors, how = source.found(plain)
    known = how > 0
    said = str(source.coverage(plain, counts))
    if not known.any():
        raise no_terms("the file of word vectors", f"{said}; give another file")
    spare = source.words.head(n_spare).str.to_lowercase().unique(maintain_order=True)
    spare = spare.filter(~spare.is_in(terms.to_list()) & ~spare.str.contains("=", literal=True))
    more, _ = source.vectors(spare)
    all_terms = pl.concat([terms.filter(pl.Series(known)), spare.alias(terms.name)])
    return all_terms, np.concatenate([counts[known], np.zeros(len(spare))]), np.concatenate([vectors[known], more]), said
