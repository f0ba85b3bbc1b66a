"""Reasons for the score of a known user."""

from dataclasses import replace

import numpy as np

from recvec.contract import Explanation, Model
from recvec.data.histories import Histories

CHANGED = "not from the history"
_ROUNDING = 1e-4  # of all parts, that float32 may lose


def explain_known(model: Model, user: int, history: Histories, item: int) -> Explanation:
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
    """
    found = model.explain(history, item)
    wanted = np.array([item])
    stored, folded = (float(model.scores(q, wanted)[0, 0]) for q in (model.queries(np.array([user])), model.queries(histories=history)))
    size = sum(map(abs, found.parts.values())) + float(np.abs(found.contributions).sum(dtype=np.float64))
    if abs(stored - folded) <= _ROUNDING * size:
        return found
    return replace(found, score=found.score + stored - folded, parts={**found.parts, CHANGED: stored - folded})
