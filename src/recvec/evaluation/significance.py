"""How sure a measured mean is, and whether a difference could be chance.

Intervals are percentiles of the bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
Every function draws from a generator of its own, made from its seed.
"""

from collections.abc import Iterator

import numpy as np

from recvec.errors import ValueRangeError
from recvec.kernels.auc import auc_of_draws
from recvec.kernels.blocks import even_blocks
from recvec.kernels.resampling import DRAWS, draw_times, sums_of_draws, sums_of_pair_draws
from recvec.types import F64, I32, Array

N_DRAWS = 1000
N_FLIPS = 10_000
MARGIN = 0.005  # "not below" allows so much of the reference's mean


def bootstrap_intervals(
    sums: F64, counts: F64, clusters: Array | None = None, *, seed: int = 0, level: float = 0.95, n_draws: int = N_DRAWS
) -> F64:
    """Return percentile intervals of metrics over users, who are drawn with replacement.

    The estimate of metric j is ``sum_i sums[i, j] / sum_i counts[i, j]``, a mean where every count is 1.

    Parameters
    ----------
    sums : F64, shape (n, m) or (n_seeds, n, m)
        What each row adds to each metric. Where several seeds were fitted, each draw also draws seeds with replacement
        and takes the mean of their estimates: the interval then holds the noise of training as well.
    counts : F64, shape (n,) or (n, m)
        What each row counts; 0, as its sum, where a metric is not defined for it.
    clusters : integer array, shape (n,), optional
        The user of each row, where users have several: all rows of a drawn user come together. By default every row is
        a user.
    seed : int
        Seed of the draws.
    level : float
        Coverage.
    n_draws : int
        Number of draws.

    Returns
    -------
    F64, shape (m, 2)
        Lower and upper ends; NaN where nothing counts. Cost: ``n_draws n (n_seeds + 1) m`` multiplications.
    """
    by_seed = sums if sums.ndim == 3 else sums[None]
    n_seeds, _, m = by_seed.shape
    counted = counts if counts.ndim == 2 else counts[:, None]
    values = np.column_stack([*by_seed, counted])  # (n, n_seeds m + m or 1)
    if clusters is not None:
        values = _sums_of_clusters(values, clusters)
    rng, seed_rng = np.random.default_rng(seed), np.random.default_rng([seed, n_seeds])
    estimates = []
    for size in _sizes(n_draws):
        drawn = sums_of_draws(values, draw_times(rng, len(values), size))  # (D, n_seeds m + m or 1)
        of_seeds = drawn[:, : n_seeds * m].reshape(size, n_seeds, m)
        shares = draw_times(seed_rng, n_seeds, size).T[:, :, None] / n_seeds  # (D, n_seeds, 1)
        estimates.append(_ratio((of_seeds * shares).sum(axis=1), drawn[:, n_seeds * m :]))
    return _percentiles(np.concatenate(estimates), level)


def two_way_intervals(
    users: I32, items: I32, gains: F64, shares: F64, *, seed: int = 0, level: float = 0.95, n_draws: int = N_DRAWS
) -> F64:
    """Return percentile intervals of metrics over pairs, whose users and items are both drawn with replacement.

    The estimate of metric j is ``sum_p gains[p, j] / sum_p shares[p]``. In a draw a pair counts as often as its user
    came times as often as its item came, so that the interval holds for other users and for other items as well.

    Parameters
    ----------
    users, items : I32, shape (p,)
        All relevant pairs, found or not.
    gains : F64, shape (p, m)
        What each pair adds to each metric; 0 where the item was not found.
    shares : F64, shape (p,)
        ``1 / |R_u|``: the pairs of a user count one together.
    seed, level, n_draws
        As for `bootstrap_intervals`.

    Returns
    -------
    F64, shape (m, 2)
        Lower and upper ends. Cost: ``n_draws p (m + 2)`` multiplications, less where gains are 0.

    Raises
    ------
    ValueRangeError
        Where users, items and gains are not equally many.

    Notes
    -----
    Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007. It is conservative: what differs between
    users and between items enters as it should, what differs between single pairs enters three times. Where nothing but
    pairs differs, intervals are 1.7 times as wide as they need be.
    """
    if not len(users) == len(items) == len(gains):
        raise ValueRangeError(f"there are {len(users)} users, {len(items)} items and {len(gains)} gains; allowed: one of each a pair")
    (user_at, n_users), (item_at, n_items) = _numbered(users), _numbered(items)
    values = np.column_stack([gains, shares])
    rng = np.random.default_rng(seed)
    estimates = []
    for size in _sizes(n_draws):
        times = draw_times(rng, n_users, size), draw_times(rng, n_items, size)
        drawn = sums_of_pair_draws(user_at, item_at, values, *times)  # (D, m + 1)
        estimates.append(_ratio(drawn[:, :-1], drawn[:, -1:]))
    return _percentiles(np.concatenate(estimates), level)


