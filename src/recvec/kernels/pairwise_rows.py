"""One side of pairwise learning with the other held fixed: vectors of people from their histories, and of new items.

The steps are those of `kernels.pairwise`, with the same losses and the same negatives, but only one row moves. A person's
vector begins at zero, takes `passes` passes over the history, and the learning rate falls to zero on the way. Random numbers
are the same for everyone, so that a history gives the same vector whoever has it, in whatever batch. An entry comes in a
pass as often as its weight over the mean weight of the history says, on average over the passes.

A person's vector is a sum over the steps, x = sum_t a_t (p_t - q_t), each shrunk by the regularization of the steps after it;
a step belongs to the history item that it was taken for. That is what `parts_of_user` adds up.

Shapes: items (n_items, width), bias (n_items,). Cost: 10 width operations an entry and pass.
"""

import numpy as np

from recvec.kernels.blocks import balanced_blocks
from recvec.kernels.compiled import compiled, compiled_exactly, compiled_inline, compiled_into_callers
from recvec.kernels.pairwise import BY_RANK, BY_SHARE, DRAWS, MINUS, TILE, VIOLATOR, Choice, Rates, hinge_slope, logistic_slope
from recvec.kernels.sampling import STEP, Catalogue, below, item_by_rank, item_by_share, mixed, rank_law, stream
from recvec.kernels.shortlist import contains
from recvec.kernels.simd import LANES, add_scaled, borrowed, dot, load, panels, prefetch, store
from recvec.kernels.strata import Positives
from recvec.types import F32, Executor

_ONE = np.uint64(1)


def solve_users(
    histories: Positives,
    items: F32,
    bias: F32,
    catalogue: Catalogue,
    choice: Choice,
    rates: Rates,
    *,
    passes: int,
    executor: Executor,
) -> F32:
    """Return one vector a history, (B, width); zeros where it is empty.

    Parameters
    ----------
    histories : Positives
        With a weight for each entry.
    items, bias : F32, shapes (n_items, width) and (n_items,)
        Held fixed.
    catalogue : Catalogue
        Negatives, the same for everyone.
    choice : Choice
        How they are chosen.
    rates : Rates
        `learning` and `user` count.
    passes : int
        Over each history.
    executor : Executor
        Runs blocks of people.
    """
    out = np.zeros((len(histories.indptr) - 1, items.shape[1]), np.float32)
    nothing, none = np.empty((0, items.shape[1]), np.float32), np.empty(0, np.float32)

    def solve(block: tuple[int, int]) -> None:
        _solve_block(_chunks(items), *block, histories, items, bias, catalogue, choice, rates, passes, out, nothing, none)

    executor.map(solve, balanced_blocks(histories.indptr, per_entry=10 * items.shape[1] * passes, per_row=1))
    return out


def parts_of_user(
    history: Positives,
    items: F32,
    bias: F32,
    catalogue: Catalogue,
    choice: Choice,
    rates: Rates,
    *,
    passes: int,
    target: F32,
) -> F32:
    """Return what each entry of one history adds to the product of its vector and the `target`, (width,); shape (n,)."""
    out, parts = np.zeros((1, items.shape[1]), np.float32), np.zeros(len(history.indices), np.float32)
    _solve_block(_chunks(items), 0, 1, history, items, bias, catalogue, choice, rates, passes, out, target[None, :], parts)
    return parts


