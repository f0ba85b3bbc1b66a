"""Stochastic gradient descent on pairs of items: one a user has met, one they have not. For BPR and WARP.

A step takes a user u (vector x, a row of `users`), an item i of theirs (p, bias b_i) and a negative j (q, bias b_j), and
with the gap g = x.(p - q) + b_i - b_j, the slope c of the loss at g, and the learning rate a::

    x += a (c (p - q) - reg_user x)      p += a (c x - reg_positive p)      q += a (-c x - reg_negative q)

BPR: loss log(1 + exp(-g)), c = 1 / (1 + exp(g)). WARP: negatives are drawn until one violates the margin, g < 1, the
loss is L(rank) max(0, 1 - g) and c = L(rank), where the rank of i is estimated as (n_items - 1) // draws and
L(k) = log(1 + k) / log(n_items), which is the sum of 1 / k up to k, nearly, scaled to at most 1.

An epoch is dealt into blocks (`kernels.strata`), which take their steps at the same time where they share no row, with the same
bits however many threads there are. Negatives of a block are items of its group. Within it pairs come in random order; a pair
of weight w comes w times, on average (the fraction is drawn).

Shapes: users (n_users, width), items (n_items, width), width a multiple of 16, bias (n_items,). Cost of an epoch: about
22 width operations for each pair. Source: Rendle, Freudenthaler, Gantner, Schmidt-Thieme, "BPR", UAI 2009; Weston, Bengio,
Usunier, "WSABIE", IJCAI 2011.
"""

from collections.abc import Sequence
from threading import Event
from typing import NamedTuple

import numpy as np

from recvec.kernels.compiled import compiled, compiled_exactly, compiled_inline, compiled_into_callers
from recvec.kernels.sampling import STEP, Catalogue, high_unit, item_by_rank, item_by_share, mixed, rank_law, shuffle, stream
from recvec.kernels.shortlist import contains
from recvec.kernels.simd import LANES, add_scaled, borrowed, dot, load, panels, prefetch, store
from recvec.kernels.strata import Deal, Positives, rounds
from recvec.types import F32, Executor

BY_SHARE, BY_RANK, VIOLATOR = 0, 1, 2  # how a negative is chosen
PANEL = 4  # vectors of a row that are held in registers; longer rows are that many at a time
TILE = 64  # pairs whose negatives are drawn before their steps are taken
DRAWS = 20  # of a negative that the user has not met; then the pair is left out
_63, _ONE, MINUS = np.uint64(63), np.uint64(1), np.float32(-1)


class Factors(NamedTuple):
    """What is learned, changed in place.

    Parameters
    ----------
    users : F32, shape (n_users, width)
        User vectors.
    items : F32, shape (n_items, width)
        Item vectors.
    bias : F32, shape (n_items,)
        Item biases.
    """

    users: F32
    items: F32
    bias: F32


class Rates(NamedTuple):
    """Learning rates and regularization; `bias` is the learning rate of the biases, 0 for none."""

    learning: np.float32
    bias: np.float32
    user: np.float32
    positive: np.float32
    negative: np.float32


class Choice(NamedTuple):
    """How negatives are chosen: the kind, the mean rank as a share of the catalogue, most draws of a violator."""

    kind: int
    depth: np.float32
    trials: int


