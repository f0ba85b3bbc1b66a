"""One attribute as features: each kind of column turns values into entries of a sparse row.

What every kind keeps to:

- a missing value has no entry at all, and neither has a level that was not there when the coder was fitted;
- the values of an attribute have a mean square length of 1 over the rows that have it, so that no attribute is louder than
  another by its unit or by how many values it holds.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recvec.errors import ColumnError
from recvec.types import F32, F64, I32, Array, Json

N_BUCKETS = 10  # of a bucketed number
FARTHEST = 10.0  # a standardised number is held to so many standard deviations


class Entries(NamedTuple):
    """Entries of n rows: where they are and what they are, in any order; each of shape (n_entries,)."""

    rows: I32
    features: I32
    values: F32


@dataclass(frozen=True, eq=False, kw_only=True)
class Column(ABC):
    """One attribute.

    Parameters
    ----------
    name : str
        Of the attribute.
    scale : float
        What every value is multiplied by.
    """

    name: str
    scale: float = 1.0

    @property
    @abstractmethod
    def n_features(self) -> int:
        """How many features it makes."""

    @property
    @abstractmethod
    def levels(self) -> list[str]:
        """What each feature is called."""

    @abstractmethod
    def entries(self, values: pl.Series) -> Entries:
        """Return the entries of n typed values before they are scaled, see `FeatureTable` for the types."""

    @abstractmethod
    def settings(self) -> dict[str, Json]:
        """Return what `restored` builds it from, beside the arrays."""

    def arrays(self) -> Mapping[str, Array]:
        """Return the numbers that `restored` builds it from."""
        return {}

    def label(self, feature: int) -> str:
        """Return how a feature is called in explanations, such as ``occupation=artist``."""
        return f"{self.name}={self.levels[feature]}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Levels(Column):
    """A category, one-hot; or a list, 1 / n for each of its n values. Both by what the levels are, or by their hash.

    Parameters
    ----------
    several : bool
        Whether a row holds a list.
    known : polars.Series of text
        The levels, ascending; empty where they are hashed.
    n_hashed : int
        Number of features that levels are hashed into (CRC-32 of the text); 0: none are.
    """

    several: bool
    known: pl.Series
    n_hashed: int = 0

    @property
    def n_features(self) -> int:
        """See `Column.n_features`."""
        return self.n_hashed or len(self.known)

    @cached_property
    def levels(self) -> list[str]:
        """See `Column.levels`."""
        return [f"hash {n}" for n in range(self.n_hashed)] if self.n_hashed else self.known.to_list()

    def entries(self, values: pl.Series) -> Entries:
        """Return one entry for each known level of a row."""
        frame = pl.DataFrame({"row": np.arange(len(values), dtype=np.int32), "level": values})
        if self.several:
            frame = frame.with_columns(share=1.0 / pl.col("level").list.len()).filter(pl.col("level").list.len() > 0).explode("level")
        else:
            frame = frame.with_columns(share=pl.lit(1.0))
        frame = frame.drop_nulls("level")
        distinct = frame["level"].unique().sort()
        codes = pl.DataFrame({"level": distinct, "code": self._codes(distinct)})
        found = frame.join(codes, on="level", how="left", maintain_order="left").filter(pl.col("code") >= 0)
        if self.n_hashed and self.several:  # two values of a list may have the same hash
            found = found.group_by("row", "code", maintain_order=True).agg(pl.col("share").sum())
        return Entries(found["row"].to_numpy(), found["code"].to_numpy(), found["share"].to_numpy().astype(np.float32))

    def _codes(self, distinct: pl.Series) -> I32:
        """Return the feature of each level, -1 for one that is not known."""
        if self.n_hashed:
            return np.array([zlib.crc32(level.encode()) % self.n_hashed for level in distinct], np.int32)
        order = pl.DataFrame({"level": self.known, "code": np.arange(len(self.known), dtype=np.int32)})
        return distinct.to_frame("level").join(order, on="level", how="left", maintain_order="left")["code"].fill_null(-1).to_numpy()

    def settings(self) -> dict[str, Json]:
        """See `Column.settings`."""
        return {"several": self.several, "n_hashed": self.n_hashed}

    def arrays(self) -> Mapping[str, Array]:
        """Return the texts of the levels as bytes, and where each ends."""
        texts = [level.encode() for level in self.known]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return {"text": np.frombuffer(b"".join(texts), np.uint8).copy(), "ends": ends}


@dataclass(frozen=True, eq=False, kw_only=True)
class Standardized(Column):
    """A number less its mean, over its standard deviation, held to `FARTHEST` of them; the mean itself reads as 0.

    Parameters
    ----------
    mean, deviation : float
        Of the known values.
    """

    mean: float
    deviation: float

    @property
    def n_features(self) -> int:
        """One."""
        return 1

    @property
    def levels(self) -> list[str]:
        """One, without a name."""
        return [""]

    def label(self, feature: int) -> str:
        """Return the name: there is but one feature."""
        return self.name

    def entries(self, values: pl.Series) -> Entries:
        """Return one entry for each known number."""
        rows = np.flatnonzero(values.is_not_null().to_numpy()).astype(np.int32)
        numbers: F64 = (values.drop_nulls().to_numpy() - self.mean) / self.deviation
        return Entries(rows, np.zeros(len(rows), np.int32), numbers.clip(-FARTHEST, FARTHEST).astype(np.float32))

    def settings(self) -> dict[str, Json]:
        """See `Column.settings`."""
        return {"mean": self.mean, "deviation": self.deviation}


@dataclass(frozen=True, eq=False, kw_only=True)
class Buckets(Column):
    """A number by the bucket that it falls into, one-hot.

    Parameters
    ----------
    edges : tuple of float
        Where buckets begin, ascending; the first has no beginning. At most `N_BUCKETS` - 1, quantiles of the known values.
    """

    edges: tuple[float, ...]

    @property
    def n_features(self) -> int:
        """One for each bucket."""
        return len(self.edges) + 1

    @property
    def levels(self) -> list[str]:
        """Return the bounds of the buckets, the upper one not included."""
        bounds = [f"{edge:g}" for edge in self.edges]
        return [f"below {bounds[0]}", *(f"{a} to {b}" for a, b in pairwise(bounds)), f"{bounds[-1]} and above"]

    def entries(self, values: pl.Series) -> Entries:
        """Return one entry for each known number."""
        rows = np.flatnonzero(values.is_not_null().to_numpy()).astype(np.int32)
        bucket = np.searchsorted(np.array(self.edges), values.drop_nulls().to_numpy(), side="right").astype(np.int32)
        return Entries(rows, bucket, np.ones(len(rows), np.float32))

    def settings(self) -> dict[str, Json]:
        """See `Column.settings`."""
        return {"edges": list(self.edges)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Vectors(Column):
    """A vector as it is.

    Parameters
    ----------
    width : int
        Its length.
    """

    width: int

    @property
    def n_features(self) -> int:
        """One for each coordinate."""
        return self.width

    @property
    def levels(self) -> list[str]:
        """Return the numbers of the coordinates."""
        return [str(n) for n in range(self.width)]

    def entries(self, values: pl.Series) -> Entries:
        """Return one entry for each coordinate of a known vector.

        Raises
        ------
        ColumnError
            For a vector of another length.
        """
        known = values.drop_nulls()
        wrong = known.filter(known.list.len() != self.width)
        if len(wrong):
            raise ColumnError(f"{self.name} is a vector of {len(wrong[0])} numbers; allowed: {self.width}, as in training; correct it")
        rows = np.flatnonzero(values.is_not_null().to_numpy()).astype(np.int32)
        numbers = known.explode().to_numpy().astype(np.float32) if len(known) else np.zeros(0, np.float32)
        return Entries(np.repeat(rows, self.width), np.tile(np.arange(self.width, dtype=np.int32), len(rows)), numbers)

    def settings(self) -> dict[str, Json]:
        """See `Column.settings`."""
        return {"width": self.width}


KINDS: dict[str, type[Column]] = {"levels": Levels, "standardized": Standardized, "buckets": Buckets, "vector": Vectors}


def saved(column: Column) -> dict[str, Json]:
    """Return a column as JSON, its arrays left out."""
    kind = next(name for name, found in KINDS.items() if isinstance(column, found))
    return {"name": column.name, "kind": kind, "scale": column.scale, **column.settings()}


def restored(page: Mapping[str, Any], arrays: Mapping[str, Array]) -> Column:
    """Build a column again."""
    fields = {name: value for name, value in page.items() if name != "kind"}
    if page["kind"] == "levels":
        ends = arrays["ends"].tolist()
        text = arrays["text"].tobytes()
        fields["known"] = pl.Series([text[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)], dtype=pl.String)
    if page["kind"] == "buckets":
        fields["edges"] = tuple(fields["edges"])
    return KINDS[page["kind"]](**fields)
