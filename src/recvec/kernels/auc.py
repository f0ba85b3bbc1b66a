"""Area under the ROC curve: of each user's scores, of rows all together, and of those rows under many draws.

``auc = P(score of a relevant entry > score of another entry) + P(equal) / 2``.
"""

from collections.abc import Iterable

import numpy as np

from recvec.errors import ValueRangeError
from recvec.kernels.arguments import Lists, allowed_rows, check_matrix, checked_lists
from recvec.kernels.compiled import compiled_exactly
from recvec.types import F32, F64, I32, Array

CHUNK = 4096  # scores that stay in the first-level cache while all relevant ones are compared with them


def auc_of_scores(scores: F32, relevant: Lists, exclude: Lists | None = None, candidates: I32 | None = None) -> F64:
    """Return the AUC of each user: relevant items against all others that compete.

    Parameters
    ----------
    scores : F32, shape (B, n_items)
        C-contiguous; higher is better. NaN and -inf mean: not available, equal to each other and below all else.
    relevant : pair of integer arrays
        ``(indptr, items)`` of a CSR matrix with B rows and sorted columns: the relevant items of each user.
    exclude : pair of integer arrays, optional
        Items that do not compete, likewise. A relevant item stays relevant.
    candidates : I32, optional
        The only items that compete, distinct. Relevant items that are not among them are left out.

    Returns
    -------
    F64, shape (B,)
        ``(#pairs with the relevant item above + #pairs with equal scores / 2) / #pairs`` of a relevant and a competing
        item; NaN where a user has no relevant item or nothing competes.

    Raises
    ------
    ValueRangeError
        Where an argument has the wrong shape, type, layout or range.

    Notes
    -----
    Runs in the calling thread. Cost: a copy of the scores and ``2 |R| n_items`` comparisons a user, vectorised.
    """
    check_matrix("scores", scores)
    n_users, n_items = scores.shape
    indptr, items = checked_lists("relevant", relevant, n_users)
    starts, excluded = checked_lists("exclude", exclude, n_users)
    for name, rows in (("relevant", items), ("exclude", excluded)):
        if len(rows) and (rows.min() < 0 or rows.max() >= n_items):
            raise ValueRangeError(f"{name} holds an item row outside 0 ... {n_items - 1}, the columns of the scores")
    return _auc_of_scores(scores, indptr, items, starts, excluded, allowed_rows(candidates, n_items))


@compiled_exactly
def _auc_of_scores(scores, indptr, items, starts, excluded, allowed):
    n_users, n_items = scores.shape
    place = np.full(n_items, -1, np.int32)  # of an item among those allowed
    for at in range(len(allowed)):
        place[allowed[at]] = at
    competing = np.empty(len(allowed), np.float32)
    values = np.empty(n_users)
    for user in range(n_users):
        _copy(scores[user], allowed, competing)
        relevant = items[indptr[user] : indptr[user + 1]]
        asked = _take_out(relevant, place, competing)
        out = _take_out(excluded[starts[user] : starts[user + 1]], place, competing)
        n_pairs = len(asked) * (len(allowed) - len(asked) - len(out))
        values[user] = _twice_below(asked, competing) / (2 * n_pairs) if n_pairs else np.nan
    return values


@compiled_exactly
def _copy(scores, allowed, competing):
    """Copy the scores of the allowed items; NaN becomes -inf, for NaN will mean that an item does not compete."""
    everything = len(allowed) == len(scores)  # then they are in order, and nothing need be gathered
    for at in range(len(allowed)):
        score = scores[at] if everything else scores[allowed[at]]
        competing[at] = score if score == score else -np.inf  # noqa: PLR0124  true but for NaN


@compiled_exactly
def _take_out(items, place, competing):
    """Replace the scores of some items by NaN, and return those that competed until now."""
    taken = np.empty(len(items), np.float32)
    n_taken = 0
    for item in items:
        if place[item] >= 0 and not np.isnan(competing[place[item]]):
            taken[n_taken] = competing[place[item]]
            competing[place[item]] = np.nan
            n_taken += 1
    return taken[:n_taken]


@compiled_exactly
def _twice_below(asked, competing):
    """Return how often an asked score is above a competing one, plus how often above or equal; NaN is neither."""
    total = np.int64(0)
    for start in range(0, len(competing), CHUNK):
        chunk = competing[start : start + CHUNK]
        for score in asked:
            count = np.int32(0)
            for at in range(len(chunk)):  # counted in 32 bits, as wide as the scores: vectorised
                count = np.int32(count + np.int32(chunk[at] < score) + np.int32(chunk[at] <= score))
            total += count
    return total


def auc(label: Array, score: Array, times: Array | None = None) -> float:
    """Return the AUC over all rows together: rows labelled 1 against the others.

    Parameters
    ----------
    label : array, shape (n,)
        1 where the row is relevant; 0, -1 or false where it is not.
    score : array, shape (n,)
        Higher is better. NaN counts as -inf.
    times : array, shape (n,), optional
        How often each row counts; by default once.

    Returns
    -------
    float
        ``(sum over pairs of a relevant and another row of t_i t_j ([s_i > s_j] + [s_i = s_j] / 2)) / sum over pairs of
        t_i t_j``; NaN where one kind of rows is absent. Cost: sorting n scores.
    """
    counted = np.ones(len(label)) if times is None else np.asarray(times, dtype=np.float64)
    return float(auc_of_draws(label, score, np.arange(len(label)), [counted[:, None]])[0])


def auc_of_draws(label: Array, score: Array, groups: Array, blocks: Iterable[Array]) -> F64:
    """Return `auc` under several weightings of groups of rows; the scores are sorted once.

    Parameters
    ----------
    label, score : array, shape (n,)
        As for `auc`.
    groups : integer array, shape (n,)
        The group of each row, such as its user.
    blocks : iterable of arrays, shape (n_groups, D)
        How often the rows of each group count in each of D draws, block by block.

    Returns
    -------
    F64, shape (n_draws,)
        The blocks' draws one after the other; NaN where one kind of rows is absent. Cost: sorting n scores, then
        ``n n_draws`` additions.
    """
    known = np.where(np.isnan(score), -np.inf, score)
    order = np.argsort(known, kind="stable")
    ascending = known[order]
    last = np.ones(len(order), np.bool_)  # of the rows with one score
    last[:-1] = ascending[1:] != ascending[:-1]
    relevant, owners = np.asarray(label)[order] > 0, np.asarray(groups)[order]
    return np.concatenate([_auc_of_draws(relevant, last, owners, np.ascontiguousarray(times)) for times in blocks])


@compiled_exactly
def _auc_of_draws(relevant, last, groups, times):
    n_draws = times.shape[1]
    above, others, positives = np.zeros(n_draws), np.zeros(n_draws), np.zeros(n_draws)
    tied = np.zeros((2, n_draws))  # other rows and relevant rows of the score at hand
    for at in range(len(groups)):
        mine = tied[np.int64(relevant[at])]
        for draw in range(n_draws):
            mine[draw] += times[groups[at], draw]
        if last[at]:
            for draw in range(n_draws):
                above[draw] += tied[1, draw] * (others[draw] + 0.5 * tied[0, draw])
                others[draw] += tied[0, draw]
                positives[draw] += tied[1, draw]
                tied[0, draw] = tied[1, draw] = 0.0
    return above / (positives * others)
