"""A screen before exact scores: products of bytes say which items a query's list may still take.

Vectors are rounded to whole numbers of -127 ... 127 times a scale of their own, u = a u^ + e, v = b v^ + f. The product of
the whole numbers is exact, and by Cauchy and Schwarz the rest is bounded:

    |u.v - a b u^.v^|  <=  |u| |f| + |e| |b v^|.

Items whose product plus bound falls short of a list's k-th score cannot enter it. The few others are scored in float32,
always in the same order of summation, so that their scores and the list do not depend on how queries are blocked.
Items are taken by descending length: the k-th score rises early, and where |u| |v| falls short of it the rest is skipped.

A processor multiplies and adds 64 pairs of bytes in the time of 16 pairs of float32 (AVX-512 VNNI), and the comparison
takes place in the registers that hold the sums: no block of scores is ever written.
"""

from typing import NamedTuple

import numpy as np

from recvec.kernels.byte_tiles import QUERIES, TILE_ITEMS, add_bytes, lowest_bit, multiplies_bytes, reaching, tile_of
from recvec.kernels.compiled import compiled_exactly, compiled_into_callers
from recvec.kernels.shortlist import contains, empty_lists, keep_largest, key_of, largest, score_of
from recvec.types import F32, I8, I32, I64, Array, Executor

BYTE = 127  # largest whole number
UNSIGNED = 0x80808080  # turns four signed bytes into unsigned ones, 128 more each
TINY = 1e-30  # vectors without a larger component are rounded to zero: their scale would not be a normal number
HUGE = 1e36  # products of lengths up to here stay far from the end of float32
MIN_QUERIES, MIN_ITEMS = 256, 4096  # below, rounding the items costs more than it saves
MAX_SHARE = 64  # a list longer than an item in so many lets too many through
ROUNDED = 512  # vectors rounded in one block
SPARE = 16  # a list has room for at least so many items beyond k
SORTED = 64  # tiles after which queries are put into order again


class Rounded(NamedTuple):
    """Vectors as whole numbers.

    Parameters
    ----------
    words : int32 (n, d / 4) or tiles of it
        Four bytes each.
    scales : float32 (n,)
        What the whole numbers are multiples of.
    lengths : float64 (n,)
        Lengths of the vectors.
    errors : float64 (n,)
        Lengths of what rounding left over.
    """

    words: I32
    scales: F32
    lengths: Array
    errors: Array

    def take(self, rows: Array) -> "Rounded":
        """Return some of them."""
        return Rounded(self.words[rows], self.scales[rows], self.lengths[rows], self.errors[rows])