def _chunks(vectors: F32) -> tuple[int, ...]:
    return (0,) * min(4, vectors.shape[1] // LANES)


@compiled
def _solve_block(chunks, begin, end, histories, items, bias, catalogue, choice, rates, passes, out, target, parts):
    histories, items, bias, catalogue = borrowed((histories, items, bias, catalogue))
    out, target, parts = borrowed((out, target, parts))
    for u in range(begin, end):
        at = slice(histories.indptr[u], histories.indptr[u + 1])
        mine, weights = histories.indices[at], histories.weights[at]
        _solve_user(chunks, mine, weights, items, bias, catalogue, choice, rates, passes, out[u : u + 1], target, parts)


@compiled_into_callers
def _solve_user(chunks, mine, weights, items, bias, catalogue, choice, rates, passes, x, target, parts):
    """Fill x, (1, width); where there are `parts`, (n,), say what each entry adds to the product with the target.

    Entries come in tiles: negatives that do not depend on x are drawn, and their rows asked for, before a tile's steps.
    """
    vectors, mover, aim = panels(chunks, items), panels(chunks, x), panels(chunks, target)
    state, times, seen, negatives = stream(1, 0), _times(weights), _signature(mine), np.empty(TILE, np.int64)
    once, alike = np.arange(len(mine)), len(times) > 0 and 0 < times.min() == times.max()
    for lap in range(passes):
        rate, entries = rates.learning * np.float32(1 - lap / passes), once if alike else _entries(times, lap)
        for begin in range(0, len(entries), TILE):
            tile = entries[begin : begin + TILE]
            if choice.kind == BY_SHARE:
                state = _draw_tile(chunks, state, tile, mine, seen, vectors, bias, catalogue, negatives)
            for t in range(len(tile)):
                e, i = tile[t], np.int64(mine[tile[t]])
                if choice.kind == BY_SHARE:
                    j, slope = negatives[t], np.float32(0)
                    if j >= 0:
                        slope = logistic_slope(_gap(chunks, mover, vectors, bias, 0, i, j))
                else:
                    state, j, slope = _drawn(chunks, state, mine, seen, i, vectors, bias, catalogue, choice, x, mover)
                if j >= 0:
                    _move_user(chunks, vectors, i, j, rate, slope, rates.user, mover, aim, e, parts)


@compiled_into_callers
def _move_user(chunks, vectors, i, j, rate, slope, reg, mover, aim, e, parts):
    """Take the step of entry e, and where there are `parts`, add what it brings."""
    k = len(mover)
    for at in range(len(parts)):
        parts[at] *= 1 - rate * reg
    for c in range(k):
        apart = add_scaled(load(chunks, vectors, i * k + c), MINUS, load(chunks, vectors, j * k + c))
        old = load(chunks, mover, c)
        store(mover, c, add_scaled(add_scaled(old, -rate * reg, old), rate * slope, apart))
        if len(parts) > 0:
            parts[e] += rate * slope * dot(load(chunks, aim, c), apart)


@compiled_into_callers
def _draw_tile(chunks, state, tile, mine, seen, vectors, bias, catalogue, negatives):
    """Draw a negative for each entry of the tile, -1 where the draws found none, and ask for the rows of both."""
    members, threshold, alias, _, _ = catalogue
    k = len(vectors) // len(bias)
    for t in range(len(tile)):
        negatives[t] = -1
        for _ in range(DRAWS):
            state += STEP
            j = np.int64(item_by_share(mixed(state), members, threshold, alias))
            if not _met(seen, mine, j):
                negatives[t] = j
                break
        for c in range(k):
            prefetch(chunks, vectors, np.int64(mine[tile[t]]) * k + c)
            prefetch(chunks, vectors, max(0, negatives[t]) * k + c)
    return state


@compiled_into_callers
def _drawn(chunks, state, mine, seen, i, vectors, bias, catalogue, choice, x, mover):
    """Return the generator, a negative that depends on x, and the slope of the loss; -1 where the draws found none."""
    members, threshold, alias, orders, spread = catalogue
    kind, depth, most = choice
    trials, law = 0, rank_law(depth, orders.shape[1])
    for _ in range(most if kind == VIOLATOR else DRAWS):
        state += STEP
        if kind == BY_RANK:
            j = np.int64(item_by_rank(mixed(state), orders, spread, x, 0, law))
        else:
            j = np.int64(item_by_share(mixed(state), members, threshold, alias))
        if _met(seen, mine, j):
            continue
        trials += 1
        gap = _gap(chunks, mover, vectors, bias, 0, i, j)
        if kind != VIOLATOR or gap < 1:
            return state, j, hinge_slope(gap, trials, len(members)) if kind == VIOLATOR else logistic_slope(gap)
    return state, np.int64(-1), np.float32(0)


@compiled_exactly
def _times(weights):
    """Return how often each entry comes in a pass: its weight over the mean weight, none where all are 0."""
    total = 0.0
    for e in range(len(weights)):
        total += max(np.float64(weights[e]), 0.0)
    times = np.zeros(len(weights))
    for e in range(len(weights)):
        if weights[e] > 0:
            times[e] = len(weights) * (weights[e] / total)
    return times


@compiled_exactly
def _entries(times, lap):
    """Return the entries of a pass, each as often as it comes: the fractions add up over the passes."""
    count = np.empty(len(times), np.int64)
    for e in range(len(times)):
        count[e] = np.int64(times[e] * (lap + 1)) - np.int64(times[e] * lap)
    return np.repeat(np.arange(len(times)), count)


@compiled_exactly
def _signature(mine):
    """Return 64 words of bits, those of the items set."""
    seen = np.zeros(64, np.uint64)
    for e in range(len(mine)):
        seen[mine[e] & 63] |= _ONE << np.uint64((mine[e] >> 6) & 63)
    return seen


@compiled_inline
def _met(seen, mine, j):
    """Return whether j is one of the items, whose signature is `seen`: a search only where its bit is set."""
    return (seen[j & 63] >> np.uint64((j >> 6) & 63)) & _ONE != 0 and contains(mine, 0, len(mine), j)


def place_items(
    known: Positives,
    fresh: Positives,
    users: F32,
    items: F32,
    bias: F32,
    rates: Rates,
    *,
    passes: int,
    seed: int,
    executor: Executor,
) -> None:
    """Fill the vectors and biases of new items in place, by the logistic loss with uniform negatives.

    A pass takes a step for every user of an item, and as many as an average item has, on average, as the negative of others.

    Parameters
    ----------
    known : Positives
        All pairs, by user; the new items among them.
    fresh : Positives
        By new item: their users. There are ``len(fresh.indptr) - 1`` new items, the last rows of `items`.
    users, items, bias : F32, shapes (n_users, width), (n_items, width), (n_items,)
        Users and old items are held fixed.
    rates : Rates
        `learning`, `bias`, `positive` and `negative` count.
    passes : int
        Over the users of each item.
    seed : int
        Of the draws.
    executor : Executor
        Runs blocks of items.
    """
    old, owner = len(items) - (len(fresh.indptr) - 1), np.repeat(np.arange(len(users), dtype=np.int32), np.diff(known.indptr))

    def place(block: tuple[int, int]) -> None:
        _place_block(_chunks(items), *block, known, owner, fresh, users, items, bias, old, rates, passes, seed)

    executor.map(place, balanced_blocks(fresh.indptr, per_entry=10 * items.shape[1] * passes, per_row=1))


@compiled
def _place_block(chunks, begin, end, known, owner, fresh, users, items, bias, old, rates, passes, seed):
    known, owner, fresh, users, items, bias, old = borrowed((known, owner, fresh, users, items, bias, old))
    share = len(owner) / len(bias)
    for v in range(begin, end):
        mine, state = fresh.indices[fresh.indptr[v] : fresh.indptr[v + 1]], stream(seed, v)
        for lap in range(passes):
            fade = np.float32(1 - lap / passes)
            state = _as_positive(chunks, state, mine, known, users, items, bias, old + v, old, rates, fade)
            times = np.int64(share * (lap + 1)) - np.int64(share * lap)
            state = _as_negative(chunks, state, times, known, owner, users, items, bias, old + v, old, rates, fade)


@compiled_into_callers
def _as_positive(chunks, state, mine, known, users, items, bias, v, old, rates, fade):
    """Take a step for each user of item v, against an old item that they have not met."""
    people, vectors = panels(chunks, users), panels(chunks, items)
    indptr, indices, _ = known
    for e in range(len(mine)):
        u = np.int64(mine[e])
        state += STEP
        j = below(mixed(state), old)
        if contains(indices, indptr[u], indptr[u + 1], j):
            continue
        slope = logistic_slope(_gap(chunks, people, vectors, bias, u, v, j))
        _move_item(chunks, people, vectors, bias, u, v, fade * rates.learning, fade * rates.bias, slope, rates.positive)
    return state


@compiled_into_callers
def _as_negative(chunks, state, times, known, owner, users, items, bias, v, old, rates, fade):
    """Take steps for pairs drawn at random whose user has not met item v."""
    people, vectors = panels(chunks, users), panels(chunks, items)
    indptr, indices, _ = known
    for _ in range(times):
        state += STEP
        e = below(mixed(state), len(owner))
        u, i = np.int64(owner[e]), np.int64(indices[e])
        if i >= old or contains(indices, indptr[u], indptr[u + 1], v):
            continue
        slope = logistic_slope(_gap(chunks, people, vectors, bias, u, i, v))
        _move_item(chunks, people, vectors, bias, u, v, fade * rates.learning, fade * rates.bias, -slope, rates.negative)
    return state


@compiled_into_callers
def _gap(chunks, people, vectors, bias, u, i, j):
    k, gap = len(vectors) // len(bias), bias[i] - bias[j]
    for c in range(k):
        apart = add_scaled(load(chunks, vectors, i * k + c), MINUS, load(chunks, vectors, j * k + c))
        gap += dot(load(chunks, people, u * k + c), apart)
    return gap


@compiled_into_callers
def _move_item(chunks, people, vectors, bias, u, v, rate, bias_rate, slope, reg):
    k = len(vectors) // len(bias)
    bias[v] += bias_rate * (slope - reg * bias[v])
    for c in range(k):
        old = load(chunks, vectors, v * k + c)
        store(vectors, v * k + c, add_scaled(add_scaled(old, -rate * reg, old), rate * slope, load(chunks, people, u * k + c)))
