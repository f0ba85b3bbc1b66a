"""How sure a measured mean is."""

import numpy as np

from recvec.types import F64

N_DRAWS = 1000


def bootstrap_intervals(values: F64, weights: F64 | None = None, *, seed: int = 0, level: float = 0.95) -> F64:
    """Return percentile intervals of the means over users, who are drawn with replacement.

    Parameters
    ----------
    values : F64, shape (n_users, n_metrics)
        Per-user sums of a metric (its values, where each user has weight 1).
    weights : F64, shape (n_users,), optional
        What each user counts; the mean is sum of values over sum of weights.
    seed : int
        Seed of the draws.
    level : float
        Coverage.

    Returns
    -------
    F64, shape (n_metrics, 2)
        Lower and upper ends of 1,000 draws. Cost: 1,000 n_users (n_metrics + 1).
    """
    n = len(values)
    counted = np.column_stack([values, np.ones(n) if weights is None else weights])
    rng = np.random.default_rng(seed)
    means = np.empty((N_DRAWS, values.shape[1]))
    for draw in range(N_DRAWS):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        sums = times @ counted
        means[draw] = sums[:-1] / sums[-1]
    tail = (1 - level) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0).T
