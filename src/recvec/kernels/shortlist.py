"""The best entries seen so far, one list per query: offering, selecting, reading.

An entry is one integer, its key: the bits of the score above the inverted row, so that the larger key is the
better entry (score descending, then the smaller row) and no two are equal. A list is an unordered buffer of keys
with room for more than k. When it is full, a selection keeps the k largest, and the least of them is the score
that a newcomer must exceed. Most chunks of scores hold nothing above it and cost one vectorised comparison.
"""

import numpy as np

from recvec.kernels.compiled import compiled_exactly, compiled_inline
from recvec.types import F32, I32, I64

CHUNK = 64  # scores compared with the threshold at once
NOTHING = np.iinfo(np.int64).min  # the key of no entry


def empty_lists(n_queries: int, capacity: int) -> tuple[I64, I64, F32]:
    """Return the keys of each list, how many there are, and the score that a newcomer must exceed."""
    keys = np.full((n_queries, capacity), NOTHING, np.int64)
    return keys, np.zeros(n_queries, np.int64), np.full(n_queries, -np.inf, np.float32)


def largest(keys: I64, width: int) -> I64:
    """Return the `width` largest keys of each row, best first."""
    selected = np.partition(keys, keys.shape[1] - width, axis=1)[:, keys.shape[1] - width :] if width else keys[:, :0]
    return np.sort(selected, axis=1)[:, ::-1]


@compiled_exactly
def offer(
    scores: F32,
    item_rows: I32,
    k: int,
    keys: I64,
    counts: I64,
    thresholds: F32,
    indptr: I64,
    indices: I32,
) -> None:
    """Offer a block of scores (B, m), of items in ascending order, to the lists."""
    n_queries, m = scores.shape
    if k == 0:
        return
    for q in range(n_queries):
        offered, list_keys = scores[q], keys[q]
        threshold, count = thresholds[q], counts[q]
        for start in range(0, m, CHUNK):
            stop = min(start + CHUNK, m)
            if not _any_above(offered[start:stop], threshold):
                continue
            for j in range(start, stop):
                # An equal score loses: its row is larger than every row seen before. NaN is never above.
                if offered[j] > threshold and not contains(indices, indptr[q], indptr[q + 1], item_rows[j]):
                    list_keys[count] = key_of(offered[j], item_rows[j])
                    count += 1
                    if count == len(list_keys):
                        threshold = score_of(keep_largest(list_keys, k))
                        count = k
        thresholds[q], counts[q] = threshold, count


@compiled_inline
def _any_above(chunk: F32, threshold: float) -> bool:
    n_above = np.int32(0)
    for j in range(len(chunk)):
        n_above = np.int32(n_above + np.int32(chunk[j] > threshold))  # 32 bits, as wide as the scores: vectorised
    return bool(n_above > 0)


@compiled_exactly
def contains(ascending: I32, low: int, high: int, row: int) -> bool:
    """Return whether `row` is among the ascending rows from `low` to before `high`."""
    last = high
    while low < high:
        middle = (low + high) >> 1
        if ascending[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low < last and ascending[low] == row


@compiled_exactly
def keep_largest(keys: I64, k: int) -> np.int64:
    """Move the `k` largest keys to the front, in no order, and return the least of them (Hoare's FIND)."""
    low, high = 0, len(keys) - 1
    while low < high:
        a, b, c = keys[low], keys[(low + high) >> 1], keys[high]
        pivot = max(min(a, b), min(max(a, b), c))
        left, right = low, high
        while left <= right:
            while keys[left] > pivot:
                left += 1
            while keys[right] < pivot:
                right -= 1
            if left <= right:
                keys[left], keys[right] = keys[right], keys[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return np.int64(keys[k - 1])


@compiled_exactly
def _swap_order(bits):
    """Turn the bits of float32 into integers of the same order, and back: negative floats count downwards."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


@compiled_exactly
def key_of(score: float, row: int) -> np.int64:
    """Return an integer that orders entries by score, then by smaller row."""
    bits = _swap_order(np.float32(score + np.float32(0.0)).view(np.int32))  # the sum turns -0 into 0
    return (np.int64(bits) << 32) | (~np.int64(row) & 0xFFFFFFFF)


@compiled_exactly
def score_of(key: np.int64) -> np.float32:
    """Return the score of a key."""
    return np.int32(_swap_order(np.int32(key >> 32))).view(np.float32)


@compiled_exactly
def read(keys: I64, rows: I32, scores: F32) -> None:
    """Write the row and score of each key; those of no entry are left as they are."""
    for q in range(len(keys)):
        for j in range(keys.shape[1]):
            if keys[q, j] != NOTHING:
                rows[q, j] = ~keys[q, j] & 0x7FFFFFFF
                scores[q, j] = score_of(keys[q, j])
