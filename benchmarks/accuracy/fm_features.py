"""Blocks of features of the MovieLens sets for factorization machines: ids, attributes, implicit histories, time.

Histories are taken from the training rows only, with the value 1 / sqrt(length), as in SVD++. Genres share 1 in the same way.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.kernels.fm_blocks import Block, Relations
from recvec.types import F32, I32, I64

DATA = Path(os.environ.get("RECVEC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
ATTRIBUTES = {"movielens-1m": ("gender", "age", "occupation"), "movielens-100k": ("gender", "age", "occupation")}


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings with row numbers, and the attributes of users and items in the order of these.

    Parameters
    ----------
    name : str
        Folder of the data.
    users, items : I32, shape (n,)
        Rows.
    stars : F32, shape (n,)
        Ratings.
    times : I64, shape (n,)
        Seconds; zeros where they are not to be used.
    table : polars frame
        All columns of the ratings.
    of_items, of_users : polars frames
        Attributes; users may have none.
    """

    name: str
    users: I32
    items: I32
    stars: F32
    times: I64
    table: pl.DataFrame
    of_items: pl.DataFrame
    of_users: pl.DataFrame | None


def read(name: str) -> Ratings:
    """Read a data set. MovieLens-1M has no times: those that are known reveal the rating."""
    table = pl.read_parquet(DATA / name / "ratings.parquet")
    people = DATA / name / "users.parquet"
    of_users = pl.read_parquet(people).sort("user_id") if people.exists() else None
    of_items = pl.read_parquet(DATA / name / "items.parquet").sort("item_id")
    user_ids = of_users["user_id"].to_numpy() if of_users is not None else np.unique(table["user_id"].to_numpy())
    item_ids = np.union1d(of_items["item_id"].to_numpy(), table["item_id"].to_numpy())
    of_items = pl.DataFrame({"item_id": item_ids}).join(of_items.with_columns(pl.col("item_id").cast(pl.Int64)), on="item_id", how="left")
    users, items = np.searchsorted(user_ids, table["user_id"].to_numpy()), np.searchsorted(item_ids, table["item_id"].to_numpy())
    times = table["timestamp"].to_numpy().astype(np.int64) if "timestamp" in table.columns else np.zeros(len(table), np.int64)
    stars = table["rating"].to_numpy().astype(np.float32)
    return Ratings(name, users.astype(np.int32), items.astype(np.int32), stars, times, table, of_items, of_users)


def levels(values: Any) -> sp.csr_array:
    """Return one column for each different value (n, levels)."""
    found, place = np.unique(np.asarray(values), return_inverse=True)
    return sp.csr_array((np.ones(len(place), np.float32), (np.arange(len(place)), place)), shape=(len(place), len(found)))


def averaged(matrix: Any) -> sp.csr_array:
    """Return the pattern of a matrix with the value 1 / sqrt(entries of the row)."""
    matrix = sp.csr_array(matrix)
    counts = np.diff(matrix.indptr)
    matrix.data = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
    return matrix


def genres(texts: Sequence[str | None]) -> sp.csr_array:
    """Return one column for each genre of texts that hold them between ``|``."""
    lists = [[] if text is None else text.split("|") for text in texts]
    known = sorted({name for names in lists for name in names})
    rows = np.repeat(np.arange(len(lists)), [len(names) for names in lists])
    columns = [known.index(name) for names in lists for name in names]
    return averaged(sp.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(lists), len(known))))


def block(parts: Sequence[Any]) -> Block:
    """Put parts side by side, each a group of its own."""
    matrix = sp.csr_array(sp.hstack(parts, format="csr", dtype=np.float32))
    matrix.sort_indices()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return Block(matrix, np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts]).astype(np.int32))


def relations(
    data: Ratings, train: I64, rows: Sequence[I64], *, attributes: bool = False, history: bool = False, time: bool = False
) -> list[Relations]:
    """Return the observations at each of `rows` over user and item blocks, and one of days where time is asked for.

    Time: each day of a user, in the part of the user's own span of days, is a feature of its own (time-flipped: a day of
    a user after the last training day takes the last), and so is each of 50 spans of days of all.
    """
    n_users = int(data.users.max()) + 1 if data.of_users is None else len(data.of_users)
    n_items = len(data.of_items)
    by_user = [sp.identity(n_users, dtype=np.float32, format="csr")]
    by_item = [sp.identity(n_items, dtype=np.float32, format="csr")]
    if attributes and data.of_users is not None:
        by_user += [levels(_banded(data.of_users[name])) for name in ATTRIBUTES[data.name]]
    if attributes and "genres" in data.of_items.columns:
        by_item.append(genres(data.of_items["genres"].to_list()))
    if history:
        pairs = data.users[train], data.items[train]
        seen = sp.csr_array((np.ones(len(train), np.float32), pairs), shape=(n_users, n_items))
        by_user.append(averaged(seen))
        by_item.append(averaged(seen.T.tocsr()))
    blocks, numbers = [block(by_user), block(by_item)], [data.users, data.items]
    if time:
        days, day = days_block(data, train)
        blocks.append(days)
        numbers.append(day)
    return [Relations(tuple(blocks), tuple(number[at] for number in numbers)) for at in rows]


def _banded(column: pl.Series) -> Any:
    """Return categories as they are, and ages of single years in bands of five."""
    values = column.to_numpy()
    return values // 5 if column.name == "age" and len(np.unique(values)) > 20 else values


def days_block(data: Ratings, train: I64) -> tuple[Block, I32]:
    """Return a block of a row for each user and day, and the row of each rating."""
    day = data.times // 86_400
    key = data.users.astype(np.int64) << 32 | (day - day.min())
    found, row = np.unique(key, return_inverse=True)
    users, days = (found >> 32).astype(np.int64), found & 0xFFFFFFFF
    edges = np.unique(np.quantile((day - day.min())[train], np.linspace(0, 1, 51)[1:-1]))
    spans = sp.csr_array(levels(np.searchsorted(edges, days)))
    return block([levels(_flipped(found, users, np.unique(key[train]))), spans]), row.astype(np.int32)


def _flipped(found: I64, users: I64, trained: I64) -> I64:
    """Return, for each user and day, the last training day of the user that is not after it, else the first."""
    at = np.searchsorted(trained, found, side="right") - 1
    wrong = (at < 0) | (trained[np.maximum(at, 0)] >> 32 != users)
    after = np.minimum(np.where(wrong, at + 1, at), len(trained) - 1)
    return trained[after]
