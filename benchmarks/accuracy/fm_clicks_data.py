"""The click data of `fm_clicks.py`: Frappe with negatives drawn for its training positives, and a sample of Criteo.

Frappe's published training file is not there, its positives are: for each, two negatives are drawn, items uniform, the context
(every other field) kept, as the given validation and test negatives are made. They avoid items of which the user is known to
be a user: by the training positives alone, or, as published, by the positives of validation and test as well.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

DATA = Path(os.environ.get("RECVEC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FIELDS = ("user_id", "item_id", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
SIZES = np.array([957, 4082, 7, 7, 2, 3, 2, 9, 80, 233])
NEGATIVES = 2  # for each positive


class Clicks(NamedTuple):
    """Rows of features and labels, 0 and 1."""

    rows: sp.csr_array
    labels: np.ndarray


def groups() -> np.ndarray:
    """Return the field of each feature, shape (F,)."""
    return np.repeat(np.arange(len(SIZES)), SIZES).astype(np.int32)


def frappe_part(part: str) -> Clicks:
    """Return ``"validation"`` or ``"test"`` as given."""
    table = pl.read_parquet(DATA / "frappe" / f"fm_{part}.parquet")
    return Clicks(_one_hot(table.select(FIELDS).to_numpy()), (table["label"].to_numpy() > 0).astype(np.float32))


def frappe_train(seed: int, *, as_published: bool) -> Clicks:
    """Return the training positives and the negatives drawn for them."""
    positives = pl.read_parquet(DATA / "frappe" / "fm_train_positives.parquet").select(FIELDS).to_numpy()
    known = [_pairs(positives)]
    if as_published:
        others = (pl.read_parquet(DATA / "frappe" / f"fm_{part}.parquet") for part in ("validation", "test"))
        known += [_pairs(table.filter(pl.col("label") > 0).select(FIELDS).to_numpy()) for table in others]
    avoid, rng = np.unique(np.concatenate(known)), np.random.default_rng(seed)
    drawn = np.repeat(positives, NEGATIVES, axis=0)
    wrong = np.arange(len(drawn))
    while len(wrong):
        drawn[wrong, 1] = rng.integers(0, SIZES[1], len(wrong))
        wrong = wrong[np.isin(_pairs(drawn[wrong]), avoid)]
    labels = np.repeat(np.array([1, 0], np.float32), [len(positives), len(drawn)])
    return Clicks(_one_hot(np.concatenate([positives, drawn])), labels)


def _pairs(rows: np.ndarray) -> np.ndarray:
    """Return the user and item of each row as one number."""
    return rows[:, 0].astype(np.int64) * SIZES[1] + rows[:, 1]


def _one_hot(rows: np.ndarray) -> sp.csr_array:
    features = rows + np.concatenate([[0], np.cumsum(SIZES)[:-1]])
    n, width = features.shape
    return sp.csr_array(
        (np.ones(n * width, np.float32), features.ravel().astype(np.int32), np.arange(0, n * width + 1, width)), shape=(n, int(SIZES.sum()))
    )


def criteo() -> tuple[pl.DataFrame, np.ndarray]:
    """Return the columns and the labels of all 8,000 rows; counts are taken as ``log(1 + count)``, those below 0 as 0."""
    table = pl.read_parquet(DATA / "criteo-sample" / "clicks.parquet")
    counts = [name for name, kind in table.schema.items() if kind.is_numeric() and name != "label"]
    columns = table.drop("label", "split").with_columns(pl.col(counts).cast(pl.Float64).clip(lower_bound=0).log1p())
    return columns, table["label"].to_numpy().astype(int)
