"""What a competitor did on the test part of one split, user by user and pair by pair, before anything is averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recvec.types import F64, I32, I64, Array, Bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairs:
    """The (user, item) pairs that were asked about.

    Parameters
    ----------
    users, items : I32, shape (p,)
        Rows.
    values : mapping of str to F64, shape (p,)
        What each pair adds to a metric of its user; the user's value is the sum.
    shares : F64, shape (p,)
        What each pair counts; those of a user add up to what the user counts.
    popularity : array of int, shape (p,)
        Training rows of the item.
    """

    users: I32
    items: I32
    values: Mapping[str, F64]
    shares: F64
    popularity: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """What one model did on one split.

    Parameters
    ----------
    users : I32, shape (n,)
        Rows of the users who were asked about.
    sums, counts : mapping of str to F64, shape (n,)
        The mean of a metric is the sum of its `sums` over the sum of its `counts`; a user for whom it is not defined
        counts 0.
    history : array of int, shape (n,)
        Number of items known of each user.
    pairs : Pairs
        What was asked, for parts of the report that go by items.
    shown : mapping of int to I64, shape (n_items,)
        For each length of list: how many lists each item was in; empty where lists were not made.
    allowed : Bool, shape (n_items,)
        Items that could be in a list.
    """

    users: I32
    sums: Mapping[str, F64]
    counts: Mapping[str, F64]
    history: Array
    pairs: Pairs
    shown: Mapping[int, I64]
    allowed: Bool


def pooled(parts: Sequence[Measured]) -> Measured:
    """Put what was measured on several splits of one dataset, its folds, into one."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]

    def joined(columns: Sequence[Array]) -> Array:
        return np.concatenate(columns)

    pairs = Pairs(
        users=joined([p.pairs.users for p in parts]),
        items=joined([p.pairs.items for p in parts]),
        values={name: joined([p.pairs.values[name] for p in parts]) for name in first.pairs.values},
        shares=joined([p.pairs.shares for p in parts]),
        popularity=joined([p.pairs.popularity for p in parts]),
    )
    return Measured(
        users=joined([p.users for p in parts]),
        sums={name: joined([p.sums[name] for p in parts]) for name in first.sums},
        counts={name: joined([p.counts[name] for p in parts]) for name in first.counts},
        history=joined([p.history for p in parts]),
        pairs=pairs,
        shown={k: np.sum([p.shown[k] for p in parts], axis=0) for k in first.shown},
        allowed=np.any([p.allowed for p in parts], axis=0),
    )


def averaged(runs: Sequence[Measured]) -> Measured:
    """Put what was measured with several seeds on the same splits into one: the mean value of each user and pair."""
    if len(runs) == 1:
        return runs[0]
    first = runs[0]
    values = {name: np.mean([r.pairs.values[name] for r in runs], axis=0) for name in first.pairs.values}
    return replace(
        first,
        sums={name: np.mean([r.sums[name] for r in runs], axis=0) for name in first.sums},
        pairs=replace(first.pairs, values=values),
        shown={},  # a mean over seeds has no lists
    )