def auc_interval(label: Array, score: Array, users: Array, *, seed: int = 0, level: float = 0.95, n_draws: int = N_DRAWS) -> F64:
    """Return a percentile interval of the AUC over all rows together; users are drawn, each with all their rows.

    Parameters
    ----------
    label, score : array, shape (n,)
        As for `recvec.kernels.auc.auc`.
    users : integer array, shape (n,)
        The user of each row.
    seed, level, n_draws
        As for `bootstrap_intervals`.

    Returns
    -------
    F64, shape (2,)
        Lower and upper end; draws without both kinds of rows are left out. Cost: sorting n scores, then ``n n_draws``
        additions.
    """
    user_at, n_users = _numbered(users)
    rng = np.random.default_rng(seed)
    values = auc_of_draws(label, score, user_at, (draw_times(rng, n_users, size) for size in _sizes(n_draws)))
    return _percentiles(values[:, None], level)[0]


def sign_flip(differences: F64, *, seed: int = 0, n_draws: int = N_FLIPS) -> float:
    """Return the two-sided p-value of paired differences, under random signs.

    If two models were exchangeable for every user, each difference would as likely have the other sign.

    Parameters
    ----------
    differences : F64, shape (n,)
        One difference a user, without the users for whom either value is not defined.
    seed : int
        Seed of the signs.
    n_draws : int
        Number of draws.

    Returns
    -------
    float
        ``(1 + #draws with |mean under random signs| >= |mean|) / (1 + n_draws)``; sums that differ by rounding only are
        equal.

    Raises
    ------
    ValueRangeError
        Where a difference is not finite.

    Notes
    -----
    Fisher's randomisation test, with drawn signs; for retrieval see Smucker, Allan and Carterette, CIKM 2007. A byte of
    random bits is the signs of eight differences, whose sums under all 256 patterns are tabled first. Cost:
    ``n n_draws / 8`` look-ups.
    """
    if not np.isfinite(differences).all():
        raise ValueRangeError("a difference is not a finite number; allowed: finite numbers; leave out users without a value")
    eights = np.pad(differences, (0, -len(differences) % 8)).reshape(-1, 8)  # (g, 8): a difference of 0 changes no sum
    signs = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8)
    sums = np.zeros(n_draws)
    rng = np.random.default_rng(seed)
    for some in even_blocks(len(eights), 1024):
        tables = (eights[some] @ signs.T).ravel()  # (g 256,)
        starts = np.arange(0, len(tables), 256)
        for draws in even_blocks(n_draws, DRAWS):
            patterns = rng.integers(0, 256, (len(sums[draws]), len(starts)), dtype=np.uint8)
            sums[draws] += tables[starts + patterns].sum(axis=1)
    least = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    return float(1 + (np.abs(sums) >= least).sum()) / (1 + n_draws)


def holm(p_values: F64) -> F64:
    """Return p-values adjusted for their number, so that the chance of any false rejection is held.

    Parameters
    ----------
    p_values : F64, shape (m,)
        In any order.

    Returns
    -------
    F64, shape (m,)
        In the same order: with p_(1) <= ... <= p_(m), the i-th is ``max over j <= i of min(1, (m - j + 1) p_(j))``.

    Notes
    -----
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.arange(len(p_values), 0, -1) * np.asarray(p_values)[order]))
    return adjusted


def not_below(differences: F64, reference_mean: float, *, margin: float = MARGIN, seed: int = 0, level: float = 0.95) -> bool:
    """Say whether a model is not below a reference: its mean might be lower by less than the margin at most.

    Parameters
    ----------
    differences : F64, shape (n,)
        Value of the model minus value of the reference, one a user.
    reference_mean : float
        Mean of the reference.
    margin : float
        Allowed loss, relative to `reference_mean`.
    seed, level
        As for `bootstrap_intervals`.

    Returns
    -------
    bool
        Whether the lower end of the interval of the mean difference is above ``-margin reference_mean``.
    """
    low = bootstrap_intervals(differences[:, None], np.ones(len(differences)), seed=seed, level=level)[0, 0]
    return bool(low > -margin * reference_mean)


def _sizes(n_draws: int) -> Iterator[int]:
    """Cut the draws into blocks."""
    return (block.stop - block.start for block in even_blocks(n_draws, DRAWS))


def _numbered(ids: Array) -> tuple[I32, int]:
    """Give the distinct ids numbers from 0; return the number of each entry and how many there are."""
    distinct, at = np.unique(ids, return_inverse=True)
    return at.astype(np.int32), len(distinct)


def _sums_of_clusters(values: F64, clusters: Array) -> F64:
    at, n = _numbered(clusters)
    return np.column_stack([np.bincount(at, column, minlength=n) for column in values.T])


def _ratio(sums: F64, counts: F64) -> F64:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts != 0)


def _percentiles(estimates: F64, level: float) -> F64:
    """Return the ends of the middle share of each column's draws, shape (m, 2); draws that are NaN are left out."""
    tail = (1 - level) / 2
    ends = np.full((estimates.shape[1], 2), np.nan)
    for at, column in enumerate(estimates.T):
        defined = column[~np.isnan(column)]
        if len(defined):
            ends[at] = np.quantile(defined, [tail, 1 - tail])
    return ends