def padded(n: int, d: int) -> F32:
    """Return zeros, (n, width), aligned to cache lines: width is d, rounded up to whole panels."""
    panel = LANES * min(PANEL, -(-d // LANES))
    width = -(-d // panel) * panel
    room = np.zeros(n * width + LANES, np.float32)
    return room[-(room.ctypes.data // 4) % LANES :][: n * width].reshape(n, width)


def epoch(
    factors: Factors,
    positives: Positives,
    dealt: Deal,
    catalogues: Sequence[Catalogue],
    choice: Choice,
    rates: Rates,
    rng: np.random.Generator,
    executor: Executor,
) -> float:
    """Take one step for every pair, and return the mean slope: how wrong the order of pairs still is, NaN after overflow.

    Parameters
    ----------
    factors : Factors
        Changed in place.
    positives : Positives
        Never drawn as negatives.
    dealt : Deal
        Blocks.
    catalogues : sequence of Catalogue
        Negatives of each item group.
    choice : Choice
        How they are chosen.
    rates : Rates
        Size of the steps.
    rng : numpy.random.Generator
        Draws the order of the rounds and the seed of the blocks.
    executor : Executor
        Its workers share memory and begin the blocks in the order in which they are given.
    """
    groups, chunks = len(dealt.members), (0,) * _panel(factors.users.shape[1])
    seed, seen = rng.integers(1 << 63), np.zeros(len(factors.users), np.uint64)
    blocks, before = rounds(groups, rng)
    done = [Event() for _ in blocks]

    def train(at: int) -> float:
        try:
            for other in before[at]:
                done[other].wait()
            g, h = blocks[at]
            block = slice(*dealt.bounds[g * groups + h : g * groups + h + 2])
            given = (dealt.pairs[block], dealt.weights[block], seen, positives, catalogues[h])
            return float(_train(chunks, factors, *given, choice, rates, seed, at))
        finally:
            done[at].set()

    return sum(executor.map(train, range(len(blocks)))) / max(1, len(dealt.pairs))


@compiled
def _train(chunks, factors, pairs, weights, seen, positives, items, choice, rates, seed, block):
    """Take the steps of one block, and return the sum of the slopes.

    Pairs come in tiles: first the negatives of a tile, then its steps.
    """
    factors, pairs, weights, seen, positives, items = borrowed((factors, pairs, weights, seen, positives, items))
    _mark(pairs, seen)
    state, order = _drawn_order(stream(seed, block), weights, len(pairs))
    negatives, trials, total = np.empty(TILE, np.int64), np.ones(TILE, np.int64), 0.0
    for begin in range(0, len(order), TILE):
        tile = order[begin : begin + TILE]
        _fetch(chunks, tile, pairs, factors)
        if choice.kind == BY_RANK:
            state = _draw_by_rank(state, tile, pairs, seen, positives, items, factors.users, choice.depth, negatives)
        elif choice.kind == BY_SHARE:
            state = _draw_by_share(state, tile, pairs, seen, positives, items, negatives)
        else:
            state = _draw_violators(chunks, state, tile, pairs, seen, positives, items, factors, choice.trials, negatives, trials)
        _fetch_negatives(chunks, negatives[: len(tile)], factors)
        total += _steps(chunks, tile, pairs, negatives, trials, factors, rates, choice.kind == VIOLATOR)
    return total


@compiled_exactly
def _mark(pairs, seen):
    """Leave for each user of the block 64 bits: those of their items in it."""
    for e in range(len(pairs)):
        seen[pairs[e, 0]] = 0
    for e in range(len(pairs)):
        seen[pairs[e, 0]] |= _ONE << (np.uint64(pairs[e, 1]) & _63)


@compiled_exactly
def _drawn_order(state, weights, n):
    """Return the generator and places of pairs in random order, each as often as its weight says; the fraction is drawn."""
    order = np.arange(n)
    if len(weights) > 0:
        times = np.empty(n, np.int64)
        for e in range(n):
            state += STEP
            times[e] = np.int64(weights[e] + high_unit(mixed(state)))
        order = np.repeat(order, times)
    return shuffle(state, order), order


@compiled_exactly
def _fetch(chunks, tile, pairs, factors):
    """Ask for the rows of the tile's pairs, so that they come together, not one after the other."""
    users, items = panels(chunks, factors.users), panels(chunks, factors.items)
    k = len(items) // len(factors.bias)
    for t in range(len(tile)):
        for c in range(k):
            prefetch(chunks, users, np.int64(pairs[tile[t], 0]) * k + c)
            prefetch(chunks, items, np.int64(pairs[tile[t], 1]) * k + c)


@compiled_exactly
def _fetch_negatives(chunks, negatives, factors):
    """Ask for the rows of the tile's negatives."""
    items = panels(chunks, factors.items)
    k = len(items) // len(factors.bias)
    for t in range(len(negatives)):
        for c in range(k):
            prefetch(chunks, items, max(0, negatives[t]) * k + c)


@compiled_exactly
def _draw_by_share(state, tile, pairs, seen, positives, items, negatives):
    """Find for each pair of the tile an item that its user has not met, -1 where the draws found none."""
    indptr, indices, _ = positives
    members, threshold, alias, _, _ = items
    for t in range(len(tile)):
        u, negatives[t] = np.int64(pairs[tile[t], 0]), -1
        for _ in range(DRAWS):
            state += STEP
            j = np.int64(item_by_share(mixed(state), members, threshold, alias))
            if (seen[u] >> (np.uint64(j) & _63)) & _ONE == 0 or not contains(indices, indptr[u], indptr[u + 1], j):
                negatives[t] = j
                break
    return state


@compiled_into_callers
def _draw_by_rank(state, tile, pairs, seen, positives, items, users, depth, negatives):
    """Find for each pair of the tile an item that scores high and its user has not met, -1 where the draws found none."""
    indptr, indices, _ = positives
    _, _, _, orders, spread = items
    law = rank_law(depth, orders.shape[1])
    for t in range(len(tile)):
        u, negatives[t] = np.int64(pairs[tile[t], 0]), -1
        for _ in range(DRAWS):
            state += STEP
            j = np.int64(item_by_rank(mixed(state), orders, spread, users, u, law))
            if (seen[u] >> (np.uint64(j) & _63)) & _ONE == 0 or not contains(indices, indptr[u], indptr[u + 1], j):
                negatives[t] = j
                break
    return state


@compiled_into_callers
def _draw_violators(chunks, state, tile, pairs, seen, positives, items, factors, most, negatives, trials):
    """Find for each pair of the tile a negative within the margin, and how many it took; -1 where the draws found none."""
    indptr, indices, _ = positives
    members, threshold, alias, _, _ = items
    users, vectors, bias = panels(chunks, factors.users), panels(chunks, factors.items), factors.bias
    k = len(vectors) // len(bias)
    for t in range(len(tile)):
        u, i, negatives[t], trials[t] = np.int64(pairs[tile[t], 0]), np.int64(pairs[tile[t], 1]), -1, 0
        for _ in range(most):
            state += STEP
            j = np.int64(item_by_share(mixed(state), members, threshold, alias))
            if (seen[u] >> (np.uint64(j) & _63)) & _ONE != 0 and contains(indices, indptr[u], indptr[u + 1], j):
                continue
            trials[t] += 1
            gap = bias[i] - bias[j]
            for c in range(k):
                apart = add_scaled(load(chunks, vectors, i * k + c), MINUS, load(chunks, vectors, j * k + c))
                gap += dot(load(chunks, users, u * k + c), apart)
            if gap < 1:
                negatives[t] = j
                break
    return state


@compiled_into_callers
def _steps(chunks, tile, pairs, negatives, trials, factors, rates, hinge):
    """Take the steps of a tile, and return the sum of the slopes."""
    users, items, bias = panels(chunks, factors.users), panels(chunks, factors.items), factors.bias
    k, total, rate = len(items) // len(bias), 0.0, rates.learning
    of_user, of_positive, of_negative = -rate * rates.user, -rate * rates.positive, -rate * rates.negative
    for t in range(len(tile)):
        u, i, j = np.int64(pairs[tile[t], 0]), np.int64(pairs[tile[t], 1]), negatives[t]
        if j < 0:
            continue
        gap = bias[i] - bias[j]
        for c in range(k):
            apart = add_scaled(load(chunks, items, i * k + c), MINUS, load(chunks, items, j * k + c))
            gap += dot(load(chunks, users, u * k + c), apart)
        slope = hinge_slope(gap, trials[t], len(bias)) if hinge else logistic_slope(gap)
        total += slope
        bias[i] += rates.bias * (slope - rates.positive * bias[i])
        bias[j] -= rates.bias * (slope + rates.negative * bias[j])
        step = rate * slope
        for c in range(k):
            x, p, q = load(chunks, users, u * k + c), load(chunks, items, i * k + c), load(chunks, items, j * k + c)
            store(users, u * k + c, add_scaled(add_scaled(add_scaled(x, of_user, x), step, p), -step, q))
            store(items, i * k + c, add_scaled(add_scaled(p, of_positive, p), step, x))
            store(items, j * k + c, add_scaled(add_scaled(q, of_negative, q), -step, x))
    return total


@compiled_inline
def logistic_slope(gap):
    """Return c of BPR."""
    return 1 / (1 + np.exp(gap))


@compiled_into_callers
def hinge_slope(gap, trials, n_items):
    """Return c of WARP after so many draws."""
    if gap >= 1:
        return np.float32(0)
    return np.log(np.float32(1 + (n_items - 1) // trials)) / np.log(np.float32(n_items))


def _panel(width: int) -> int:
    """Return how many vectors of `LANES` numbers are held at once."""
    return min(PANEL, width // LANES)
