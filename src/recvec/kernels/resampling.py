"""Sums over rows that were drawn with replacement, for many draws at once.

A block of draws is a matrix of multiplicities, (n, D): how often each of n things was drawn in each of D draws. The
draws lie side by side, so that a row is added to all of them by vector instructions, and each draw adds up its rows
one after the other: the same bits on any machine.
"""

import numpy as np

from recvec.kernels.compiled import compiled_exactly
from recvec.types import F64, I32

DRAWS = 64  # of a block: their sums stay in the first-level cache


def draw_times(rng: np.random.Generator, n: int, n_draws: int) -> I32:
    """Draw n of n things with replacement, and return how often each came, shape (n, n_draws)."""
    times = np.zeros((n, n_draws), np.int32)
    for draw in range(n_draws):
        times[:, draw] = np.bincount(rng.integers(0, n, n), minlength=n)
    return times


def sums_of_draws(values: F64, times: I32) -> F64:
    """Return ``times' values``: the sums of each column of `values` in each draw.

    Parameters
    ----------
    values : F64, shape (n, m)
        What each thing adds to m sums; zeros cost nothing.
    times : I32, shape (n, D)
        Multiplicities.

    Returns
    -------
    F64, shape (D, m)
        Cost: ``n m D`` multiplications.
    """
    return _sums_of_draws(np.ascontiguousarray(values), times).T


@compiled_exactly
def _sums_of_draws(values, times):
    n, n_draws = times.shape
    sums = np.zeros((values.shape[1], n_draws))
    for row in range(n):
        _add(values[row], times[row], sums)
    return sums


@compiled_exactly
def _add(values, times, sums):
    for at in range(len(values)):
        value = values[at]
        if value != 0:
            for draw in range(len(times)):
                sums[at, draw] += value * times[draw]


def sums_of_pair_draws(users: I32, items: I32, values: F64, user_times: I32, item_times: I32) -> F64:
    """Return the sums over pairs in each draw, where a pair counts as often as its user times as often as its item.

    Parameters
    ----------
    users, items : I32, shape (p,)
        The pairs.
    values : F64, shape (p, m)
        What each pair adds to m sums; zeros cost nothing.
    user_times, item_times : I32, shapes (n_users, D), (n_items, D)
        Multiplicities.

    Returns
    -------
    F64, shape (D, m)
        Cost: ``p (m + 1) D`` multiplications.
    """
    return _sums_of_pair_draws(users, items, np.ascontiguousarray(values), user_times, item_times).T


@compiled_exactly
def _sums_of_pair_draws(users, items, values, user_times, item_times):
    n_draws = user_times.shape[1]
    sums = np.zeros((values.shape[1], n_draws))
    both = np.empty(n_draws, np.int32)
    for pair in range(len(users)):
        user, item = users[pair], items[pair]
        for draw in range(n_draws):
            both[draw] = user_times[user, draw] * item_times[item, draw]
        _add(values[pair], both, sums)
    return sums
