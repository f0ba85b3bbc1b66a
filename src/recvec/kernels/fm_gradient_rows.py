"""Scores of rows under a factorization machine, and what its gradients need of each row.

With z_f = x_f v_f, number by number, elementary sums of degree one to three, e1 = sum_f z_f, e2 = sum_{f<g} z_f z_g,
e3 = sum_{f<g<h} z_f z_g z_h, are built up feature by feature: e3 += e2 z, e2 += e1 z, e1 += z. So triples cost what pairs cost,
and nothing cancels. The derivatives are d e2 / d z_f = e1 - z_f and d e3 / d z_f = e2 - z_f e1 + z_f^2.

The linear weight stands behind the factors of the pairs, in the same row; `lanes` tells them apart. A row is cut into k panels
that fit into registers, and matrices hold one panel a row: panel c of feature f is row ``f * k + c``.

Source: Blondel, Fujino, Ueda, Ishihata, "Higher-order factorization machines", NIPS 2016.
"""

from typing import NamedTuple

import numpy as np

from recvec.kernels.compiled import compiled, compiled_exactly, compiled_into_callers
from recvec.kernels.fm_gradient_batches import Rows
from recvec.kernels.pairwise import padded
from recvec.kernels.simd import LANES, add_product, add_scaled, borrowed, dot, load, store
from recvec.types import F32, F64, Executor

ZEROS, FACTORS, LINEAR = 0, 1, 2  # of `Weights.lanes`
BIAS = 0  # place in `Weights.shared`
LOGISTIC, SQUARED, NOTHING = 0, 1, 2  # losses; the last where rows are only scored
ONE = np.float32(1)
ROWS_AT_ONCE = 1024  # of a block that is only scored


class Weights(NamedTuple):
    """What is learned, changed in place; the width is the rank and one more, rounded up to whole panels.

    Parameters
    ----------
    second : F32, shape (F * k, panel)
        Factors of the pairs, and behind them the linear weight.
    third : F32, shape (F * k, panel) or (0, panel)
        Factors of the triples.
    fields : F32, shape (G, G) or (0, 0)
        Weights of the pairs of groups, symmetric.
    shared : F64, shape (4,)
        Bias; its moments and the number of steps taken, while learning.
    lanes : F32, shape (3 * k, panel)
        Zeros; ones where the factors stand; a one where the linear weight stands.
    """

    second: F32
    third: F32
    fields: F32
    shared: F64
    lanes: F32


