"""Which items may be listed: candidates, items denied to everyone, and items denied to some users."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.readers import Source, read_columns
from recvec.data.vocabulary import Vocabulary, as_ids
from recvec.errors import InputError
from recvec.types import I32

Id = int | str
Denials = Iterable[Id] | Source
"""Item ids; or a table with the column ``item_id``, and with ``user_id`` where each row is for that user only."""


def denials(deny: Denials | None) -> pl.DataFrame | None:
    """Return what is denied as a table with item_id and perhaps user_id; None where nothing is.

    Raises
    ------
    InputError
        Where one id is given instead of a list, or a table has no column item_id.
    """
    if deny is None or getattr(deny, "shape", (1,))[0] == 0:
        return None
    if hasattr(deny, "columns") or hasattr(deny, "column_names"):
        return read_columns(deny, required=["item_id"], optional=["user_id"], name="deny")
    if isinstance(deny, str | bytes) or not isinstance(deny, Iterable):
        raise InputError(f"deny is {deny!r}; allowed: a list of item ids, or a table with the column item_id; write [{deny!r}]")
    ids: Any = deny if isinstance(deny, pl.Series) else list(deny)
    return as_ids(ids, "item_id").to_frame()


def allowed_items(items: Vocabulary, candidates: Iterable[Id] | None, denied: pl.DataFrame | None) -> I32 | None:
    """Return the rows that may be listed, ascending; None where all may. Denials of some users only have no say here.

    Raises
    ------
    UnknownItemError
        For a candidate that the vocabulary does not hold.
    """
    allowed = None if candidates is None else np.unique(items.rows(candidates))
    if denied is None or "user_id" in denied.columns:
        return allowed
    everything = np.arange(len(items), dtype=np.int32)
    return np.setdiff1d(everything if allowed is None else allowed, items.lookup(denied["item_id"]))


def denied_to_users(data: Dataset, denied: pl.DataFrame | None) -> Histories | None:
    """Return the items denied to each user of the data, None where denials name no users; unknown ids deny nothing."""
    if denied is None or "user_id" not in denied.columns:
        return None
    users, items = data.users.lookup(denied["user_id"]), data.items.lookup(denied["item_id"])
    known = (users >= 0) & (items >= 0)
    ones = np.ones(known.sum(), np.float32)
    pairs = sp.coo_array((ones, (users[known], items[known])), shape=(data.n_users, data.n_items))
    return Histories.from_matrix(pairs.tocsr())


def either(left: Histories, right: Histories) -> Histories:
    """Return the items that are in one history or the other, with weight 1 or 2."""
    return Histories.from_matrix(sp.csr_array(_marked(left) + _marked(right)))


def _marked(histories: Histories) -> sp.csr_array:
    """Return ones: where weights are added up, a sum of 0 would vanish."""
    shape = (len(histories), histories.n_items)
    return sp.csr_array((np.ones(len(histories.items), np.float32), histories.items, histories.indptr), shape=shape)
