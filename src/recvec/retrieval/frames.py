"""Rows and arrays as tables with ids."""

import numpy as np
import polars as pl

from recvec.contract import Explanation, Ranked
from recvec.data.dataset import Dataset
from recvec.data.vocabulary import Vocabulary
from recvec.types import Array

HISTORY = "history"  # the part of an explanation that an item of the history is


def lists_frame(lists: Ranked, route: str, place: Array, items: Vocabulary, users: pl.Series | None) -> pl.DataFrame:
    """Return user_id (where `users` are given), item_id, score, rank, route and place.

    Parameters
    ----------
    lists : Ranked
        Lists of B people.
    route : str
        How they were made.
    place : array, shape (B,)
        Where each person stands among those who were asked for; becomes the column ``place``.
    items : Vocabulary
        Ids of the rows.
    users : polars.Series, optional
        Id of each person, length B.
    """
    real = lists.rows >= 0
    person, rank = np.nonzero(real)
    columns = {} if users is None else {"user_id": users[person]}
    columns["item_id"] = items.ids[lists.rows[real]]
    columns["score"] = pl.Series(lists.scores[real], dtype=pl.Float32)
    columns["rank"] = pl.Series(rank + 1, dtype=pl.Int32)
    columns["route"] = pl.Series([route], dtype=pl.String).new_from_index(0, len(person))
    columns["place"] = pl.Series(np.asarray(place)[person], dtype=pl.Int64)
    return pl.DataFrame(columns)


def one_list(lists: Ranked, vocabulary: Vocabulary) -> pl.DataFrame:
    """Return the first list as id, score, rank."""
    real = lists.rows[0] >= 0
    ids = vocabulary.ids[lists.rows[0][real]]
    rank = pl.Series("rank", np.arange(1, real.sum() + 1), dtype=pl.Int32)
    return pl.DataFrame([ids, pl.Series("score", lists.scores[0][real], dtype=pl.Float32), rank])


def parts_frame(found: Explanation, route: str, items: Vocabulary) -> pl.DataFrame:
    """Return part, item_id, contribution and route: the parts with a name, then items by the size of what they add.

    Items that add nothing are left out.
    """
    largest = np.argsort(-np.abs(found.contributions), kind="stable")
    added = found.contributions[largest]
    history = items.ids[found.items[largest]]
    ids = pl.concat([pl.Series("item_id", [None] * len(found.parts), dtype=history.dtype), history])
    frame = pl.DataFrame(
        {
            "part": pl.Series([*found.parts, *[HISTORY] * len(history)], dtype=pl.String),
            "item_id": ids,
            "contribution": pl.Series([*found.parts.values(), *added.tolist()], dtype=pl.Float32),
            "route": pl.Series([route], dtype=pl.String).new_from_index(0, len(ids)),
        }
    )
    return frame.filter((pl.col("contribution") != 0) | pl.col("item_id").is_null())


def embeddings_frame(vectors: Array, ids: pl.Series) -> pl.DataFrame:
    """Return id and embedding (list of Float32)."""
    listed = pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).arr.to_list()
    return pl.DataFrame([ids.alias("id"), listed])


def titles(data: Dataset, ids: pl.Series) -> pl.Series | None:
    """Return the titles of items, null where unknown; None without a column of titles."""
    features = data.item_features
    if features is None or features.title is None:
        return None
    rows = data.items.lookup(ids)
    return features.frame[features.title][np.maximum(rows, 0)].set(pl.Series(rows < 0), None).alias("title")
