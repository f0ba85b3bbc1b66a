"""Whether one method is better than another, or its users were kind to it."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from recvec.errors import InputError
from recvec.evaluation.report import Evaluation
from recvec.evaluation.significance import bootstrap_intervals, holm, not_below, sign_flip
from recvec.types import F64, I32


def differences(results: Mapping[str, Evaluation], *, reference: str | None = None, metric: str | None = None) -> pl.DataFrame:
    """Compare methods with one of them, user by user.

    Parameters
    ----------
    results : mapping of str to Evaluation
        Results on the same split or folds, by the name to show.
    reference : str, optional
        With whom the others are compared; the first by default.
    metric : str, optional
        What is compared; by default the metric by which the task is judged.

    Returns
    -------
    polars.DataFrame
        One row for each other method: method, reference, metric, difference (mean over users of method less
        reference), low and high (95 %, paired bootstrap of users), p (two-sided sign-flip randomisation, 10,000 draws),
        p_holm (adjusted for all rows), not_below (the lower end is above -0.5 % of the reference). Errors (``rmse``,
        ``mae``, ``logloss``) are compared by their per-user sums with the sign turned, so that positive is better.

    Raises
    ------
    InputError
        Where there are fewer than two results, a name or metric is unknown, or the users differ.
    """
    if len(results) < 2:
        raise InputError(f"a comparison needs two results or more, not {len(results)}; measure another method on the same split")
    reference = reference or next(iter(results))
    if reference not in results:
        raise InputError(f"the reference is '{reference}'; allowed: {', '.join(results)}")
    base = results[reference]
    metric = metric or base.headline
    rows = []
    for name, other in results.items():
        if name != reference:
            rows.append((name, reference, metric, *_compared(name, other, base, metric)))
    columns = ["method", "reference", "metric", "difference", "low", "high", "p", "not_below"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return frame.insert_column(7, pl.Series("p_holm", holm(frame["p"].to_numpy())))


def _compared(name: str, other: Evaluation, base: Evaluation, metric: str) -> tuple[float, float, float, float, bool]:
    for result in (other, base):
        if metric not in result.per_user:
            raise InputError(f"'{metric}' has no values of single users; allowed: {', '.join(base.per_user)}")
    if not np.array_equal(other.users, base.users):
        raise InputError(f"'{name}' was measured on other users than the reference; measure both on the same split")
    sign = -1.0 if metric in ("rmse", "mae", "logloss") else 1.0
    mine, theirs = (_by_user(sign * r.per_user[metric], r.users) for r in (other, base))
    both = np.isfinite(mine) & np.isfinite(theirs)
    mine, theirs = mine[both], theirs[both]
    difference = mine - theirs
    low, high = bootstrap_intervals(difference[:, None], np.ones(len(difference)))[0]
    return float(difference.mean()), low, high, sign_flip(difference), not_below(difference, abs(float(theirs.mean())))


def _by_user(values: F64, users: I32) -> F64:
    """Sum the values of users who were asked about in several folds."""
    _, person = np.unique(users, return_inverse=True)
    return np.bincount(person, values).astype(np.float64)
