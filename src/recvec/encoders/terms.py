"""An item as a list of terms: the words of its texts, and one term for each attribute value, such as ``genres=Comedy``.

Words of all texts share one vocabulary. A category is one term, a list one for each value, a number the tenth of the table that
it falls into (`encoders.columns.Buckets`). A missing value is no term. A word never holds ``=``, so that attributes are told
from words by it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import Runtime
from recvec.data.features import FeatureTable, FeatureType
from recvec.data.vocabulary import shown
from recvec.encoders.columns import N_BUCKETS, Buckets
from recvec.encoders.words import LONGEST, n_cut, words_of
from recvec.errors import ColumnError, InputError, nearest
from recvec.kernels.factorization import sparse_dense
from recvec.types import F32, Array, Executor, Json


@dataclass(frozen=True, eq=False)
class TermReader:
    """Turns typed rows into terms; frozen.

    Parameters
    ----------
    types : mapping of str to FeatureType
        Type of every column that the table had.
    edges : mapping of str to tuple of float
        Where the buckets of each number begin.
    notes : tuple of str
        What was left out or is unusual, a line each.
    """

    types: Mapping[str, FeatureType]
    edges: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(cls, table: FeatureTable) -> "TermReader":
        """Settle the buckets of numbers."""
        edges, notes = {}, []
        for name, kind in table.types.items():
            values = table.frame[name].drop_nulls()
            if not len(values):
                notes.append(f"item attribute '{name}' is left out: it has no value")
            elif kind == "number":
                edges[name] = _edges(values.to_numpy())
            elif kind == "vector":
                notes.append(f"item attribute '{name}' is left out: a vector is no term")
            elif kind == "text" and (cut := n_cut(values)):
                notes.append(f"{cut} text(s) of item attribute '{name}' are read up to their first {LONGEST:,} characters")
        return cls(dict(table.types), edges, tuple(notes))

    def terms(self, frame: pl.DataFrame) -> pl.Series:
        """Return the terms of typed rows, List(String) of shape (n,); a column that is not there is missing throughout."""
        found = [made for name, kind in self.types.items() if name in frame.columns for made in self._of_column(frame[name], kind)]
        if not found:
            return pl.Series("terms", [[]] * len(frame), dtype=pl.List(pl.String))
        named = pl.DataFrame([made.alias(str(n)) for n, made in enumerate(found)])
        return named.select(pl.concat_list(pl.all().fill_null([])).alias("terms"))["terms"]

    def _of_column(self, values: pl.Series, kind: FeatureType) -> list[pl.Series]:
        name = values.name
        match kind:
            case "text":
                return [words_of(values)]
            case "category":
                return [values.to_frame().select(pl.concat_list(pl.lit(f"{name}=") + pl.col(name)).list.drop_nulls()).to_series()]
            case "list":
                return [values.list.eval(pl.lit(f"{name}=") + pl.element())]
            case "number" if name in self.edges:
                buckets = Buckets(name=name, edges=self.edges[name])
                labels = np.array([buckets.label(n) for n in range(buckets.n_features)])
                entries = buckets.entries(values)
                given = np.full(len(values), None, object)
                given[entries.rows] = labels[entries.features]
                return [pl.Series(name, [[] if label is None else [str(label)] for label in given], dtype=pl.List(pl.String))]
            case _:
                return []

    def typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the columns of a frame from elsewhere in the types of the training table.

        Raises
        ------
        ColumnError
            For a column that the training table did not have, or a value that does not fit the type it had there.
        """
        strange = next((name for name in frame.columns if name not in self.types), None)
        if strange is not None:
            raise ColumnError(
                f"there is no item attribute '{shown(strange)}' ({nearest(strange, self.types)}); allowed: {', '.join(self.types)}"
            )
        return FeatureTable.of_rows(frame, "item attributes", types={name: self.types[name] for name in frame.columns}).frame

    def meta(self) -> dict[str, Json]:
        """Return what `restore` builds it from."""
        edges: dict[str, Json] = {name: list(found) for name, found in self.edges.items()}
        return {"types": {**self.types}, "edges": edges, "notes": [*self.notes]}

    @classmethod
    def restore(cls, meta: Mapping[str, Any]) -> "TermReader":
        """Build a reader again from `meta`."""
        return cls(meta["types"], {name: tuple(found) for name, found in meta["edges"].items()}, tuple(meta["notes"]))


class TermEncoder(ABC):
    """Items as weighted sums of vectors of their terms: ``E = X W``, X (n, t) sparse, W (t, d)."""

    reader: TermReader
    terms: list[str]
    vectors: F32

    @abstractmethod
    def weigh(self, frame: pl.DataFrame) -> sp.csr_array:
        """Return X of typed rows, float32 (n, t) with sorted indices."""

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """Return the numbers that the encoder is built from again."""

    @abstractmethod
    def meta(self) -> dict[str, Json]:
        """Return what else it is built from."""

    def matrix(self, items: Any) -> sp.csr_array:
        """Return X of a table of items, float32 (n, t): polars, pandas, Arrow, or a `FeatureTable`.

        Raises
        ------
        ColumnError
            As `TermReader.typed`.
        """
        return self.weigh(items.frame if isinstance(items, FeatureTable) else self.reader.typed(as_polars(items)))

    def transform(self, items: Any, *, executor: Executor | None = None) -> F32:
        """Return the vectors E of a table of items, (n, d); zeros for an item of whose terms none is known."""
        return self.embed(self.matrix(items), executor=executor)

    def embed(self, matrix: sp.csr_array, *, executor: Executor | None = None) -> F32:
        """Return the vectors of rows of X, (n, d)."""
        return sparse_dense(matrix, self.vectors, executor=executor or Runtime().executor)


def as_polars(items: Any) -> pl.DataFrame:
    """Return a polars, pandas or Arrow table as a polars one."""
    if isinstance(items, pl.DataFrame):
        return items
    if type(items).__module__.partition(".")[0] == "pandas":
        return pl.DataFrame(
            {str(name): pl.Series(str(name), items[name].tolist(), strict=False, nan_to_null=True) for name in items.columns}
        )
    return pl.DataFrame(items)


def as_table(items: Any, types: Mapping[str, str] | None = None) -> FeatureTable:
    """Return a table of items with a type for each column."""
    return items if isinstance(items, FeatureTable) else FeatureTable.of_rows(as_polars(items), "item attributes", types=types)


def no_terms(name: str, advice: str) -> InputError:
    """Return the error of a table in which nothing can be learned from."""
    return InputError(f"{name} finds no usable word or attribute value in the item attributes; {advice}")


def _edges(values: Array) -> tuple[float, ...]:
    edges = np.unique(np.quantile(values, np.arange(1, N_BUCKETS) / N_BUCKETS, method="higher"))
    return tuple(edges[edges > values.min()].tolist()) or (float(values.max()),)
