"""Why a factorization machine gives a score: every pair of features adds something, and so does every feature alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from recvec.contract import Parts
from recvec.encoders.blocks import SideCoder
from recvec.kernels.fm_vectors import USER, Machine
from recvec.types import F32, F64, I32

TRIPLES = "three features together"
REST = "users who met the item"


class Present(NamedTuple):
    """The features of one observation that are not 0.

    Parameters
    ----------
    labels : list of str
        What each is called.
    linear : F64, shape (k,)
        x w of each, the mean of the draws.
    vectors : F64, shape (k, S, d)
        x v of each.
    groups : I32, shape (k,)
        Group of each.
    met : I32, shape (k,)
        Place in the history of the user, -1 for features that are no item of it.
    """

    labels: list[str]
    linear: F64
    vectors: F64
    groups: I32
    met: I32


def present(machine: Machine, coders: Sequence[SideCoder], rows: Sequence[sp.csr_array | None]) -> Present:
    """Return the features of an observation from one row of each side, None for a side without one."""
    labels, features, values, met = [], [], [], []
    for side, (coder, row) in enumerate(zip(coders, rows, strict=True)):
        if row is None:
            continue
        history = row.indices >= coder.met_start
        labels += [coder.label(int(f)) for f in row.indices]
        features.append(row.indices + machine.starts[side])
        values.append(row.data.astype(np.float64))
        met.append(np.where(history, np.cumsum(history) - 1, -1) if side == USER else np.full(len(history), -1))
    at, x = np.concatenate(features).astype(np.int64), np.concatenate(values)
    linear = machine.linear[:, at].astype(np.float64).mean(axis=0) * x
    vectors = machine.factors[:, at].astype(np.float64).transpose(1, 0, 2) * x[:, None, None]
    return Present(labels, linear, vectors, machine.groups[at], np.concatenate(met).astype(np.int32))


def with_rest(machine: Machine, known: Present, vector: F32, item: slice, group: int) -> Present:
    """Add, as one feature, what the item's vector holds beyond its known features: the users who met it in training.

    Parameters
    ----------
    machine : Machine
        The draws.
    known : Present
        Features of the observation; those of the item stand at `item`.
    vector : F32, shape (width + 2 S,)
        Of the item.
    item : slice
        Where.
    group : int
        Group of the users who met an item.
    """
    s, mine, groups = machine.n_draws, known.vectors[item], known.groups[item]
    if machine.fields is None:
        rest = columns_of(machine, vector) - mine.sum(axis=0)
    else:
        rest = columns_of(machine, vector)[np.flatnonzero(machine.met_fields == group)]
    everything = Present(
        [*known.labels, REST],
        np.append(known.linear, 0.0),
        np.concatenate([known.vectors, rest[None]]),
        np.append(known.groups, np.int32(group)),
        np.append(known.met, np.int32(-1)),
    )
    at = np.r_[item, len(known.labels)]
    pairs = products(machine, everything.vectors[at], np.append(groups, group)).sum() / 2
    own = float(vector[machine.width :][:s].sum(dtype=np.float64)) / np.sqrt(s)
    everything.linear[-1] = own - known.linear[item].sum() - pairs
    return everything


def columns_of(machine: Machine, vector: F32) -> F64:
    """Return Q of an item by each machine, (S, d), or of each field that users meet, (fields met, d)."""
    n_pairs = machine.width - 2 * (0 if machine.third is None else machine.third.shape[1])
    pairs = vector[:n_pairs].astype(np.float64).reshape(-1, machine.rank)
    return pairs if machine.fields is not None else pairs * np.sqrt(machine.n_draws)


def products(machine: Machine, vectors: F64, groups: I32) -> F64:
    """Return what each pair of features adds, (k, k); nothing on the diagonal."""
    flat = vectors.reshape(len(vectors), -1)
    found: F64 = np.einsum("fi,gi->fg", flat, flat) / machine.n_draws
    if machine.fields is not None:
        found *= machine.fields[np.ix_(groups, groups)]
    if not machine.within:
        sides = machine.sides[np.searchsorted(np.unique(machine.groups), groups)]
        found[sides[:, None] == sides] = 0
    np.fill_diagonal(found, 0)
    return found


def parts_of_history(machine: Machine, found: Present, vector: F32, change: float, n_met: int) -> Parts:
    """Return what each item of the history of someone new adds; of third order, also what no pair explains.

    Parameters
    ----------
    machine : Machine
        The draws.
    found : Present
        Features of the person.
    vector : F32, shape (width + 2 S,)
        Of the item.
    change : float
        What the whole history adds.
    n_met : int
        Length of the history.
    """
    history, named = np.flatnonzero(found.met >= 0), np.flatnonzero(found.met < 0)
    within, columns = products(machine, found.vectors, found.groups), columns_of(machine, vector)
    if machine.fields is None:
        toward = np.einsum("fsd,sd->f", found.vectors[history], columns) / machine.n_draws
    else:
        weights = machine.fields[np.ix_(found.groups[history], machine.met_fields)]
        toward = np.einsum("fb,fd,bd->f", weights, found.vectors[history][:, 0], columns)
    contributions = np.zeros(n_met)
    own = within[history][:, named].sum(axis=1) + within[history][:, history].sum(axis=1) / 2
    contributions[found.met[history]] = found.linear[history] + toward + own
    rest = {} if machine.third is None else {TRIPLES: change - float(contributions.sum())}
    return rest, contributions.astype(np.float32)


def parts_of(machine: Machine, found: Present, score: float, n_met: int) -> Parts:
    """Return the bias, the features alone and their pairs, the largest first, and what each item of the history adds.

    A pair of an item of the history and anything else belongs to that item, a pair of two of them to each by half.

    Parameters
    ----------
    machine : Machine
        The draws.
    found : Present
        Features of the observation.
    score : float
        By the vectors: of third order, what no pair explains is the part of the triples.
    n_met : int
        Length of the history.
    """
    pairs = products(machine, found.vectors, found.groups)
    named = np.flatnonzero(found.met < 0)
    parts: dict[str, float] = {}
    for n, f in enumerate(named):
        _add(parts, found.labels[f], found.linear[f])
        for g in named[n + 1 :]:
            _add(parts, f"{found.labels[f]} x {found.labels[g]}", pairs[f, g])
    contributions = np.zeros(n_met)
    history = np.flatnonzero(found.met >= 0)
    brought = found.linear[history] + pairs[history][:, named].sum(axis=1) + pairs[history][:, history].sum(axis=1) / 2
    contributions[found.met[history]] = brought
    ordered = {"bias": float(machine.bias.mean()), **dict(sorted(parts.items(), key=lambda part: -abs(part[1])))}
    if machine.third is not None:
        ordered[TRIPLES] = score - sum(ordered.values()) - contributions.sum()
    return ordered, contributions.astype(np.float32)


def _add(parts: dict[str, float], label: str, value: float) -> None:
    if value:
        parts[label] = parts.get(label, 0.0) + float(value)
