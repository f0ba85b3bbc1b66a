"""Negatives for training in batches: for each positive pair, items that its user has not met."""

from functools import partial

import numpy as np

from recvec.kernels.blocks import even_blocks
from recvec.kernels.compiled import compiled_exactly
from recvec.kernels.sampling import STEP, below, mixed, stream
from recvec.types import I32, I64, Executor

ROWS = 1 << 16  # of a block, which has random numbers of its own
TRIES = 64  # after so many items that were all met, the last one is taken: the user has met nearly everything


def draw_unmet(met: tuple[I64, I32], users: I32, n_negatives: int, n_items: int, *, seed: int, executor: Executor) -> I32:
    """Draw items uniformly among those that each user has not met.

    Parameters
    ----------
    met : (I64, I32)
        Bounds and item rows, ascending within a user, as `Histories.exclude`.
    users : I32, shape (n,)
        A user row for each positive.
    n_negatives : int
        How many for each.
    n_items : int
        Items to draw from.
    seed : int
        The numbers are those of the seed and the place in `users`, whatever the number of threads.
    executor : Executor
        Runs the blocks.

    Returns
    -------
    I32, shape (n, n_negatives)
        Cost: about log2 of a history a draw.
    """
    drawn = np.empty((len(users), n_negatives), np.int32)
    blocks = list(enumerate(even_blocks(len(users), ROWS)))
    executor.map(partial(_draw_block, met, users, n_items, seed, drawn), blocks)
    return drawn


def _draw_block(met: tuple[I64, I32], users: I32, n_items: int, seed: int, drawn: I32, block: tuple[int, slice]) -> None:
    number, rows = block
    _draw(*met, users[rows], n_items, np.uint64(stream(np.uint64(seed), np.uint64(number))), drawn[rows])


@compiled_exactly
def _draw(indptr, indices, users, n_items, state, drawn):
    for row in range(len(users)):
        first, last = indptr[users[row]], indptr[users[row] + 1]
        for k in range(drawn.shape[1]):
            for _ in range(TRIES):
                state += STEP
                item = below(mixed(state), n_items)
                place = first + np.searchsorted(indices[first:last], item)
                if place == last or indices[place] != item:
                    break
            drawn[row, k] = item