class Screen:
    """Items rounded and laid out in tiles, ready for any number of blocks of queries.

    Parameters
    ----------
    queries : float32 (B, d)
        Vectors of the queries.
    items : float32 (n, d)
        Vectors of the items.
    rows : int32 (m,)
        The items that may be listed.
    executor : Executor
        Runs the blocks of the rounding.

    Notes
    -----
    Memory: a byte for each component of the queries and the listed items. Cost: two passes over both.
    """

    block = 85 * QUERIES  # queries of a task: 64 KB of whole numbers at d = 128, half of a first-level cache

    def __init__(self, queries: F32, items: F32, rows: I32, executor: Executor) -> None:
        self._queries, self._items = queries, items
        listed = _rounded(items, rows, executor)
        order = np.argsort(-listed.lengths, kind="stable")
        self._rows = rows[order]
        self._listed = _tiles(listed, order)
        self._asked = _rounded(queries, np.arange(len(queries), dtype=np.int32), executor)

    @property
    def holds(self) -> bool:
        """Whether the bounds hold: all vectors are finite, and no product comes near the end of float32."""
        longest = [float(side.lengths.max(initial=0)) for side in (self._asked, self._listed)]
        return bool(longest[0] * longest[1] <= HUGE and max(longest) <= HUGE)  # NaN is not

    def best_keys(self, first: int, tiles: slice, k: int, indptr: I64, indices: I32) -> I64:
        """Return the keys of the `k` best items of a block of queries, among some tiles."""
        at = slice(first, first + self.block)
        keys, counts, reach = empty_lists(len(self._queries[at]), k + max(k // 2, SPARE))
        excluded = indptr[at.start : at.stop + 1], indices
        for begin in range(tiles.start, tiles.stop, SORTED):
            asked, who = self._open(at, reach, begin)
            tile_range = begin, min(begin + SORTED, tiles.stop)
            exact = self._queries[at], self._items, self._rows
            _offer_tiles(*asked, who, *self._listed, *tile_range, *exact, k, keys, counts, reach, *excluded)
        for q in np.flatnonzero(self._asked.lengths[at] == 0):  # all scores are 0: the first rows are the best
            spared = np.setdiff1d(np.sort(self._rows), indices[excluded[0][q] : excluded[0][q + 1]], assume_unique=True)[:k]
            keys[q, : len(spared)] = [key_of(np.float32(0), row) for row in spared]
        return largest(keys, k)

    def _open(self, at: slice, reach: F32, tile: int) -> tuple[Rounded, I64]:
        """Return the queries whose lists items from this tile on may still enter, those that stay open longest first."""
        lengths = self._asked.lengths[at]
        closing = np.divide(reach, lengths, out=np.full(len(reach), np.inf), where=lengths > 0)  # length below which none enters
        order = np.argsort(closing, kind="stable")
        who = order[: np.searchsorted(closing[order], self._listed.lengths[tile] * 1.0001, side="right")]
        spare = np.zeros(-len(who) % QUERIES, np.int64)  # fills up the last tile of queries; never looked at
        return self._asked.take(np.concatenate([who, spare]) + at.start), who


def suits(n_queries: int, n_items: int, k: int) -> bool:
    """Return whether a screen is faster than a product of float32: many queries, short lists, and the instruction for it."""
    return n_queries >= MIN_QUERIES and n_items >= max(MIN_ITEMS, MAX_SHARE * k) and multiplies_bytes()


def _rounded(vectors: F32, rows: I32, executor: Executor) -> Rounded:
    """Return some rows of the vectors as whole numbers, with zeros up to a multiple of four columns."""
    n, width = len(rows), -(-vectors.shape[1] // 4) * 4
    numbers = np.zeros((n, width), np.int8)
    scales, lengths, errors = np.ones(n, np.float32), np.empty(n), np.empty(n)

    def one(begin: int) -> None:
        at = slice(begin, begin + ROUNDED)
        _round(vectors, rows[at], numbers[at], scales[at], lengths[at], errors[at])

    executor.map(one, range(0, n, ROUNDED))
    return Rounded(numbers.view(np.int32), scales, lengths, errors)


@compiled_exactly
def _round(vectors: F32, rows: I32, numbers: I8, scales: F32, lengths: Array, errors: Array) -> None:
    for r in range(len(rows)):
        vector, square, largest_part = vectors[rows[r]], 0.0, np.float32(0)
        for t in range(len(vector)):
            square += np.float64(vector[t]) ** 2
            largest_part = max(largest_part, abs(vector[t]))
        lengths[r], rest = np.sqrt(square), 0.0
        scale = np.float32(largest_part / BYTE) if largest_part > TINY and np.isfinite(square) else np.float32(0)
        for t in range(len(vector)):
            number = np.rint(vector[t] / scale) if scale > 0 else np.float32(0)
            numbers[r, t] = np.int8(number)
            rest += (np.float64(vector[t]) - np.float64(scale) * number) ** 2
        errors[r] = np.sqrt(rest)
        scales[r] = scale if scale > 0 else 1


def _tiles(rounded: Rounded, order: Array) -> Rounded:
    """Lay items out as `add_bytes` reads them, tile by tile, and keep the largest length and error of each tile."""
    n, groups = rounded.words.shape
    n_tiles = -(-n // TILE_ITEMS)
    room = np.empty(n_tiles * TILE_ITEMS * groups + 16, np.int32)
    words = room[-(room.ctypes.data // 4) % 16 :][: n_tiles * TILE_ITEMS * groups]  # cache lines are 16 words long
    padded = np.zeros((n_tiles * TILE_ITEMS, groups), np.int32)
    padded[:n] = rounded.words[order]
    tiles = padded.reshape(n_tiles, TILE_ITEMS, groups).transpose(0, 2, 1)
    np.bitwise_xor(tiles, np.array(UNSIGNED, np.uint32).view(np.int32), out=words.reshape(tiles.shape))
    scales = np.zeros(n_tiles * TILE_ITEMS, np.float32)
    scales[:n] = rounded.scales[order]
    most = [np.pad(part[order], (0, n_tiles * TILE_ITEMS - n)).reshape(n_tiles, -1).max(axis=1) for part in rounded[2:]]
    return Rounded(words, scales, *most)


@compiled_exactly
def _offer_tiles(
    words, scales, lengths, errors, who, item_words, item_scales, item_lengths, item_errors, first_tile, last_tile,
    queries, items, rows, k, keys, counts, reach, indptr, indices,
):  # fmt: skip
    """Offer all items of some tiles to the lists of the queries `who`; `reach` holds their k-th scores."""
    n, groups = words.shape
    words, starts, cuts = words.ravel(), _starts(words), np.full(n, np.inf, np.float32)
    slots, places = np.empty(n * TILE_ITEMS, np.int32), np.empty(n * TILE_ITEMS, np.int32)
    for t in range(first_tile, last_tile):
        n_found = 0
        _cut(reach, who, scales, lengths, errors, item_lengths[t], item_errors[t], 4 * groups, cuts)
        for s in range(0, n, QUERIES):
            if not (cuts[s] < np.inf or cuts[s + 1 : s + QUERIES].min() < np.inf):
                continue
            tile = tile_of(starts, s)
            for g in range(groups):
                tile = add_bytes(tile, item_words, (t * groups + g) * TILE_ITEMS, words, s * groups + g, groups)
            found = reaching(tile, item_scales, t * TILE_ITEMS, cuts, s)
            for r in range(QUERIES):
                bits = found[r]
                while bits != 0:
                    slots[n_found], places[n_found] = s + r, t * TILE_ITEMS + lowest_bit(bits)
                    bits &= bits - np.uint64(1)
                    n_found += 1
        _score(n_found, slots, places, who, queries, items, rows, k, keys, counts, reach, indptr, indices)


@compiled_exactly
def _starts(words):
    """Return -128 times the sum of the bytes of each query: the bytes of the items are 128 too large."""
    starts = np.empty(len(words), np.int32)
    for q in range(len(words)):
        total = 0
        for byte in words[q].view(np.int8):
            total += byte
        starts[q] = -128 * total
    return starts


@compiled_exactly
def _cut(reach, who, scales, lengths, errors, item_length, item_error, d, cuts):
    """Write the scaled sum of bytes that an item of a tile must reach; infinity where none can."""
    slack = (d + 24) * 2.0**-24 * item_length  # of the float32 score that decides, and of the rounding of sums and cuts
    for s in range(len(who)):
        bound = lengths[s] * (item_error + slack) + errors[s] * (item_length + item_error)
        least = reach[who[s]]
        cuts[s] = np.inf if least > lengths[s] * (item_length + slack) else (least - bound) / scales[s]


@compiled_exactly
def _score(n_found, slots, places, who, queries, items, rows, k, keys, counts, reach, indptr, indices):
    """Score what was found, and put what is better than the k-th into the lists; `reach` holds their k-th scores."""
    for f in range(n_found):
        if places[f] >= len(rows):  # fills up the last tile
            continue
        q, row = who[slots[f]], rows[places[f]]
        score = _dot(queries, q, items, row)
        if score >= reach[q] and not contains(indices, indptr[q], indptr[q + 1], row):
            keys[q, counts[q]] = key_of(score, row)
            counts[q] += 1
            if counts[q] == keys.shape[1]:
                reach[q], counts[q] = score_of(keep_largest(keys[q], k)), k


@compiled_into_callers
def _dot(x: F32, q: int, y: F32, row: int) -> np.float32:
    total = np.float32(0)
    for t in range(x.shape[1]):
        total += x[q, t] * y[row, t]
    return total
