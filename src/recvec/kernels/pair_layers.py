"""Layers over pairs of a user and several items, as networks that score pairs begin: forward, and the gradient.

A batch has B users, each with `width` items; a *slot* is one of these B * width pairs. What is written once per slot and read
once per slot would, as operations on whole arrays, go through memory four times; here a slot stays in the cache. Gradients of
items are added up item by item over their slots, in order, so that they have the same bits for any number of threads.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from recvec.kernels.blocks import blocks_of_cost, even_blocks
from recvec.kernels.compiled import compiled, compiled_exactly
from recvec.types import F32, I64, Executor

ROWS = 512  # users of a block


class Slots(NamedTuple):
    """The items of B users, and the slots of each item.

    Parameters
    ----------
    rows : I64, shape (B, width)
        Item row of each slot.
    starts : I64, shape (n_items + 1,)
        Where the slots of each item begin in `slots`.
    slots : I64, shape (B * width,)
        Numbers of slots, by item.
    """

    rows: I64
    starts: I64
    slots: I64

    @classmethod
    def of(cls, rows: I64, n_items: int) -> "Slots":
        """Group the slots by item."""
        return cls(rows, *_grouped(np.ascontiguousarray(rows).ravel(), n_items))

    def blocks(self) -> list[tuple[int, int]]:
        """Ranges of items with about as many slots."""
        return blocks_of_cost(np.diff(self.starts) + 1, least=8)


def dots(users: F32, items: F32, slots: Slots, executor: Executor) -> F32:
    """Return the dot product of each slot.

    Parameters
    ----------
    users : F32, shape (B, d)
    items : F32, shape (n_items, d)
    slots : Slots

    Returns
    -------
    F32, shape (B, width)
        Cost: 2 B width d.
    """
    out = np.empty(slots.rows.shape, np.float32)
    executor.map(lambda at: _dots(users[at], items, slots.rows[at], out[at]), even_blocks(len(users), ROWS))
    return out


def dots_gradient(slopes: F32, users: F32, items: F32, slots: Slots, executor: Executor) -> tuple[F32, F32]:
    """Return the gradient of `dots` for users (B, d) and items (n_items, d), given that of its result (B, width)."""
    of_users, of_items = np.empty_like(users), np.zeros_like(items)
    executor.map(lambda at: _dots_users(slopes[at], items, slots.rows[at], of_users[at]), even_blocks(len(users), ROWS))
    executor.map(partial(_block, _dots_items, (slopes, users, slots.starts, slots.slots, of_items)), slots.blocks())
    return of_users, of_items


def joined(users: F32, items: F32, slots: Slots, executor: Executor) -> F32:
    """Return ``max(0, users[b] + items[i])`` for each slot: a dense layer whose halves are given.

    Parameters
    ----------
    users : F32, shape (B, d)
        The user's half of the layer, with its bias.
    items : F32, shape (n_items, d)
        The item's half.
    slots : Slots

    Returns
    -------
    F32, shape (B, width, d)
    """
    out = np.empty((*slots.rows.shape, users.shape[1]), np.float32)
    executor.map(lambda at: _joined(users[at], items, slots.rows[at], out[at]), even_blocks(len(users), ROWS))
    return out


def joined_gradient(slopes: F32, out: F32, n_items: int, slots: Slots, executor: Executor) -> tuple[F32, F32]:
    """Return the gradient of `joined` for users (B, d) and items (n_items, d), given that of its result `out` (B, width, d)."""
    of_users, of_items = np.empty((len(out), out.shape[2]), np.float32), np.zeros((n_items, out.shape[2]), np.float32)
    executor.map(lambda at: _joined_users(slopes[at], out[at], of_users[at]), even_blocks(len(out), ROWS))
    flat = (slopes.reshape(-1, out.shape[2]), out.reshape(-1, out.shape[2]))
    executor.map(partial(_block, _joined_items, (*flat, slots.starts, slots.slots, of_items)), slots.blocks())
    return of_users, of_items


def _block(kernel, arrays, block):  # type: ignore[no-untyped-def]
    kernel(*arrays, *block)


@compiled_exactly
def _grouped(rows, n_items):
    starts = np.zeros(n_items + 1, np.int64)
    for row in rows:
        starts[row + 1] += 1
    for item in range(n_items):
        starts[item + 1] += starts[item]
    free, slots = starts[:-1].copy(), np.empty(len(rows), np.int64)
    for slot in range(len(rows)):
        slots[free[rows[slot]]] = slot
        free[rows[slot]] += 1
    return starts, slots


@compiled
def _dots(users, items, rows, out):
    for b in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            item, total = rows[b, j], np.float32(0)
            for k in range(users.shape[1]):
                total += users[b, k] * items[item, k]
            out[b, j] = total


@compiled
def _dots_users(slopes, items, rows, out):
    for b in range(rows.shape[0]):
        for k in range(out.shape[1]):
            out[b, k] = 0
        for j in range(rows.shape[1]):
            item, slope = rows[b, j], slopes[b, j]
            for k in range(out.shape[1]):
                out[b, k] += slope * items[item, k]


@compiled
def _dots_items(slopes, users, starts, slots, out, first, last):
    width = slopes.shape[1]
    for item in range(first, last):
        for at in range(starts[item], starts[item + 1]):
            b = slots[at] // width
            slope = slopes[b, slots[at] - b * width]
            for k in range(out.shape[1]):
                out[item, k] += slope * users[b, k]


@compiled
def _joined(users, items, rows, out):
    for b in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            item = rows[b, j]
            for k in range(users.shape[1]):
                value = users[b, k] + items[item, k]
                out[b, j, k] = value if value > 0 else np.float32(0)


@compiled
def _joined_users(slopes, out, of_users):
    for b in range(out.shape[0]):
        for k in range(out.shape[2]):
            of_users[b, k] = 0
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                of_users[b, k] += slopes[b, j, k] if out[b, j, k] > 0 else np.float32(0)


@compiled
def _joined_items(slopes, out, starts, slots, of_items, first, last):
    for item in range(first, last):
        for at in range(starts[item], starts[item + 1]):
            slot = slots[at]
            for k in range(of_items.shape[1]):
                of_items[item, k] += slopes[slot, k] if out[slot, k] > 0 else np.float32(0)
