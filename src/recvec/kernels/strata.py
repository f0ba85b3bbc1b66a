"""Dealing the entries of a matrix into blocks that can be worked on at the same time without sharing a row.

Users and items are put into S groups each at random, and a block is a pair of groups. In one round the S blocks
``(g, (g + offset) % S)`` have no user and no item in common; S rounds make an epoch. A block need not wait for a whole round,
only for those before it that share its users or its items (`rounds`), so that every row is changed in the same order however
many threads there are. Source: Gemulla, Nijkamp, Haas, Sismanis, "Large-scale matrix factorization with distributed
stochastic gradient descent", KDD 2011.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recvec.kernels.compiled import compiled_exactly
from recvec.types import F32, I32, I64, Executor

GROUP_BYTES = 2 << 20  # of the rows of a group, so that a block stays in the cache beside the core
GROUP_ROWS = 256  # at least: a negative is to be one of many
MOST_GROUPS = 64
CHUNKS = 32  # of the pairs, dealt side by side


class Positives(NamedTuple):
    """What users have met, as compressed rows.

    Parameters
    ----------
    indptr : I64, shape (n_users + 1,)
        Bounds of each user's entries.
    indices : I32, shape (n,)
        Items, ascending for each user.
    weights : F32, shape (n,), or (0,) where all are 1
        Times that each comes in an epoch, on average.
    """

    indptr: I64
    indices: I32
    weights: F32


@dataclass(frozen=True)
class Deal:
    """The blocks of an epoch.

    Parameters
    ----------
    pairs : I32, shape (n, 2)
        User and item, block by block.
    weights : F32, shape (n,) or (0,)
        Of each pair.
    bounds : I64, shape (S * S + 1,)
        Where the block of user group g and item group h begins, at ``g * S + h``.
    members : list of I32
        Item rows of each item group, ascending.
    """

    pairs: I32
    weights: F32
    bounds: I64
    members: list[I32]


def n_groups(n_users: int, n_items: int, width: int) -> int:
    """Return S, from sizes alone: small enough groups for the cache, large enough ones to draw negatives from."""
    smaller, larger = sorted((n_users, n_items))
    wanted = 2 * larger * width * 4 // GROUP_BYTES
    return max(1, min(MOST_GROUPS, max(4, wanted), smaller // GROUP_ROWS))


def deal(positives: Positives, n_items: int, n_blocks: int, rng: np.random.Generator, executor: Executor) -> Deal:
    """Put users and items into groups at random, and pairs into blocks.

    Parameters
    ----------
    positives : Positives
        All pairs.
    n_items : int
        Number of items.
    n_blocks : int
        S, the number of groups of each side.
    rng : numpy.random.Generator
        Draws the groups.
    executor : Executor
        Its workers share memory. Cost: two passes over the pairs.
    """
    indptr, n_users = positives.indptr, len(positives.indptr) - 1
    user_group, item_group = (_drawn_groups(n, n_blocks, rng) for n in (n_users, n_items))
    edges = np.unique(np.searchsorted(indptr, np.linspace(0, indptr[-1], CHUNKS + 1).astype(np.int64)))
    chunks = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    counted = executor.map(lambda chunk: _count(*chunk, indptr, positives.indices, user_group, item_group, n_blocks), chunks)
    counts = np.array(counted).reshape(len(chunks), n_blocks**2)
    places = np.cumsum(counts.T.ravel()) - counts.T.ravel()  # block by block, in each chunk by chunk
    starts = np.ascontiguousarray(places.reshape(n_blocks**2, len(chunks)).T)
    pairs, weights = np.empty((len(positives.indices), 2), np.int32), np.empty_like(positives.weights)

    def fill(at: int) -> None:
        _fill(*chunks[at], positives, user_group, item_group, n_blocks, starts[at], pairs, weights)

    executor.map(fill, range(len(chunks)))
    bounds = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    members = [np.flatnonzero(item_group == h).astype(np.int32) for h in range(n_blocks)]
    return Deal(pairs, weights, bounds, members)


def _drawn_groups(n: int, n_blocks: int, rng: np.random.Generator) -> I32:
    """Return the group of each row; groups are of equal size, up to one row."""
    group: I32 = rng.permutation(np.arange(n, dtype=np.int32) % n_blocks)
    return group


@compiled_exactly
def _count(begin, end, indptr, indices, user_group, item_group, n_blocks):
    counts = np.zeros(n_blocks * n_blocks, np.int64)
    for u in range(begin, end):
        row = user_group[u] * n_blocks
        for e in range(indptr[u], indptr[u + 1]):
            counts[row + item_group[indices[e]]] += 1
    return counts


@compiled_exactly
def _fill(begin, end, positives, user_group, item_group, n_blocks, place, pairs, weights):
    for u in range(begin, end):
        row = user_group[u] * n_blocks
        for e in range(positives.indptr[u], positives.indptr[u + 1]):
            i = positives.indices[e]
            block = row + item_group[i]
            pairs[place[block], 0], pairs[place[block], 1] = u, i
            if len(weights) > 0:
                weights[place[block]] = positives.weights[e]
            place[block] += 1


def rounds(n_blocks: int, rng: np.random.Generator) -> tuple[list[tuple[int, int]], list[list[int]]]:
    """Return all blocks, (user group, item group), in the order of random rounds, and for each the places of those it waits for."""
    blocks = [(g, (g + offset) % n_blocks) for offset in rng.permutation(n_blocks).tolist() for g in range(n_blocks)]
    return blocks, _predecessors(blocks)


def _predecessors(blocks: list[tuple[int, int]]) -> list[list[int]]:
    """Return, for each block, those that come right before it in its user group and in its item group."""
    latest: dict[tuple[str, int], int] = {}
    before = []
    for at, (g, h) in enumerate(blocks):
        keys = (("user", g), ("item", h))
        before.append([latest[key] for key in keys if key in latest])
        latest |= dict.fromkeys(keys, at)
    return before
