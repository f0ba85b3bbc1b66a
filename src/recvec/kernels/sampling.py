"""Random numbers inside kernels, and draws of negative items.

A kernel carries its own generator, a uint64 that grows by `STEP`; `mixed` makes 64 random bits of it (splitmix64: Steele,
Lea, Flood, OOPSLA 2014). The numbers depend on the seed alone, so that blocks with seeds of their own give the same bits on
any number of threads.

Negatives are drawn from a `Catalogue`, a set of items, in two ways:

- by share: item j with probability proportional to its `share`, by Walker's alias method, O(1);
- by rank: a factor f with probability proportional to |x_f| sigma_f, then an item at a geometrically distributed rank of
  the items ordered by that factor, from the end that scores high for x. Such items score high, and change with x, at the
  price of a sort of every factor now and then. Source: Rendle, Freudenthaler, "Improving pairwise learning for item
  recommendation from implicit feedback", WSDM 2014.
"""

from typing import NamedTuple

import numpy as np

from recvec.kernels.compiled import compiled_exactly, compiled_inline
from recvec.types import F32, F64, I32

STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32, _40, _LOW = (np.uint64(bits) for bits in (27, 30, 31, 32, 40, (1 << 24) - 1))
_UNIT, _HALF = np.float32(2.0**-24), np.float32(0.5)
PANEL = 16  # factors that are added up side by side


class Catalogue(NamedTuple):
    """Items that may be drawn as negatives.

    Parameters
    ----------
    members : I32, shape (m,)
        Item rows.
    threshold : F32, shape (m,)
        See `alias_table`.
    alias : I32, shape (m,)
        Item row that is taken instead, see `alias_table`.
    orders : I32, shape (width + 1, m), or (0, m) where nothing is drawn by rank
        Item rows by each factor, and last by their bias, ascending.
    spread : F32, shape (width + 1,)
        Standard deviation of each factor, and of the bias, over the members.
    """

    members: I32
    threshold: F32
    alias: I32
    orders: I32
    spread: F32


def catalogue(members: I32, share: F64, factors: tuple[F32, F32] | None = None) -> Catalogue:
    """Return the catalogue of some items.

    Parameters
    ----------
    members : I32, shape (m,)
        Item rows.
    share : F64, shape (m,)
        Positive numbers, proportional to the probability of each.
    factors : (F32, F32), shapes (n_items, width) and (n_items,), optional
        Item vectors and biases, where negatives are drawn by rank. Cost: width m log m.
    """
    threshold, places = alias_table(share)
    alias = members[places]
    if factors is None:
        return Catalogue(members, threshold, alias, np.empty((0, len(members)), np.int32), np.empty(0, np.float32))
    vectors, bias = factors
    columns = np.concatenate([vectors[members].T, bias[None, members]])  # (width + 1, m)
    with np.errstate(over="ignore", invalid="ignore"):  # a descent that diverges is told of at the end of its epoch
        spread = columns.std(axis=1)
    return Catalogue(members, threshold, alias, members[np.argsort(columns, axis=1)], spread)


def alias_table(share: F64) -> tuple[F32, I32]:
    """Return Walker's table: place k is kept with probability ``threshold[k]``, else ``alias[k]`` is taken instead.

    Source: Vose, "A linear algorithm for generating random numbers with a given distribution", 1991.
    """
    return _alias_table(np.ascontiguousarray(share * (len(share) / share.sum())))


@compiled_exactly
def _alias_table(height):
    n = len(height)
    threshold, alias = np.ones(n, np.float32), np.arange(n).astype(np.int32)
    low, high = np.empty(n, np.int32), np.empty(n, np.int32)
    n_low = n_high = 0
    for k in range(n):
        if height[k] < 1:
            low[n_low] = k
            n_low += 1
        else:
            high[n_high] = k
            n_high += 1
    while n_low > 0 and n_high > 0:
        n_low -= 1
        small, large = low[n_low], high[n_high - 1]
        threshold[small], alias[small] = height[small], large
        height[large] -= 1 - height[small]
        if height[large] < 1:
            n_high -= 1
            low[n_low] = large
            n_low += 1
    return threshold, alias


@compiled_exactly
def stream(seed, number):
    """Return a generator whose numbers have nothing to do with those of another number."""
    return mixed(mixed(np.uint64(seed) + STEP) + np.uint64(number) * STEP)


@compiled_inline
def mixed(state):
    """Return 64 random bits."""
    z = (state ^ (state >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


@compiled_inline
def below(bits, n):
    """Return a whole number from 0 to n - 1, for n below 2 ** 32, made of the upper half."""
    return np.int64(((bits >> _32) * np.uint64(n)) >> _32)


@compiled_inline
def high_unit(bits):
    """Return a number between 0 and 1, neither of them, made of the highest 24 bits."""
    return (np.float32(np.int64(bits >> _40)) + _HALF) * _UNIT


@compiled_inline
def low_unit(bits):
    """Return a number between 0 and 1, neither of them, made of the lowest 24 bits."""
    return (np.float32(np.int64(bits & _LOW)) + _HALF) * _UNIT


@compiled_exactly
def shuffle(state, values):
    """Permute in place, and return the generator."""
    for last in range(len(values) - 1, 0, -1):
        state += STEP
        other = below(mixed(state), last + 1)
        values[last], values[other] = values[other], values[last]
    return state


@compiled_inline
def item_by_share(bits, members, threshold, alias):
    """Return an item of the catalogue with the probability of its share."""
    k = below(bits, len(members))
    own, other = members[k], alias[k]  # both are read: which one it is cannot be foreseen, and a branch would be missed
    return own if low_unit(bits) < threshold[k] else other


@compiled_exactly
def rank_law(depth, m):
    """Return what `item_by_rank` takes as `law`: the mean of the geometric law before it is cut off at m, and what lies within."""
    mean = depth * np.float32(m)
    return mean, 1 - np.exp(-np.float32(m) / mean)


@compiled_inline
def item_by_rank(bits, orders, spread, vectors, u, law):
    """Return an item that scores high for row u of the vectors, at a geometrically distributed rank."""
    m, width = orders.shape[1], len(spread) - 1
    f = factor_by_size(high_unit(bits), spread, vectors, u)
    mean, within = law
    rank = min(m - 1, np.int64(-mean * np.log(1 - low_unit(bits) * within)))
    if f == width:
        return orders[len(orders) - 1, m - 1 - rank]
    return orders[f, m - 1 - rank if vectors[u, f] > 0 else rank]


@compiled_inline
def factor_by_size(unit, spread, vectors, u):
    """Return a factor with probability proportional to |x_f| sigma_f; the last one is the item bias, for which x is 1."""
    width = len(spread) - 1
    total = spread[width]
    for f in range(width):
        total += abs(vectors[u, f]) * spread[f]
    left = unit * total - spread[width]
    if left <= 0:
        return width
    for panel in range(0, width, PANEL):
        part = np.float32(0)
        for f in range(panel, panel + PANEL):
            part += abs(vectors[u, f]) * spread[f]
        if part >= left or panel + PANEL == width:
            break
        left -= part
    for f in range(panel, panel + PANEL):
        left -= abs(vectors[u, f]) * spread[f]
        if left <= 0:
            return f
    return panel
