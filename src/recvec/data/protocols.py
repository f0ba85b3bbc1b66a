"""The ways to cut interactions into what is learned from, what is folded in, and what is asked about."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recvec.data.dataset import time_order
from recvec.data.interactions import Interactions
from recvec.errors import ColumnError, InputError, ValueRangeError
from recvec.types import I32, I64, Array, Bool

N_PARTS = 5  # `strong`, `new-users` and `new-items` hold out one part of this many


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a protocol needs to know beside the rows.

    Parameters
    ----------
    seed : int
        Seed of every random choice.
    test_share : float
        Share of test rows, for protocols that hold out rows.
    fold, n_folds : int, optional
        Which of how many parts is the test part; None where the protocol decides.
    """

    seed: int
    test_share: float = 0.1
    fold: int = 0
    n_folds: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """Where each row goes; a row in neither mask is learned from.

    Parameters
    ----------
    test : Bool, shape (n_rows,)
        What is asked about.
    folded : Bool, shape (n_rows,), optional
        Rows of held-out users: not learned from, but shown when their owners are asked about.
    candidates : I32, optional
        Item rows that may be recommended; all where None.
    """

    test: Bool
    folded: Bool | None = None
    candidates: I32 | None = None


def cut(rows: Interactions, protocol: str, how: Cut) -> Parts:
    """Return where each row goes.

    Raises
    ------
    InputError
        For an unknown protocol, a cut into parts that the protocol does not have, or rows it cannot order.
    ValueRangeError
        For a share or a number of parts that is out of range.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"there is no protocol '{protocol}'; allowed: {', '.join(PROTOCOLS)}, or a test table")
    if not 0 < how.test_share < 1:
        raise ValueRangeError(f"the test share is {how.test_share}; allowed: more than 0 and less than 1")
    if how.n_folds is not None:
        if protocol not in FOLDED:
            raise InputError(f"protocol {protocol} cannot be cut into folds; allowed: {', '.join(FOLDED)}; leave the folds out")
        if how.n_folds < 2:
            raise ValueRangeError(f"the number of folds is {how.n_folds}; allowed: 2 or more")
    return PROTOCOLS[protocol](rows, how)


def _random(rows: Interactions, how: Cut) -> Parts:
    order = np.random.default_rng(how.seed).permutation(len(rows))
    chosen = order[: int(how.test_share * len(rows))] if how.n_folds is None else _part(order, how, "rows")
    return Parts(test=_mask(chosen, len(rows)))


def _last_of_users(rows: Interactions, how: Cut) -> Parts:
    backwards = time_order(rows)[::-1]
    _, first, counts = np.unique(rows.users[backwards], return_index=True, return_counts=True)
    return Parts(test=_mask(backwards[first[counts > 1]], len(rows)))


def _time(rows: Interactions, how: Cut) -> Parts:
    undated = len(rows) if rows.timestamp is None else int(np.isnan(rows.timestamp).sum())
    if rows.timestamp is None:
        raise ColumnError("protocol time needs a column 'timestamp', which the interactions do not have; add it or use another protocol")
    if undated:
        raise InputError(f"protocol time needs a time in every row; {undated:,} of {len(rows):,} rows have none; use --drop-undated")
    order = time_order(rows)
    return Parts(test=_mask(order[len(rows) - int(how.test_share * len(rows)) :], len(rows)))


def _new_users(rows: Interactions, how: Cut) -> Parts:
    return Parts(test=np.isin(rows.users, _held_out(rows.users, how, "users")))


def _new_items(rows: Interactions, how: Cut) -> Parts:
    items = _held_out(rows.items, how, "items")
    return Parts(test=np.isin(rows.items, items), candidates=np.sort(items).astype(np.int32))


def _strong(rows: Interactions, how: Cut) -> Parts:
    """Show a random 80 % of the rows of each held-out user, rounded down but at least one; ask about the others."""
    held_out = np.isin(rows.users, _held_out(rows.users, how, "users"))
    at = np.flatnonzero(held_out)
    at = at[np.random.default_rng([how.seed, 1]).permutation(len(at))]
    at = at[np.argsort(rows.users[at], kind="stable")]  # by user, in random order within
    _, first, counts = np.unique(rows.users[at], return_index=True, return_counts=True)
    place = np.arange(len(at)) - np.repeat(first, counts)
    shown = place < np.repeat(np.maximum(counts * 4 // 5, 1), counts)
    return Parts(test=_mask(at[~shown], len(rows)), folded=_mask(at[shown], len(rows)))


def _held_out(side: I32, how: Cut, what: str) -> Array:
    """Return one part of the users or items that have rows, cut at random."""
    return _part(np.random.default_rng(how.seed).permutation(np.unique(side)), how, what)


def _part(order: Array, how: Cut, what: str) -> Array:
    n_folds = how.n_folds or N_PARTS
    if n_folds > len(order):
        raise ValueRangeError(f"the number of folds is {n_folds}, but there are {len(order)} {what}; allowed: 2 to {len(order)}")
    return np.array_split(order, n_folds)[how.fold]


def _mask(chosen: I64, n: int) -> Bool:
    mask = np.zeros(n, dtype=bool)
    mask[chosen] = True
    return mask


PROTOCOLS: dict[str, Callable[[Interactions, Cut], Parts]] = {
    "random": _random,
    "leave-last-out": _last_of_users,
    "time": _time,
    "strong": _strong,
    "new-users": _new_users,
    "new-items": _new_items,
}
FOLDED = ("random", "strong", "new-users", "new-items")
"""Protocols that can ask about every part in turn."""

ALL_FOLDS = ("new-users", "new-items")
"""Protocols that ask about every part in turn unless told otherwise."""