def packed(bias: float, linear: F32, factors: F32, third: F32 | None, fields: F32 | None) -> Weights:
    """Return copies as the kernels take them."""
    n, rank = factors.shape
    second, lanes, triples = padded(n, rank + 1), padded(3, rank + 1), padded(0 if third is None else n, rank + 1)
    second[:, :rank], second[:, rank] = factors, linear
    lanes[FACTORS, :rank], lanes[LINEAR, rank] = 1, 1
    if third is not None:
        triples[:, :rank] = third
    panel = LANES * min(4, second.shape[1] // LANES)
    crossed = np.zeros((0, 0), np.float32) if fields is None else np.array(fields, np.float32, order="C")
    second, triples, lanes = (matrix.reshape(-1, panel) for matrix in (second, triples, lanes))
    return Weights(second, triples, crossed, np.array([bias, 0.0, 0.0, 0.0]), lanes)


def unpacked(weights: Weights, matrix: F32) -> F32:
    """Return one of the matrices with a feature a row, shape (F, width)."""
    return matrix.reshape(-1, weights.lanes.size // 3)


def chunks_of(weights: Weights) -> tuple[int, ...]:
    """Return zeros, as many as vectors of a row are held in registers."""
    return (0,) * (weights.lanes.shape[1] // LANES)


def scores_of(rows: Rows, weights: Weights, executor: Executor) -> F32:
    """Return the scores of rows, shape (n,)."""
    n, chunks = len(rows.indptr) - 1, chunks_of(weights)
    out = np.empty(n, np.float32)

    def of_block(begin: int) -> None:
        _score_block(chunks, begin, min(n, begin + ROWS_AT_ONCE), rows, weights, out)

    executor.map(of_block, range(0, n, ROWS_AT_ONCE))
    return out


@compiled
def _score_block(chunks, begin, end, rows, weights, out):
    k, panel = len(weights.lanes) // 3, weights.lanes.shape[1]
    slots = rows.slot_ptr[end] - rows.slot_ptr[begin] if len(rows.slot_ptr) > 0 else end - begin
    pulls, slopes = np.empty((slots * k, panel), np.float32), np.empty(slots, np.float32)
    elementary = np.empty((2 * (end - begin) * k if len(weights.third) > 0 else 0, panel), np.float32)
    score_rows(chunks, begin, end, begin, rows, weights, out[begin:end], NOTHING, out[begin:end], pulls, elementary, slopes, weights.fields)


@compiled_into_callers
def score_rows(chunks, begin, end, base, rows, weights, labels, loss, scores, pulls, elementary, slopes, gradient):
    """Score rows ``begin .. end`` of a batch that begins at `base`, and return the sums of their losses and slopes.

    Parameters
    ----------
    rows : Rows
        Of all batches; labels (n,) likewise.
    loss : int
        `LOGISTIC`, `SQUARED`, or `NOTHING`.
    scores : F32, shape (rows of the batch,)
        Written.
    pulls : F32, shape (k * slots of the batch, panel)
        Written: by row, or by row and group, the sums that the gradient takes.
    elementary : F32, shape (2 * k * rows of the batch, panel) or (0, panel)
        Written: e1 and e2 of the triples.
    slopes : F32, shape (slots of the batch,)
        Written: derivatives of the loss by the score.
    gradient : F64, shape (G, G)
        The derivatives by the field weights are added, on and below the diagonal.
    """
    scores[begin - base : end - base] = np.float32(weights.shared[BIAS])
    if len(weights.third) > 0:
        _score_triples(chunks, begin, end, base, rows, weights, scores, elementary)
    if len(weights.fields) > 0:
        return _score_fields(chunks, begin, end, base, rows, weights, labels, loss, scores, pulls, slopes, gradient)
    _score_pairs(chunks, begin, end, base, rows, weights, scores, pulls)
    total, pull = 0.0, 0.0
    if loss != NOTHING:
        for row in range(begin, end):
            value, slope = loss_and_slope(scores[row - base], labels[row], loss)
            total, pull, slopes[row - base] = total + value, pull + slope, slope
    return total, pull


@compiled_exactly
def loss_and_slope(score, label, loss):
    """Return the loss of a row, and its derivative by the score."""
    if loss == SQUARED:
        return np.float64(score - label) ** 2 / 2, score - label
    away = np.exp(-abs(score))
    chance = (ONE if score >= 0 else away) / (ONE + away)
    return np.float64(max(score, np.float32(0)) - score * label) + np.log1p(np.float64(away)), chance - label


@compiled_into_callers
def _score_pairs(chunks, begin, end, base, rows, weights, scores, pulls):
    """Add what linear weights and pairs give, and leave e1, with a one for the linear weight."""
    rows, factors, lanes, scores, pulls = borrowed((rows, weights.second, weights.lanes, scores, pulls))
    k, nothing = len(lanes) // 3, load(chunks, lanes, ZEROS)
    for c in range(k):
        mask, linear = load(chunks, lanes, FACTORS * k + c), load(chunks, lanes, LINEAR * k + c)
        for row in range(begin, end):
            first, second = nothing, nothing
            for e in range(rows.indptr[row], rows.indptr[row + 1]):
                z = add_scaled(nothing, rows.values[e], load(chunks, factors, np.int64(rows.features[e]) * k + c))
                second = add_product(second, first, z)
                first = add_scaled(first, ONE, z)
            scores[row - base] += dot(second, mask) + dot(first, linear)
            store(pulls, (row - base) * k + c, add_product(linear, first, mask))


@compiled_into_callers
def _score_triples(chunks, begin, end, base, rows, weights, scores, elementary):
    """Add what triples give, and leave e1 and e2."""
    rows, factors, lanes, scores, elementary = borrowed((rows, weights.third, weights.lanes, scores, elementary))
    k, nothing = len(lanes) // 3, load(chunks, lanes, ZEROS)
    for c in range(k):
        mask = load(chunks, lanes, FACTORS * k + c)
        for row in range(begin, end):
            first, second, third = nothing, nothing, nothing
            for e in range(rows.indptr[row], rows.indptr[row + 1]):
                z = add_scaled(nothing, rows.values[e], load(chunks, factors, np.int64(rows.features[e]) * k + c))
                third = add_product(third, second, z)
                second = add_product(second, first, z)
                first = add_scaled(first, ONE, z)
            scores[row - base] += dot(third, mask)
            store(elementary, 2 * (row - base) * k + c, first)
            store(elementary, (2 * (row - base) + 1) * k + c, second)


@compiled_into_callers
def _score_fields(chunks, begin, end, base, rows, weights, labels, loss, scores, pulls, slopes, gradient):
    """Add what linear weights and weighted pairs give, leave the weighted sums that meet each group, and return as `score_rows`."""
    rows, fields, lanes, pulls = borrowed((rows, weights.fields, weights.lanes, pulls))
    k, total, pull = len(lanes) // 3, 0.0, 0.0
    sums = np.empty((2 * k * _most_groups(rows, begin, end), lanes.shape[1]), np.float32)
    for row in range(begin, end):
        mine, at = rows.slot_groups[rows.slot_ptr[row] : rows.slot_ptr[row + 1]], rows.slot_ptr[row] - rows.slot_ptr[base]
        scores[row - base] += _sum_groups(chunks, row, rows, len(mine), weights.second, lanes, sums)
        scores[row - base] += _meet(chunks, mine, fields, lanes, sums, pulls, at)
        if loss != NOTHING:
            value, slope = loss_and_slope(scores[row - base], labels[row], loss)
            total, pull = total + value, pull + slope
            slopes[at : at + len(mine)] = slope
            _add_fields(chunks, slope, mine, lanes, sums, gradient)
    return total, pull


@compiled_exactly
def _most_groups(rows, begin, end):
    most = np.int64(0)
    for row in range(begin, end):
        most = max(most, rows.slot_ptr[row + 1] - rows.slot_ptr[row])
    return most


@compiled_into_callers
def _sum_groups(chunks, row, rows, many, factors, lanes, sums):
    """Write e1 of each of a row's groups, and behind them e2; return the linear part."""
    k, linear, nothing = len(lanes) // 3, np.float32(0), load(chunks, lanes, ZEROS)
    for place in range(2 * many * k):
        store(sums, place, nothing)
    for c in range(k):
        mask, whole = load(chunks, lanes, FACTORS * k + c), nothing
        for e in range(rows.indptr[row], rows.indptr[row + 1]):
            v, x, slot = load(chunks, factors, np.int64(rows.features[e]) * k + c), rows.values[e], np.int64(rows.slots[e])
            whole, z = add_scaled(whole, x, v), add_product(nothing, add_scaled(nothing, x, v), mask)
            first, second = load(chunks, sums, slot * k + c), load(chunks, sums, (many + slot) * k + c)
            store(sums, (many + slot) * k + c, add_product(second, first, z))
            store(sums, slot * k + c, add_scaled(first, ONE, z))
        linear += dot(whole, load(chunks, lanes, LINEAR * k + c))
    return linear


@compiled_into_callers
def _meet(chunks, mine, fields, lanes, sums, pulls, at):
    """Return what the pairs give, and store the weighted sums that meet each group."""
    k, many, twice = len(lanes) // 3, len(mine), np.float32(0)
    for c in range(k):
        mask, linear = load(chunks, lanes, FACTORS * k + c), load(chunks, lanes, LINEAR * k + c)
        for g in range(many):
            own, met, first = fields[mine[g], mine[g]], load(chunks, lanes, ZEROS), load(chunks, sums, g * k + c)
            for h in range(many):
                if h != g:
                    met = add_scaled(met, fields[mine[g], mine[h]], load(chunks, sums, h * k + c))
            twice += dot(met, first) + 2 * own * dot(load(chunks, sums, (many + g) * k + c), mask)
            store(pulls, (at + g) * k + c, add_scaled(add_scaled(linear, own, first), ONE, met))
    return twice / 2


@compiled_into_callers
def _add_fields(chunks, slope, mine, lanes, sums, gradient):
    """Add a row's derivatives by the field weights: products of the sums of its groups, and the pairs within a group."""
    k, many = len(lanes) // 3, len(mine)
    for c in range(k):
        mask = load(chunks, lanes, FACTORS * k + c)
        for g in range(many):
            first = load(chunks, sums, g * k + c)
            gradient[mine[g], mine[g]] += slope * dot(load(chunks, sums, (many + g) * k + c), mask)
            for h in range(g):
                high, low = max(mine[g], mine[h]), min(mine[g], mine[h])
                gradient[high, low] += slope * dot(first, load(chunks, sums, h * k + c))
