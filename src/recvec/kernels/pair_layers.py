"""Layers over pairs of a user and several items, as networks that score pairs begin: forward, and the gradient.

A batch has B users, each with `width` items; a *slot* is one of these B * width pairs. Users come in blocks whose slots stay in the
cache; the gradient of an item is added up over its slots, in order, so that it has the same bits for any number of threads. What is
large, the results of dense layers and their gradients, is kept in bfloat16, as bits (uint16); sums are of float32.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from recvec.kernels.blocks import blocks_of_cost
from recvec.kernels.compiled import compiled, compiled_exactly
from recvec.types import F32, F64, I64, U16, Executor


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

    @property
    def counts(self) -> I64:
        """How many slots each item has, shape (n_items,)."""
        return np.diff(self.starts)

    def blocks(self) -> list[tuple[int, int]]:
        """Ranges of items with about as many slots."""
        return blocks_of_cost(self.counts + 1, least=8)


def dots(users: F32, items: F32, rows: I64) -> F32:
    """Return the dot product of each slot, shape (B, width), of users (B, d) and items (n_items, d)."""
    out = np.empty(rows.shape, np.float32)
    _dots(users, items, rows, out)
    return out


def dots_for_users(slopes: F32, items: F32, rows: I64) -> F32:
    """Return the gradient of `dots` for users, shape (B, d), given that of its result, (B, width)."""
    out = np.empty((len(rows), items.shape[1]), np.float32)
    _dots_for_users(slopes, items, rows, out)
    return out


def dots_for_items(slopes: F32, users: F32, slots: Slots, executor: Executor) -> F32:
    """Return the gradient of `dots` for items, shape (n_items, d), given that of its result, (B, width)."""
    out = np.zeros((len(slots.starts) - 1, users.shape[1]), np.float32)
    executor.map(partial(_block, _dots_for_items, (slopes, users, slots.starts, slots.slots, out)), slots.blocks())
    return out


def joined(users: F32, items: U16, rows: I64, out: U16) -> U16:
    """Write ``max(0, users[b] + items[i])`` for each slot, bfloat16, (B * width, d): a dense layer whose halves are given."""
    _joined(users, items, rows, out)
    return out


def joined_for_users(slopes: U16, values: U16, n: int) -> F32:
    """Set slopes (B * width, d) to 0, in place, where the values of `joined` are; return their sums for each of n users, (n, d)."""
    out = np.zeros((n, slopes.shape[1]), np.float32)
    _joined_for_users(slopes, values, out)
    return out


def joined_for_items(slopes: U16, slots: Slots, executor: Executor) -> F32:
    """Return the sum of such slopes over the slots of each item, shape (n_items, d)."""
    out = np.zeros((len(slots.starts) - 1, slopes.shape[1]), np.float32)
    executor.map(partial(_block, _sum_slots, (slopes, slots.starts, slots.slots, out)), slots.blocks())
    return out


def bent(values: U16, bias: F32) -> U16:
    """Add the bias (d,) to bfloat16 values (n, d) and replace what is below 0 by 0, in place."""
    _bend(values, bias)
    return values


def passed(slopes: U16, values: U16) -> F32:
    """Replace slopes by 0, in place, where the values of `bent` are 0, and return the sums of columns: the gradient of the bias."""
    return _pass(slopes, values)


def finished(values: U16, weight: F32) -> F32:
    """Return the product of bfloat16 values (n, d) and a weight (d,), shape (n,)."""
    out = np.empty(len(values), np.float32)
    _finish(values, weight, out)
    return out


def finished_gradient(slopes: F32, values: U16, weight: F32) -> tuple[U16, F32]:
    """Return the gradient of `finished` for the values, before `passed`, (n, d), and for the weight, (d,)."""
    out, of_weight = np.empty_like(values), np.zeros_like(weight)
    _finish_back(slopes, values, weight, out, of_weight)
    return out, of_weight


def rounded(values: F32) -> U16:
    """Return the nearest bfloat16 numbers, as bits."""
    out = np.empty(values.shape, np.uint16)
    _round(np.ascontiguousarray(values).ravel(), out.ravel())
    return out


def widened(values: U16, out: F32 | None = None) -> F32:
    """Return bfloat16 numbers as float32, in a new array or in `out`."""
    found = np.empty(values.shape, np.float32) if out is None else out
    _widen(values.ravel(), found.ravel())
    return found


def decayed(slopes: F32, vectors: F32, weights: F32, columns: F32) -> F64:
    """Return the sums of weights (n,) times squares of vectors (n, d), shape (d,); columns (d,) times those is a penalty.

    The gradient of the penalty is added to slopes (n, d), in place.
    """
    return _decay(slopes, vectors, weights, columns)


def logistic(logits: F32, n: int) -> tuple[float, F32]:
    """Return the sum of the logistic losses, the first slot of each user having the label 1, the others 0, and slopes over n."""
    slopes = np.empty_like(logits)
    return _logistic(logits, np.float32(n), slopes), slopes


def summed(rows: F32, places: I64, n: int) -> F32:
    """Return sums of rows (B, d) by place, shape (n, d)."""
    out = np.zeros((n, rows.shape[1]), np.float32)
    _add_rows(rows, places, out)
    return out


def _block(kernel, arrays, block):
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
def _dots_for_users(slopes, items, rows, out):
    for b in range(rows.shape[0]):
        for k in range(out.shape[1]):
            out[b, k] = 0
        for j in range(rows.shape[1]):
            item, slope = rows[b, j], slopes[b, j]
            for k in range(out.shape[1]):
                out[b, k] += slope * items[item, k]


@compiled
def _dots_for_items(slopes, users, starts, slots, out, first, last):
    width = slopes.shape[1]
    for item in range(first, last):
        for at in range(starts[item], starts[item + 1]):
            b = slots[at] // width
            slope = slopes[b, slots[at] - b * width]
            for k in range(out.shape[1]):
                out[item, k] += slope * users[b, k]


# bfloat16 is the upper half of a float32. Rows are rounded through a scratch row whose bits are at hand: to nearest, ties to even.


@compiled
def _joined(users, items, rows, out):
    width, row = rows.shape[1], np.empty(users.shape[1], np.float32)
    bits = row.view(np.uint32)
    for b in range(rows.shape[0]):
        for j in range(width):
            item, slot = rows[b, j], b * width + j
            for k in range(len(row)):
                bits[k] = np.uint32(items[item, k]) << np.uint32(16)
            for k in range(len(row)):
                row[k] = max(users[b, k] + row[k], np.float32(0))
            for k in range(len(row)):
                out[slot, k] = (bits[k] + np.uint32(0x7FFF) + ((bits[k] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)


@compiled
def _joined_for_users(slopes, values, out):
    width, row = len(slopes) // len(out), np.empty(out.shape[1], np.float32)
    bits = row.view(np.uint32)
    for slot in range(len(slopes)):
        for k in range(len(row)):
            slopes[slot, k] = slopes[slot, k] if values[slot, k] != 0 else np.uint16(0)
        for k in range(len(row)):
            bits[k] = np.uint32(slopes[slot, k]) << np.uint32(16)
        for k in range(len(row)):
            out[slot // width, k] += row[k]


@compiled
def _sum_slots(slopes, starts, slots, out, first, last):
    row = np.empty(out.shape[1], np.float32)
    bits = row.view(np.uint32)
    for item in range(first, last):
        for at in range(starts[item], starts[item + 1]):
            slot = slots[at]
            for k in range(len(row)):
                bits[k] = np.uint32(slopes[slot, k]) << np.uint32(16)
            for k in range(len(row)):
                out[item, k] += row[k]


@compiled
def _bend(values, bias):
    row = np.empty(len(bias), np.float32)
    bits = row.view(np.uint32)
    for n in range(len(values)):
        for k in range(len(row)):
            bits[k] = np.uint32(values[n, k]) << np.uint32(16)
        for k in range(len(row)):
            row[k] = max(row[k] + bias[k], np.float32(0))
        for k in range(len(row)):
            values[n, k] = (bits[k] + np.uint32(0x7FFF) + ((bits[k] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)


@compiled
def _pass(slopes, values):
    row, total = np.empty(slopes.shape[1], np.float32), np.zeros(slopes.shape[1], np.float32)
    bits = row.view(np.uint32)
    for n in range(len(slopes)):
        for k in range(len(row)):
            slopes[n, k] = slopes[n, k] if values[n, k] != 0 else np.uint16(0)
        for k in range(len(row)):
            bits[k] = np.uint32(slopes[n, k]) << np.uint32(16)
        for k in range(len(row)):
            total[k] += row[k]
    return total


@compiled
def _finish(values, weight, out):
    row = np.empty(len(weight), np.float32)
    bits = row.view(np.uint32)
    for n in range(len(values)):
        for k in range(len(row)):
            bits[k] = np.uint32(values[n, k]) << np.uint32(16)
        total = np.float32(0)
        for k in range(len(row)):
            total += row[k] * weight[k]
        out[n] = total


@compiled
def _finish_back(slopes, values, weight, out, of_weight):
    row = np.empty(len(weight), np.float32)
    bits = row.view(np.uint32)
    for n in range(len(values)):
        slope = slopes[n]
        for k in range(len(row)):
            bits[k] = np.uint32(values[n, k]) << np.uint32(16)
        for k in range(len(row)):
            of_weight[k] += slope * row[k]
        for k in range(len(row)):
            row[k] = slope * weight[k]
        for k in range(len(row)):
            out[n, k] = (bits[k] + np.uint32(0x7FFF) + ((bits[k] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)


@compiled
def _round(values, out):
    bits = values.view(np.uint32)
    for n in range(len(out)):
        out[n] = (bits[n] + np.uint32(0x7FFF) + ((bits[n] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)


@compiled
def _widen(values, out):
    bits = out.view(np.uint32)
    for n in range(len(out)):
        bits[n] = np.uint32(values[n]) << np.uint32(16)


@compiled
def _decay(slopes, vectors, weights, columns):
    sums = np.zeros(len(columns), np.float64)
    for n in range(len(vectors)):
        for k in range(len(columns)):
            part = weights[n] * vectors[n, k]
            sums[k] += part * vectors[n, k]
            slopes[n, k] += np.float32(2) * part * columns[k]
    return sums


@compiled
def _add_rows(rows, places, out):
    for b in range(len(places)):
        for k in range(out.shape[1]):
            out[places[b], k] += rows[b, k]


@compiled
def _logistic(logits, n, slopes):
    total = 0.0
    for b in range(logits.shape[0]):
        for j in range(logits.shape[1]):
            value = -logits[b, j] if j == 0 else logits[b, j]  # the loss is log(1 + exp(value))
            small = np.exp(-abs(value))
            total += max(value, np.float32(0)) + np.log1p(small)
            share = (np.float32(1) if value > 0 else small) / (np.float32(1) + small)
            slopes[b, j] = (-share if j == 0 else share) / n
    return total
