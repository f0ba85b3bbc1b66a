"""Reasons for the score of a known user."""

from dataclasses import replace

import numpy as np
import polars as pl

from recvec.contract import Explanation, Model
from recvec.data.histories import Histories

CHANGED = "not from the history"
_ROUNDING = 1e-4  # of all parts, that float32 may lose


def explain_known(model: Model, user: int, history: Histories, item: int, context: pl.DataFrame | None = None) -> Explanation:
    """Explain a stored score by the training history, and by the part of it that the history does not give.

    That part is there where the stored vector is not what the history gives when it is folded in: a model
    that was updated keeps the vectors of users who did nothing new.

    Parameters
    ----------
    model : Model
        Whose score it is.
    user, item : int
        Rows.
    history : Histories
        The user's own, one row.
    context : polars.DataFrame, optional
        One row, for models that use it.
    """
    found = model.explain(history, item, user=user, context=context)
    query = model.queries(np.array([user]), context=context)
    stored = float(model.scores(query, np.array([item]))[0, 0]) + float(getattr(model, "offset", 0.0))
    size = sum(map(abs, found.parts.values())) + float(np.abs(found.contributions).sum(dtype=np.float64))
    if abs(stored - found.score) <= _ROUNDING * size:
        return found
    return replace(found, score=stored, parts={**found.parts, CHANGED: stored - found.score})
